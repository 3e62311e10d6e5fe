// Measures `omp parallel for`: static, as it is without a word, for the even loops, guided for the uneven one.
#include <cstddef>

#include <benchmark/benchmark.h>

#include "../threads.hpp"
#include "work.hpp"

template <class Body>
void run_static(benchmark::State& state, std::size_t size, Body body) {
  const auto threads = static_cast<int>(state.range(0));
  for (auto _ : state) {
#pragma omp parallel for num_threads(threads)
    for (std::size_t i = 0; i < size; ++i) body(i);
  }
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) { run_static(state, work::even_size, loops.even_body()); }
void cheap(benchmark::State& state) { run_static(state, work::cheap_size, loops.cheap_body()); }
void uneven(benchmark::State& state) {
  const auto threads = static_cast<int>(state.range(0));
  const auto body = loops.uneven_body();
  for (auto _ : state) {
#pragma omp parallel for num_threads(threads) schedule(guided)
    for (std::size_t i = 0; i < work::uneven_size; ++i) body(i);
  }
  threads::note_resident(state);
}

BENCHMARK(even)->Name("parallel_for/openmp/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_for/openmp/cheap")->Apply(threads::counts);
BENCHMARK(uneven)->Name("parallel_for/openmp/uneven")->Apply(threads::counts);
BENCHMARK_MAIN();
