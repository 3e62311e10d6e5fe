// Measures what Boost.Asio has in place of a semaphore for coroutines, a channel for 10 messages: a permit taken and given
// back by one coroutine, and by 100 that share them, each of which lets all others run while it has one.
//
// `asio` tries the channel before it awaits it, with coroutines that know the type of their executor, and `deferred`;
// `asio_tutorial` is the same with awaitable<T> and `use_awaitable`.
#include <boost/asio.hpp>
#include <boost/asio/experimental/channel.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;
using boost::system::error_code;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;
constexpr int batch = 1000;
constexpr std::size_t permits = 10;

template <class E>
using channel = asio::experimental::basic_channel<E, asio::experimental::channel_traits<>, void(error_code)>;

template <class E>
void give_back(channel<E>& s) {
  s.try_receive([](error_code) {});
}

template <class E, class Token>
asio::awaitable<void, E> take_alone(benchmark::State& state, Token token) {
  channel<E> s(co_await asio::this_coro::executor, permits);
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      if (!s.try_send(error_code())) co_await s.async_send(error_code(), token);
      benchmark::DoNotOptimize(&s);
      give_back(s);
    }
  allocations::report(state, before, state.iterations() * batch);
}

template <class E, class Token>
asio::awaitable<void, E> take_until(channel<E>& s, const bool& stop, Token token) {
  while (!stop) {
    if (!s.try_send(error_code())) co_await s.async_send(error_code(), token);
    co_await asio::post(token);
    give_back(s);
  }
}

template <class E, class Token>
asio::awaitable<void, E> take_in_turn(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  channel<E> s(executor, permits);
  bool stop = false;
  for (std::int64_t i = 1; i < state.range(0); ++i)
    asio::co_spawn(executor, take_until(s, stop, token), asio::detached);
  co_await asio::post(token);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    if (!s.try_send(error_code())) co_await s.async_send(error_code(), token);
    co_await asio::post(token);
    give_back(s);
  }
  allocations::report(state, before, state.iterations() * state.range(0));
  stop = true;
  for (std::int64_t i = 0; i < 4 * state.range(0); ++i) co_await asio::post(token);  // let the others see it
}

template <class E>
void run(asio::io_context& context, asio::awaitable<void, E> task) {
  asio::co_spawn(context.get_executor(), std::move(task), asio::detached);
  context.run();
}

void alone(benchmark::State& state) {
  asio::io_context context(1);
  run(context, take_alone<known>(state, asio::deferred));
}
void in_turn(benchmark::State& state) {
  asio::io_context context(1);
  run(context, take_in_turn<known>(state, asio::deferred));
}
void alone_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, take_alone<usual>(state, asio::use_awaitable));
}
void in_turn_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, take_in_turn<usual>(state, asio::use_awaitable));
}

BENCHMARK(alone)->Name("semaphore/asio/uncontended");
BENCHMARK(in_turn)->Name("semaphore/asio/tasks")->Arg(100);
BENCHMARK(alone_tutorial)->Name("semaphore/asio_tutorial/uncontended");
BENCHMARK(in_turn_tutorial)->Name("semaphore/asio_tutorial/tasks")->Arg(100);
BENCHMARK_MAIN();
