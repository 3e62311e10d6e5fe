// Measures rota's channels of one loop: one task sends, one receives; a rendezvous; a select of two receives. Nothing
// may be allocated.
#include "../allocations.hpp"

#include <cstdint>
#include <utility>

#include <benchmark/benchmark.h>
#include <rota/rota.hpp>

namespace {

constexpr int batch = 1000;

rota::task<> send_for_ever(rota::sender<std::uint64_t> tx) {
  for (std::uint64_t i = 0;; ++i) co_await tx.send(std::move(i));
}

rota::task<> receive_all(benchmark::State& state) {
  auto [tx, rx] = rota::channel<std::uint64_t>(static_cast<std::size_t>(state.range(0)));
  rota::join_handle<> sending = rota::spawn(send_for_ever, std::move(tx));
  for (int i = 0; i != 10'000; ++i) benchmark::DoNotOptimize(co_await rx.receive());
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i != batch; ++i) benchmark::DoNotOptimize(co_await rx.receive());
  allocations::report(state, before, state.iterations() * batch);
  sending.cancel();
  (void)co_await rota::as_result(sending);
}

rota::task<> select_all(benchmark::State& state) {
  auto [ta, ra] = rota::channel<std::uint64_t>(1);
  auto [tb, rb] = rota::channel<std::uint64_t>(1);
  rota::join_handle<> first = rota::spawn(send_for_ever, std::move(ta));
  rota::join_handle<> second = rota::spawn(send_for_ever, std::move(tb));
  const std::uint64_t before = allocations::count;
  for (auto _ : state)
    for (int i = 0; i != batch; ++i) {
      auto r = co_await rota::select(ra.receive(), rb.receive());
      benchmark::DoNotOptimize(r.index());
    }
  allocations::report(state, before, state.iterations() * batch);
  first.cancel();
  second.cancel();
  (void)co_await rota::as_result(first);
  (void)co_await rota::as_result(second);
}

void channel_case(benchmark::State& state) { rota::run(receive_all(state)); }
void select_case(benchmark::State& state) { rota::run(select_all(state)); }

}  // namespace

BENCHMARK(channel_case)->Name("channel/rota")->Arg(1)->Arg(1024)->Arg(0);
BENCHMARK(select_case)->Name("channel/rota/select");
BENCHMARK_MAIN();
