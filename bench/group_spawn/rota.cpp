// Measures a rota task group from end to end, per child: open it, spawn short children, leave when all have ended.
#include <cstdint>

#include <rota/rota.hpp>

#include "../allocations.hpp"

[[gnu::noinline]] rota::task<> ready() { co_return; }
[[gnu::noinline]] rota::task<> yielding() { co_await rota::yield(); }

template <auto child>
rota::task<> groups(benchmark::State& state) {
  const std::int64_t children = state.range(0);
  auto body = [children](rota::task_group& group) -> rota::task<> {
    for (std::int64_t i = 0; i < children; ++i) (void)group.spawn(child);
    co_return;
  };
  const std::uint64_t before = allocations::count;
  for (auto _ : state) co_await rota::with_task_group(body);
  allocations::report(state, before, state.iterations() * children);
}

template <auto child>
void group_case(benchmark::State& state) {
  rota::run(groups<child>(state));
}

BENCHMARK(group_case<ready>)->Name("group_spawn/rota")->ArgName("children")->Arg(1)->Arg(1000);
BENCHMARK(group_case<yielding>)->Name("group_spawn/rota")->ArgName("yielding")->Arg(1)->Arg(1000);
BENCHMARK_MAIN();
