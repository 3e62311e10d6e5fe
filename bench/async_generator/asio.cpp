// Measures an item of Boost.Asio's generator, experimental::coro, whose body yields at once (`ready`) or posts itself before
// each item (`next_turn`).
//
// `asio` is the fastest form: the consumer is a coro, too, and awaits the generator directly. In `asio_awaitable` it is an
// awaitable<void>, as most programs' coroutines are, and awaits async_resume(use_awaitable); with `deferred` that does not
// compile in Boost 1.81. All know the type of their executor.
#include <exception>
#include <optional>
#include <utility>

#include <boost/asio.hpp>
#include <boost/asio/experimental/co_spawn.hpp>
#include <boost/asio/experimental/coro.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;

using executor = asio::io_context::executor_type;
using numbers = asio::experimental::coro<int(), void, executor>;

constexpr int batch = 1000;

numbers ready(executor) {
  for (int i = 0;; ++i) co_yield i;
}

numbers next_turn(executor on) {
  for (int i = 0;; ++i) {
    co_await asio::post(on, asio::deferred);
    co_yield i;
  }
}

asio::experimental::coro<void, void, executor> measure(executor, benchmark::State& state, numbers& items) {
  for (int i = 0; i < batch; ++i) (void)co_await items;
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      auto item = co_await items;
      benchmark::DoNotOptimize(item);
    }
  allocations::report(state, before, state.iterations() * batch);
}

asio::awaitable<void, executor> measure_awaitable(benchmark::State& state, numbers& items) {
  const asio::use_awaitable_t<executor> token;
  for (int i = 0; i < batch; ++i) (void)co_await items.async_resume(token);
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      auto item = co_await items.async_resume(token);
      benchmark::DoNotOptimize(item);
    }
  allocations::report(state, before, state.iterations() * batch);
}

void run(benchmark::State& state, numbers (*make)(executor)) {
  asio::io_context context(1);
  numbers items = make(context.get_executor());
  auto consumer = measure(context.get_executor(), state, items);
  consumer.async_resume([](std::exception_ptr) {});
  context.run();
}
void run_awaitable(benchmark::State& state, numbers (*make)(executor)) {
  asio::io_context context(1);
  numbers items = make(context.get_executor());
  asio::co_spawn(context.get_executor(), measure_awaitable(state, items), asio::detached);
  context.run();
}

void ready_case(benchmark::State& state) { run(state, ready); }
void next_turn_case(benchmark::State& state) { run(state, next_turn); }
void ready_awaitable(benchmark::State& state) { run_awaitable(state, ready); }
void next_turn_awaitable(benchmark::State& state) { run_awaitable(state, next_turn); }

BENCHMARK(ready_case)->Name("async_generator/asio/ready");
BENCHMARK(next_turn_case)->Name("async_generator/asio/next_turn");
BENCHMARK(ready_awaitable)->Name("async_generator/asio_awaitable/ready");
BENCHMARK(next_turn_awaitable)->Name("async_generator/asio_awaitable/next_turn");
BENCHMARK_MAIN();
