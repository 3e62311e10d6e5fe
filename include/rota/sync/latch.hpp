// latch: tasks of one loop wait until a number of things have been done.
#pragma once

#include <coroutine>
#include <cstddef>

#include <rota/base/usage_error.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
class latch_awaiter;
}

/// Counts down once, and stays open. For tasks of one loop; no allocation.
class latch {
 public:
  explicit latch(std::size_t count) noexcept : count_(count) {}
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;
  // Destroyed while somebody waits, it ends the program.

  /// At zero, everybody who waits goes on. Throws usage_error (invalid_argument), and counts nothing, when less than `n`
  /// is left. Tasks, and callbacks of the loop.
  void count_down(std::size_t n = 1) {
    waiters_.used_here();
    if (n > count_) [[unlikely]]
      detail::throw_usage_error(usage_error::kind::invalid_argument,
                                "a latch was counted down by %zu, and %zu are left", n, count_);
    count_ -= n;
    if (count_ == 0) waiters_.grant_all();
  }
  /// Until the count is zero. Throws rota::cancelled.
  [[nodiscard(ROTA_UNAWAITED)]] detail::latch_awaiter wait() noexcept;

  bool is_open() const noexcept { return count_ == 0; }
  std::size_t count() const noexcept { return count_; }
  /// How many tasks wait.
  std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  friend detail::latch_awaiter;

  detail::wait_list waiters_{"latch"};
  std::size_t count_;
};

namespace detail {

class [[nodiscard(ROTA_UNAWAITED)]] latch_awaiter : public list_wait {
 public:
  explicit latch_awaiter(latch& l) noexcept : latch_(l) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, latch_.waiters_);
    if (!me.is_cancelled() && try_now()) return me.exec->takes_turns(handle.address());
    return wait_in(latch_.waiters_, me, handle.address());
  }
  void await_resume() const { check(); }

  // For select.
  bool try_now() const noexcept { return latch_.is_open(); }
  wait_list& list() noexcept { return latch_.waiters_; }
  const void* channel() const noexcept { return &latch_; }

 private:
  latch& latch_;
};

}  // namespace detail

inline detail::latch_awaiter latch::wait() noexcept { return detail::latch_awaiter(*this); }

}  // namespace rota
