// parallel_for and parallel_reduce.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::thread_pool;

TEST_CASE("every index is visited once, on any number of threads, with any grain") {
  for (const unsigned threads : {1u, 3u})
    for (const std::size_t grain : {0u, 1u, 7u, 5000u}) {
      std::vector<int> visits(1000);
      thread_pool pool(threads);
      const auto all = [&]() -> task<> {
        co_await rota::parallel_for(std::size_t{0}, visits.size(), [&](std::size_t i) { ++visits[i]; }, grain);
      };
      rota::sync_wait(pool.run(all));
      REQUIRE(visits == std::vector<int>(1000, 1));
    }
}

TEST_CASE("an empty range does nothing, and a loop's task may use it, too") {
  int visits = 0;
  rota_test::run([&]() -> task<> {
    co_await rota::parallel_for(5, 5, [&](int) { ++visits; });
    co_await rota::parallel_for(5, -5, [&](int) { ++visits; });
    REQUIRE(visits == 0);
    co_await rota::parallel_for(-5, 5, [&](int) { ++visits; });
    REQUIRE(visits == 10);
    const int none =
        co_await rota::parallel_reduce(1, 1, 42, [](int) { return 1; }, [](int a, int b) { return a + b; });
    REQUIRE(none == 42);
  });
}

TEST_CASE("a sum is complete, and parts are combined in their order") {
  thread_pool pool(3);
  const auto sum = []() -> task<std::int64_t> {
    const std::int64_t total = co_await rota::parallel_reduce(
        std::int64_t{0}, 100'000, std::int64_t{0}, [](std::int64_t i) { return i; },
        [](std::int64_t a, std::int64_t b) { return a + b; });
    co_return total;
  };
  REQUIRE(rota::sync_wait(pool.run(sum)) == 4'999'950'000);
  const auto letters = []() -> task<std::string> {
    const auto letter = [](int i) { return std::string(1, static_cast<char>('a' + i)); };
    const auto append = [](std::string a, const std::string& b) { return std::move(a) + b; };
    std::string text = co_await rota::parallel_reduce(0, 26, std::string(), letter, append, 2);
    co_return text;
  };
  REQUIRE(rota::sync_wait(pool.run(letters)) == "abcdefghijklmnopqrstuvwxyz");
}

TEST_CASE("the first error of a body comes out as it is, and later parts do not begin") {
  thread_pool pool(2);
  std::atomic<int> begun{0};
  const auto fails = [&]() -> task<> {
    co_await rota::parallel_for(
        0, 1'000'000,
        [&](int) {
          begun.fetch_add(1);
          throw std::runtime_error("body");
        },
        1);
  };
  REQUIRE_THROWS_WITH(rota::sync_wait(pool.run(fails)), "body");
  REQUIRE(begun.load() < 1'000'000);
}

TEST_CASE("a cancel stops a parallel loop between its parts") {
  thread_pool pool(2);
  std::atomic<bool> begun{false}, go{false};
  std::atomic<int> visits{0};
  const auto loops = [&]() -> task<> {
    co_await rota::parallel_for(
        0, 1'000'000,
        [&](int) {
          begun.store(true);
          while (!go.load()) std::this_thread::yield();
          visits.fetch_add(1);
        },
        1);
  };
  auto handle = pool.spawn(loops);
  while (!begun.load()) std::this_thread::yield();
  handle.cancel();
  go.store(true);
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(handle); }) == rota::errc::task_cancelled);
  REQUIRE(visits.load() < 1'000'000);
}

TEST_CASE("an error of the body wins over a cancel of the same loop") {
  rota::join_handle<> loops;
  rota::join_handle<int> sums;
  const auto fails = [](auto& self) {
    return [&self](int i) -> int {
      if (i == 0) {
        self.cancel();
        throw std::runtime_error("body");
      }
      return i;
    };
  };
  const auto loop = [&]() -> task<> {
    const auto body = fails(loops);
    co_await rota::parallel_for(0, 8, body, 1);
  };
  const auto sum = [&]() -> task<int> {
    const auto body = fails(sums);
    const auto add = [](int a, int b) { return a + b; };
    const int total = co_await rota::parallel_reduce(0, 8, 0, body, add, 1);
    co_return total;
  };
  rota_test::run([&]() -> task<> {
    loops = rota::spawn(loop);
    sums = rota::spawn(sum);
    const std::exception_ptr loop_error = co_await rota_test::exception_of(loops);
    const std::exception_ptr sum_error = co_await rota_test::exception_of(sums);
    REQUIRE_THROWS_WITH(std::rethrow_exception(loop_error), "body");
    REQUIRE_THROWS_WITH(std::rethrow_exception(sum_error), "body");
    loops = {};
    sums = {};
  });
}

TEST_CASE("on a pool, too, an error of the body wins over a cancel of the same loop") {
  thread_pool pool(1);
  rota::pool_handle<> handle;
  std::atomic<bool> made{false};
  const auto loops = [&]() -> task<> {
    co_await rota::parallel_for(
        0, 8,
        [&](int i) {
          if (i != 0) return;
          while (!made.load()) std::this_thread::yield();
          handle.cancel();
          throw std::runtime_error("body");
        },
        1);
  };
  handle = pool.spawn(loops);
  made.store(true);
  REQUIRE_THROWS_WITH(rota::sync_wait(handle), "body");
}

}  // namespace
