// Measures rota::parallel_sort, asked for by a plain thread.
#include <functional>
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>
#include <rota/scope/parallel_sort.hpp>

#include "data.hpp"

template <class T>
rota::task<> sort(std::vector<T>& all) {
  return rota::parallel_sort(all);
}
template <class T>
void run(benchmark::State& state, const std::vector<T>& all) {
  rota::thread_pool pool(static_cast<unsigned>(state.range(0)));
  data::measure(state, all, [&](std::vector<T>& copy) { rota::sync_wait(pool.run(sort<T>, std::ref(copy))); });
}

SORT_BENCHMARKS("rota");
