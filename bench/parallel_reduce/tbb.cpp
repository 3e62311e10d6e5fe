// Measures tbb::parallel_reduce, inside an arena; it chooses the grain itself.
#include <cstddef>
#include <cstdint>
#include <functional>

#include <benchmark/benchmark.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_reduce.h>

#include "../parallel_for/work.hpp"
#include "../tbb_arena.hpp"
#include "../threads.hpp"

template <class T, class Map>
void run(benchmark::State& state, std::size_t size, T zero, Map map) {
  using range = tbb::blocked_range<std::size_t>;
  in_arena(state, [&] {
    for (auto _ : state) {
      const T sum = tbb::parallel_reduce(
          range(0, size), zero,
          [&](const range& part, T value) {
            for (std::size_t i = part.begin(); i != part.end(); ++i) value += map(i);
            return value;
          },
          std::plus<T>());
      benchmark::DoNotOptimize(sum);
    }
  });
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) {
  run(state, work::even_size, std::uint32_t{0},
      [from = loops.even.data()](std::size_t i) { return work::hash(from[i]); });
}
void cheap(benchmark::State& state) {
  run(state, work::cheap_size, 0.0f, [x = loops.x.data(), y = loops.y.data()](std::size_t i) { return x[i] * y[i]; });
}

BENCHMARK(even)->Name("parallel_reduce/tbb/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_reduce/tbb/cheap")->Apply(threads::counts);
BENCHMARK_MAIN();
