// Measures std::sort, which needs one thread whatever it is given.
#include <algorithm>
#include <vector>

#include <benchmark/benchmark.h>

#include "data.hpp"

template <class T>
void run(benchmark::State& state, const std::vector<T>& all) {
  data::measure(state, all, [](std::vector<T>& copy) { std::sort(copy.begin(), copy.end()); });
}

SORT_BENCHMARKS("std");
