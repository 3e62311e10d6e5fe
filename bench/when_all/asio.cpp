// Measures Boost.Asio's ways to await children that run at the same time, per child; each gives an int.
//
// `asio` is a parallel_group in which the first failure cancels the others, in its fastest form: coroutines that know
// the type of their executor, `deferred`, a range only where the number asks for it. `asio_by_hand` lets completion
// handlers count down, which is faster still; a failure cancels nobody. `asio_tutorial` is what the documentation
// shows: awaitable<T>, `&&` for two.
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;

template <class E>
[[gnu::noinline]] asio::awaitable<int, E> ready(int value) {
  co_return value;
}
template <class E>
[[gnu::noinline]] asio::awaitable<int, E> yielding(int value) {
  co_await asio::post(asio::deferred);
  co_return value;
}

void rethrow(const std::exception_ptr& error) {
  if (error) std::rethrow_exception(error);
}

template <class E, auto child>
asio::awaitable<void, E> operator_and(benchmark::State& state) {
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    auto values = co_await (child(1) && child(2));
    benchmark::DoNotOptimize(values);
  }
  allocations::report(state, before, state.iterations() * 2);
}

template <class E, auto child>
asio::awaitable<void, E> group_of_two(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    auto [order, error1, value1, error2, value2] =
        co_await asio::experimental::make_parallel_group(asio::co_spawn(executor, child(1), asio::deferred),
                                                         asio::co_spawn(executor, child(2), asio::deferred))
            .async_wait(asio::experimental::wait_for_one_error(), asio::deferred);
    rethrow(error1);
    rethrow(error2);
    benchmark::DoNotOptimize(value1 + value2);
  }
  allocations::report(state, before, state.iterations() * 2);
}

template <class E, auto child>
asio::awaitable<void, E> group_of_a_range(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const int children = static_cast<int>(state.range(0));
  using operation = decltype(asio::co_spawn(executor, child(0), asio::deferred));
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    std::vector<operation> operations;
    operations.reserve(static_cast<std::size_t>(children));
    for (int i = 0; i < children; ++i) operations.push_back(asio::co_spawn(executor, child(i), asio::deferred));
    auto group = asio::experimental::make_parallel_group(std::move(operations));
    auto [order, errors, values] = co_await group.async_wait(asio::experimental::wait_for_one_error(), asio::deferred);
    for (const std::exception_ptr& error : errors) rethrow(error);
    benchmark::DoNotOptimize(values);
  }
  allocations::report(state, before, state.iterations() * children);
}

// Starts the children and keeps the handler that resumes the parent beside what they count down.
template <class E, auto child>
struct start_children {
  const E& executor;
  std::vector<int>& values;

  template <class Handler>
  struct countdown {
    countdown(Handler&& h, std::size_t children) : parent(std::move(h)), running(children) {}
    Handler parent;
    std::size_t running;
    std::exception_ptr first_error;
  };

  template <class Handler>
  void operator()(Handler parent) const {
    auto state =
        std::allocate_shared<countdown<Handler>>(asio::recycling_allocator<void>(), std::move(parent), values.size());
    int i = 0;
    for (int& place : values) {
      asio::co_spawn(executor, child(i++), [state, &place](const std::exception_ptr& error, int value) {
        place = value;
        if (error && !state->first_error) state->first_error = error;
        if (--state->running == 0) std::move(state->parent)(state->first_error);
      });
    }
  }
};

template <class E, auto child>
asio::awaitable<void, E> counted_down(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const auto children = state.range(0);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    std::vector<int> values(static_cast<std::size_t>(children));
    const start_children<E, child> start{executor, values};
    co_await asio::async_initiate<const asio::deferred_t, void(std::exception_ptr)>(start, asio::deferred);
    benchmark::DoNotOptimize(values);
  }
  allocations::report(state, before, state.iterations() * children);
}

template <class E, auto body>
void run(benchmark::State& state) {
  asio::io_context context(1);
  asio::co_spawn(context.get_executor(), body(state), asio::detached);
  context.run();
}

BENCHMARK(run<known, group_of_two<known, ready<known>>>)->Name("when_all/asio/children:2");
BENCHMARK(run<known, group_of_two<known, yielding<known>>>)->Name("when_all/asio/yielding:2");
BENCHMARK(run<known, group_of_a_range<known, ready<known>>>)
    ->Name("when_all/asio")
    ->ArgName("children")
    ->Arg(100)
    ->Arg(10'000);
BENCHMARK(run<known, group_of_a_range<known, yielding<known>>>)
    ->Name("when_all/asio")
    ->ArgName("yielding")
    ->Arg(100)
    ->Arg(10'000);

BENCHMARK(run<known, counted_down<known, ready<known>>>)
    ->Name("when_all/asio_by_hand")
    ->ArgName("children")
    ->Arg(2)
    ->Arg(100)
    ->Arg(10'000);
BENCHMARK(run<known, counted_down<known, yielding<known>>>)
    ->Name("when_all/asio_by_hand")
    ->ArgName("yielding")
    ->Arg(2)
    ->Arg(100)
    ->Arg(10'000);

BENCHMARK(run<usual, operator_and<usual, ready<usual>>>)->Name("when_all/asio_tutorial/children:2");
BENCHMARK(run<usual, operator_and<usual, yielding<usual>>>)->Name("when_all/asio_tutorial/yielding:2");
BENCHMARK(run<usual, group_of_a_range<usual, ready<usual>>>)
    ->Name("when_all/asio_tutorial")
    ->ArgName("children")
    ->Arg(100)
    ->Arg(10'000);
BENCHMARK(run<usual, group_of_a_range<usual, yielding<usual>>>)
    ->Name("when_all/asio_tutorial")
    ->ArgName("yielding")
    ->Arg(100)
    ->Arg(10'000);
BENCHMARK_MAIN();
