// What is sorted: 10^6 random ints, the same in ascending order, 200,000 strings with a common beginning.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "../threads.hpp"

namespace data {

inline std::vector<int> random_ints() {
  std::minstd_rand random(1);
  std::vector<int> all(1'000'000);
  for (int& n : all) n = static_cast<int>(random());
  return all;
}
inline std::vector<int> sorted_ints() {
  std::vector<int> all = random_ints();
  std::sort(all.begin(), all.end());
  return all;
}
inline std::vector<std::string> strings() {
  std::minstd_rand random(1);
  std::vector<std::string> all(200'000);
  for (std::string& s : all) s = "path/" + std::to_string(random());
  return all;
}

/// Calls sort(copy) for one copy after the other; copying counts, for everybody.
template <class T, class Sort>
void measure(benchmark::State& state, const std::vector<T>& all, Sort sort) {
  std::vector<T> copy;
  for (auto _ : state) {
    copy = all;
    sort(copy);
  }
  if (!std::is_sorted(copy.begin(), copy.end())) state.SkipWithError("not sorted");
  threads::note_resident(state);
}

}  // namespace data

/// The three benchmarks of a library whose `template <class T> void run(benchmark::State&, const std::vector<T>&)` measures.
#define SORT_BENCHMARKS(library)                                                         \
  void ints(benchmark::State& state) { run(state, data::random_ints()); }                \
  void sorted(benchmark::State& state) { run(state, data::sorted_ints()); }              \
  void strings(benchmark::State& state) { run(state, data::strings()); }                 \
  BENCHMARK(ints)->Name("parallel_sort/" library "/ints")->Apply(threads::counts);       \
  BENCHMARK(sorted)->Name("parallel_sort/" library "/sorted")->Apply(threads::counts);   \
  BENCHMARK(strings)->Name("parallel_sort/" library "/strings")->Apply(threads::counts); \
  BENCHMARK_MAIN()
