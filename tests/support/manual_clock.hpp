// The simulator's virtual clock for tests that demand exact instants: it moves when the loop waits, straight to the next
// deadline, and when the test says so. A task that yields takes no time.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include <rota/loop/event_loop.hpp>
#include <rota/testing/simulated_reactor.hpp>

namespace rota_test {

class manual_clock : public rota::detail::simulated_reactor {
 public:
  manual_clock() : simulated_reactor(timeless()) {}

  void wait(rota::detail::nanoseconds deadline, rota::detail::completion_list& done) override {
    set_asleep(deadline == rota::detail::never);
    simulated_reactor::wait(deadline, done);
    set_asleep(false);
  }
  void wake() noexcept override {
    {
      const std::lock_guard guard(mutex_);
      ++statistics_.wakeups;
    }
    simulated_reactor::wake();
  }

  /// Waits until the loop sleeps without a deadline, or is about to. Any thread.
  void wait_until_asleep() {
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this] { return asleep_; });
  }

  /// Moves the clock: the time that a step of a task takes.
  void advance(rota::duration d) noexcept { network().clock.move_to(network().clock.now() + d.count()); }

 private:
  static rota::testing::simulation_options timeless() {
    rota::testing::simulation_options options;
    options.busy_turn = rota::duration();
    options.keep_trace = false;
    return options;
  }
  void set_asleep(bool now) {
    const std::lock_guard guard(mutex_);
    asleep_ = now;
    if (now) changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool asleep_ = false;  // guarded by mutex_, like statistics_.wakeups
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
    return loop_.now() - rota::detail::to_time_point(rota::detail::virtual_clock::start_time);
  }

 private:
  explicit manual_loop(std::unique_ptr<manual_clock> clock) : clock_(*clock), loop_(std::move(clock)) {}

  manual_clock& clock_;
  rota::event_loop loop_;
};

}  // namespace rota_test
