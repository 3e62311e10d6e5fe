// Measures spawn + join of an empty Boost.Asio coroutine: one at a time, and 1000 started before the first is joined.
//
// `asio` is the fastest form: an io_context that knows it has one thread, and `deferred`, which makes no frame per join.
// `asio_tutorial` is the form that the documentation shows: a default io_context, and `use_awaitable`.
#include <exception>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

namespace asio = boost::asio;

constexpr int batch = 1000;

[[gnu::noinline]] asio::awaitable<void> child() { co_return; }

template <class Token>
asio::awaitable<void> one_at_a_time(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) co_await asio::co_spawn(executor, child(), token);
  state.SetItemsProcessed(state.iterations() * batch);
}

// Asio has no handle to join: the children count down, and the last one wakes the parent through a timer's cancel.
asio::awaitable<void> all_at_once(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer all_ended(executor);
  for (auto _ : state) {
    int running = batch;
    all_ended.expires_at(asio::steady_timer::time_point::max());
    for (int i = 0; i < batch; ++i) {
      asio::co_spawn(executor, child(), [&running, &all_ended](std::exception_ptr) {
        if (--running == 0) all_ended.cancel();
      });
    }
    boost::system::error_code cancelled;
    co_await all_ended.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void run(asio::io_context& context, asio::awaitable<void> task) {
  asio::co_spawn(context, std::move(task), asio::detached);
  context.run();
}

void one_case(benchmark::State& state) {
  asio::io_context context(1);
  run(context, one_at_a_time(state, asio::deferred));
}
void one_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, one_at_a_time(state, asio::use_awaitable));
}
void all_case(benchmark::State& state) {
  asio::io_context context(1);
  run(context, all_at_once(state));
}
void all_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, all_at_once(state));
}

BENCHMARK(one_case)->Name("spawn_join/asio/one");
BENCHMARK(one_tutorial)->Name("spawn_join/asio_tutorial/one");
BENCHMARK(all_case)->Name("spawn_join/asio/batch:1000");
BENCHMARK(all_tutorial)->Name("spawn_join/asio_tutorial/batch:1000");
BENCHMARK_MAIN();
