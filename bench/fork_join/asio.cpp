// Measures what can be written with boost::asio::thread_pool, which knows no join: each fork is a counter on the heap, and
// who brings it to zero goes on with the one above. The last child runs in place.
#include <atomic>
#include <future>

#include <benchmark/benchmark.h>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "../threads.hpp"
#include "problems.hpp"

struct join {
  join(join* above, int children) : up(above), left(children) {}
  join* up;
  std::atomic<int> left;
  std::atomic<long> sum{0};
  std::promise<long>* result = nullptr;  // of the outermost
};

void give(join* to, long value) {
  for (;;) {
    to->sum.fetch_add(value, std::memory_order_relaxed);
    if (to->left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    value = to->sum.load(std::memory_order_relaxed);
    join* const up = to->up;
    if (!up) return to->result->set_value(value);
    delete to;
    to = up;
  }
}

using pool_executor = boost::asio::thread_pool::executor_type;

void fib(pool_executor pool, int n, join* up) {
  if (n < 2) return give(up, n);
  auto* const both = new join(up, 2);
  boost::asio::post(pool, [=] { fib(pool, n - 1, both); });
  fib(pool, n - 2, both);
}

void skynet(pool_executor pool, long number, int depth, join* up) {
  if (depth == 0) return give(up, number);
  long step = 1;
  for (int i = 1; i != depth; ++i) step *= 10;
  auto* const all = new join(up, 10);
  for (int i = 0; i != 9; ++i) boost::asio::post(pool, [=] { skynet(pool, number + i * step, depth - 1, all); });
  skynet(pool, number + 9 * step, depth - 1, all);
}

void count_tree(pool_executor pool, const uts::node& node, join* up) {
  const int count = node.children();
  if (count == 0) return give(up, 1);
  auto* const all = new join(up, count);
  all->sum.store(1, std::memory_order_relaxed);  // the node itself
  for (int i = 1; i < count; ++i)
    boost::asio::post(pool, [pool, all, child = node.child(i)] { count_tree(pool, child, all); });
  count_tree(pool, node.child(0), all);
}

template <class F>
void run(benchmark::State& state, long expected, F f) {
  boost::asio::thread_pool pool(static_cast<std::size_t>(state.range(0)));
  threads::measure(state, expected, [&] {
    join top(nullptr, 1);
    std::promise<long> result;
    top.result = &result;
    boost::asio::post(pool, [&] { f(pool.get_executor(), &top); });
    return result.get_future().get();
  });
}
void fib_case(benchmark::State& state) {
  run(state, problems::fib_is, [](pool_executor pool, join* up) { fib(pool, problems::fib_of, up); });
}
void fib_small_case(benchmark::State& state) {
  run(state, problems::fib_small_is, [](pool_executor pool, join* up) { fib(pool, problems::fib_small_of, up); });
}
void skynet_case(benchmark::State& state) {
  run(state, problems::skynet_is, [](pool_executor pool, join* up) { skynet(pool, 0, problems::skynet_depth, up); });
}
void uts_case(benchmark::State& state) {
  run(state, uts::nodes, [](pool_executor pool, join* up) { count_tree(pool, uts::root, up); });
}

BENCHMARK(fib_case)->Name("fork_join/asio_by_hand/fib")->Apply(threads::counts);
BENCHMARK(fib_small_case)->Name("fork_join/asio_by_hand/fib_small")->Apply(threads::counts);
BENCHMARK(skynet_case)->Name("fork_join/asio_by_hand/skynet")->Apply(threads::counts);
BENCHMARK(uts_case)->Name("fork_join/asio_by_hand/uts")->Apply(threads::counts);
BENCHMARK_MAIN();
