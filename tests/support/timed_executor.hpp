// Virtual time on whatever the test runs on: a loop with a manual clock, or with ROTA_TEST_EXECUTOR a pool of one thread.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"

namespace rota_test {

class timed_executor {
 public:
  timed_executor() {
    if (const char* const executor = executor_of_tests()) {
      pool_ = std::make_unique<rota::thread_pool>(1U);
      core().keeps_children = std::string_view(executor) == "strand";
      core().timers.use_virtual_time();
    } else {
      loop_ = std::make_unique<manual_loop>();
    }
    start_ = now();
  }

  template <class T>
  T run(rota::task<T> main) {
    return pool_ ? rota::sync_wait(pool_->run([&] { return std::move(main); })) : loop_->run(std::move(main));
  }
  rota::time_point now() const noexcept {
    return pool_ ? rota::detail::to_time_point(core().timers.now()) : loop_->loop().now();
  }
  rota::duration elapsed() const noexcept { return now() - start_; }
  /// The time that a step of a task takes.
  void advance(rota::duration d) noexcept {
    if (pool_)
      core().timers.move_virtual_time(d.count());
    else
      loop_->clock().advance(d);
  }
  void require_quiescent() const {
    if (loop_) rota_test::require_quiescent(loop_->loop());
  }

 private:
  rota::detail::pool_core& core() const noexcept { return rota::detail::pool_access::core(*pool_); }

  std::unique_ptr<rota::thread_pool> pool_;
  std::unique_ptr<manual_loop> loop_;
  rota::time_point start_;
};

/// For a task: what its loop or pool says.
inline rota::time_point now_here() {
  return rota::detail::to_time_point(rota::detail::runner_access::now(rota::detail::loop_access::current_runner()));
}

}  // namespace rota_test
