// What the benchmarks of pools share: on how many threads they run, and how much memory that took.
#pragma once

#include <cstdio>
#include <cstdlib>

#include <benchmark/benchmark.h>

namespace threads {

/// On 1 and 2 threads, and on as many as `bench/run --threads` says.
inline void counts(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
  const char* const more = std::getenv("ROTA_BENCH_THREADS");
  const int n = more ? std::atoi(more) : 0;
  if (n > 2) b->Arg(n);
}

/// The most that was resident since the process began; bench/run starts one for each benchmark.
inline void note_resident(benchmark::State& state) {
  std::FILE* const status = std::fopen("/proc/self/status", "r");
  if (!status) return;
  char line[200];
  long kilobytes = 0;
  while (std::fgets(line, sizeof line, status))
    if (std::sscanf(line, "VmHWM: %ld kB", &kilobytes) == 1) break;
  std::fclose(status);
  state.counters["resident_MB"] = static_cast<double>(kilobytes) / 1024;
}

/// Measures f(), which has to give `expected` each time.
template <class T, class F>
void measure(benchmark::State& state, T expected, F f) {
  bool is_right = true;
  for (auto _ : state) {
    const T result = f();
    is_right &= result == expected;
  }
  if (!is_right) state.SkipWithError("a wrong result");
  note_resident(state);
}

}  // namespace threads
