// Measures a rota::thread_pool of one thread from outside: `round_trip`, a task of a loop runs a function there and goes on
// at home; `backlog`, 10,000 functions are given to it before the first result is awaited, per function.
#include <cstdint>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

constexpr int functions = 10'000;

rota::task<> round_trips(benchmark::State& state, rota::thread_pool& pool) {
  for (auto _ : state) co_await pool.run([] {});
}
void round_trip(benchmark::State& state) {
  rota::thread_pool pool(1);
  rota::run(round_trips(state, pool));
}

void backlog(benchmark::State& state) {
  rota::thread_pool pool(1);
  int done = 0;  // the pool's only thread counts
  for (auto _ : state) {
    for (int i = 0; i != functions; ++i) (void)pool.spawn([&done] { ++done; });
    rota::sync_wait(pool.run([&done] { benchmark::DoNotOptimize(done); }));
  }
  state.SetItemsProcessed(state.iterations() * functions);
}

BENCHMARK(round_trip)->Name("pool_post/rota/round_trip")->UseRealTime();
BENCHMARK(backlog)->Name("pool_post/rota/backlog")->UseRealTime();
BENCHMARK_MAIN();
