// event: something has happened; tasks of one loop wait for it.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
class event_awaiter;
}

enum class event_reset : std::uint8_t {
  manual,     ///< set() lets everybody pass until reset()
  automatic,  ///< set() lets one task pass: whoever waits longest, or else who comes next
};

/// For tasks of one loop; no allocation. set(), reset() and try_wait() may be called by callbacks of the loop, too.
class event {
 public:
  explicit event(event_reset how = event_reset::manual, bool set = false) noexcept
      : is_set_(set), automatic_(how == event_reset::automatic) {}
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  // Destroyed while somebody waits, it ends the program.

  /// Does not suspend when the event is set. Throws rota::cancelled, and then has used up nothing.
  [[nodiscard(ROTA_UNAWAITED)]] detail::event_awaiter wait() noexcept;
  /// As wait() would, without waiting: false when the event is not set.
  [[nodiscard]] bool try_wait() noexcept {
    waiters_.used_here();
    if (!is_set_) return false;
    if (automatic_) is_set_ = false;
    return true;
  }

  /// Everybody who waits now goes on, even if reset() follows before they run; `automatic`: one of them, the first.
  void set() noexcept {
    waiters_.used_here();
    if (!automatic_) {
      is_set_ = true;
      waiters_.grant_all();
    } else if (detail::waiter* next = waiters_.claim_first()) {
      waiters_.grant(*next);
    } else {
      is_set_ = true;
    }
  }
  void reset() noexcept {
    waiters_.used_here();
    is_set_ = false;
  }

  bool is_set() const noexcept { return is_set_; }
  /// How many tasks wait.
  std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  friend detail::event_awaiter;

  detail::wait_list waiters_{"event"};
  bool is_set_;
  bool automatic_;
};

namespace detail {

class [[nodiscard(ROTA_UNAWAITED)]] event_awaiter : public list_wait {
 public:
  explicit event_awaiter(event& e) noexcept : event_(e) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, event_.waiters_);
    if (!me.is_cancelled() && try_now()) return me.exec->takes_turns(handle.address());
    return wait_in(event_.waiters_, me, handle.address());
  }
  void await_resume() const { check(); }

  // For select.
  bool try_now() noexcept { return event_.try_wait(); }
  wait_list& list() noexcept { return event_.waiters_; }
  const void* channel() const noexcept { return &event_; }

 private:
  event& event_;
};

}  // namespace detail

inline detail::event_awaiter event::wait() noexcept { return detail::event_awaiter(*this); }

}  // namespace rota
