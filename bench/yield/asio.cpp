// Measures one trip through Boost.Asio's scheduler: a coroutine posts itself, alone or in turn with 999 others.
//
// `asio` is the fastest form: coroutines that know the type of their executor, an io_context that knows it has one
// thread, and `deferred`, which makes no frame per post. `asio_tutorial` is the form that the documentation shows: plain
// awaitable<T>, a default io_context, and `use_awaitable`.
#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

namespace asio = boost::asio;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;

constexpr int batch = 1000;

template <class E, class Token>
asio::awaitable<void, E> yield_alone(benchmark::State& state, Token token) {
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) co_await asio::post(token);
  state.SetItemsProcessed(state.iterations() * batch);
}

template <class E, class Token>
asio::awaitable<void, E> yield_until(const bool& stop, Token token) {
  while (!stop) co_await asio::post(token);
}

// Each yield of this coroutine lets every other one yield once.
template <class E, class Token>
asio::awaitable<void, E> yield_in_turn(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  bool stop = false;
  for (int i = 1; i < batch; ++i) asio::co_spawn(executor, yield_until<E>(stop, token), asio::detached);
  co_await asio::post(token);
  for (auto _ : state) co_await asio::post(token);
  state.SetItemsProcessed(state.iterations() * batch);
  stop = true;
  co_await asio::post(token);  // let the others see it before `stop` is gone
}

template <class E>
void run(asio::io_context& context, asio::awaitable<void, E> task) {
  asio::co_spawn(context.get_executor(), std::move(task), asio::detached);
  context.run();
}

void alone(benchmark::State& state) {
  asio::io_context context(1);
  run(context, yield_alone<known>(state, asio::deferred));
}

void alone_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, yield_alone<usual>(state, asio::use_awaitable));
}

void in_turn(benchmark::State& state) {
  asio::io_context context(1);
  run(context, yield_in_turn<known>(state, asio::deferred));
}

void in_turn_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, yield_in_turn<usual>(state, asio::use_awaitable));
}

BENCHMARK(alone)->Name("yield/asio/tasks:1");
BENCHMARK(alone_tutorial)->Name("yield/asio_tutorial/tasks:1");
BENCHMARK(in_turn)->Name("yield/asio/tasks:1000");
BENCHMARK(in_turn_tutorial)->Name("yield/asio_tutorial/tasks:1000");
BENCHMARK_MAIN();
