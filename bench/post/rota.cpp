// Measures rota::event_loop::post from another thread to a loop that runs on its own thread.
#include <latch>
#include <thread>
#include <utility>

#include <rota/rota.hpp>

#include "rounds.hpp"

class rota_loop {
 public:
  rota_loop() { ready_.wait(); }

  ~rota_loop() {
    loop_->post([loop = loop_] { loop->stop(); });
    thread_.join();
  }

  rota_loop(const rota_loop&) = delete;
  rota_loop& operator=(const rota_loop&) = delete;

  template <class F>
  void post(F&& f) {
    loop_->post(std::forward<F>(f));
  }

 private:
  void run() {
    rota::event_loop loop;
    loop_ = &loop;
    ready_.count_down();
    loop.run();
  }

  rota::event_loop* loop_ = nullptr;
  std::latch ready_{1};
  std::thread thread_{[this] { run(); }};
};

BENCHMARK(post::backlog<rota_loop>)->Name("post/rota/backlog")->UseRealTime();
BENCHMARK(post::throughput<rota_loop>)->Name("post/rota/throughput")->UseRealTime();
BENCHMARK(post::round_trip<rota_loop>)->Name("post/rota/round_trip")->UseRealTime();
BENCHMARK_MAIN();
