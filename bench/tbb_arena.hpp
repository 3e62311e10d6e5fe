// Runs something with oneTBB on as many threads as the benchmark's argument says, the calling one among them.
#pragma once

#include <cstddef>

#include <benchmark/benchmark.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

template <class F>
void in_arena(benchmark::State& state, F f) {
  const auto threads = static_cast<int>(state.range(0));
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  arena.execute(f);
}
