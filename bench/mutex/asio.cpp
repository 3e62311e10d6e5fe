// Measures what Boost.Asio has in place of a mutex for coroutines: locked and unlocked by one coroutine, and by 2 and 100
// of which each lets all others run while it has the lock.
//
// `asio` is a channel for one message, tried before it is awaited, with coroutines that know the type of their executor,
// and `deferred`. `asio_by_hand` is a flag, and a timer that never expires as the queue, of which cancel_one() wakes the
// first: it is not fair, so it is not measured with others. `asio_tutorial` is the channel with awaitable<T> and
// `use_awaitable`.
#include <boost/asio.hpp>
#include <boost/asio/experimental/channel.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;
using boost::system::error_code;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;
constexpr int batch = 1000;

template <class E>
using channel = asio::experimental::basic_channel<E, asio::experimental::channel_traits<>, void(error_code)>;

template <class E>
void unlock(channel<E>& m) {
  m.try_receive([](error_code) {});
}

template <class E, class Token>
asio::awaitable<void, E> lock_alone(benchmark::State& state, Token token) {
  channel<E> m(co_await asio::this_coro::executor, 1);
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      if (!m.try_send(error_code())) co_await m.async_send(error_code(), token);
      benchmark::DoNotOptimize(&m);
      unlock(m);
    }
  allocations::report(state, before, state.iterations() * batch);
}

asio::awaitable<void, known> flag_alone(benchmark::State& state) {
  using timer =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, known>;
  timer queue(co_await asio::this_coro::executor, std::chrono::steady_clock::time_point::max());
  bool is_locked = false;
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      while (is_locked) co_await queue.async_wait(asio::as_tuple(asio::deferred));
      is_locked = true;
      benchmark::DoNotOptimize(&is_locked);
      is_locked = false;
      queue.cancel_one();
    }
  allocations::report(state, before, state.iterations() * batch);
}

template <class E, class Token>
asio::awaitable<void, E> lock_until(channel<E>& m, const bool& stop, Token token) {
  while (!stop) {
    if (!m.try_send(error_code())) co_await m.async_send(error_code(), token);
    co_await asio::post(token);
    unlock(m);
  }
}

// Each lock of this coroutine is one of every other one, too.
template <class E, class Token>
asio::awaitable<void, E> lock_in_turn(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  channel<E> m(executor, 1);
  bool stop = false;
  for (std::int64_t i = 1; i < state.range(0); ++i)
    asio::co_spawn(executor, lock_until(m, stop, token), asio::detached);
  co_await asio::post(token);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    if (!m.try_send(error_code())) co_await m.async_send(error_code(), token);
    co_await asio::post(token);
    unlock(m);
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
  run(context, lock_alone<known>(state, asio::deferred));
}
void in_turn(benchmark::State& state) {
  asio::io_context context(1);
  run(context, lock_in_turn<known>(state, asio::deferred));
}
void alone_by_hand(benchmark::State& state) {
  asio::io_context context(1);
  run(context, flag_alone(state));
}
void alone_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, lock_alone<usual>(state, asio::use_awaitable));
}
void in_turn_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, lock_in_turn<usual>(state, asio::use_awaitable));
}

BENCHMARK(alone)->Name("mutex/asio/uncontended");
BENCHMARK(in_turn)->Name("mutex/asio/tasks")->Arg(2)->Arg(100);
BENCHMARK(alone_by_hand)->Name("mutex/asio_by_hand/uncontended");
BENCHMARK(alone_tutorial)->Name("mutex/asio_tutorial/uncontended");
BENCHMARK(in_turn_tutorial)->Name("mutex/asio_tutorial/tasks")->Arg(2)->Arg(100);
BENCHMARK_MAIN();
