// Measures the same as rota.cpp with OpenMP tasks: all children but the last are tasks, then taskwait.
#include <array>
#include <cstddef>
#include <tuple>
#include <vector>

#include <benchmark/benchmark.h>

#include "../threads.hpp"
#include "problems.hpp"

[[gnu::noinline]] long fib(int n) {
  if (n < 2) return n;
  long a = 0;
#pragma omp task shared(a) firstprivate(n)
  a = fib(n - 1);
  const long b = fib(n - 2);
#pragma omp taskwait
  return a + b;
}

[[gnu::noinline]] long skynet(long number, int depth) {
  if (depth == 0) return number;
  long step = 1;
  for (int i = 1; i != depth; ++i) step *= 10;
  std::array<long, 10> results;
  for (std::size_t i = 0; i != 9; ++i) {
#pragma omp task shared(results) firstprivate(i)
    results[i] = skynet(number + static_cast<long>(i) * step, depth - 1);
  }
  results[9] = skynet(number + 9 * step, depth - 1);
#pragma omp taskwait
  long sum = 0;
  for (const long r : results) sum += r;
  return sum;
}

[[gnu::noinline]] int nqueens(const problems::board& board, std::size_t row) {
  if (row == board.size()) return 1;
  std::array<int, std::tuple_size_v<problems::board>> results{};
  for (std::size_t column = 0; column != board.size(); ++column)
    if (problems::may_stand(board, row, column)) {
      problems::board next = board;
      next[row] = static_cast<char>(column);
#pragma omp task shared(results) firstprivate(next, row, column)
      results[column] = nqueens(next, row + 1);
    }
#pragma omp taskwait
  int sum = 0;
  for (const int r : results) sum += r;
  return sum;
}

[[gnu::noinline]] void matmul(const problems::product& p) {
  if (p.is_leaf()) return p.multiply();
  for (std::size_t k = 0; k != 2; ++k) {
    for (std::size_t i = 0; i != 3; ++i) {
      const problems::product quarter = p.quarter(i / 2, i % 2, k);
#pragma omp task firstprivate(quarter)
      matmul(quarter);
    }
    matmul(p.quarter(1, 1, k));
#pragma omp taskwait
  }
}

[[gnu::noinline]] long count_tree(const uts::node& node) {
  const int count = node.children();
  if (count == 0) return 1;
  std::vector<long> counts(static_cast<std::size_t>(count));
  for (int i = 1; i < count; ++i) {
    long* const result = &counts[static_cast<std::size_t>(i)];
    const uts::node child = node.child(i);
#pragma omp task firstprivate(result, child)
    *result = count_tree(child);
  }
  counts[0] = count_tree(node.child(0));
#pragma omp taskwait
  long sum = 1;
  for (const long n : counts) sum += n;
  return sum;
}

template <class T, class F>
void run(benchmark::State& state, T expected, F f) {
  const auto threads = static_cast<int>(state.range(0));
  threads::measure(state, expected, [&] {
    T result{};
#pragma omp parallel num_threads(threads)
#pragma omp single
    result = f();
    return result;
  });
}
void fib_case(benchmark::State& state) {
  run(state, problems::fib_is, [] { return fib(problems::fib_of); });
}
void fib_small_case(benchmark::State& state) {
  run(state, problems::fib_small_is, [] { return fib(problems::fib_small_of); });
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

BENCHMARK(fib_case)->Name("fork_join/openmp/fib")->Apply(threads::counts);
BENCHMARK(fib_small_case)->Name("fork_join/openmp/fib_small")->Apply(threads::counts);
BENCHMARK(skynet_case)->Name("fork_join/openmp/skynet")->Apply(threads::counts);
BENCHMARK(nqueens_case)->Name("fork_join/openmp/nqueens")->Apply(threads::counts);
BENCHMARK(matmul_case)->Name("fork_join/openmp/matmul")->Apply(threads::counts);
BENCHMARK(uts_case)->Name("fork_join/openmp/uts")->Apply(threads::counts);
BENCHMARK_MAIN();
