// join_handle::on_done: callbacks for the end of a task. (Awaiting and asking handles: spawn_test.cpp.)
#include <rota/loop/join_handle.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;

task<int> number(int n) {
  co_await rota::yield();
  co_return n;
}
task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}
task<> failing() {
  co_await rota::yield();
  throw std::runtime_error("no luck");
}
task<> turns(int n) {
  for (; n != 0; --n) co_await rota::yield();
}

}  // namespace

TEST_CASE("a done-callback gets the handle, or nothing, after the end and never within it") {
  const auto body = []() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 5);
    int result = 0;
    bool called = false;
    handle.on_done([&](rota::join_handle<int> ended) {
      REQUIRE(ended.done());
      result = ended.result();
    });
    handle.on_done([&, only = std::make_unique<int>(1)] { called = *only == 1; });
    co_await turns(2);
    REQUIRE(handle.done());
    co_await rota::yield();
    REQUIRE(result == 5);
    REQUIRE(called);
  };
  rota_test::run(body);
}

TEST_CASE("done-callbacks and those who await the task go on in the order in which they came") {
  std::string log;
  const auto waiter = [&](rota::join_handle<int> handle, char name) -> task<> {
    co_await handle;
    log += name;
  };
  const auto slow = []() -> task<int> {
    co_await turns(4);
    co_return 1;
  };
  const auto body = [&]() -> task<> {
    rota::join_handle<int> handle = rota::spawn(slow);
    handle.on_done([&] { log += 'a'; });
    (void)rota::spawn(waiter, handle, 'b');
    co_await rota::yield();
    handle.on_done([&] { log += 'c'; });
    (void)rota::spawn(waiter, handle, 'd');
    co_await rota::yield();
    handle.on_done([&] { log += 'e'; });
    co_await turns(6);
  };
  rota_test::run(body);
  REQUIRE(log == "abcde");
}

TEST_CASE("a callback that is added after the end is called in the next iteration") {
  const auto body = []() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 1);
    co_await handle;
    int called = 0;
    handle.on_done([&] { ++called; });
    handle.on_done([&](rota::join_handle<int> ended) {
      ++called;
      ended.on_done([&] { ++called; });
    });
    REQUIRE(called == 0);
    co_await rota::yield();
    REQUIRE(called == 2);
    co_await rota::yield();
    REQUIRE(called == 3);
  };
  rota_test::run(body);
}

TEST_CASE("a done-callback can be taken back, before the end and until its turn") {
  const auto body = []() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 1);
    auto kept = std::make_shared<int>(0);
    std::string log;
    rota::call_handle first = handle.on_done([&log, kept] { log += 'a'; });
    rota::call_handle second = handle.on_done([&log, kept] { log += 'b'; });
    rota::call_handle third = handle.on_done([&log, kept] { log += 'c'; });
    rota::call_handle fourth;
    handle.on_done([&log, &fourth] {
      log += 'd';
      REQUIRE(fourth.cancel());
    });
    fourth = handle.on_done([&log] { log += '!'; });
    REQUIRE(second.cancel());
    REQUIRE_FALSE(second.cancel());
    REQUIRE(second.cancelled());
    REQUIRE(kept.use_count() == 3);
    while (!handle.done()) co_await rota::yield();
    REQUIRE(third.cancel());
    REQUIRE(kept.use_count() == 2);
    co_await rota::yield();
    REQUIRE(log == "ad");
    REQUIRE_FALSE(first.cancel());
    REQUIRE_FALSE(first.cancelled());
  };
  rota_test::run(body);
}

TEST_CASE("a done-callback hears of a failure and of a cancel, and may look at the outcome") {
  const captured_reports reports;
  const auto body = []() -> task<> {
    std::string log;
    rota::spawn(failing).on_done([&](rota::join_handle<> ended) {
      try {
        ended.result();
      } catch (const std::runtime_error& error) {
        log += error.what();
      }
    });
    rota::join_handle<> sleeper = rota::spawn(forever);
    sleeper.on_done([&](rota::join_handle<> ended) { log += ended.cancelled() ? "; cancelled" : "; ended"; });
    rota::join_handle<> never_began = rota::spawn(forever);
    never_began.on_done([&](rota::join_handle<> ended) { log += ended.cancelled() ? "; never began" : "; ended"; });
    never_began.cancel();
    co_await turns(4);
    sleeper.cancel();
    co_await turns(2);
    REQUIRE(log == "; never beganno luck; cancelled");
  };
  rota_test::run(body);
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("an error that the done-callback did not look at is reported once, after the callback") {
  const captured_reports reports;
  const auto body = [&]() -> task<> {
    std::optional<std::size_t> before;
    rota::spawn(failing).on_done([&] { before = reports.size(); });
    co_await turns(6);
    REQUIRE(before == 0u);
    REQUIRE(reports.count("no luck") == 1);
  };
  rota_test::run(body);
}

TEST_CASE("a done-callback may cancel other tasks and its own, spawn, and throw") {
  const captured_reports reports;
  std::string log;
  const auto child = [&]() -> task<> {
    log += 'c';
    co_return;
  };
  const auto body = [&]() -> task<> {
    rota::join_handle<> other = rota::spawn(forever);
    rota::join_handle<int> handle = rota::spawn(number, 1);
    handle.set_name("the counted");
    handle.on_done([&](rota::join_handle<int> ended) {
      REQUIRE_FALSE(ended.cancel());
      REQUIRE(other.cancel());
      (void)rota::spawn(child);
      log += 'a';
      throw std::runtime_error("from the callback");
    });
    handle.on_done([&] { log += 'b'; });
    while (!other.done()) co_await rota::yield();
    REQUIRE(other.cancelled());
    co_await turns(2);
  };
  rota_test::run(body);
  INFO(reports.all());
  REQUIRE(log == "abc");
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("join_handle_test.cpp:"));
  REQUIRE(reports.contains("for the end of task 'the counted'"));
  REQUIRE(reports.contains("from the callback"));
}

TEST_CASE("a done-callback that has the last handle and throws is reported with the task's name") {
  const captured_reports reports;
  const auto body = []() -> task<> {
    {
      rota::join_handle<int> handle = rota::spawn(number, 1);
      handle.set_name("the last");
      handle.on_done([](rota::join_handle<int>) { throw std::runtime_error("too bad"); });
    }
    co_await turns(5);
  };
  rota_test::run(body);
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("'the last'"));
  REQUIRE(reports.contains("too bad"));
}

TEST_CASE("a done-callback of a task that the shutdown cancels is called before the loop goes") {
  std::string log;
  {
    rota::event_loop loop;
    const auto body = [&]() -> task<> {
      rota::spawn(forever).on_done([&](rota::join_handle<> ended) { log += ended.cancelled() ? "cancelled" : "?"; });
      co_await rota::yield();
    };
    loop.run(body());
    REQUIRE(log.empty());
  }
  REQUIRE(log == "cancelled");
}

TEST_CASE("a done-callback whose task outlives nothing else frees everything, called or not") {
  const rota_test::frame_balance nothing_left;
  auto kept = std::make_shared<int>(0);
  rota::event_loop loop;
  const auto body = [&]() -> task<> {
    rota::spawn(number, 1).on_done([kept](rota::join_handle<int>) {});
    rota::call_handle taken_back = rota::spawn(number, 1).on_done([kept](rota::join_handle<int>) {});
    REQUIRE(taken_back.cancel());
    REQUIRE(kept.use_count() == 2);
    co_await turns(5);
    REQUIRE(kept.use_count() == 1);
  };
  rota_test::run_on(loop, body());
}

TEST_CASE("a callback on an empty handle, after the shutdown, or of an ended task without its loop is refused") {
  using kind = rota::usage_error::kind;
  rota::join_handle<> empty;
  REQUIRE(rota_test::usage_error_of([&] { empty.on_done([] {}); }) == kind::invalid_task);
  rota::join_handle<int> handle;
  {
    rota::event_loop loop;
    const auto body = [&]() -> task<> {
      handle = rota::spawn(number, 1);
      co_await handle;
    };
    loop.run(body());
    REQUIRE(rota_test::usage_error_of([&] { handle.on_done([] {}); }) == kind::wrong_loop);
  }
  REQUIRE(rota_test::usage_error_of([&] { handle.on_done([] {}); }) == kind::wrong_loop);
  REQUIRE(handle.result() == 1);
}

TEST_CASE("ten thousand done-callbacks are called in order") {
  const auto body = []() -> task<> {
    const int count = static_cast<int>(rota_test::scaled(10'000, 1'000));
    std::vector<rota::join_handle<int>> handles;
    int out_of_order = 0;
    int next = 0;
    for (int i = 0; i != count; ++i) {
      handles.push_back(rota::spawn(number, i));
      handles.back().on_done([&](rota::join_handle<int> ended) { out_of_order += ended.result() != next++; });
    }
    for (rota::join_handle<int>& handle : handles) co_await handle;
    co_await rota::yield();
    REQUIRE(next == count);
    REQUIRE(out_of_order == 0);
  };
  rota_test::run(body);
}
