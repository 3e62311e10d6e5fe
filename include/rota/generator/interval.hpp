// interval: ticks of the clock of a loop or a pool, one after another.
#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>

#include <rota/base/clock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/sleep.hpp>

namespace rota {

/// What an interval does when a tick was not asked for in time. As Tokio's MissedTickBehavior (tokio 1.x, time/interval.rs),
/// without its tolerance of 5 ms: a tick that is a nanosecond late is late.
enum class missed_tick : std::uint8_t {
  burst,  ///< gives the missed ticks at once, until it has caught up: as many ticks as periods
  delay,  ///< the next tick comes a whole period after the late one: never two within a period
  skip,   ///< leaves out what was missed; the next tick is the next multiple of the period since the first one
};

/// Ticks for one task at a time: `co_await tick.next()` gives the time of the loop or pool for which the tick was due. The first comes at
/// once and starts the count. A source that never ends. Cancelling the wait loses no tick.
class interval {
 public:
  /// Throws usage_error when `period` is not positive (NaN neither).
  template <class Rep, class Period>
  explicit interval(std::chrono::duration<Rep, Period> period, missed_tick policy = missed_tick::burst)
      : period_(detail::saturate(period)), policy_(policy) {
    if (period_ <= 0) [[unlikely]]
      throw usage_error(usage_error::kind::invalid_argument, "an interval needs a period above zero");
  }

  class [[nodiscard(ROTA_UNAWAITED)]] awaiter {
   public:
    explicit awaiter(interval& owner) noexcept : owner_(owner), sleep_(owner.due_, true) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle, detail::line_mark where = ROTA_CALLERS_LINE) {
      runner_ = &detail::runner_access::of(detail::suspend_at(handle, where));
      return sleep_.await_suspend(handle, where);
    }
    bool withdrawn() const noexcept { return sleep_.withdrawn(); }
    std::optional<time_point> await_resume() {
      sleep_.await_resume();
      return detail::to_time_point(owner_.give(detail::runner_access::now(*runner_)));
    }

   private:
    interval& owner_;
    detail::sleep_awaiter sleep_;
    detail::task_runner* runner_ = nullptr;
  };
  awaiter next() noexcept { return awaiter(*this); }

  /// The next tick comes a period from now. In a task.
  void reset() {
    start_ = due_ = detail::deadline_after(detail::runner_access::now(detail::loop_access::current_runner()), period_);
    begun_ = true;
  }
  duration period() const noexcept { return duration(period_); }
  missed_tick policy() const noexcept { return policy_; }

 private:
  // Gives the tick that is due, and says when the next one is.
  detail::nanoseconds give(detail::nanoseconds now) noexcept {
    if (!begun_) {
      begun_ = true;
      start_ = due_ = now;
    }
    const detail::nanoseconds tick = due_;
    switch (policy_) {
      case missed_tick::burst: due_ = detail::deadline_after(tick, period_); break;
      case missed_tick::delay: due_ = detail::deadline_after(now, period_); break;
      case missed_tick::skip: due_ = detail::deadline_after(now - (now - start_) % period_, period_); break;
    }
    return tick;
  }

  detail::nanoseconds period_;
  detail::nanoseconds start_ = 0;  // the first tick
  detail::nanoseconds due_ = 0;    // the next one; 0 before the first: at once
  missed_tick policy_;
  bool begun_ = false;
};

}  // namespace rota
