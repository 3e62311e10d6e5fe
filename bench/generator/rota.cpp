// Measures an element of rota::generator: of one generator of 1000 elements, and of one that is nested 10 deep.
#include <benchmark/benchmark.h>

#include <rota/coro/generator.hpp>

#include "../allocations.hpp"

constexpr int batch = 1000;

rota::generator<int> numbers(int until) {
  for (int i = 0; i != until; ++i) co_yield i;
}

rota::generator<int> nested(int depth, int until) {
  if (depth == 0)
    for (int i = 0; i != until; ++i) co_yield i;
  else
    co_yield rota::elements_of(nested(depth - 1, until));
}

template <class Make>
void measure(benchmark::State& state, Make make) {
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    int sum = 0;
    for (int i : make()) sum += i;
    benchmark::DoNotOptimize(sum);
  }
  allocations::report(state, before, state.iterations() * batch);
}

void flat_case(benchmark::State& state) {
  measure(state, [] { return numbers(batch); });
}
void nested_case(benchmark::State& state) {
  measure(state, [] { return nested(10, batch); });
}

BENCHMARK(flat_case)->Name("generator/rota/depth:1");
BENCHMARK(nested_case)->Name("generator/rota/depth:11");
BENCHMARK_MAIN();
