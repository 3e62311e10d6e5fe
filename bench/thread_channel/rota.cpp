// Measures channels between threads: so many threads send with blocking_send, a task receives (mpsc), or as many threads
// (mpmc).
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <rota/rota.hpp>

namespace {

constexpr std::uint64_t items = 100'000;  // per round

template <class Ends>
std::vector<std::thread> start_senders(Ends& ends, std::uint64_t senders) {
  std::vector<std::thread> threads;
  for (std::uint64_t s = 0; s != senders; ++s)
    threads.emplace_back([to = ends.tx.clone(), n = items / senders]() mutable {
      for (std::uint64_t i = 0; i != n; ++i) to.blocking_send(std::move(i));
    });
  ends.tx.close();
  return threads;
}

void to_a_task(benchmark::State& state) {
  for (auto _ : state) {
    auto ends = rota::mpsc_channel<std::uint64_t>(1024);
    std::vector<std::thread> threads = start_senders(ends, static_cast<std::uint64_t>(state.range(0)));
    const auto receive_all = [](rota::thread_receiver<std::uint64_t, false>& from) -> rota::task<> {
      while (auto item = co_await from.next()) benchmark::DoNotOptimize(*item);
    };
    rota::run(receive_all(ends.rx));
    for (std::thread& thread : threads) thread.join();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(items) * state.iterations());
}

void to_threads(benchmark::State& state) {
  for (auto _ : state) {
    auto ends = rota::mpmc_channel<std::uint64_t>(1024);
    std::vector<std::thread> threads = start_senders(ends, static_cast<std::uint64_t>(state.range(0)));
    for (std::int64_t i = 0; i != state.range(0); ++i)
      threads.emplace_back([from = ends.rx.clone()]() mutable {
        while (auto item = from.blocking_next()) benchmark::DoNotOptimize(*item);
      });
    ends.rx.close();
    for (std::thread& thread : threads) thread.join();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(items) * state.iterations());
}

}  // namespace

BENCHMARK(to_a_task)->Name("thread_channel/rota/mpsc")->Arg(1)->Arg(4)->UseRealTime();
BENCHMARK(to_threads)->Name("thread_channel/rota/mpmc")->Arg(2)->UseRealTime();
BENCHMARK_MAIN();
