// Measures the same as rota.cpp with boost::asio: a post to the thread_pool whose completion comes back to the io_context.
#include <cstddef>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

#include "../threads.hpp"
#include "trips.hpp"

namespace asio = boost::asio;
using loop_executor = asio::io_context::executor_type;
template <class T>
using awaitable = asio::awaitable<T, loop_executor>;
constexpr asio::use_awaitable_t<loop_executor> use_awaitable;

awaitable<void> one_at_a_time(benchmark::State& state, asio::thread_pool& pool) {
  for (auto _ : state) co_await asio::post(pool, use_awaitable);
}
awaitable<void> some(asio::thread_pool& pool) {
  for (int i = 0; i != trips::each; ++i) co_await asio::post(pool, use_awaitable);
}

void alone(benchmark::State& state) {
  asio::thread_pool pool(static_cast<std::size_t>(state.range(0)));
  asio::io_context loop(1);
  asio::co_spawn(loop, one_at_a_time(state, pool), asio::detached);
  loop.run();
  threads::note_resident(state);
}
void hundred(benchmark::State& state) {
  asio::thread_pool pool(static_cast<std::size_t>(state.range(0)));
  asio::io_context loop(1);
  for (auto _ : state) {
    for (int i = 0; i != trips::tasks; ++i) asio::co_spawn(loop, some(pool), asio::detached);
    loop.restart();
    loop.run();  // until all of them have ended
  }
  state.SetItemsProcessed(state.iterations() * trips::tasks * trips::each);
  threads::note_resident(state);
}

BENCHMARK(alone)->Name("ping_pong/asio/alone")->Apply(threads::counts);
BENCHMARK(hundred)->Name("ping_pong/asio/hundred")->Apply(threads::counts);
BENCHMARK_MAIN();
