// Measures a fib of 465 calls with std::async, which starts a thread for each fork: 232 of them, however many CPUs there are.
#include <future>

#include <benchmark/benchmark.h>

#include "../threads.hpp"
#include "problems.hpp"

[[gnu::noinline]] long fib(int n) {
  if (n < 2) return n;
  auto a = std::async(std::launch::async, fib, n - 1);
  const long b = fib(n - 2);
  return a.get() + b;
}

void fib_small_case(benchmark::State& state) {
  threads::measure(state, problems::fib_small_is, [] { return fib(problems::fib_small_of); });
}

BENCHMARK(fib_small_case)->Name("fork_join/std_async/fib_small")->Apply(threads::counts);
BENCHMARK_MAIN();
