// A reactor without a kernel whose clock moves only when the loop waits, straight to the next deadline: sleeps take
// no real time and tests can demand exact instants.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include <rota/loop/event_loop.hpp>

namespace rota_test {

class manual_clock : public rota::detail::reactor {
 public:
  static constexpr rota::detail::nanoseconds start_time = 1'000'000'000'000;

  rota::backend kind() const noexcept override { return rota::backend::simulated; }
  rota::detail::nanoseconds now() noexcept override { return now_; }
  bool wants_nonblocking() const noexcept override { return false; }

  void wait(rota::detail::nanoseconds deadline, rota::detail::completion_list&) override {
    ++statistics_.waits;
    std::unique_lock guard(mutex_);
    if (deadline == rota::detail::never) {
      asleep_ = true;
      changed_.notify_all();
      changed_.wait(guard, [this] { return woken_; });
      asleep_ = false;
    }
    const bool woken = std::exchange(woken_, false);
    if (!woken && deadline > now_) now_ = deadline;
  }
  void wake() noexcept override {
    const std::lock_guard guard(mutex_);
    ++statistics_.wakeups;
    woken_ = true;
    changed_.notify_all();
  }

  /// Waits until the loop sleeps without a deadline. Any thread.
  void wait_until_asleep() {
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this] { return asleep_; });
  }

  /// Moves the clock: the time that a step of a task takes.
  void advance(rota::duration d) noexcept { now_ += d.count(); }

 private:
  submitted start(rota::detail::operation& op, rota::detail::descriptor&) noexcept override {
    op.result = -EOPNOTSUPP;
    return submitted::completed;
  }
  void stop(rota::detail::operation&) noexcept override {}
  void forget(int, rota::detail::descriptor&) noexcept override {}

  rota::detail::nanoseconds now_ = start_time;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;  // guarded by mutex_, like asleep_
  bool asleep_ = false;
};

/// An event loop on a manual clock.
class manual_loop {
 public:
  manual_loop() : manual_loop(std::make_unique<manual_clock>()) {}

  rota::event_loop& loop() noexcept { return loop_; }
  manual_clock& clock() noexcept { return clock_; }
  template <class T>
  T run(rota::task<T> main) {
    return loop_.run(std::move(main));
  }
  /// Since the loop was made.
  rota::duration elapsed() const noexcept {
    return loop_.now() - rota::detail::to_time_point(manual_clock::start_time);
  }

 private:
  explicit manual_loop(std::unique_ptr<manual_clock> clock) : clock_(*clock), loop_(std::move(clock)) {}

  manual_clock& clock_;
  rota::event_loop loop_;
};

}  // namespace rota_test
