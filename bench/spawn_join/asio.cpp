// Measures spawn + join of an empty Boost.Asio coroutine: one at a time, and 1000 started before the first is joined.
//
// `asio` is the fastest form: coroutines that know the type of their executor, an io_context that knows it has one
// thread, and `deferred`, which makes no frame per join. `asio_tutorial` is the form that the documentation shows: plain
// awaitable<T>, a default io_context, and `use_awaitable`.
#include <chrono>
#include <exception>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

namespace asio = boost::asio;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;
template <class E>
using timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, E>;

constexpr int batch = 1000;

template <class E>
[[gnu::noinline]] asio::awaitable<void, E> child() {
  co_return;
}

template <class E, class Token>
asio::awaitable<void, E> one_at_a_time(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) co_await asio::co_spawn(executor, child<E>(), token);
  state.SetItemsProcessed(state.iterations() * batch);
}

// Asio has no handle to join: the children count down, and the last one wakes the parent through a timer's cancel.
template <class E, class Token>
asio::awaitable<void, E> all_at_once(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  timer<E> all_ended(executor);
  for (auto _ : state) {
    int running = batch;
    all_ended.expires_at(timer<E>::time_point::max());
    for (int i = 0; i < batch; ++i) {
      asio::co_spawn(executor, child<E>(), [&running, &all_ended](std::exception_ptr) {
        if (--running == 0) all_ended.cancel();
      });
    }
    co_await all_ended.async_wait(asio::as_tuple(token));
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

template <class E>
void run(asio::io_context& context, asio::awaitable<void, E> task) {
  asio::co_spawn(context.get_executor(), std::move(task), asio::detached);
  context.run();
}

void one_case(benchmark::State& state) {
  asio::io_context context(1);
  run(context, one_at_a_time<known>(state, asio::deferred));
}
void one_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, one_at_a_time<usual>(state, asio::use_awaitable));
}
void all_case(benchmark::State& state) {
  asio::io_context context(1);
  run(context, all_at_once<known>(state, asio::deferred));
}
void all_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, all_at_once<usual>(state, asio::use_awaitable));
}

BENCHMARK(one_case)->Name("spawn_join/asio/one");
BENCHMARK(one_tutorial)->Name("spawn_join/asio_tutorial/one");
BENCHMARK(all_case)->Name("spawn_join/asio/batch:1000");
BENCHMARK(all_tutorial)->Name("spawn_join/asio_tutorial/batch:1000");
BENCHMARK_MAIN();
