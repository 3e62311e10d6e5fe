// Measures tbb::parallel_sort, which looks first whether all is sorted.
#include <vector>

#include <benchmark/benchmark.h>
#include <tbb/parallel_sort.h>

#include "../tbb_arena.hpp"
#include "data.hpp"

template <class T>
void run(benchmark::State& state, const std::vector<T>& all) {
  in_arena(state, [&] { data::measure(state, all, [](std::vector<T>& copy) { tbb::parallel_sort(copy); }); });
}

SORT_BENCHMARKS("tbb");
