// Measures fork and join on a rota::thread_pool: fib (one tiny fork after the other), skynet (a million leaves, ten at a
// time), nqueens (forks of different sizes, with some work in each).
#include <array>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

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

[[gnu::noinline]] rota::task<int> nqueens(problems::board board, std::size_t row) {
  if (row == board.size()) co_return 1;
  std::vector<rota::task<int>> children;
  children.reserve(board.size());
  for (std::size_t column = 0; column != board.size(); ++column)
    if (problems::may_stand(board, row, column)) {
      problems::board next = board;
      next[row] = static_cast<char>(column);
      children.push_back(nqueens(next, row + 1));
    }
  int sum = 0;
  const std::vector<int> solutions = co_await rota::when_all(std::move(children));
  for (const int n : solutions) sum += n;
  co_return sum;
}

template <auto f, class... Args>
void run(benchmark::State& state, Args... args) {
  rota::thread_pool pool(static_cast<unsigned>(state.range(0)));
  for (auto _ : state) {
    auto result = rota::sync_wait(pool.run(f, args...));
    benchmark::DoNotOptimize(result);
  }
}
void fib_case(benchmark::State& state) { run<fib>(state, problems::fib_of); }
void skynet_case(benchmark::State& state) { run<skynet>(state, 0L, problems::skynet_depth); }
void nqueens_case(benchmark::State& state) { run<nqueens>(state, problems::board(), std::size_t{0}); }

BENCHMARK(fib_case)->Name("fork_join/rota/fib")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(skynet_case)->Name("fork_join/rota/skynet")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(nqueens_case)->Name("fork_join/rota/nqueens")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK_MAIN();
