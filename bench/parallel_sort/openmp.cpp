// Measures libstdc++'s parallel mode on OpenMP: __gnu_parallel::sort, a merge sort of several ways with buffers.
#include <omp.h>

#include <vector>

#include <benchmark/benchmark.h>
#include <parallel/algorithm>

#include "data.hpp"

template <class T>
void run(benchmark::State& state, const std::vector<T>& all) {
  omp_set_num_threads(static_cast<int>(state.range(0)));
  data::measure(state, all, [](std::vector<T>& copy) { __gnu_parallel::sort(copy.begin(), copy.end()); });
}

SORT_BENCHMARKS("openmp");
