// run_on: a call on another loop, there and back; errors, cancels, and loops that go down.
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/meeting.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::loop_group;
using rota::loop_member;
using rota::run_on;
using rota::task;

/// Runs `body(other)` on one loop of a group, `other` being another one that has nothing else to do.
template <class Body>
void with_another_loop(Body body) {
  const auto f = [&](loop_member here) -> task<> {
    if (here.index() == 0) co_await body(here.loop(1));
  };
  rota_test::run(loop_group(2, f));
}

pthread_t here() { return pthread_self(); }
task<int> add_slowly(int a, int b) {
  co_await rota::sleep_for(1ms);  // there are timers: it is a loop
  co_return a + b;
}
task<> for_ever(std::atomic<int>& begun) {
  begun.fetch_add(1);
  for (;;) co_await rota::sleep_for(1h);
}

TEST_CASE("functions and tasks run on the other loop, and the caller goes on at home") {
  with_another_loop([](rota::event_loop& other) -> task<> {
    const pthread_t home = pthread_self();
    const pthread_t there = co_await run_on(other, here);
    REQUIRE_FALSE(pthread_equal(home, there));
    REQUIRE(pthread_equal(home, pthread_self()));
    const int sum = co_await run_on(other, add_slowly, 2, 3);
    REQUIRE(sum == 5);
    rota::event_loop* const on = co_await run_on(other, [] { return rota::event_loop::current(); });
    REQUIRE(on == &other);
    const int same = co_await run_on(*rota::event_loop::current(), add_slowly, 3, 4);
    REQUIRE(same == 7);
  });
}

TEST_CASE("every kind of result comes back") {
  with_another_loop([](rota::event_loop& other) -> task<> {
    int target = 1;
    const auto sets = [](int& t) -> task<> {
      t = 2;
      co_return;
    };
    co_await run_on(other, sets, std::ref(target));
    REQUIRE(target == 2);
    const auto gives_reference = [](int& t) -> task<int&> { co_return t; };
    int& same = co_await run_on(other, gives_reference, std::ref(target));
    REQUIRE(&same == &target);
    const auto passes_on = [](std::unique_ptr<int> p) -> task<std::unique_ptr<int>> { co_return p; };
    std::unique_ptr<int> moved = co_await run_on(other, passes_on, std::make_unique<int>(7));
    REQUIRE(*moved == 7);
  });
}

TEST_CASE("exceptions come back, whoever throws them") {
  std::string texts;
  with_another_loop([&](rota::event_loop& other) -> task<> {
    const auto fails = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("task");
    };
    for (int how = 0; how != 2; ++how) {
      try {
        if (how == 0) co_await run_on(other, [] { throw std::runtime_error("function"); });
        if (how == 1) co_await run_on(other, fails);
      } catch (const std::runtime_error& error) {
        texts += std::string(error.what()) + " ";
      }
    }
  });
  REQUIRE(texts == "function task ");
}

TEST_CASE("a cancel reaches the task on the other loop, and its end is waited for") {
  std::atomic<int> begun{0}, ended{0};
  const auto counts = [&]() -> task<> {
    const rota_test::at_end mine(ended);
    co_await for_ever(begun);
  };
  with_another_loop([&](rota::event_loop& other) -> task<> {
    const auto calls = [&]() -> task<> { co_await run_on(other, counts); };
    rota::join_handle<> caller = rota::spawn(calls);
    while (begun.load() == 0) co_await rota::yield();
    caller.cancel();
    bool was_cancelled = false;
    try {
      co_await caller;
    } catch (const std::system_error& error) {
      was_cancelled = error.code() == rota::errc::task_cancelled;
    }
    REQUIRE(was_cancelled);
    REQUIRE(caller.cancelled());
    REQUIRE(ended.load() == 1);
  });
}

TEST_CASE("what was done in spite of a cancel is given; what has not begun is dropped") {
  bool ran = false;
  int got = 0;
  with_another_loop([&](rota::event_loop& other) -> task<> {
    std::atomic<bool> begun{false}, go{false};
    const auto stubborn = [&] {
      begun.store(true);
      while (!go.load()) std::this_thread::yield();
      return 3;
    };
    const auto calls = [&]() -> task<> { got = co_await run_on(other, stubborn); };
    rota::join_handle<> first = rota::spawn(calls);
    while (!begun.load()) co_await rota::yield();
    const auto waits = [&]() -> task<> { co_await run_on(other, [&ran] { ran = true; }); };
    rota::join_handle<> second = rota::spawn(waits);
    co_await rota::yield();
    first.cancel();
    second.cancel();
    go.store(true);
    co_await first;
    bool was_cancelled = false;
    try {
      co_await second;
    } catch (const std::system_error&) {
      was_cancelled = true;
    }
    REQUIRE(was_cancelled);
  });
  REQUIRE(got == 3);
  REQUIRE_FALSE(ran);
}

TEST_CASE("a loop that goes down ends the call: errc::task_cancelled") {
  std::atomic<int> begun{0};
  std::error_code code;
  rota::event_loop other;
  std::thread caller([&] {
    const auto calls = [&]() -> task<> { co_await run_on(other, for_ever, std::ref(begun)); };
    code = rota_test::error_code_of([&] { rota::sync_wait(calls()); });
  });
  const auto until_begun = [&]() -> task<> {
    while (begun.load() == 0) co_await rota::yield();
  };
  other.run(until_begun());
  other.shutdown();
  caller.join();
  REQUIRE(code == rota::errc::task_cancelled);
}

TEST_CASE("on a loop that has gone down nothing begins: errc::task_cancelled") {
  std::atomic<int> begun{0};
  std::atomic<bool> over{false};
  std::error_code code;
  rota::event_loop other;
  other.shutdown();
  std::thread caller([&] {
    const auto calls = [&]() -> task<> { co_await run_on(other, for_ever, std::ref(begun)); };
    code = rota_test::error_code_of([&] { rota::sync_wait(calls()); });
    over.store(true);
  });
  while (!over.load()) other.shutdown();  // hears of it
  caller.join();
  REQUIRE(code == rota::errc::task_cancelled);
  REQUIRE(begun.load() == 0);
}

TEST_CASE("a pool is called by the same name, and its tasks call loops") {
  rota::thread_pool pool(1);
  with_another_loop([&](rota::event_loop& other) -> task<> {
    const auto from_the_pool = [&]() -> task<int> {
      const int sum = co_await run_on(other, add_slowly, 1, 2);
      co_return sum * 2;
    };
    const int result = co_await run_on(pool, from_the_pool);
    REQUIRE(result == 6);
  });
}

TEST_CASE("nothing to call is refused at once") {
  rota::event_loop loop;
  int (*const null)() = nullptr;
  REQUIRE(rota_test::usage_error_of([&] { (void)run_on(loop, null); }) == rota::usage_error::kind::invalid_argument);
}

TEST_CASE("loops that call each other, with cancels at any moment, lose nothing") {
  std::atomic<int> begun{0}, ended{0};
  const auto works = [&](std::uint64_t turns) -> task<> {
    begun.fetch_add(1);
    const rota_test::at_end mine(ended);
    for (; turns != 0; --turns) co_await rota::yield();
  };
  const std::size_t rounds = rota_test::scaled(2'000, 500, 500);
  const auto f = [&](loop_member here) -> task<> {
    rota::detail::random dice(here.index() + 1);
    for (std::size_t round = 0; round != rounds; ++round) {
      const auto calls = [&]() -> task<> {
        co_await run_on(here.loop(dice.below(here.size())), works, dice.below(10));
      };
      rota::join_handle<> caller = rota::spawn(calls);
      for (std::uint64_t turns = dice.below(20); turns != 0; --turns) co_await rota::yield();
      if (dice.below(2) == 0) caller.cancel();
      try {
        co_await caller;
      } catch (const std::system_error&) {
      }
    }
  };
  rota_test::run(loop_group(3, f));
  REQUIRE(begun.load() == ended.load());
  REQUIRE(begun.load() > 0);
}

}  // namespace
