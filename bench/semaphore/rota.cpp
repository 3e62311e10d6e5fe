// Measures rota's semaphore: a permit taken and given back by one task that nobody disturbs, and by 100 tasks that share
// 10 permits, each of which lets all others run while it has one.
#include <vector>

#include <rota/rota.hpp>

#include "../allocations.hpp"

constexpr int batch = 1000;
constexpr std::size_t permits = 10;

rota::task<> take_alone(benchmark::State& state) {
  rota::semaphore s(permits);
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      const auto permit = co_await s.acquire();
      benchmark::DoNotOptimize(&s);
    }
  allocations::report(state, before, state.iterations() * batch);
}

rota::task<> take_until(rota::semaphore& s, const bool& stop) {
  while (!stop) {
    const auto permit = co_await s.acquire();
    co_await rota::yield();
  }
}

// Each permit of this task is one of every other task, too.
rota::task<> take_in_turn(benchmark::State& state) {
  rota::semaphore s(permits);
  bool stop = false;
  std::vector<rota::join_handle<>> others;
  for (std::int64_t i = 1; i < state.range(0); ++i)
    others.push_back(rota::spawn(take_until, std::ref(s), std::cref(stop)));
  co_await rota::yield();
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const auto permit = co_await s.acquire();
    co_await rota::yield();
  }
  allocations::report(state, before, state.iterations() * state.range(0));
  stop = true;
  for (auto& other : others) co_await other;
}

void alone_case(benchmark::State& state) { rota::run(take_alone(state)); }
void in_turn_case(benchmark::State& state) { rota::run(take_in_turn(state)); }

BENCHMARK(alone_case)->Name("semaphore/rota/uncontended");
BENCHMARK(in_turn_case)->Name("semaphore/rota/tasks")->Arg(100);
BENCHMARK_MAIN();
