// Measures std::multimap as a timer queue: a million timers of which 95 % are cancelled.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "workload.hpp"

class ordered_map {
 public:
  explicit ordered_map(std::size_t count) : place_(count) {}

  // Equal keys keep the order in which they were inserted.
  void arm(std::size_t index, std::int64_t deadline) { place_[index] = timers_.emplace(deadline, index); }
  void cancel(std::size_t index) { timers_.erase(place_[index]); }
  std::size_t expire() { return timers::expire_step_by_step(*this); }

  std::int64_t next_deadline() const {
    return timers_.empty() ? std::numeric_limits<std::int64_t>::max() : timers_.begin()->first;
  }
  std::size_t expire_until(std::int64_t now) {
    std::size_t fired = 0;
    for (; !timers_.empty() && timers_.begin()->first <= now; ++fired) timers_.erase(timers_.begin());
    return fired;
  }

 private:
  using map = std::multimap<std::int64_t, std::size_t>;
  map timers_;
  std::vector<map::iterator> place_;
};

BENCHMARK(timers::run<ordered_map>)->Name("timers/multimap/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
