// Measures boost::asio::post from another thread to an io_context that runs on its own thread.
#include <thread>
#include <utility>

#include <boost/asio.hpp>

#include "rounds.hpp"

namespace asio = boost::asio;

class asio_loop {
 public:
  ~asio_loop() {
    keep_running_.reset();
    thread_.join();
  }

  template <class F>
  void post(F&& f) {
    asio::post(context_, std::forward<F>(f));
  }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_ = asio::make_work_guard(context_);
  std::thread thread_{[this] { context_.run(); }};
};

BENCHMARK(post::backlog<asio_loop>)->Name("post/asio/backlog")->UseRealTime();
BENCHMARK(post::throughput<asio_loop>)->Name("post/asio/throughput")->UseRealTime();
BENCHMARK(post::round_trip<asio_loop>)->Name("post/asio/round_trip")->UseRealTime();
BENCHMARK_MAIN();
