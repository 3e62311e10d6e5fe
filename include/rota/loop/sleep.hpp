// sleep_for, sleep_until, yield.
#pragma once

#include <source_location>
#include <type_traits>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/loop/task_runner.hpp>

namespace rota {

namespace detail {

// One timer and nothing else: a sleeping task is small.
class [[nodiscard(ROTA_UNAWAITED)]] sleep_awaiter : loop_timer {
 public:
  static constexpr bool may_leave_strand = true;
  // A relative deadline is kept as it is until the task's loop can say what time it is.
  explicit sleep_awaiter(nanoseconds when, bool is_absolute) noexcept {
    deadline = when;
    target = is_absolute ? 1 : 0;
  }
  sleep_awaiter(const sleep_awaiter&) = delete;
  sleep_awaiter& operator=(const sleep_awaiter&) = delete;
  ~sleep_awaiter() {
    if (next)
      trap("%s, was destroyed while it slept; a started task must be joined or cancelled",
           describe(*promise_of(reinterpret_cast<void*>(target)).state).c_str());
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return arm(suspend_at(handle, where), handle.address());
  }
  bool withdrawn() const noexcept { return deadline == never; }
  /// Before it is awaited: a deadline that the loop's clock has reached, or a duration that is zero or less.
  bool has_passed(task_runner& runner) const noexcept {
    if (deadline == not_a_duration && target == 0) return false;  // the await refuses it
    return deadline <= (target != 0 ? runner_access::now(runner) : nanoseconds{0});
  }
  void await_resume() {
    if (withdrawn()) [[unlikely]]
      throw_cancelled(*promise_of(reinterpret_cast<void*>(target)).state);
  }

 private:
  ROTA_NOINLINE bool arm(task_state& task, void* frame) {
    task_runner& runner = runner_access::of(task);
    const bool is_absolute = std::exchange(target, reinterpret_cast<std::uintptr_t>(frame)) != 0;
    if (deadline == not_a_duration && !is_absolute) [[unlikely]]
      throw_not_a_duration(task);
    if (task.is_cancelled()) {
      deadline = never;
      return runner.takes_turns(frame);
    }
    if (!is_absolute) deadline = deadline_after(runner_access::now(runner), deadline);
    if (deadline == never) --deadline;  // `never` means cancelled; 292 years will do
    runner_access::arm(runner, *this);
    task.waits_for(static_cast<loop_timer*>(this), wait_kind::timer);
    return true;
  }
};

class [[nodiscard(ROTA_UNAWAITED)]] yield_awaiter {
 public:
  yield_awaiter() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> handle,
                                            line_mark where = ROTA_CALLERS_LINE) noexcept {
    task_ = &suspend_at(handle, where);
    if (task_->is_cancelled()) [[unlikely]]
      return task_->exec->takes_turns(handle.address());
    return task_->exec->yields(handle.address());
  }
  // The task may also have been cancelled while it was queued.
  void await_resume() {
    if (task_->is_cancelled()) [[unlikely]]
      throw_cancelled(*task_);
  }

 private:
  task_state* task_;
};

}  // namespace detail

/// Suspends for at least `d`; zero or negative: until the loop next looks at its timers (to let others go first,
/// yield() is meant). A cancel ends it at once.
/// Any std::chrono duration; far too large ones saturate, NaN throws usage_error when it is awaited.
template <class Rep, class Period>
detail::sleep_awaiter sleep_for(std::chrono::duration<Rep, Period> d) noexcept {
  return detail::sleep_awaiter(detail::saturate(d), false);
}

template <class T>
  requires std::is_arithmetic_v<T>
detail::sleep_awaiter sleep_for(T) noexcept {
  static_assert(!std::is_same_v<T, T>,
                "a duration has a unit: using namespace std::chrono_literals; co_await rota::sleep_for(5s), 20ms, ...");
  return detail::sleep_awaiter(0, false);
}

/// Suspends until the loop's clock has reached `t`; a past one: as sleep_for(0).
inline detail::sleep_awaiter sleep_until(time_point t) noexcept {
  return detail::sleep_awaiter(detail::to_nanoseconds(t), true);
}

/// Lets every task that is ready now go first.
inline detail::yield_awaiter yield() noexcept { return {}; }

}  // namespace rota
