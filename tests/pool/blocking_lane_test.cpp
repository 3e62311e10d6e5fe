// blocking_lane and to_thread: calls that block, on threads that come and go.
#include <rota/pool/lane_stop.hpp>

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::blocking_lane;
using rota::blocking_lane_options;
using rota::task;
using rota_test::captured_reports;
using rota_test::run;

struct blocker {
  std::atomic<bool> is_open{false};
  std::atomic<int> waiting{0};
  int wait() {
    waiting.fetch_add(1);
    while (!is_open.load()) std::this_thread::yield();
    return 7;
  }
  void wait_for(int n) const {
    while (waiting.load() != n) std::this_thread::yield();
  }
};

blocking_lane_options at_most(unsigned threads) {
  blocking_lane_options options;
  options.max_threads = threads;
  return options;
}

TEST_CASE("a call runs on another thread, may block there, and its caller goes on at home") {
  run([]() -> task<> {
    const pthread_t home = pthread_self();
    const pthread_t there = co_await rota::to_thread([] { return pthread_self(); });
    REQUIRE(pthread_equal(home, pthread_self()) != 0);
    REQUIRE(pthread_equal(home, there) == 0);
    const int sum = co_await rota::to_thread([](int a, int b) { return a + b; }, 2, 3);
    REQUIRE(sum == 5);
    const auto nested = [] { return rota::sync_wait([]() -> task<int> { co_return 4; }()); };
    const int n = co_await rota::to_thread(nested);
    REQUIRE(n == 4);
    std::string what;
    try {
      co_await rota::to_thread([] { throw std::runtime_error("there"); });
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    REQUIRE(what == "there");
  });
}

TEST_CASE("plain threads and pools use it, too") {
  blocking_lane lane;
  REQUIRE(rota::sync_wait(lane.run([] { return 1; })) == 1);
  rota::thread_pool pool(1);
  const auto calls = [&]() -> task<int> {
    const int n = co_await lane.run([] { return 2; });
    co_return n;
  };
  REQUIRE(rota::sync_wait(pool.run(calls)) == 2);
}

TEST_CASE("calls above the limit wait their turn; a cancel drops them at once") {
  blocking_lane lane(at_most(1));
  blocker gate;
  bool ran = false;
  run([&]() -> task<> {
    auto first = rota::spawn([&]() -> task<int> {
      const int n = co_await lane.run([&] { return gate.wait(); });
      co_return n;
    });
    co_await rota::yield();
    gate.wait_for(1);
    const auto touch = [&ran] { ran = true; };
    const auto second = [&]() -> task<> { co_await lane.run(touch); };
    const bool in_time = co_await rota::move_on_after(1ms, second());
    REQUIRE_FALSE(in_time);
    REQUIRE(lane.statistics().threads == 1);
    REQUIRE(lane.statistics().queued == 0);
    REQUIRE(lane.statistics().running == 1);
    gate.is_open.store(true);
    const int n = co_await first;
    REQUIRE(n == 7);
  });
  REQUIRE_FALSE(ran);
}

TEST_CASE("a call that runs is waited for, and its result is given in spite of a cancel") {
  blocking_lane lane;
  blocker gate;
  int got = 0;
  run([&]() -> task<> {
    auto caller = rota::spawn([&]() -> task<> { got = co_await lane.run([&] { return gate.wait(); }); });
    co_await rota::yield();
    gate.wait_for(1);
    caller.cancel();
    gate.is_open.store(true);
    co_await caller;
  });
  REQUIRE(got == 7);
}

TEST_CASE("a cancel requests stop of a call that takes a stop_token") {
  std::atomic<bool> begun{false};
  int got = 0;
  run([&]() -> task<> {
    auto caller = rota::spawn([&]() -> task<> {
      got = co_await rota::to_thread(
          [&](std::stop_token token, int result) {
            begun.store(true);
            while (!token.stop_requested()) std::this_thread::yield();
            return result;
          },
          3);
    });
    while (!begun.load()) co_await rota::yield();
    caller.cancel();
    co_await caller;
  });
  REQUIRE(got == 3);
}

TEST_CASE("each class of calls has its own limit: one that is full does not hold up another") {
  blocking_lane names(at_most(1)), files(at_most(1));
  blocker gate;
  std::thread hangs([&] { (void)rota::sync_wait(names.run([&] { return gate.wait(); })); });
  gate.wait_for(1);
  REQUIRE(rota::sync_wait(files.run([] { return 3; })) == 3);
  gate.is_open.store(true);
  hangs.join();
  REQUIRE(&rota::user_lane() != &rota::file_lane());
  REQUIRE(&rota::file_lane() != &rota::name_lane());
  REQUIRE(&rota::name_lane() != &rota::user_lane());
  const std::size_t before = rota::user_lane().statistics().threads;
  REQUIRE(rota::sync_wait(rota::name_lane().run([] { return rota::name_lane().statistics().running; })) == 1);
  REQUIRE(rota::user_lane().statistics().threads == before);
}

TEST_CASE("threads that have nothing to do end") {
  blocking_lane_options options;
  options.idle_time = 1ms;
  blocking_lane lane(options);
  REQUIRE(rota::sync_wait(lane.run([] { return 1; })) == 1);
  while (lane.statistics().threads != 0) std::this_thread::yield();
  REQUIRE(rota::sync_wait(lane.run([] { return 2; })) == 2);
}

TEST_CASE("a lane that goes down drops what has not begun and waits for what runs") {
  blocker gate;
  auto lane = std::make_unique<blocking_lane>(at_most(1));
  std::error_code code;
  int first = 0;
  std::thread a([&] { first = rota::sync_wait(lane->run([&] { return gate.wait(); })); });
  gate.wait_for(1);
  std::thread b([&] { code = rota_test::error_code_of([&] { rota::sync_wait(lane->run([] {})); }); });
  while (lane->statistics().queued != 1) std::this_thread::yield();
  std::thread opens([&] {
    b.join();  // it was dropped
    gate.is_open.store(true);
  });
  lane.reset();
  opens.join();
  a.join();
  REQUIRE(first == 7);
  REQUIRE(code == rota::errc::task_cancelled);
}

TEST_CASE("a lane that goes down requests stop of calls that take a stop_token") {
  captured_reports reports;
  auto lane = std::make_unique<blocking_lane>();
  const blocking_lane& same = *lane;
  std::atomic<int> running{0};
  std::atomic<bool> give_up{false};
  int got = 0;
  std::thread caller([&] {
    got = rota::sync_wait(rota::to_thread(*lane, [&](std::stop_token token) {
      // Runs in the lane's destructor, which must not hold its lock meanwhile.
      const std::stop_callback asks(token, [&] { running.store(static_cast<int>(same.statistics().running)); });
      running.store(-1);
      while (!token.stop_requested() && !give_up.load()) std::this_thread::yield();
      return 7;
    }));
  });
  while (running.load() == 0) std::this_thread::yield();
  lane.reset();
  give_up.store(true);
  caller.join();
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
  REQUIRE(got == 7);
  REQUIRE(running.load() == 1);
}

TEST_CASE("a lane that goes down names who did not come back, and leaves it alone") {
  captured_reports reports;
  blocker gate;
  blocking_lane_options options;
  options.shutdown_deadline = 1ms;
  auto lane = std::make_unique<blocking_lane>(options);
  int got = 0;
  const auto calls = [&]() -> task<> { got = co_await lane->run([&] { return gate.wait(); }); };
  std::thread caller([&] { rota::sync_wait(calls()); });
  gate.wait_for(1);
  lane.reset();
  INFO(reports.all());
  REQUIRE(reports.contains("has not come back"));
  REQUIRE(reports.contains("blocking_lane_test.cpp"));
  gate.is_open.store(true);
  caller.join();
  REQUIRE(got == 7);
}

TEST_CASE("many calls at once keep the limit, and each gets its answer") {
  blocking_lane lane(at_most(4));
  std::atomic<int> at_once{0}, most{0}, right{0};
  const int calls = static_cast<int>(rota_test::scaled(400, 100));
  run([&]() -> task<> {
    const auto one = [&](int i) -> task<> {
      const auto work = [&](int n) {
        const int now = at_once.fetch_add(1) + 1;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::yield();
        at_once.fetch_sub(1);
        return n * 2;
      };
      const int twice = co_await lane.run(work, i);
      right.fetch_add(twice == i * 2);
    };
    std::vector<task<>> all;
    for (int i = 0; i != calls; ++i) all.push_back(one(i));
    co_await rota::when_all(std::move(all));
  });
  REQUIRE(right.load() == calls);
  REQUIRE(most.load() <= 4);
}

}  // namespace
