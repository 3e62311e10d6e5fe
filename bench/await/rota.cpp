// Measures what `co_await` of a rota::task costs: a leaf that returns at once, and a chain 1000 deep.
#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

constexpr int batch = 1000;
constexpr int depth = 1000;

[[gnu::noinline]] rota::task<> leaf() { co_return; }

rota::task<> await_leaves(benchmark::State& state) {
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) co_await leaf();
  state.SetItemsProcessed(state.iterations() * batch);
}

[[gnu::noinline]] rota::task<> chain(int levels) {
  if (levels > 1) co_await chain(levels - 1);
}

rota::task<> await_chains(benchmark::State& state) {
  for (auto _ : state) co_await chain(depth);
  state.SetItemsProcessed(state.iterations() * depth);
}

void leaf_case(benchmark::State& state) { rota::run(await_leaves(state)); }
void chain_case(benchmark::State& state) { rota::run(await_chains(state)); }

BENCHMARK(leaf_case)->Name("await/rota/leaf");
BENCHMARK(chain_case)->Name("await/rota/chain:1000");
BENCHMARK_MAIN();
