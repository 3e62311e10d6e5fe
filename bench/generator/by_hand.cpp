// Measures what one writes without generators: an object that remembers where it is, out of line as a generator's body is.
// 11 deep, each asks the one inside.
#include <memory>

#include <benchmark/benchmark.h>

#include "../allocations.hpp"

constexpr int batch = 1000;

class numbers {
 public:
  explicit numbers(int until) : until_(until) {}
  [[gnu::noinline]] bool next(int& value) {
    if (at_ == until_) return false;
    value = at_++;
    return true;
  }

 private:
  int at_ = 0;
  int until_;
};

class nested {
 public:
  explicit nested(int depth, int until) : numbers_(until) {
    if (depth != 0) inner_ = std::make_unique<nested>(depth - 1, until);
  }
  [[gnu::noinline]] bool next(int& value) {
    const bool more = inner_ ? inner_->next(value) : numbers_.next(value);
    benchmark::DoNotOptimize(value);  // no tail call: it has something to do afterwards
    return more;
  }

 private:
  std::unique_ptr<nested> inner_;
  numbers numbers_;
};

template <class Make>
void measure(benchmark::State& state, Make make) {
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    auto elements = make();
    int sum = 0;
    for (int i = 0; elements.next(i);) sum += i;
    benchmark::DoNotOptimize(sum);
  }
  allocations::report(state, before, state.iterations() * batch);
}

void flat_case(benchmark::State& state) {
  measure(state, [] { return numbers(batch); });
}
void nested_case(benchmark::State& state) {
  measure(state, [] { return nested(10, batch); });
}

BENCHMARK(flat_case)->Name("generator/by_hand/depth:1");
BENCHMARK(nested_case)->Name("generator/by_hand/depth:11");
BENCHMARK_MAIN();
