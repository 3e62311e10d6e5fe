// Measures Boost.Asio's waitable timer: a million timers of which 95 % are cancelled.
//
// Handlers are part of the library's price: that of a cancelled timer runs too, here after every thousand cancels.
// The clock is one that stands still, so that the loop can expire everything without waiting for a minute.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

#include <boost/asio.hpp>

#include "workload.hpp"

namespace asio = boost::asio;

struct stopped_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<stopped_clock>;
  static constexpr bool is_steady = true;

  static inline time_point stands_at;
  static time_point now() { return stands_at; }
};

class asio_timers {
 public:
  explicit asio_timers(std::size_t count) {
    stopped_clock::stands_at = {};
    for (std::size_t i = 0; i < count; ++i) timers_.emplace_back(context_);
  }

  void arm(std::size_t index, std::int64_t deadline) {
    timers_[index].expires_at(stopped_clock::time_point(std::chrono::nanoseconds(deadline + 1)));
    timers_[index].async_wait([this](boost::system::error_code error) { fired_ += error ? 0 : 1; });
  }
  void cancel(std::size_t index) {
    timers_[index].cancel();
    if (++cancelled_ % 1000 == 0) context_.poll();
  }
  std::size_t expire() {
    stopped_clock::stands_at += std::chrono::nanoseconds(timers::horizon);
    // The kernel's timer knows nothing of our clock: a deadline before all others makes the loop look.
    asio::basic_waitable_timer<stopped_clock> first(context_, stopped_clock::time_point());
    first.async_wait([](boost::system::error_code) {});
    context_.poll();
    return fired_;
  }

 private:
  asio::io_context context_{1};
  std::deque<asio::basic_waitable_timer<stopped_clock>> timers_;
  std::size_t cancelled_ = 0;
  std::size_t fired_ = 0;
};

BENCHMARK(timers::run<asio_timers>)->Name("timers/asio/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
