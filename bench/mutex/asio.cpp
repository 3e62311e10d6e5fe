// Measures Boost.Asio's channel as a mutex: locked and unlocked by one coroutine, and by 2 and 100.
//
// `asio_by_hand` is a flag, and a timer that never expires as the queue, of which cancel_one() wakes the first: it is not fair,
// so it is not measured with others.
#include "../asio_permits.hpp"

using namespace asio_permits;

namespace {

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
void alone_by_hand(benchmark::State& state) {
  asio::io_context context(1);
  run(context, flag_alone(state));
}

}  // namespace

BENCHMARK(alone<1>)->Name("mutex/asio/uncontended");
BENCHMARK(in_turn<1>)->Name("mutex/asio/tasks")->Arg(2)->Arg(100);
BENCHMARK(alone_by_hand)->Name("mutex/asio_by_hand/uncontended");
BENCHMARK(alone_tutorial<1>)->Name("mutex/asio_tutorial/uncontended");
BENCHMARK(in_turn_tutorial<1>)->Name("mutex/asio_tutorial/tasks")->Arg(2)->Arg(100);
BENCHMARK_MAIN();
