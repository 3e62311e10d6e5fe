// Measures what `co_await` of a boost::asio::awaitable costs: a leaf that returns at once, and a chain 1000 deep.
// The coroutines know the type of their executor, which is a bit faster than plain awaitable<T>.
#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

namespace asio = boost::asio;

using awaitable = asio::awaitable<void, asio::io_context::executor_type>;

constexpr int batch = 1000;
constexpr int depth = 1000;

[[gnu::noinline]] awaitable leaf() { co_return; }

awaitable await_leaves(benchmark::State& state) {
  for (auto _ : state)
    for (int i = 0; i < batch; ++i) co_await leaf();
  state.SetItemsProcessed(state.iterations() * batch);
}

[[gnu::noinline]] awaitable chain(int levels) {
  if (levels > 1) co_await chain(levels - 1);
}

awaitable await_chains(benchmark::State& state) {
  for (auto _ : state) co_await chain(depth);
  state.SetItemsProcessed(state.iterations() * depth);
}

void run(awaitable task) {
  asio::io_context context(1);
  asio::co_spawn(context.get_executor(), std::move(task), asio::detached);
  context.run();
}

void leaf_case(benchmark::State& state) { run(await_leaves(state)); }
void chain_case(benchmark::State& state) { run(await_chains(state)); }

BENCHMARK(leaf_case)->Name("await/asio/leaf");
BENCHMARK(chain_case)->Name("await/asio/chain:1000");
BENCHMARK_MAIN();
