// What the post benchmarks share: one thread posts, the loop's thread runs what was posted and counts it.
//
// A library supplies `post(callable)`, safe from any thread.
//   backlog      the loop is held up while a burst is posted, then runs it: the queue's own cost, no wake-ups
//   throughput   a burst is posted to a loop that runs it meanwhile, and falls asleep whenever it is faster
//   round_trip   one callable at a time, to a loop that is asleep: mostly the kernel's wake-up
#pragma once

#include <atomic>
#include <cstdint>

#include <benchmark/benchmark.h>

namespace post {

inline constexpr std::int64_t burst = 10'000;

// Set by one thread, awaited by the other.
class signal {
 public:
  void set() {
    set_.store(true, std::memory_order_release);
    set_.notify_one();
  }
  void wait() {
    set_.wait(false, std::memory_order_acquire);
    set_.store(false, std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> set_{false};
};

template <class Loop>
void backlog(benchmark::State& state) {
  signal held;
  signal released;
  signal done;
  Loop loop;  // ends first: its thread may still be inside set()
  for (auto _ : state) {
    loop.post([&held, &released] {
      held.set();
      released.wait();
    });
    held.wait();
    for (std::int64_t i = 1; i < burst; ++i) loop.post([] {});
    loop.post([&done] { done.set(); });
    released.set();
    done.wait();
  }
  state.SetItemsProcessed(state.iterations() * burst);
}

template <class Loop>
void throughput(benchmark::State& state) {
  signal done;
  Loop loop;
  for (auto _ : state) {
    for (std::int64_t i = 1; i < burst; ++i) loop.post([] {});
    loop.post([&done] { done.set(); });
    done.wait();
  }
  state.SetItemsProcessed(state.iterations() * burst);
}

template <class Loop>
void round_trip(benchmark::State& state) {
  signal answered;
  Loop loop;
  for (auto _ : state) {
    loop.post([&answered] { answered.set(); });
    answered.wait();
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace post
