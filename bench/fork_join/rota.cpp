// Measures fork and join on a rota::thread_pool: fib (one tiny fork after the other), skynet (a million leaves, ten at a
// time), nqueens (forks of different sizes, with some work in each), matmul (large forks, with a join in between), uts (a tree
// of which nobody knows where it is deep).
#include <array>
#include <cstddef>
#include <functional>
#include <ranges>
#include <tuple>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "../threads.hpp"
#include "problems.hpp"

[[gnu::noinline]] rota::task<long> fib(int n) {
  if (n < 2) co_return n;
  auto both = co_await rota::when_all(fib(n - 1), fib(n - 2));
  co_return std::get<0>(both) + std::get<1>(both);
}

[[gnu::noinline]] rota::task<long> skynet(long number, int depth) {
  if (depth == 0) co_return number;
  long step = 1;
  for (int i = 1; i != depth; ++i) step *= 10;
  const auto child = [=](long i) { return skynet(number + i * step, depth - 1); };
  auto all = co_await rota::when_all(child(0), child(1), child(2), child(3), child(4), child(5), child(6), child(7),
                                     child(8), child(9));
  co_return std::apply([](auto... values) { return (values + ...); }, all);
}

// The children are made as when_all reads them: no container.
[[gnu::noinline]] rota::task<int> nqueens(problems::board board, std::size_t row) {
  if (row == board.size()) co_return 1;
  const auto fits = [&](std::size_t column) { return problems::may_stand(board, row, column); };
  const auto child = [&](std::size_t column) {
    board[row] = static_cast<char>(column);  // copied into the child's frame
    return nqueens(board, row + 1);
  };
  auto columns = std::views::iota(std::size_t{0}, board.size());
  const std::vector<int> solutions =
      co_await rota::when_all(columns | std::views::filter(fits) | std::views::transform(child));
  int sum = 0;
  for (const int n : solutions) sum += n;
  co_return sum;
}

[[gnu::noinline]] rota::task<> matmul(problems::product p) {
  if (p.is_leaf()) {
    p.multiply();
    co_return;
  }
  for (std::size_t k = 0; k != 2; ++k)
    co_await rota::when_all(matmul(p.quarter(0, 0, k)), matmul(p.quarter(0, 1, k)), matmul(p.quarter(1, 0, k)),
                            matmul(p.quarter(1, 1, k)));
}

rota::task<bool> product_of(problems::matrices& matrices) {
  matrices.clear();
  co_await matmul(matrices.all());
  co_return matrices.are_right();
}

[[gnu::noinline]] rota::task<long> count_tree(uts::node node) {
  const int count = node.children();
  if (count == 0) co_return 1;
  std::vector<rota::task<long>> children;
  children.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i != count; ++i) children.push_back(count_tree(node.child(i)));
  long sum = 1;
  const std::vector<long> counts = co_await rota::when_all(std::move(children));
  for (const long n : counts) sum += n;
  co_return sum;
}

template <auto f, class T, class... Args>
void run(benchmark::State& state, T expected, Args... args) {
  rota::thread_pool pool(static_cast<unsigned>(state.range(0)));
  threads::measure(state, expected, [&] { return rota::sync_wait(pool.run(f, args...)); });
}
void fib_case(benchmark::State& state) { run<fib>(state, problems::fib_is, problems::fib_of); }
void fib_small_case(benchmark::State& state) { run<fib>(state, problems::fib_small_is, problems::fib_small_of); }
void skynet_case(benchmark::State& state) { run<skynet>(state, problems::skynet_is, 0L, problems::skynet_depth); }
void nqueens_case(benchmark::State& state) {
  run<nqueens>(state, problems::nqueens_is, problems::board(), std::size_t{0});
}
void matmul_case(benchmark::State& state) {
  problems::matrices matrices;
  run<product_of>(state, true, std::ref(matrices));
}
void uts_case(benchmark::State& state) { run<count_tree>(state, uts::nodes, uts::root); }

BENCHMARK(fib_case)->Name("fork_join/rota/fib")->Apply(threads::counts);
BENCHMARK(fib_small_case)->Name("fork_join/rota/fib_small")->Apply(threads::counts);
BENCHMARK(skynet_case)->Name("fork_join/rota/skynet")->Apply(threads::counts);
BENCHMARK(nqueens_case)->Name("fork_join/rota/nqueens")->Apply(threads::counts);
BENCHMARK(matmul_case)->Name("fork_join/rota/matmul")->Apply(threads::counts);
BENCHMARK(uts_case)->Name("fork_join/rota/uts")->Apply(threads::counts);
BENCHMARK_MAIN();
