// Measures what comes closest to a task group in Boost.Asio: start short coroutines, go on when all have ended.
//
// `asio` is a parallel_group over a range in which the first failure cancels the others. `asio_by_hand` is the fastest
// form we know: completion handlers count down, and a failure cancels nobody; with a cancellation_signal per child,
// which a group needs (`asio_signals`), it takes up to half as long again. All of them with coroutines that know the type of
// their executor: with awaitable<T>, as in the documentation, each is a fifth slower.
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/experimental/parallel_group.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;

using executor_type = asio::io_context::executor_type;
template <class T>
using awaitable = asio::awaitable<T, executor_type>;

[[gnu::noinline]] awaitable<void> ready() { co_return; }
[[gnu::noinline]] awaitable<void> yielding() { co_await asio::post(asio::deferred); }

template <auto child>
awaitable<void> parallel_group(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const auto children = state.range(0);
  using operation = decltype(asio::co_spawn(executor, child(), asio::deferred));
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    std::vector<operation> operations;
    operations.reserve(static_cast<std::size_t>(children));
    for (int i = 0; i < children; ++i) operations.push_back(asio::co_spawn(executor, child(), asio::deferred));
    auto group = asio::experimental::make_parallel_group(std::move(operations));
    auto [order, errors] = co_await group.async_wait(asio::experimental::wait_for_one_error(), asio::deferred);
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }
  allocations::report(state, before, state.iterations() * children);
}

// Starts the children and keeps the handler that resumes the parent beside what they count down.
template <auto child>
struct start_children {
  const executor_type& executor;
  std::int64_t children;

  template <class Handler>
  struct countdown {
    countdown(Handler&& h, std::int64_t n) : parent(std::move(h)), running(n) {}
    Handler parent;
    std::int64_t running;
    std::exception_ptr first_error;
  };

  template <class Handler>
  void operator()(Handler parent) const {
    auto state =
        std::allocate_shared<countdown<Handler>>(asio::recycling_allocator<void>(), std::move(parent), children);
    for (std::int64_t i = 0; i < children; ++i) {
      asio::co_spawn(executor, child(), [state](const std::exception_ptr& error) {
        if (error && !state->first_error) state->first_error = error;
        if (--state->running == 0) std::move(state->parent)(state->first_error);
      });
    }
  }
};

// The same with a way to cancel each child.
template <auto child>
struct start_cancellable_children {
  const executor_type& executor;
  std::int64_t children;

  template <class Handler>
  struct countdown {
    countdown(Handler&& h, std::int64_t n) : parent(std::move(h)), running(n), signals(static_cast<std::size_t>(n)) {}
    void failed(const std::exception_ptr& error) {
      if (first_error) return;
      first_error = error;
      for (asio::cancellation_signal& signal : signals) signal.emit(asio::cancellation_type::terminal);
    }
    Handler parent;
    std::int64_t running;
    std::exception_ptr first_error;
    std::vector<asio::cancellation_signal> signals;
  };

  template <class Handler>
  void operator()(Handler parent) const {
    auto state =
        std::allocate_shared<countdown<Handler>>(asio::recycling_allocator<void>(), std::move(parent), children);
    for (asio::cancellation_signal& signal : state->signals) {
      asio::co_spawn(executor, child(),
                     asio::bind_cancellation_slot(signal.slot(), [state](const std::exception_ptr& error) {
                       if (error) state->failed(error);
                       if (--state->running == 0) std::move(state->parent)(state->first_error);
                     }));
    }
  }
};

template <class Start>
awaitable<void> counted_down(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const Start start{executor, state.range(0)};
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    co_await asio::async_initiate<const asio::deferred_t, void(std::exception_ptr)>(start, asio::deferred);
  allocations::report(state, before, state.iterations() * state.range(0));
}

template <auto body>
void run(benchmark::State& state) {
  asio::io_context context(1);
  asio::co_spawn(context.get_executor(), body(state), asio::detached);
  context.run();
}

#define FORM(name, ready_children, yielding_children)                                                \
  BENCHMARK(run<ready_children>)->Name("group_spawn/" name)->ArgName("children")->Arg(1)->Arg(1000); \
  BENCHMARK(run<yielding_children>)->Name("group_spawn/" name)->ArgName("yielding")->Arg(1)->Arg(1000)

FORM("asio", parallel_group<ready>, parallel_group<yielding>);
FORM("asio_by_hand", counted_down<start_children<ready>>, counted_down<start_children<yielding>>);
FORM("asio_signals", counted_down<start_cancellable_children<ready>>,
     counted_down<start_cancellable_children<yielding>>);
BENCHMARK_MAIN();
