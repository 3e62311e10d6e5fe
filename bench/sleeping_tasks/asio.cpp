// Measures a million sleeping Boost.Asio coroutines, a steady_timer each: time to spawn and arm, resident bytes each.
#include <chrono>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

#include "measure.hpp"

namespace asio = boost::asio;

asio::awaitable<void> sleeper(std::chrono::milliseconds duration, std::size_t& armed) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  ++armed;
  co_await timer.async_wait(asio::deferred);
}

void sleeping_tasks(benchmark::State& state) {
  for (auto _ : state) {
    asio::io_context context(1);
    std::size_t armed = 0;
    const double before = sleeping::resident_bytes();
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < sleeping::task_count; ++i)
      asio::co_spawn(context, sleeper(sleeping::nap(i), armed), asio::detached);
    context.poll();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    const double resident = sleeping::resident_bytes() - before;
    if (armed != sleeping::task_count) state.SkipWithError("not every task sleeps");
    state.SetIterationTime(elapsed.count());
    state.counters["spawn_and_arm_ms"] = elapsed.count() * 1e3;
    state.counters["per_task_bytes"] = resident / static_cast<double>(sleeping::task_count);
  }
}

BENCHMARK(sleeping_tasks)->Name("sleeping_tasks/asio/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
