// What the parallel algorithms cost in memory: the frames of their parts, which are recycled.
#include <rota/scope/parallel_sort.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <vector>

#include "support/counted_heap.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;

/// Calls of malloc in ten runs of `step` by a pool's task, after a few that fill the caches.
template <class F>
std::uint64_t calls_of_malloc(F step) {
  const auto count = [&]() -> task<std::uint64_t> {
    for (int i = 0; i != 10; ++i) co_await step();
    const std::uint64_t before = rota_test::allocations;  // of the pool's only thread
    for (int i = 0; i != 10; ++i) co_await step();
    co_return rota_test::allocations - before;
  };
  rota::thread_pool pool(1);
  return rota::sync_wait(pool.run(count));
}

TEST_CASE("an algorithm on a pool allocates nothing, neither per element nor per part") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  std::vector<int> numbers(100'000);
  const auto visit = [&]() -> task<> { co_await rota::parallel_for(numbers, [](int& n) { n = n * 5 + 1; }, 100); };
  const auto transform = [&]() -> task<> {
    co_await rota::parallel_transform(numbers, numbers, [](int n) { return n * 5 % 1009; });
  };
  const auto sum = [&]() -> task<> {
    (void)co_await rota::parallel_reduce(numbers, std::int64_t{0}, std::identity(), std::plus<std::int64_t>(), 10);
  };
  const auto sort = [&]() -> task<> { co_await rota::parallel_sort(numbers, std::less<>(), std::identity(), 100); };
  const auto invoke = [&]() -> task<> { (void)co_await rota::parallel_invoke([] { return 1; }, [] { return 2; }); };
  CHECK(calls_of_malloc(visit) == 0);
  CHECK(calls_of_malloc(transform) == 0);
  CHECK(calls_of_malloc(sum) == 0);
  CHECK(calls_of_malloc(sort) == 0);
  CHECK(calls_of_malloc(invoke) == 0);
}

}  // namespace
