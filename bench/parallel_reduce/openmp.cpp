// Measures `omp parallel for reduction(+)`.
#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>

#include "../parallel_for/work.hpp"
#include "../threads.hpp"

template <class T, class Map>
void run(benchmark::State& state, std::size_t size, Map map) {
  const auto threads = static_cast<int>(state.range(0));
  for (auto _ : state) {
    T sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
    for (std::size_t i = 0; i < size; ++i) sum += map(i);
    benchmark::DoNotOptimize(sum);
  }
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) {
  run<std::uint32_t>(state, work::even_size, [from = loops.even.data()](std::size_t i) { return work::hash(from[i]); });
}
void cheap(benchmark::State& state) {
  run<float>(state, work::cheap_size, [x = loops.x.data(), y = loops.y.data()](std::size_t i) { return x[i] * y[i]; });
}

BENCHMARK(even)->Name("parallel_reduce/openmp/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_reduce/openmp/cheap")->Apply(threads::counts);
BENCHMARK_MAIN();
