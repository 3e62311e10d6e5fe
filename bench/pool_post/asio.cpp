// Measures the same as rota.cpp with boost::asio::thread_pool: `round_trip` posts to the pool and comes back to the loop.
#include <condition_variable>
#include <mutex>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

namespace asio = boost::asio;
using loop_executor = asio::io_context::executor_type;
template <class T>
using awaitable = asio::awaitable<T, loop_executor>;

constexpr int functions = 10'000;

awaitable<void> round_trips(benchmark::State& state, asio::thread_pool& pool) {
  for (auto _ : state) co_await asio::post(pool, asio::use_awaitable_t<loop_executor>());
}
void round_trip(benchmark::State& state) {
  asio::thread_pool pool(1);
  asio::io_context loop(1);
  asio::co_spawn(loop, round_trips(state, pool), asio::detached);
  loop.run();
}

void backlog(benchmark::State& state) {
  asio::thread_pool pool(1);
  int done = 0;  // the pool's only thread counts
  std::mutex mutex;
  std::condition_variable ready;
  for (auto _ : state) {
    bool all = false;
    for (int i = 0; i != functions; ++i) asio::post(pool, [&done] { ++done; });
    asio::post(pool, [&] {
      benchmark::DoNotOptimize(done);
      const std::lock_guard guard(mutex);
      all = true;
      ready.notify_one();
    });
    std::unique_lock guard(mutex);
    ready.wait(guard, [&] { return all; });
  }
  state.SetItemsProcessed(state.iterations() * functions);
}

BENCHMARK(round_trip)->Name("pool_post/asio/round_trip")->UseRealTime();
BENCHMARK(backlog)->Name("pool_post/asio/backlog")->UseRealTime();
BENCHMARK_MAIN();
