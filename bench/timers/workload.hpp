// What the timers benchmarks share: a million deadlines within a minute, 95 % of them cancelled, the rest expired.
//
// That is what timeouts look like: nearly all are armed in vain. A candidate supplies
//   Candidate(count)               room for that many timers
//   arm(index, deadline)           deadlines are nanoseconds between 0 and one minute
//   cancel(index)
//   expire() -> how many fired     in order of their deadlines, up to one minute
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

namespace timers {

inline constexpr std::size_t count = 1'000'000;
inline constexpr std::size_t cancelled = count / 100 * 95;
inline constexpr std::int64_t horizon = 60'000'000'000;  // one minute

struct workload {
  std::vector<std::int64_t> deadlines = std::vector<std::int64_t>(count);
  std::vector<std::uint32_t> order = std::vector<std::uint32_t>(count);  // the first 95 % are cancelled, in this order

  workload() {
    std::mt19937_64 random(1);
    std::uniform_int_distribution<std::int64_t> within(0, horizon - 1);
    std::generate(deadlines.begin(), deadlines.end(), [&] { return within(random); });
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
  }
};

// A loop asks for the next deadline before it waits, and expires what is due after it: here once per millisecond.
template <class Queue>
std::size_t expire_step_by_step(Queue& queue) {
  constexpr std::int64_t step = 1'000'000;
  std::size_t fired = 0;
  for (std::int64_t now = 0; now <= horizon; now += step) {
    benchmark::DoNotOptimize(queue.next_deadline());
    fired += queue.expire_until(now);
  }
  return fired;
}

template <class Candidate>
void run(benchmark::State& state) {
  const workload work;
  for (auto _ : state) {
    const auto candidate = std::make_unique<Candidate>(count);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < count; ++i) candidate->arm(i, work.deadlines[i]);
    const auto armed = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < cancelled; ++i) candidate->cancel(work.order[i]);
    const auto thinned = std::chrono::steady_clock::now();
    const std::size_t fired = candidate->expire();
    const auto end = std::chrono::steady_clock::now();
    if (fired != count - cancelled) state.SkipWithError("lost or resurrected timers");

    const auto per_timer = [](auto duration, std::size_t timers) {
      return std::chrono::duration<double, std::nano>(duration).count() / static_cast<double>(timers);
    };
    state.SetIterationTime(std::chrono::duration<double>(end - begin).count());
    state.counters["arm_ns"] = per_timer(armed - begin, count);
    state.counters["cancel_ns"] = per_timer(thinned - armed, cancelled);
    state.counters["expire_ns"] = per_timer(end - thinned, count - cancelled);
    state.counters["all_ms"] = std::chrono::duration<double, std::milli>(end - begin).count();
  }
}

}  // namespace timers
