// Measures a post to a libuv loop from another thread: a locked queue of callables, and uv_async_send.
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <uv.h>

#include "rounds.hpp"

class uv_loop {
 public:
  uv_loop() {
    uv_loop_init(&loop_);
    uv_async_init(&loop_, &wake_, [](uv_async_t* handle) { static_cast<uv_loop*>(handle->data)->run_posted(); });
    wake_.data = this;
    thread_ = std::thread([this] { uv_run(&loop_, UV_RUN_DEFAULT); });
  }

  ~uv_loop() {
    post([this] { uv_close(reinterpret_cast<uv_handle_t*>(&wake_), nullptr); });
    thread_.join();
    uv_loop_close(&loop_);
  }

  uv_loop(const uv_loop&) = delete;
  uv_loop& operator=(const uv_loop&) = delete;

  template <class F>
  void post(F&& f) {
    {
      const std::lock_guard lock(mutex_);
      posted_.emplace_back(std::forward<F>(f));
    }
    uv_async_send(&wake_);
  }

 private:
  void run_posted() {
    {
      const std::lock_guard lock(mutex_);
      running_.swap(posted_);
    }
    for (auto& f : running_) f();
    running_.clear();
  }

  uv_loop_t loop_;
  uv_async_t wake_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  std::vector<std::function<void()>> running_;
  std::thread thread_;
};

BENCHMARK(post::backlog<uv_loop>)->Name("post/libuv/backlog")->UseRealTime();
BENCHMARK(post::throughput<uv_loop>)->Name("post/libuv/throughput")->UseRealTime();
BENCHMARK(post::round_trip<uv_loop>)->Name("post/libuv/round_trip")->UseRealTime();
BENCHMARK_MAIN();
