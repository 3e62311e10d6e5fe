// Measures the same as rota.cpp with oneTBB's task_group, as its documentation does it: the last child runs in place.
#include <array>
#include <cstddef>
#include <tuple>
#include <vector>

#include <benchmark/benchmark.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_group.h>

#include "../tbb_arena.hpp"
#include "../threads.hpp"
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

[[gnu::noinline]] void matmul(const problems::product& p) {
  if (p.is_leaf()) return p.multiply();
  for (std::size_t k = 0; k != 2; ++k) {
    tbb::task_group group;
    for (std::size_t i = 0; i != 3; ++i) group.run([p, i, k] { matmul(p.quarter(i / 2, i % 2, k)); });
    matmul(p.quarter(1, 1, k));
    group.wait();
  }
}

[[gnu::noinline]] long count_tree(const uts::node& node) {
  const int count = node.children();
  if (count == 0) return 1;
  std::vector<long> counts(static_cast<std::size_t>(count));
  tbb::task_group group;
  for (int i = 1; i < count; ++i)
    group.run([&counts, i, child = node.child(i)] { counts[static_cast<std::size_t>(i)] = count_tree(child); });
  counts[0] = count_tree(node.child(0));
  group.wait();
  long sum = 1;
  for (const long n : counts) sum += n;
  return sum;
}

template <class T, class F>
void run(benchmark::State& state, T expected, F f) {
  in_arena(state, [&] { threads::measure(state, expected, f); });
}
void fib_case(benchmark::State& state) {
  run(state, problems::fib_is, [] { return fib(problems::fib_of); });
}
void fib_small_case(benchmark::State& state) {
  run(state, problems::fib_small_is, [] { return fib(problems::fib_small_of); });
}
void fib_invoke_case(benchmark::State& state) {
  run(state, problems::fib_is, [] { return fib_invoke(problems::fib_of); });
}
void skynet_case(benchmark::State& state) {
  run(state, problems::skynet_is, [] { return skynet(0, problems::skynet_depth); });
}
void nqueens_case(benchmark::State& state) {
  run(state, problems::nqueens_is, [] { return nqueens(problems::board(), 0); });
}
void matmul_case(benchmark::State& state) {
  problems::matrices matrices;
  run(state, true, [&] {
    matrices.clear();
    matmul(matrices.all());
    return matrices.are_right();
  });
}
void uts_case(benchmark::State& state) {
  run(state, uts::nodes, [] { return count_tree(uts::root); });
}

BENCHMARK(fib_case)->Name("fork_join/tbb/fib")->Apply(threads::counts);
BENCHMARK(fib_small_case)->Name("fork_join/tbb/fib_small")->Apply(threads::counts);
BENCHMARK(fib_invoke_case)->Name("fork_join/tbb_invoke/fib")->Apply(threads::counts);
BENCHMARK(skynet_case)->Name("fork_join/tbb/skynet")->Apply(threads::counts);
BENCHMARK(nqueens_case)->Name("fork_join/tbb/nqueens")->Apply(threads::counts);
BENCHMARK(matmul_case)->Name("fork_join/tbb/matmul")->Apply(threads::counts);
BENCHMARK(uts_case)->Name("fork_join/tbb/uts")->Apply(threads::counts);
BENCHMARK_MAIN();
