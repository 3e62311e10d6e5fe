// Measures Boost.Asio's ways to put a time limit on an operation: on a coroutine that returns at once, on one that waits
// for a turn of the loop, on a callback that comes in the next turn, and on a wait that the limit ends, 1000 in turn.
//
// `asio` is a parallel_group of the operation and a timer, in its fastest form: coroutines that know the type of their
// executor, and `deferred`. `asio_by_hand` is what costs least: the timer's handler cancels the operation, and is
// cancelled when that has ended. `asio_tutorial` is what the documentation shows: awaitable<T>, `operation || timer`.
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using boost::system::error_code;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;
template <class E>
using timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, E>;

constexpr auto limit = 60s;

// ---- the operations: each can be started with any completion token, and is cancelled through its slot ----

template <class E>
[[gnu::noinline]] asio::awaitable<int, E> return_at_once() {
  co_return 7;
}
template <class E>
[[gnu::noinline]] asio::awaitable<int, E> return_next_turn() {
  co_await asio::post(asio::deferred);
  co_return 7;
}

template <class E, asio::awaitable<int, E> (*function)()>
struct coroutine {
  using error = std::exception_ptr;
  template <class Token>
  auto operator()(Token&& token) const {
    return asio::co_spawn(executor, function(), std::forward<Token>(token));
  }
  asio::awaitable<int, E> as_awaitable() const { return function(); }
  E executor;
};
template <class E>
using ready = coroutine<E, return_at_once<E>>;
template <class E>
using next_turn = coroutine<E, return_next_turn<E>>;

// The loop calls the handler in its next turn, with operation_aborted if the operation was cancelled before.
template <class E>
struct callback {
  using error = error_code;
  template <class Token>
  auto operator()(Token&& token) const {
    return asio::async_initiate<Token, void(error_code, int)>(initiate{executor}, token);
  }
  asio::awaitable<int, E> as_awaitable() const { return (*this)(asio::use_awaitable_t<E>()); }
  E executor;

 private:
  template <class Handler>
  struct pending {
    explicit pending(Handler&& h) : handler(std::move(h)) {}
    void complete(error_code error, int value) {
      if (!handler) return;
      Handler taken = std::move(*handler);
      handler.reset();
      std::move(taken)(error, value);
    }
    std::optional<Handler> handler;
  };

  struct initiate {
    template <class Handler>
    void operator()(Handler handler) const {
      auto slot = asio::get_associated_cancellation_slot(handler);
      auto waits = std::allocate_shared<pending<Handler>>(asio::recycling_allocator<void>(), std::move(handler));
      if (slot.is_connected()) {
        slot.assign([executor = executor, waits](asio::cancellation_type) {
          asio::post(executor, [waits] { waits->complete(asio::error::operation_aborted, 0); });
        });
      }
      asio::post(executor, [waits] { waits->complete(error_code(), 7); });
    }
    E executor;
  };
};

// ---- the ways to limit them ----

// A value, or an exception, as rota::timeout gives it.
int outcome(const std::exception_ptr& error, int value) {
  if (error) std::rethrow_exception(error);
  return value;
}
int outcome(error_code error, int value) {
  if (error) throw boost::system::system_error(error);
  return value;
}

template <class E, class Operation>
asio::awaitable<void, E> group(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const Operation operation{executor};
  timer<E> deadline(executor);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    deadline.expires_after(limit);
    auto [order, error, value, expired] =
        co_await asio::experimental::make_parallel_group(operation(asio::deferred), deadline.async_wait(asio::deferred))
            .async_wait(asio::experimental::wait_for_one(), asio::deferred);
    benchmark::DoNotOptimize(outcome(error, value));
  }
  allocations::report(state, before, state.iterations());
}

template <class E, class Operation>
asio::awaitable<void, E> operator_or(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const Operation operation{executor};
  timer<E> deadline(executor);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    deadline.expires_after(limit);
    auto first = co_await (operation.as_awaitable() || deadline.async_wait(asio::use_awaitable_t<E>()));
    benchmark::DoNotOptimize(std::get<0>(first));
  }
  allocations::report(state, before, state.iterations());
}

// Runs after the operation has ended, so it must know whether that was its own.
struct deadline_handler {
  void operator()(error_code error) const {
    if (!error && number == current) signal.emit(asio::cancellation_type::terminal);
  }
  asio::cancellation_signal& signal;
  const std::uint64_t& current;
  std::uint64_t number;
};

template <class Operation>
struct start_cancellable {
  const Operation& operation;
  asio::cancellation_signal& signal;

  template <class Handler>
  void operator()(Handler handler) const {
    // Asio 1.81 cannot resume a coroutine with (std::exception_ptr, int), only with another order.
    auto swapped = [h = std::move(handler)](auto error, int value) mutable { std::move(h)(value, std::move(error)); };
    operation(asio::bind_cancellation_slot(signal.slot(), std::move(swapped)));
  }
};

template <class E, class Operation>
asio::awaitable<void, E> by_hand(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  const Operation operation{executor};
  timer<E> deadline(executor);
  asio::cancellation_signal signal;
  std::uint64_t number = 0;
  const start_cancellable<Operation> start{operation, signal};
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    deadline.expires_after(limit);
    deadline.async_wait(deadline_handler{signal, number, ++number});
    auto [value, error] = co_await asio::async_initiate<const asio::deferred_t, void(int, typename Operation::error)>(
        start, asio::deferred);
    deadline.cancel();
    benchmark::DoNotOptimize(outcome(error, value));
  }
  allocations::report(state, before, state.iterations());
  co_await asio::post(asio::deferred);  // the last handler of the timer
}

// ---- a limit that ends the wait: 1000 coroutines in turn, so that the kernel's timer is paid for once in 1000 ----

constexpr int waiting = 1000;

template <class E>
asio::awaitable<bool, E> expires_in_group(timer<E>& for_ever, timer<E>& deadline) {
  auto [order, error, expired] = co_await asio::experimental::make_parallel_group(for_ever.async_wait(asio::deferred),
                                                                                  deadline.async_wait(asio::deferred))
                                     .async_wait(asio::experimental::wait_for_one(), asio::deferred);
  co_return !expired;
}

template <class E>
asio::awaitable<bool, E> expires_in_operator(timer<E>& for_ever, timer<E>& deadline) {
  auto first =
      co_await (for_ever.async_wait(asio::use_awaitable_t<E>()) || deadline.async_wait(asio::use_awaitable_t<E>()));
  co_return first.index() == 1;
}

template <class E>
asio::awaitable<bool, E> expires_by_hand(timer<E>& for_ever, timer<E>& deadline) {
  bool expired = false;
  deadline.async_wait([&for_ever, &expired](error_code error) {
    expired = !error;
    for_ever.cancel();
  });
  co_await for_ever.async_wait(asio::as_tuple(asio::deferred));
  co_return expired;
}

enum class says : bool { with_a_value, with_an_exception };
template <class E>
using wait = asio::awaitable<bool, E> (*)(timer<E>&, timer<E>&);

template <class E, wait<E> expires, says how>
asio::awaitable<void, E> expire_until(const bool& stop, std::int64_t& count, int& running) {
  const auto executor = co_await asio::this_coro::executor;
  timer<E> for_ever(executor);
  timer<E> deadline(executor);
  while (!stop) {
    for_ever.expires_after(1h);
    deadline.expires_after(0s);
    try {
      const bool expired = co_await expires(for_ever, deadline);
      if (expired && how == says::with_an_exception)
        throw boost::system::system_error(make_error_code(boost::system::errc::timed_out));
      if (expired) ++count;
    } catch (const boost::system::system_error&) {
      ++count;
    }
  }
  --running;
}

// Measured are whole rounds, in which each of them expires once.
template <class E, wait<E> expires, says how>
asio::awaitable<void, E> expire_in_turn(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  bool stop = false;
  std::int64_t expired = 0;
  int running = waiting;
  for (int i = 0; i < waiting; ++i)
    asio::co_spawn(executor, expire_until<E, expires, how>(stop, expired, running), asio::detached);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const std::int64_t aim = expired + waiting;
    while (expired < aim) co_await asio::post(asio::deferred);
  }
  allocations::report(state, before, expired);
  stop = true;
  while (running != 0) co_await asio::post(asio::deferred);
}

// An earlier deadline of somebody else stands, as in any server: so the kernel's timer need not be set each time.
template <class E, auto body>
void run(benchmark::State& state) {
  asio::io_context context(1);
  timer<E> standing(context.get_executor(), limit / 2);
  standing.async_wait([](error_code) {});
  asio::co_spawn(context.get_executor(), body(state), [&standing](const std::exception_ptr& error) {
    standing.cancel();
    if (error) std::rethrow_exception(error);
  });
  context.run();
}

#define FORM(name, E, limited, expires)                                                                        \
  BENCHMARK(run<E, limited<E, ready<E>>>)->Name("timeout/" name "/ready");                                     \
  BENCHMARK(run<E, limited<E, next_turn<E>>>)->Name("timeout/" name "/next_turn");                             \
  BENCHMARK(run<E, limited<E, callback<E>>>)->Name("timeout/" name "/callback");                               \
  BENCHMARK(run<E, expire_in_turn<E, expires<E>, says::with_a_value>>)->Name("timeout/" name "/expired:1000"); \
  BENCHMARK(run<E, expire_in_turn<E, expires<E>, says::with_an_exception>>)->Name("timeout/" name "/throws:1000")

FORM("asio", known, group, expires_in_group);
FORM("asio_by_hand", known, by_hand, expires_by_hand);
FORM("asio_tutorial", usual, operator_or, expires_in_operator);
BENCHMARK_MAIN();
