// Measures one trip through rota's ready queue: a task yields, alone or in turn with 999 others.
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

constexpr int batch = 1000;

rota::task<> yield_alone(benchmark::State& state) {
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) co_await rota::yield();
  state.SetItemsProcessed(state.iterations() * batch);
}

rota::task<> yield_until(const bool* stop) {
  while (!*stop) co_await rota::yield();
}

// Each yield of this task lets every other one yield once.
rota::task<> yield_in_turn(benchmark::State& state) {
  bool stop = false;
  std::vector<rota::join_handle<void>> others;
  for (int i = 1; i < batch; ++i) others.push_back(rota::spawn(yield_until, &stop));
  co_await rota::yield();
  for (auto _ : state) co_await rota::yield();
  state.SetItemsProcessed(state.iterations() * batch);
  stop = true;
  for (auto& other : others) co_await other;
}

void alone_case(benchmark::State& state) { rota::run(yield_alone(state)); }
void in_turn_case(benchmark::State& state) { rota::run(yield_in_turn(state)); }

BENCHMARK(alone_case)->Name("yield/rota/tasks:1");
BENCHMARK(in_turn_case)->Name("yield/rota/tasks:1000");
BENCHMARK_MAIN();
