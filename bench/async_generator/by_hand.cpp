// Measures what one writes with tasks only: an object whose next() is a task, which returns at once (`ready`) or waits a
// turn of the loop first (`next_turn`).
#include <optional>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "../allocations.hpp"

constexpr int batch = 1000;

class numbers {
 public:
  explicit numbers(bool waits) : waits_(waits) {}
  [[gnu::noinline]] rota::task<std::optional<int>> next() {
    if (waits_) co_await rota::yield();
    co_return at_++;
  }

 private:
  int at_ = 0;
  bool waits_;
};

rota::task<> measure(benchmark::State& state, bool waits) {
  numbers items(waits);
  for (int i = 0; i < batch; ++i) (void)co_await items.next();
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) {
      auto item = co_await items.next();
      benchmark::DoNotOptimize(*item);
    }
  allocations::report(state, before, state.iterations() * batch);
}

void ready_case(benchmark::State& state) { rota::run(measure(state, false)); }
void next_turn_case(benchmark::State& state) { rota::run(measure(state, true)); }

BENCHMARK(ready_case)->Name("async_generator/by_hand/ready");
BENCHMARK(next_turn_case)->Name("async_generator/by_hand/next_turn");
BENCHMARK_MAIN();
