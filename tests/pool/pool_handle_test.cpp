// pool.spawn and its handle.
#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::pool_handle;
using rota::task;
using rota::thread_pool;
using rota_test::captured_reports;
using rota_test::run;

task<int> number(int n) {
  co_await rota::yield();
  co_return n;
}
task<> fails() {
  co_await rota::yield();
  throw std::runtime_error("it broke");
}
task<> never_ends() {
  for (;;) co_await rota::yield();
}

TEST_CASE("a handle may be awaited on a loop, on a pool and by a plain thread") {
  thread_pool pool(2);
  pool_handle<int> first = pool.spawn(number, 1);
  run([&]() -> task<> {
    const int n = co_await first;
    REQUIRE(n == 1);
  });
  pool_handle<int> second = pool.spawn(number, 2);
  const auto awaits = [](pool_handle<int> handle) -> task<int> {
    const int n = co_await handle;
    co_return n;
  };
  REQUIRE(rota::sync_wait(pool.run(awaits, std::move(second))) == 2);
  pool_handle<int> third = pool.spawn([] { return 3; });
  REQUIRE(rota::sync_wait(third) == 3);
}

TEST_CASE("a dropped handle leaves the task running") {
  thread_pool pool(1);
  std::atomic<bool> done{false};
  const auto sets = [&]() -> task<> {
    co_await rota::yield();
    done.store(true);
  };
  (void)pool.spawn(sets);
  while (!done.load()) std::this_thread::yield();
  REQUIRE(done.load());
}

TEST_CASE("an error that nobody retrieves is reported, one that was retrieved is not") {
  captured_reports reports;
  {
    thread_pool pool(1);
    (void)pool.spawn(fails);
    pool_handle<> seen = pool.spawn(fails);
    REQUIRE_THROWS_AS(rota::sync_wait(seen), std::runtime_error);
  }
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("it broke"));
  REQUIRE(reports.contains("pool_handle_test.cpp"));
}

TEST_CASE("cancel stops a task, once, and not one that has ended") {
  thread_pool pool(1);
  pool_handle<> handle = pool.spawn(never_ends);
  REQUIRE(handle.cancel("enough"));
  REQUIRE_FALSE(handle.cancel());
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(handle); }) == rota::errc::task_cancelled);
  REQUIRE(handle.done());
  pool_handle<int> ended = pool.spawn(number, 1);
  REQUIRE(rota::sync_wait(ended) == 1);
  REQUIRE_FALSE(ended.cancel());
}

TEST_CASE("a handle that is awaited for the second time, and one that is empty, are usage errors") {
  thread_pool pool(1);
  pool_handle<int> once = pool.spawn(number, 1);
  REQUIRE(rota::sync_wait(once) == 1);
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(once); }) == rota::usage_error::kind::invalid_task);
  pool_handle<int> empty;
  REQUIRE(rota_test::usage_error_of([&] { (void)empty.done(); }) == rota::usage_error::kind::invalid_task);
  REQUIRE_FALSE(empty.cancel());
}

TEST_CASE("a task that is cancelled sees by whom and why") {
  thread_pool pool(1);
  std::string why;
  std::atomic<bool> begun{false};
  const auto looks = [&]() -> task<> {
    begun.store(true);
    try {
      for (;;) co_await rota::yield();
    } catch (const rota::cancelled& c) {
      why = std::string(c.reason());
      throw;
    }
  };
  pool_handle<> handle = pool.spawn(looks);
  while (!begun.load()) std::this_thread::yield();
  handle.cancel("no longer wanted");
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(handle); }) == rota::errc::task_cancelled);
  REQUIRE(why == "no longer wanted");
}

TEST_CASE("a waiter that is cancelled stops waiting, and the task goes on") {
  thread_pool pool(1);
  std::atomic<bool> go{false};
  const auto waits = [&]() -> task<int> {
    while (!go.load()) co_await rota::yield();
    co_return 4;
  };
  pool_handle<int> handle = pool.spawn(waits);
  run([&]() -> task<> {
    const auto awaits = [&]() -> task<> { (void)co_await handle; };
    const bool in_time = co_await rota::move_on_after(std::chrono::milliseconds(1), awaits());
    REQUIRE_FALSE(in_time);
    go.store(true);
    const int n = co_await handle;
    REQUIRE(n == 4);
  });
}

TEST_CASE("a function that is cancelled before it began never runs, one that runs gives its value") {
  std::atomic<bool> begun{false}, go{false};
  bool ran = false;
  auto pool = std::make_unique<thread_pool>(1);
  pool_handle<int> first = pool->spawn([&] {
    begun.store(true);
    while (!go.load()) std::this_thread::yield();
    return 1;
  });
  pool_handle<> second = pool->spawn([&] { ran = true; });
  pool_handle<> third = pool->spawn([&] { ran = true; });
  while (!begun.load()) std::this_thread::yield();
  REQUIRE(second.cancel());
  REQUIRE(second.done());
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(second); }) == rota::errc::task_cancelled);
  REQUIRE_FALSE(second.cancel());
  REQUIRE(third.cancel());
  REQUIRE(first.cancel());
  go.store(true);
  REQUIRE(rota::sync_wait(first) == 1);
  pool.reset();
  REQUIRE(third.done());
  REQUIRE_FALSE(ran);
}

TEST_CASE("what a spawned function or task was given is gone when it has ended, though its handle is still there") {
  thread_pool pool(1);
  const auto given = std::make_shared<int>(1);
  const auto returns = [](const std::shared_ptr<int>&) -> task<> { co_return; };
  const auto owns = [given]() -> task<> { co_await rota::yield(); };
  std::vector<rota::pool_handle<>> handles;
  handles.push_back(pool.spawn([given] {}));
  handles.push_back(pool.spawn([](const std::shared_ptr<int>&) {}, given));
  handles.push_back(pool.spawn(returns, given));
  handles.push_back(pool.spawn(owns));
  for (rota::pool_handle<>& one : handles) rota::sync_wait(one);
  CHECK(given.use_count() == 2);  // and the lambda's

  // Neither begins.
  std::atomic<bool> begun{false}, go{false};
  auto busy = pool.spawn([&] {
    begun.store(true);
    while (!go.load()) std::this_thread::yield();
  });
  while (!begun.load()) std::this_thread::yield();
  handles.push_back(pool.spawn([](const std::shared_ptr<int>&) {}, given));
  handles.push_back(pool.spawn(returns, given));
  for (std::size_t i = 4; i != 6; ++i) handles[i].cancel();
  go.store(true);
  for (std::size_t i = 4; i != 6; ++i)
    CHECK(rota_test::error_code_of([&] { rota::sync_wait(handles[i]); }) == rota::errc::task_cancelled);
  rota::sync_wait(busy);
  CHECK(given.use_count() == 2);
}

TEST_CASE("an empty handle is refused") {
  pool_handle<> none;
  REQUIRE_FALSE(none.valid());
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(none); }) == rota::usage_error::kind::invalid_task);
}

TEST_CASE("many tasks, spawned by many tasks, all end") {
  std::atomic<int> ended{0};
  const int width = static_cast<int>(rota_test::scaled(200, 50));
  {
    thread_pool pool(3);
    const auto leaf = [&]() -> task<> {
      co_await rota::yield();
      ended.fetch_add(1);
    };
    const auto spawns = [&]() -> task<> {
      std::vector<pool_handle<>> handles;
      for (int i = 0; i != width; ++i) handles.push_back(pool.spawn(leaf));
      for (pool_handle<>& handle : handles) co_await handle;
    };
    std::vector<pool_handle<>> all;
    for (int i = 0; i != 10; ++i) all.push_back(pool.spawn(spawns));
    for (pool_handle<>& handle : all) rota::sync_wait(handle);
  }
  REQUIRE(ended.load() == 10 * width);
}

}  // namespace
