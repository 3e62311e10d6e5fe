// Memory runs out at each allocation in turn, in groups, combinators and cleanup: std::bad_alloc where it can be caught,
// nothing lost, everyone joined, no cleanup left out.
#include "support/failing_new.hpp"

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::task_group;
using rota::task_status;
using rota_test::counted;
using rota_test::fail_each_allocation;

// ThreadSanitizer does not let a program replace operator new.
#define SKIP_UNDER_TSAN() \
  if (rota_test::under_tsan) SKIP("operator new cannot be replaced here")

task<int> leaf(counted, int n) {
  co_await rota::yield();
  co_return n;
}
task<int> child(const counted& by_reference, int n) {
  const counted local(by_reference);
  const int value = co_await leaf(counted(), n);
  co_return value;
}
task<> service(task_status<std::string> status, counted) {
  co_await rota::yield();
  status.started("a text that is too long for the small buffer of a string");
  co_await rota::yield();
}
task<int> fail(counted, int yields) {
  for (int i = 0; i != yields; ++i) co_await rota::yield();
  throw std::runtime_error("a text that is too long for the small buffer of a string");
}
task<int> sleep_long(counted) {
  co_await rota::sleep_for(1h);
  co_return 0;
}
rota::join_handle<int> spawn_leaf(int n) { return rota::spawn(leaf, counted(), n); }

// Rethrows an error that memory had to do with; else says whether it is a group of `count` failures. One of them may have
// become a report for want of memory.
int expect_failures(const std::exception_ptr& error, std::size_t count) {
  try {
    std::rethrow_exception(error);
  } catch (const rota::exception_group& group) {
    if (group.find<std::bad_alloc>()) throw;
    const std::size_t found = group.flatten().size();
    return found == count || found + 1 == count ? 1 : 0;
  }
}

}  // namespace

TEST_CASE("out of memory in a task group with children") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto body = [](task_group& group) -> task<int> {
      rota::join_handle<int> one = group.spawn(child, counted(), 1);
      group.spawn(leaf, counted(), 2);
      rota::join_handle<int> three = group.spawn(leaf, counted(), 3);
      const int first = co_await one;
      const int third = co_await three;
      co_return first + third;
    };
    co_return co_await rota::with_task_group(body);
  };
  REQUIRE(fail_each_allocation(program, 4) >= 5);
}

TEST_CASE("out of memory in start()") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto body = [](task_group& group) -> task<int> {
      group.spawn(leaf, counted(), 1);
      const std::string text = co_await group.start(service, counted());
      co_return text.starts_with("a text") ? 1 : 0;
    };
    co_return co_await rota::with_task_group(body);
  };
  REQUIRE(fail_each_allocation(program, 1) >= 5);
}

TEST_CASE("out of memory in start() from another task of the loop lets the group end") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    rota::join_handle<> outsider;
    const auto body = [&](task_group& group) -> task<> {
      const auto starts = [&group]() -> task<> { (void)co_await group.start(service, counted()); };
      outsider = rota::spawn(starts);
      co_await rota::yield();
    };
    co_await rota::with_task_group(body);
    co_await outsider;
    co_return 1;
  };
  REQUIRE(fail_each_allocation(program, 1) >= 5);
}

TEST_CASE("out of memory while a group fails") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto body = [](task_group& group) -> task<> {
      group.spawn(sleep_long, counted());
      group.spawn(fail, counted(), 1);
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
    co_return expect_failures(error, 1);
  };
  REQUIRE(fail_each_allocation(program, 1) >= 5);
}

TEST_CASE("out of memory leaves no cleanup out, but the one that found none") {
  SKIP_UNDER_TSAN();
  int deferred = 0, ran = 0, left_out = 0;
  const auto cleanup = [&](counted) -> task<> {
    ++ran;
    co_await rota::yield();
    throw std::runtime_error("a text that is too long for the small buffer of a string");
  };
  const auto program = [&]() -> task<int> {
    left_out += ran < deferred - 1;  // in the run before
    deferred = ran = 0;
    const auto body = [&](task_group& group) -> task<> {
      for (int i = 0; i != 3; ++i) {
        group.defer(1s, cleanup, counted());
        ++deferred;
      }
      group.spawn(fail, counted(), 1);
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
    co_return expect_failures(error, 4);
  };
  REQUIRE(fail_each_allocation(program, 1, rota_test::may_succeed) >= 10);
  REQUIRE(left_out == 0);
  REQUIRE(ran == 3);
}

TEST_CASE("out of memory in with()") {
  SKIP_UNDER_TSAN();
  struct resource {
    explicit resource(int& n) : closed(&n) {}
    task<> close() {
      ++*closed;  // not in a coroutine, which would need a frame
      return []() -> task<> { co_await rota::yield(); }();
    }
    int* closed;
    counted token;
  };
  int bodies = 0, closed = 0, left_open = 0;
  const auto program = [&]() -> task<int> {
    left_open += closed < bodies;  // in the run before
    bodies = closed = 0;
    const auto body = [&](resource&) -> task<int> {
      ++bodies;
      const int one = co_await leaf(counted(), 1);
      co_return one;
    };
    const int one = co_await rota::with(1s, resource(closed), body);
    co_return one;
  };
  REQUIRE(fail_each_allocation(program, 1) >= 3);
  REQUIRE(left_open == 0);
}

TEST_CASE("out of memory in when_all") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto function = [] { return leaf(counted(), 3); };
    const auto some = co_await rota::when_all(child(counted(), 1), rota::yield(), leaf(counted(), 2), function);
    std::vector<task<int>> tasks;
    for (int i = 0; i != 3; ++i) tasks.push_back(leaf(counted(), i));
    const std::vector<int> range = co_await rota::when_all(std::move(tasks));
    co_return std::get<0>(some) + std::get<2>(some) + std::get<3>(some) + range[2];
  };
  REQUIRE(fail_each_allocation(program, 8) >= 8);
}

TEST_CASE("out of memory in when_any and race") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto first = co_await rota::when_any(sleep_long(counted()), fail(counted(), 0), leaf(counted(), 2));
    std::vector<task<int>> tasks;
    tasks.push_back(sleep_long(counted()));
    tasks.push_back(leaf(counted(), 3));
    const auto racing = co_await rota::race(std::move(tasks));
    co_return first.value + racing.value;
  };
  // A child that finds no memory may lose to one that does well.
  REQUIRE(fail_each_allocation(program, 5, rota_test::may_succeed) >= 5);
}

TEST_CASE("out of memory in gather, wait and as_completed") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto both = co_await rota::gather(spawn_leaf(1), spawn_leaf(2));
    std::vector<rota::join_handle<int>> handles;
    for (int i = 0; i != 3; ++i) handles.push_back(spawn_leaf(i));
    const std::vector<int> values = co_await rota::gather(handles);
    const auto outcomes = co_await rota::gather(rota::return_exceptions, handles);
    auto waited = co_await rota::wait(handles, rota::wait_until::first_completed, 1h);
    auto completions = rota::as_completed(std::move(handles));
    int sum = 0;
    for (;;) {
      auto handle = co_await completions.next();
      if (!handle) break;
      sum += handle->result();
    }
    co_return std::get<0>(both) + std::get<1>(both) + values[2] + outcomes[2].value() + sum +
        static_cast<int>(waited.done.size());
  };
  REQUIRE(fail_each_allocation(program, 13) >= 15);
}
