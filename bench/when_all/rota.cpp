// Measures rota::when_all, per child: children that give an int, at once or after one turn of the loop.
#include <cstdint>
#include <utility>
#include <vector>

#include <rota/rota.hpp>

#include "../allocations.hpp"

[[gnu::noinline]] rota::task<int> ready(int value) { co_return value; }
[[gnu::noinline]] rota::task<int> yielding(int value) {
  co_await rota::yield();
  co_return value;
}

template <auto child>
rota::task<> two(benchmark::State& state) {
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    auto values = co_await rota::when_all(child(1), child(2));
    benchmark::DoNotOptimize(values);
  }
  allocations::report(state, before, state.iterations() * 2);
}

template <auto child>
rota::task<> range(benchmark::State& state) {
  const int children = static_cast<int>(state.range(0));
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    std::vector<rota::task<int>> tasks;
    tasks.reserve(static_cast<std::size_t>(children));
    for (int i = 0; i < children; ++i) tasks.push_back(child(i));
    auto values = co_await rota::when_all(std::move(tasks));
    benchmark::DoNotOptimize(values);
  }
  allocations::report(state, before, state.iterations() * children);
}

template <auto body>
void run(benchmark::State& state) {
  rota::run(body(state));
}

BENCHMARK(run<two<ready>>)->Name("when_all/rota/children:2");
BENCHMARK(run<range<ready>>)->Name("when_all/rota")->ArgName("children")->Arg(100)->Arg(10'000);
BENCHMARK(run<two<yielding>>)->Name("when_all/rota/yielding:2");
BENCHMARK(run<range<yielding>>)->Name("when_all/rota")->ArgName("yielding")->Arg(100)->Arg(10'000);
BENCHMARK_MAIN();
