// start: exactly one of three callbacks, once, on the loop, never inline.
#include <rota/adapt/start.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;
using rota_test::run;
using rota_test::usage_error_of;

task<std::unique_ptr<int>> number(int n) {
  co_await rota::yield();
  co_return std::make_unique<int>(n);
}
task<> nothing() { co_return; }
task<> fail() {
  co_await rota::yield();
  throw std::runtime_error("no luck");
}
task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

// Writes down what was called.
struct written {
  std::vector<std::string> calls;

  rota::started_task start(task<> t) {
    return rota::start(
        std::move(t), [this] { calls.push_back("value"); }, [this](std::exception_ptr) { calls.push_back("error"); },
        [this] { calls.push_back("cancelled"); });
  }
};

}  // namespace

TEST_CASE("start calls on_value with the task's value, never within the call") {
  run([]() -> task<> {
    std::unique_ptr<int> got;
    const auto started = rota::start(
        number(3), [&](std::unique_ptr<int> n) { got = std::move(n); }, [](std::exception_ptr) { FAIL(); },
        [] { FAIL(); });
    REQUIRE_FALSE(got);
    REQUIRE_FALSE(started.done());
    co_await rota::yield();
    REQUIRE_FALSE(got);
    co_await rota::yield();
    REQUIRE(*got == 3);
    REQUIRE(started.done());
    REQUIRE_FALSE(started.cancel());

    written l;
    (void)l.start(nothing());
    REQUIRE(l.calls.empty());
    co_await rota::yield();
    REQUIRE(l.calls == std::vector<std::string>{"value"});
  });
}

TEST_CASE("start calls on_error with the task's exception") {
  const captured_reports reports;
  run([]() -> task<> {
    std::string text;
    rota::start(
        fail(), [] { FAIL(); },
        [&](std::exception_ptr error) {
          try {
            std::rethrow_exception(error);
          } catch (const std::runtime_error& e) {
            text = e.what();
          }
        },
        [] { FAIL(); });
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(text == "no luck");
  });
  REQUIRE(reports.size() == 0);  // it was retrieved
}

TEST_CASE("start calls on_cancelled, also when the task never began") {
  run([]() -> task<> {
    written l;
    auto running = l.start(forever());
    co_await rota::yield();
    REQUIRE(running.cancel("enough"));
    REQUIRE_FALSE(running.cancel());
    REQUIRE(l.calls.empty());
    co_await rota::yield();
    REQUIRE(l.calls == std::vector<std::string>{"cancelled"});
    REQUIRE(running.done());

    auto unborn = l.start(forever());
    REQUIRE(unborn.cancel());
    REQUIRE(l.calls.size() == 1);
    co_await rota::yield();
    REQUIRE(l.calls == std::vector<std::string>{"cancelled", "cancelled"});
    REQUIRE(unborn.done());
  });
}

TEST_CASE("the end of the loop is a cancel") {
  written l;
  rota::started_task running;
  rota::started_task unborn;
  rota::run([](written& to, rota::started_task& first, rota::started_task& second) -> task<> {
    first = to.start(forever());
    co_await rota::yield();
    second = to.start(forever());
  }(l, running, unborn));
  REQUIRE(l.calls == std::vector<std::string>{"cancelled", "cancelled"});
  REQUIRE(running.done());
  REQUIRE(unborn.done());
  REQUIRE_FALSE(unborn.cancel());
}

TEST_CASE("an exception that leaves a callback is reported, and no other callback is called") {
  const captured_reports reports;
  run([&]() -> task<> {
    rota::start(
        nothing(), [] { throw std::runtime_error("in on_value"); }, [](std::exception_ptr) { FAIL(); }, [] { FAIL(); });
    co_await rota::yield();
    REQUIRE(reports.count("in on_value") == 1);
    auto unborn = rota::start(
        forever(), [] { FAIL(); }, [](std::exception_ptr) { FAIL(); },
        [] { throw std::runtime_error("in on_cancelled"); });
    unborn.cancel();
    co_await rota::yield();
    REQUIRE(reports.count("in on_cancelled") == 1);
  });
}

TEST_CASE("a callback may start the next task") {
  run([]() -> task<> {
    std::vector<int> got;
    const auto on_error = [](std::exception_ptr) { FAIL(); };
    const auto on_cancelled = [] { FAIL(); };
    rota::start(
        number(1),
        [&](std::unique_ptr<int> first) {
          got.push_back(*first);
          rota::start(number(2), [&](std::unique_ptr<int> second) { got.push_back(*second); }, on_error, on_cancelled);
        },
        on_error, on_cancelled);
    for (int i = 0; i != 6; ++i) co_await rota::yield();
    REQUIRE(got == std::vector{1, 2});
  });
}

TEST_CASE("start on a loop that does not run yet, and on none") {
  rota::event_loop loop;
  int called = 0;
  rota::start(loop, nothing(), [&] { ++called; }, [](std::exception_ptr) {}, [] {});
  REQUIRE(called == 0);
  loop.run(nothing());
  REQUIRE(called == 1);

  written l;
  const captured_reports reports;  // of the tasks that were not started
  REQUIRE(usage_error_of([&] { (void)l.start(nothing()); }) == rota::usage_error::kind::no_event_loop);
  REQUIRE(usage_error_of([&] { rota::start(loop, task<>(), [] {}, [](std::exception_ptr) {}, [] {}); }) ==
          rota::usage_error::kind::invalid_task);
  REQUIRE(l.calls.empty());
}

TEST_CASE("what a callback throws goes to the loop's exception handler, with the line of start and the task's name") {
  const captured_reports reports;
  run([]() -> task<> {
    std::string told;
    unsigned line = 0;
    rota::event_loop::current()->set_exception_handler([&](const rota::exception_context& context) {
      told = std::string(context.message) + ", of " + std::string(context.task_name);
      line = static_cast<unsigned>(context.where.line());
      REQUIRE(context.exception);
    });
    const auto named = []() -> task<> {
      rota::this_task::set_name("button");
      co_return;
    };
    const unsigned expected = __LINE__ + 1;
    rota::start(named(), [] { throw std::runtime_error("in on_value"); }, [](std::exception_ptr) {}, [] {});
    co_await rota::yield();
    co_await rota::yield();
    INFO(told);
    REQUIRE(told.starts_with("a callback that was given to rota::start at "));
    REQUIRE(told.ends_with(" failed, of button"));
    REQUIRE(line == expected);
  });
  REQUIRE(reports.size() == 0);
}

TEST_CASE("start without something to call is refused, and nothing begins") {
  const captured_reports reports;  // nor is the task told to be forgotten
  run([]() -> task<> {
    using kind = rota::usage_error::kind;
    const std::function<void()> empty;
    void (*const null)(std::exception_ptr) = nullptr;
    const auto ignore = [] {};
    const auto ignore_error = [](std::exception_ptr) {};
    REQUIRE(usage_error_of([&] { return rota::start(nothing(), empty, ignore_error, ignore); }) ==
            kind::invalid_argument);
    REQUIRE(usage_error_of([&] { return rota::start(nothing(), ignore, null, ignore); }) == kind::invalid_argument);
    REQUIRE(usage_error_of([&] { return rota::start(nothing(), ignore, ignore_error, empty); }) ==
            kind::invalid_argument);
    co_return;
  });
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a task that start was given, and that never began, is not told to be forgotten") {
  const captured_reports reports;
  run([]() -> task<> {
    written l;
    l.start(nothing()).cancel();
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(l.calls == std::vector<std::string>{"cancelled"});
  });
  REQUIRE(reports.size() == 0);
}
