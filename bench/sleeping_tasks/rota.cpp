// Measures a million sleeping rota tasks: time to spawn and arm them, resident bytes each.
#include <chrono>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "measure.hpp"

rota::task<> sleeper(std::chrono::milliseconds duration, std::size_t* armed) {
  ++*armed;
  co_await rota::sleep_for(duration);
}

rota::task<> measure(benchmark::State& state) {
  std::size_t armed = 0;
  const double before = sleeping::resident_bytes();
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < sleeping::task_count; ++i) (void)rota::spawn(sleeper, sleeping::nap(i), &armed);
  co_await rota::yield();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  const double resident = sleeping::resident_bytes() - before;
  if (armed != sleeping::task_count) state.SkipWithError("not every task sleeps");
  state.SetIterationTime(elapsed.count());
  state.counters["spawn_and_arm_ms"] = elapsed.count() * 1e3;
  state.counters["per_task_bytes"] = resident / static_cast<double>(sleeping::task_count);
}

void sleeping_tasks(benchmark::State& state) {
  for (auto _ : state) rota::run(measure(state));
}

BENCHMARK(sleeping_tasks)->Name("sleeping_tasks/rota/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
