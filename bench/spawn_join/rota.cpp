// Measures spawn + join of an empty rota task: one at a time, and 1000 started before the first is joined.
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

constexpr int batch = 1000;

[[gnu::noinline]] rota::task<> child() { co_return; }

rota::task<> one_at_a_time(benchmark::State& state) {
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) {
      rota::join_handle<void> handle = rota::spawn(child);
      co_await handle;
    }
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

rota::task<> all_at_once(benchmark::State& state) {
  std::vector<rota::join_handle<void>> handles;
  handles.reserve(batch);
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) handles.push_back(rota::spawn(child));
    for (auto& handle : handles) co_await handle;
    handles.clear();
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void one_case(benchmark::State& state) { rota::run(one_at_a_time(state)); }
void all_case(benchmark::State& state) { rota::run(all_at_once(state)); }

BENCHMARK(one_case)->Name("spawn_join/rota/one");
BENCHMARK(all_case)->Name("spawn_join/rota/batch:1000");
BENCHMARK_MAIN();
