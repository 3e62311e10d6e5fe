// Measures the same as rota.cpp with oneTBB's task_group, as its documentation does it: the last child runs in place.
#include <array>
#include <cstddef>
#include <tuple>

#include <benchmark/benchmark.h>
#include <tbb/global_control.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include "problems.hpp"

[[gnu::noinline]] long fib(int n) {
  if (n < 2) return n;
  long a = 0, b = 0;
  tbb::task_group group;
  group.run([&] { a = fib(n - 1); });
  b = fib(n - 2);
  group.wait();
  return a + b;
}

// The same by parallel_invoke, which is how most would write it.
[[gnu::noinline]] long fib_invoke(int n) {
  if (n < 2) return n;
  long a = 0, b = 0;
  tbb::parallel_invoke([&] { a = fib_invoke(n - 1); }, [&] { b = fib_invoke(n - 2); });
  return a + b;
}

[[gnu::noinline]] long skynet(long number, int depth) {
  if (depth == 0) return number;
  long step = 1;
  for (int i = 1; i != depth; ++i) step *= 10;
  std::array<long, 10> results;
  tbb::task_group group;
  for (std::size_t i = 0; i != 9; ++i)
    group.run([&, i] { results[i] = skynet(number + static_cast<long>(i) * step, depth - 1); });
  results[9] = skynet(number + 9 * step, depth - 1);
  group.wait();
  long sum = 0;
  for (const long r : results) sum += r;
  return sum;
}

[[gnu::noinline]] int nqueens(const problems::board& board, std::size_t row) {
  if (row == board.size()) return 1;
  std::array<int, std::tuple_size_v<problems::board>> results{};
  tbb::task_group group;
  for (std::size_t column = 0; column != board.size(); ++column)
    if (problems::may_stand(board, row, column))
      group.run([&results, board, row, column] {
        problems::board next = board;
        next[row] = static_cast<char>(column);
        results[column] = nqueens(next, row + 1);
      });
  group.wait();
  int sum = 0;
  for (const int r : results) sum += r;
  return sum;
}

template <class F>
void run(benchmark::State& state, F f) {
  const auto threads = static_cast<int>(state.range(0));
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  for (auto _ : state) {
    auto result = arena.execute(f);
    benchmark::DoNotOptimize(result);
  }
}
void fib_case(benchmark::State& state) {
  run(state, [] { return fib(problems::fib_of); });
}
void fib_invoke_case(benchmark::State& state) {
  run(state, [] { return fib_invoke(problems::fib_of); });
}
void skynet_case(benchmark::State& state) {
  run(state, [] { return skynet(0, problems::skynet_depth); });
}
void nqueens_case(benchmark::State& state) {
  run(state, [] { return nqueens(problems::board(), 0); });
}

BENCHMARK(fib_case)->Name("fork_join/tbb/fib")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(fib_invoke_case)->Name("fork_join/tbb_invoke/fib")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(skynet_case)->Name("fork_join/tbb/skynet")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(nqueens_case)->Name("fork_join/tbb/nqueens")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK_MAIN();
