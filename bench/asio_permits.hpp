// What Boost.Asio has in place of a mutex or a semaphore for coroutines: a channel for as many messages as there are permits,
// tried before it is awaited. One coroutine takes and gives back, or several of which each lets all others run while it has one.
//
// `asio` are coroutines that know the type of their executor, and `deferred`; `asio_tutorial` is awaitable<T> and `use_awaitable`.
#pragma once

#include <boost/asio.hpp>
#include <boost/asio/experimental/channel.hpp>

#include "allocations.hpp"

namespace asio_permits {

namespace asio = boost::asio;
using boost::system::error_code;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;
constexpr int batch = 1000;

template <class E>
using permits = asio::experimental::basic_channel<E, asio::experimental::channel_traits<>, void(error_code)>;

template <class E>
void give_back(permits<E>& p) {
  p.try_receive([](error_code) {});
}

template <class E, class Token>
asio::awaitable<void, E> take_alone(benchmark::State& state, std::size_t count, Token token) {
  permits<E> p(co_await asio::this_coro::executor, count);
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      if (!p.try_send(error_code())) co_await p.async_send(error_code(), token);
      benchmark::DoNotOptimize(&p);
      give_back(p);
    }
  allocations::report(state, before, state.iterations() * batch);
}

template <class E, class Token>
asio::awaitable<void, E> take_until(permits<E>& p, const bool& stop, Token token) {
  while (!stop) {
    if (!p.try_send(error_code())) co_await p.async_send(error_code(), token);
    co_await asio::post(token);
    give_back(p);
  }
}

// Each take of this coroutine is one of every other one, too.
template <class E, class Token>
asio::awaitable<void, E> take_in_turn(benchmark::State& state, std::size_t count, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  permits<E> p(executor, count);
  bool stop = false;
  for (std::int64_t i = 1; i < state.range(0); ++i)
    asio::co_spawn(executor, take_until(p, stop, token), asio::detached);
  co_await asio::post(token);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    if (!p.try_send(error_code())) co_await p.async_send(error_code(), token);
    co_await asio::post(token);
    give_back(p);
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

template <std::size_t Count>
void alone(benchmark::State& state) {
  asio::io_context context(1);
  run(context, take_alone<known>(state, Count, asio::deferred));
}
template <std::size_t Count>
void in_turn(benchmark::State& state) {
  asio::io_context context(1);
  run(context, take_in_turn<known>(state, Count, asio::deferred));
}
template <std::size_t Count>
void alone_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, take_alone<usual>(state, Count, asio::use_awaitable));
}
template <std::size_t Count>
void in_turn_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, take_in_turn<usual>(state, Count, asio::use_awaitable));
}

}  // namespace asio_permits
