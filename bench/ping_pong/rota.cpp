// Measures how a loop and a rota::thread_pool hand work to each other: tasks of the loop ask for a function on the pool and
// go on at home; one task (alone), and a hundred at the same time, per round trip.
#include <cstddef>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "../threads.hpp"
#include "trips.hpp"

rota::task<> one_at_a_time(benchmark::State& state, rota::thread_pool& pool) {
  for (auto _ : state) co_await pool.run([] {});
}
rota::task<> some(rota::thread_pool& pool) {
  for (int i = 0; i != trips::each; ++i) co_await pool.run([] {});
}
rota::task<> many_at_a_time(benchmark::State& state, rota::thread_pool& pool) {
  for (auto _ : state) {
    std::vector<rota::task<>> tasks;
    for (int i = 0; i != trips::tasks; ++i) tasks.push_back(some(pool));
    co_await rota::when_all(std::move(tasks));
  }
  state.SetItemsProcessed(state.iterations() * trips::tasks * trips::each);
}

template <auto f>
void run(benchmark::State& state) {
  {
    rota::thread_pool pool(static_cast<unsigned>(state.range(0)));
    rota::run(f(state, pool));
  }
  threads::note_resident(state);
}

BENCHMARK(run<one_at_a_time>)->Name("ping_pong/rota/alone")->Apply(threads::counts);
BENCHMARK(run<many_at_a_time>)->Name("ping_pong/rota/hundred")->Apply(threads::counts);
BENCHMARK_MAIN();
