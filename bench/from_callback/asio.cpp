// Measures co_await of somebody's one-shot callback in Boost.Asio: it is called while it is being registered (`inline`),
// or later by the loop (`later`).
//
// `asio` is async_initiate with `deferred`, in coroutines that know the type of their executor; async_compose costs
// twice that. A handler must not be called from within the function that gets it, so what comes inline is posted.
// `asio_tutorial` is what the documentation shows: awaitable<T>, `use_awaitable`.
#include <memory>
#include <utility>

#include <boost/asio.hpp>

#include "../allocations.hpp"

namespace asio = boost::asio;

using known = asio::io_context::executor_type;
using usual = asio::any_io_executor;

// Somebody's library: keeps one callback and its argument until it has a value for it.
class device {
 public:
  using callback = void (*)(void* user, int value);

  void request(callback function, void* user) {
    function_ = function;
    user_ = user;
  }
  void answer(int value) { function_(user_, value); }

 private:
  callback function_ = nullptr;
  void* user_ = nullptr;
};

struct initiate_inline {
  template <class Handler>
  void operator()(Handler handler) const {
    const auto executor = asio::get_associated_executor(handler);
    asio::post(executor, [h = std::move(handler)]() mutable { std::move(h)(7); });
  }
};

struct initiate_later {
  template <class Handler>
  void operator()(Handler handler) const {
    using allocator = asio::recycling_allocator<Handler>;
    Handler* kept = new (allocator().allocate(1)) Handler(std::move(handler));
    from.request(
        [](void* user, int value) {
          Handler* mine = static_cast<Handler*>(user);
          Handler taken = std::move(*mine);
          mine->~Handler();
          allocator().deallocate(mine, 1);
          std::move(taken)(value);
        },
        kept);
  }
  device& from;
};

template <class E, class Token>
asio::awaitable<void, E> inline_callback(benchmark::State& state, Token token) {
  const initiate_inline initiate;
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const int value = co_await asio::async_initiate<Token, void(int)>(initiate, token);
    benchmark::DoNotOptimize(value);
  }
  allocations::report(state, before, state.iterations());
}

template <class E, class Token>
asio::awaitable<void, E> later_callback(benchmark::State& state, Token token) {
  const auto executor = co_await asio::this_coro::executor;
  device source;
  const initiate_later initiate{source};
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    asio::post(executor, [&source] { source.answer(7); });
    const int value = co_await asio::async_initiate<Token, void(int)>(initiate, token);
    benchmark::DoNotOptimize(value);
  }
  allocations::report(state, before, state.iterations());
}

template <class E>
void run(asio::io_context& context, asio::awaitable<void, E> task) {
  asio::co_spawn(context.get_executor(), std::move(task), asio::detached);
  context.run();
}

void inline_case(benchmark::State& state) {
  asio::io_context context(1);
  run(context, inline_callback<known>(state, asio::deferred));
}
void later_case(benchmark::State& state) {
  asio::io_context context(1);
  run(context, later_callback<known>(state, asio::deferred));
}
void inline_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, inline_callback<usual>(state, asio::use_awaitable));
}
void later_tutorial(benchmark::State& state) {
  asio::io_context context;
  run(context, later_callback<usual>(state, asio::use_awaitable));
}

BENCHMARK(inline_case)->Name("from_callback/asio/inline");
BENCHMARK(later_case)->Name("from_callback/asio/later");
BENCHMARK(inline_tutorial)->Name("from_callback/asio_tutorial/inline");
BENCHMARK(later_tutorial)->Name("from_callback/asio_tutorial/later");
BENCHMARK_MAIN();
