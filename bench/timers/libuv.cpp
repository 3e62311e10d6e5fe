// Measures libuv's uv_timer: a million timers of which 95 % are cancelled. Its deadlines are whole milliseconds.
//
// The loop's clock is set back by a minute before the timers are armed, so that the loop can expire them without
// waiting: uv_run reads the real clock first.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <uv.h>

#include "workload.hpp"

class uv_timers {
 public:
  explicit uv_timers(std::size_t count) : timers_(count) {
    uv_loop_init(&loop_);
    for (uv_timer_t& timer : timers_) {
      uv_timer_init(&loop_, &timer);
      timer.data = this;
    }
    uv_update_time(&loop_);
    loop_.time -= 60'000;
  }
  ~uv_timers() {
    for (uv_timer_t& timer : timers_) uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }
  uv_timers(const uv_timers&) = delete;
  uv_timers& operator=(const uv_timers&) = delete;

  void arm(std::size_t index, std::int64_t deadline) {
    const auto fire = [](uv_timer_t* timer) { ++static_cast<uv_timers*>(timer->data)->fired_; };
    uv_timer_start(&timers_[index], fire, static_cast<std::uint64_t>(deadline / 1'000'000), 0);
  }
  void cancel(std::size_t index) { uv_timer_stop(&timers_[index]); }
  std::size_t expire() {
    uv_run(&loop_, UV_RUN_NOWAIT);
    return fired_;
  }

 private:
  uv_loop_t loop_;
  std::vector<uv_timer_t> timers_;
  std::size_t fired_ = 0;
};

BENCHMARK(timers::run<uv_timers>)->Name("timers/libuv/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
