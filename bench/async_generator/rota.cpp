// Measures an item of rota::async_generator whose body yields at once (`ready`), or waits a turn of the loop before each
// item (`next_turn`); of a pipeline of three adaptors; and of a merge of two generators.
#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "../allocations.hpp"

constexpr int batch = 1000;

rota::async_generator<int> ready() {
  for (int i = 0;; ++i) co_yield i;
}

rota::async_generator<int> next_turn() {
  for (int i = 0;; ++i) {
    co_await rota::yield();
    co_yield i;
  }
}

template <class S>
rota::task<> measure(benchmark::State& state, S source) {
  const auto body = [&state](S& items) -> rota::task<> {
    for (int i = 0; i < batch; ++i) (void)co_await items.next();
    const std::uint64_t before = allocations::count;
    for (auto _ : state)
      for (int i = 0; i < batch; ++i) {
        auto item = co_await items.next();
        benchmark::DoNotOptimize(*item);
      }
    allocations::report(state, before, state.iterations() * batch);
  };
  co_await rota::with(std::chrono::seconds(1), std::move(source), body);
}

void ready_case(benchmark::State& state) { rota::run(measure(state, ready())); }
void next_turn_case(benchmark::State& state) { rota::run(measure(state, next_turn())); }
void pipeline_case(benchmark::State& state) {
  const auto add_one = [](int i) { return i + 1; };
  const auto any = [](int) { return true; };
  rota::run(measure(state, ready() | rota::map(add_one) | rota::filter(any) | rota::take(SIZE_MAX)));
}
void merge_case(benchmark::State& state) { rota::run(measure(state, rota::merge(ready(), ready()))); }

BENCHMARK(ready_case)->Name("async_generator/rota/ready");
BENCHMARK(next_turn_case)->Name("async_generator/rota/next_turn");
BENCHMARK(pipeline_case)->Name("async_generator/rota/pipeline");
BENCHMARK(merge_case)->Name("async_generator/rota/merge");
BENCHMARK_MAIN();
