// Measures rota's mutex: locked and unlocked by one task that nobody disturbs, and by 2 and 100 tasks each of which lets
// all others run while it has the lock, so that every unlock is a hand-over.
#include <vector>

#include <rota/rota.hpp>

#include "../allocations.hpp"

constexpr int batch = 1000;

rota::task<> lock_alone(benchmark::State& state) {
  rota::mutex m;
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      const auto guard = co_await m.lock();
      benchmark::DoNotOptimize(&m);
    }
  allocations::report(state, before, state.iterations() * batch);
}

rota::task<> lock_until(rota::mutex& m, const bool& stop) {
  while (!stop) {
    const auto guard = co_await m.lock();
    co_await rota::yield();
  }
}

// Each lock of this task is one of every other task, too.
rota::task<> lock_in_turn(benchmark::State& state) {
  rota::mutex m;
  bool stop = false;
  std::vector<rota::join_handle<>> others;
  for (std::int64_t i = 1; i < state.range(0); ++i)
    others.push_back(rota::spawn(lock_until, std::ref(m), std::cref(stop)));
  co_await rota::yield();
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const auto guard = co_await m.lock();
    co_await rota::yield();
  }
  allocations::report(state, before, state.iterations() * state.range(0));
  stop = true;
  for (auto& other : others) co_await other;
}

void alone_case(benchmark::State& state) { rota::run(lock_alone(state)); }
void in_turn_case(benchmark::State& state) { rota::run(lock_in_turn(state)); }

BENCHMARK(alone_case)->Name("mutex/rota/uncontended");
BENCHMARK(in_turn_case)->Name("mutex/rota/tasks")->Arg(2)->Arg(100);
BENCHMARK_MAIN();
