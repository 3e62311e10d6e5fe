// barrier: tasks of one loop wait for each other, again and again.
#pragma once

#include <coroutine>
#include <cstddef>

#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
class barrier_awaiter;
}

/// Whoever comes as the last of `parties` lets all of them pass. They have passed at that moment: who comes later, before
/// they have run even, waits for the next round. For tasks of one loop; no allocation.
class barrier : detail::wait_list {
 public:
  /// Throws usage_error (invalid_argument) for 0.
  explicit barrier(std::size_t parties) : wait_list("barrier", &withdrawn), parties_(parties) {
    if (parties == 0)
      throw usage_error(usage_error::kind::invalid_argument, "a barrier needs at least one task that passes it");
  }
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;
  // Destroyed while somebody waits, it ends the program.

  /// Gives each task of a round another index: 0 to who came first, parties() - 1 to who came last. Throws
  /// rota::cancelled, as if the task had never come; std::system_error (errc::broken_barrier).
  [[nodiscard(ROTA_UNAWAITED)]] detail::barrier_awaiter wait() noexcept;
  /// Who waits gets errc::broken_barrier, and so does who comes later, until reset(). Tasks, and callbacks of the loop.
  void abort() noexcept {
    used_here();
    broken_ = true;
    break_round();
  }
  /// Who waits gets errc::broken_barrier. The barrier is as new.
  void reset() noexcept {
    used_here();
    broken_ = false;
    break_round();
  }

  bool is_broken() const noexcept { return broken_; }
  std::size_t parties() const noexcept { return parties_; }
  /// How many have come in this round.
  std::size_t waiting() const noexcept { return come_; }

 private:
  friend detail::barrier_awaiter;

  void let_pass() noexcept;
  void break_round() noexcept;
  static void withdrawn(wait_list& self) noexcept { --static_cast<barrier&>(self).come_; }

  std::size_t parties_;
  std::size_t come_ = 0;  // how many wait: to count them would take each of them longer than the one before
  bool broken_ = false;
};

namespace detail {

class [[nodiscard(ROTA_UNAWAITED)]] barrier_awaiter : public list_wait {
 public:
  explicit barrier_awaiter(barrier& b) noexcept : barrier_(b) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, barrier_);
    if (me.is_cancelled()) return wait_in(barrier_, me, handle.address());
    if (barrier_.broken_) {
      index_ = broken;
      return me.exec->takes_turns(handle.address());
    }
    if (barrier_.come_ + 1 == barrier_.parties_) {
      index_ = barrier_.parties_ - 1;
      barrier_.let_pass();
      return me.exec->takes_turns(handle.address());
    }
    wait_in(barrier_, me, handle.address());
    ++barrier_.come_;
    return true;
  }
  std::size_t await_resume() const {
    check();
    if (index_ == broken) throw_error(errc::broken_barrier, "wait at a barrier");
    return index_;
  }

 private:
  friend barrier;
  static constexpr std::size_t broken = SIZE_MAX;

  barrier& barrier_;
  std::size_t index_ = 0;
};

}  // namespace detail

inline detail::barrier_awaiter barrier::wait() noexcept { return detail::barrier_awaiter(*this); }

inline void barrier::let_pass() noexcept {
  come_ = 0;
  for (std::size_t i = 0; !empty(); ++i) {
    auto& next = static_cast<detail::barrier_awaiter&>(*first());
    next.index_ = i;
    grant(next);
  }
}

inline void barrier::break_round() noexcept {
  come_ = 0;
  while (!empty()) {
    auto& next = static_cast<detail::barrier_awaiter&>(*first());
    next.index_ = detail::barrier_awaiter::broken;
    grant(next);
  }
}

}  // namespace rota
