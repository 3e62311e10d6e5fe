// Measures a 4-ary heap with back-indices as a timer queue: a million timers of which 95 % are cancelled.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "workload.hpp"

class heap4 {
 public:
  explicit heap4(std::size_t count) : place_(count) { heap_.reserve(count); }

  void arm(std::size_t index, std::int64_t deadline) {
    heap_.push_back({deadline, next_sequence_++, static_cast<std::uint32_t>(index)});
    sift_up(heap_.size() - 1, heap_.back());
  }
  void cancel(std::size_t index) { remove(place_[index]); }
  std::size_t expire() { return timers::expire_step_by_step(*this); }

  std::int64_t next_deadline() const {
    return heap_.empty() ? std::numeric_limits<std::int64_t>::max() : heap_.front().deadline;
  }
  std::size_t expire_until(std::int64_t now) {
    std::size_t fired = 0;
    for (; !heap_.empty() && heap_.front().deadline <= now; ++fired) remove(0);
    return fired;
  }

 private:
  struct entry {
    std::int64_t deadline;
    std::uint32_t sequence;  // equal deadlines fire in the order in which they were armed
    std::uint32_t index;

    bool before(const entry& other) const {
      return deadline != other.deadline ? deadline < other.deadline : sequence < other.sequence;
    }
  };

  void put(std::size_t place, entry moved) {
    heap_[place] = moved;
    place_[moved.index] = static_cast<std::uint32_t>(place);
  }

  void sift_up(std::size_t place, entry moved) {
    while (place > 0) {
      const std::size_t parent = (place - 1) / 4;
      if (!moved.before(heap_[parent])) break;
      put(place, heap_[parent]);
      place = parent;
    }
    put(place, moved);
  }

  void sift_down(std::size_t place, entry moved) {
    for (;;) {
      const std::size_t first = 4 * place + 1;
      if (first >= heap_.size()) break;
      const std::size_t last = std::min(first + 4, heap_.size());
      std::size_t least = first;
      for (std::size_t child = first + 1; child < last; ++child)
        if (heap_[child].before(heap_[least])) least = child;
      if (!heap_[least].before(moved)) break;
      put(place, heap_[least]);
      place = least;
    }
    put(place, moved);
  }

  void remove(std::size_t place) {
    const entry last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    if (place > 0 && last.before(heap_[(place - 1) / 4]))
      sift_up(place, last);
    else
      sift_down(place, last);
  }

  std::vector<entry> heap_;
  std::vector<std::uint32_t> place_;  // of a timer in the heap
  std::uint32_t next_sequence_ = 0;
};

BENCHMARK(timers::run<heap4>)->Name("timers/heap4/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
