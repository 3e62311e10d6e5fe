// What the post benchmarks share: one thread posts, the loop's thread runs what was posted and counts it.
//
// A library supplies `post(callable)`, safe from any thread. `throughput` posts a burst and waits until the loop has run
// it; `round_trip` posts one callable at a time to a loop that is asleep.
#pragma once

#include <atomic>
#include <cstdint>

#include <benchmark/benchmark.h>

namespace post {

inline constexpr std::int64_t burst = 10'000;

template <class Loop>
void throughput(benchmark::State& state) {
  Loop loop;
  std::atomic<std::int64_t> done{0};
  for (auto _ : state) {
    for (std::int64_t i = 1; i < burst; ++i) loop.post([] {});
    loop.post([&done] {
      done.fetch_add(1, std::memory_order_release);
      done.notify_one();
    });
    done.wait(0, std::memory_order_acquire);
    done.store(0, std::memory_order_relaxed);
  }
  state.SetItemsProcessed(state.iterations() * burst);
}

template <class Loop>
void round_trip(benchmark::State& state) {
  Loop loop;
  std::atomic<bool> answered{false};
  for (auto _ : state) {
    loop.post([&answered] {
      answered.store(true, std::memory_order_release);
      answered.notify_one();
    });
    answered.wait(false, std::memory_order_acquire);
    answered.store(false, std::memory_order_relaxed);
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace post
