// What an item costs: no memory, once the frame cache is warm.
#include "support/counted_heap.hpp"

#include <rota/generator/adaptors.hpp>

#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::async_generator;
using rota::task;
using rota_test::allocations;

#define SKIP_UNDER_SANITIZERS() \
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap")

constexpr int many = 1000;

rota::generator<int> nested(int depth) {
  if (depth != 0) co_yield rota::elements_of(nested(depth - 1));
  for (int i = 0; depth == 0 && i != 99 * many; ++i) co_yield i;
}

// Yields at once, or waits a turn first.
async_generator<int> numbers(bool waits) {
  for (int i = 0;; ++i) {
    if (waits) co_await rota::yield();
    co_yield i;
  }
}

async_generator<int> around(bool waits) { co_yield rota::elements_of(numbers(waits)); }

// Allocations during the last `many` items of three times as many.
template <class S>
task<std::uint64_t> cost_of(S source) {
  std::uint64_t before = 0;
  std::uint64_t cost = 0;
  const auto body = [&](S& items) -> task<> {
    for (int i = 0; i != 3 * many; ++i) {
      if (i == 2 * many) before = allocations;
      auto item = co_await items.next();
      if (!item) FAIL("the source has ended");
    }
    cost = allocations - before;
  };
  co_await rota::with(1s, std::move(source), body);
  co_return cost;
}

}  // namespace

TEST_CASE("an element of a generator costs no memory, at any depth") {
  SKIP_UNDER_SANITIZERS();
  rota::generator<int> elements = nested(10);
  auto it = elements.begin();
  const std::uint64_t before = allocations;
  for (int i = 0; i != many; ++i) ++it;
  CHECK(allocations == before);
  CHECK(*it == many);
}

TEST_CASE("an item of an async generator costs no memory") {
  SKIP_UNDER_SANITIZERS();
  rota_test::run([]() -> task<> {
    for (const bool waits : {false, true}) {
      std::uint64_t cost = co_await cost_of(numbers(waits));
      CHECK(cost == 0);
      cost = co_await cost_of(around(waits));
      CHECK(cost == 0);
    }
  });
}

TEST_CASE("an item of a pipeline costs no memory, and one of a merge neither") {
  SKIP_UNDER_SANITIZERS();
  rota_test::run([]() -> task<> {
    const auto is_odd = [](int i) { return i % 2 != 0; };
    const auto next = [](int i) { return i + 1; };
    const auto slowly = [](int i) -> task<int> {
      co_await rota::yield();
      co_return i;
    };
    std::uint64_t cost = co_await cost_of(numbers(false) | rota::filter(is_odd) | rota::map(next) | rota::map(slowly) |
                                          rota::take(99 * many) | rota::throttle(0s) | rota::timeout(1h));
    CHECK(cost == 0);
    cost = co_await cost_of(rota::merge(numbers(true), numbers(false)) | rota::map(next));
    CHECK(cost == 0);
  });
}

TEST_CASE("a tick of an interval costs no memory") {
  SKIP_UNDER_SANITIZERS();
  rota_test::run([]() -> task<> {
    rota::interval every(1us);
    for (int i = 0; i != many; ++i) (void)co_await every.next();
    const std::uint64_t before = allocations;
    for (int i = 0; i != many; ++i) (void)co_await every.next();
    CHECK(allocations == before);
  });
}
