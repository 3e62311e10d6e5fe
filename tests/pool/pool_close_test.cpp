// co_await pool.close().
#include <atomic>
#include <chrono>
#include <functional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::thread_pool;
using rota_test::exception_of;
using rota_test::kind_of;

// Its cleanup waits for the loop. ~thread_pool on that loop's thread would wait for ever.
task<> needs_the_loop(std::atomic<bool>& begun, std::atomic<bool>& loop_says) {
  begun = true;
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled&) {
    while (!loop_says) sched_yield();
    throw;
  }
}

}  // namespace

TEST_CASE("close() does not block the loop, whose tasks the pool's tasks wait for") {
  rota_test::run([]() -> task<> {
    thread_pool pool(2);
    std::atomic<bool> begun{false}, loop_says{false};
    auto handle = pool.spawn(needs_the_loop, std::ref(begun), std::ref(loop_says));
    while (!begun) co_await rota::yield();
    const auto says = [&]() -> task<> {
      while (pool.statistics().queued != 0) co_await rota::yield();
      loop_says = true;
    };
    co_await rota::when_all(pool.close(), says());
    REQUIRE(handle.done());
    const std::exception_ptr error = co_await exception_of(handle);
    REQUIRE(rota_test::code_of(error) == rota::errc::task_cancelled);
  });
}

TEST_CASE("several may close a pool at once, and all of them wait until it is down") {
  rota_test::run([]() -> task<> {
    for (int round = 0; round != 50; ++round) {
      thread_pool pool(2);
      std::atomic<bool> ended{false};
      const auto cleans_up = [&]() -> task<> {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
          ended = true;
          throw;
        }
      };
      rota::pool_handle<> handle = pool.spawn(cleans_up);
      co_await rota::when_all(pool.close(), pool.close(), pool.close());
      REQUIRE(handle.done());
      (void)co_await exception_of(handle);
    }
  });
}

TEST_CASE("a pool that was closed takes nothing, and may be destroyed") {
  rota_test::run([]() -> task<> {
    thread_pool pool(2);
    const auto one = []() -> task<int> { co_return 1; };
    const auto plain = [] { return 2; };
    const int before = co_await pool.run(one);
    REQUIRE(before == 1);
    co_await pool.close();
    const std::exception_ptr of_task = co_await exception_of(pool.run(one));
    REQUIRE(rota_test::code_of(of_task) == rota::errc::task_cancelled);
    const std::exception_ptr of_function = co_await exception_of(pool.run(plain));
    REQUIRE(rota_test::code_of(of_function) == rota::errc::task_cancelled);
    auto handle = pool.spawn(one);
    REQUIRE(handle.done());
    const std::exception_ptr of_spawned = co_await exception_of(handle);
    REQUIRE(rota_test::code_of(of_spawned) == rota::errc::task_cancelled);
    co_await pool.close();
  });
}

TEST_CASE("every function that other threads give while a pool is closed is answered") {
  rota_test::run([]() -> task<> {
    const std::size_t rounds = rota_test::scaled(200, 40, 100);
    for (std::size_t round = 0; round != rounds; ++round) {
      thread_pool pool(1);
      std::atomic<bool> gives{false}, closed{false};
      std::vector<rota::pool_handle<int>> handles;
      std::thread giver([&] {
        for (int after = 0; after != 10; after += closed) {
          handles.push_back(pool.spawn([] { return 1; }));
          gives = true;
        }
      });
      while (!gives) sched_yield();
      co_await pool.close();
      closed = true;
      giver.join();
      std::size_t lost = 0;
      for (auto& handle : handles) lost += !handle.done();
      REQUIRE(lost == 0);
    }
  });
}

TEST_CASE("a closed queue gives back what may be dropped, and takes what must run") {
  rota::detail::pool_core core;
  rota::detail::pool_job function, task;
  function.drop = [](rota::detail::pool_job&) noexcept {};
  REQUIRE(core.submit(function));
  core.close();
  REQUIRE(core.remove(function));
  REQUIRE_FALSE(core.submit(function));
  REQUIRE_FALSE(core.remove(function));
  REQUIRE(core.submit(task));
  REQUIRE(core.remove(task));
}

TEST_CASE("a pool is not closed by its own tasks") {
  rota_test::run([]() -> task<> {
    thread_pool pool(1);
    const auto closes = [&]() -> task<> { co_await pool.close(); };
    const std::exception_ptr error = co_await exception_of(pool.run(closes));
    REQUIRE(kind_of(error) == rota::usage_error::kind::blocking_in_loop);
  });
}
