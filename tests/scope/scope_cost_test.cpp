// What structured concurrency costs in memory: nothing beyond the frames of the children, which are recycled.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "support/counted_heap.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;

task<int> at_once(int value) { co_return value; }
task<int> after_a_turn(int value) {
  co_await rota::yield();
  co_return value;
}
task<> nothing_after_a_turn() { co_await rota::yield(); }

/// Calls of malloc in a hundred runs of `step`, after a few that fill the caches; 0 where they cannot be counted.
template <class F>
task<std::uint64_t> calls_of_malloc(F& step) {
  for (int i = 0; i != 10; ++i) co_await step();
  const std::uint64_t before = rota_test::allocations;
  for (int i = 0; i != 100; ++i) co_await step();
  co_return rota_test::allocations - before;
}
/// The same for one run; the hundred must divide evenly.
template <class F>
std::uint64_t calls_of_malloc_per_run(F step) {
  const std::uint64_t calls = rota_test::run(calls_of_malloc(step));
  REQUIRE(calls % 100 == 0);
  return calls / 100;
}

}  // namespace

TEST_CASE("when_all of two allocates nothing but the frames of its children") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  const auto ready = []() -> task<> {
    const auto values = co_await rota::when_all(at_once(1), at_once(2));
    REQUIRE(std::get<1>(values) == 2);
  };
  const auto later = []() -> task<> {
    const auto values = co_await rota::when_all(after_a_turn(1), after_a_turn(2));
    REQUIRE(std::get<1>(values) == 2);
  };
  CHECK(calls_of_malloc_per_run(ready) == 0);
  CHECK(calls_of_malloc_per_run(later) == 0);
}

TEST_CASE("when_all of a hundred allocates the caller's vector of tasks and the vector of values") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  const auto all = []() -> task<> {
    std::vector<task<int>> tasks;
    tasks.reserve(100);
    for (int i = 0; i != 100; ++i) tasks.push_back(after_a_turn(i));
    const std::vector<int> values = co_await rota::when_all(std::move(tasks));
    REQUIRE(values.size() == 100);
  };
  CHECK(calls_of_malloc_per_run(all) == 2);
}

TEST_CASE("a task group allocates nothing for its thousand children but their frames") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  const auto body = [](rota::task_group& group) -> task<> {
    for (int i = 0; i != 1000; ++i) (void)group.spawn(nothing_after_a_turn);
    co_return;
  };
  const auto group = [&]() -> task<> { co_await rota::with_task_group(body); };
  CHECK(calls_of_malloc_per_run(group) == 0);
}

TEST_CASE("a time limit that is not reached allocates nothing") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  const auto ready = []() -> task<> {
    const int value = co_await rota::timeout(60s, at_once(7));
    REQUIRE(value == 7);
  };
  const auto pending = []() -> task<> {
    const int value = co_await rota::timeout(60s, after_a_turn(7));
    REQUIRE(value == 7);
  };
  CHECK(calls_of_malloc_per_run(ready) == 0);
  CHECK(calls_of_malloc_per_run(pending) == 0);
}

TEST_CASE("a limit that expires allocates the record of its cancel, once") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  const auto expired = []() -> task<> {
    const bool in_time = co_await rota::move_on_after(0s, rota::sleep_for(1h));
    REQUIRE_FALSE(in_time);
  };
  CHECK(calls_of_malloc_per_run(expired) == 1);  // docs/reference/cancellation.md
}

TEST_CASE("a limit that expires and throws allocates the exception and its text as well") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  const auto thrown = []() -> task<> {
    bool late = false;
    try {
      co_await rota::timeout(0s, rota::sleep_for(1h));
    } catch (const std::system_error&) {
      late = true;
    }
    REQUIRE(late);
  };
  const std::uint64_t calls = calls_of_malloc_per_run(thrown);
  CHECK(calls >= 3);
  CHECK(calls <= 4);  // the record, the exception, its text while it is put together, and where it stays
}
