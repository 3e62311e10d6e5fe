// Debug mode: every diagnostic, by its text. What only a debug build says is here, too.
#include <rota/loop/debug_watch.hpp>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "support/by_hand.hpp"
#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;
using rota_test::manual_clock;

rota::event_loop_options debugging() {
  rota::event_loop_options options;
  options.debug = true;
  return options;
}

// A loop in debug mode, or not, on a clock that the test moves.
class watched_loop {
 public:
  explicit watched_loop(const rota::event_loop_options& options = debugging())
      : watched_loop(std::make_unique<manual_clock>(), options) {}

  rota::event_loop& loop() noexcept { return loop_; }
  manual_clock& clock() noexcept { return clock_; }
  template <class T>
  T run(task<T> main) {
    return rota_test::run_on(loop_, std::move(main));
  }

 private:
  watched_loop(std::unique_ptr<manual_clock> clock, const rota::event_loop_options& options)
      : clock_(*clock), loop_(std::move(clock), options) {}

  manual_clock& clock_;
  rota::event_loop loop_;
};

std::string line(unsigned n) { return "debug_watch_test.cpp:" + std::to_string(n); }

}  // namespace

TEST_CASE("a step that takes long is reported with the task's name and the line where it began") {
  const captured_reports reports;
  watched_loop w;
  unsigned began_at = 0;
  const auto body = [&]() -> task<> {
    began_at = __LINE__ + 1;
    co_await rota::sleep_for(1s);
    w.clock().advance(153ms);
    co_await rota::sleep_for(1s);
  };
  const auto program = [&]() -> task<> {
    rota::join_handle<> handle = rota::spawn(body).set_name("importer");
    co_await handle;
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("task 'importer' kept its event loop busy for 153 ms, in the step that began at "));
  REQUIRE(reports.contains(line(began_at)));
}

TEST_CASE("the limit of a slow step is an option, and exact") {
  const captured_reports reports;
  rota::event_loop_options options = debugging();
  options.slow_step = 20ms;
  watched_loop w(options);
  const auto body = [&]() -> task<> {
    w.clock().advance(20ms - 1ns);
    co_await rota::yield();
    REQUIRE(reports.size() == 0);
    w.clock().advance(20ms);
    co_await rota::yield();
    REQUIRE(reports.size() == 1);
  };
  w.run(body());
  INFO(reports.all());
  REQUIRE(reports.contains("task kept its event loop busy for 20 ms"));
}

TEST_CASE("a first step, and one that ends its task, are watched like others") {
  const captured_reports reports;
  watched_loop w;
  const auto body = [&]() -> task<> {
    w.clock().advance(1s);
    co_return;
  };
  const auto program = [&]() -> task<> {
    (void)rota::spawn(body).set_name("a name that is too long for the small buffer of a string");
    co_await rota::yield();
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("task 'a name that is too long for the small buffer of a string' kept"));
}

// A task's arguments go with its last step.
TEST_CASE("the end of a task that takes long is reported as that task's") {
  const captured_reports reports;
  watched_loop w;
  struct slow_to_destroy {
    explicit slow_to_destroy(manual_clock* c) noexcept : clock(c) {}
    slow_to_destroy(slow_to_destroy&& other) noexcept : clock(std::exchange(other.clock, nullptr)) {}
    slow_to_destroy& operator=(slow_to_destroy&&) = delete;
    ~slow_to_destroy() {
      if (clock) clock->advance(130ms);
    }
    manual_clock* clock;
  };
  const auto yields = [](slow_to_destroy) -> task<> { co_await rota::yield(); };
  const auto body = [&]() -> task<> {
    rota::this_task::set_name("the third");
    rota::spawn(yields, slow_to_destroy(nullptr)).set_name("the first");
    rota::spawn(yields, slow_to_destroy(&w.clock())).set_name("the second");
    co_await rota::yield();
    co_await rota::yield();
    co_await rota::yield();
  };
  w.run(body());
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("task 'the second' kept its event loop busy for 130 ms"));
}

TEST_CASE("a posted function that takes long is reported") {
  const captured_reports reports;
  watched_loop w;
  const auto body = [&]() -> task<> {
    w.loop().post([&] { w.clock().advance(200ms); });
    co_await rota::sleep_for(1s);
  };
  w.run(body());
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("the callback made at "));
  REQUIRE(reports.contains("debug_watch_test.cpp:"));
  REQUIRE(reports.contains(" kept its event loop busy for 200 ms"));
}

TEST_CASE("a task that goes on in spite of its cancel is reported once, with its line and the cancel's") {
  const captured_reports reports;
  watched_loop w;
  rota_test::gate gate;
  const auto stubborn = [&]() -> task<> { co_await gate; };
  unsigned cancelled_at = 0;
  const auto program = [&]() -> task<> {
    rota::join_handle<> handle = rota::spawn(stubborn).set_name("stubborn");
    co_await rota::sleep_for(1s);
    cancelled_at = __LINE__ + 1;
    handle.cancel("no longer needed");
    co_await rota::sleep_for(5s - 1ns);
    REQUIRE(reports.size() == 0);
    co_await rota::sleep_for(1ns);
    co_await rota::yield();
    REQUIRE(reports.size() == 1);
    co_await rota::sleep_for(1h);
    gate.open();
    co_await handle;
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("task 'stubborn', last at "));
  REQUIRE(reports.contains("still runs 5000 ms after its scope was cancelled at "));
  REQUIRE(reports.contains(line(cancelled_at) + ": no longer needed"));
}

TEST_CASE("each task of a cancelled scope is reported, and one that ended in time is not") {
  const captured_reports reports;
  rota::event_loop_options options = debugging();
  options.cancel_grace = 2s;
  watched_loop w(options);
  rota_test::gate gates[2];
  const auto stubborn = [&](int which) -> task<> { co_await gates[which]; };
  const auto obedient = []() -> task<> { co_await rota::sleep_for(1h); };
  const auto cleaning = []() -> task<> {
    bool cancelled = false;
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled&) {
      cancelled = true;
    }
    if (cancelled) co_await rota::shield(1h, rota::sleep_for(10s));
  };
  const auto in_group = [&](rota::task_group& group) -> task<> {
    (void)group.spawn(stubborn, 0).set_name("first");
    (void)group.spawn(stubborn, 1).set_name("second");
    (void)group.spawn(obedient).set_name("third");
    (void)group.spawn(cleaning).set_name("fourth");
    co_await rota::sleep_for(1h);
  };
  const auto body = [&]() -> task<> { (void)co_await rota::move_on_after(1s, rota::with_task_group(in_group)); };
  const auto program = [&]() -> task<> {
    rota::join_handle<> handle = rota::spawn(body).set_name("group's");
    co_await rota::sleep_for(5s);
    for (rota_test::gate& gate : gates) gate.open();
    co_await handle;
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.count("task 'first', last at ") == 1);
  REQUIRE(reports.count("task 'second', last at ") == 1);
  REQUIRE(reports.count("task 'group's', last at ") == 1);
  REQUIRE(reports.count("still runs 2000 ms after its scope was cancelled at ") == 3);
  REQUIRE(reports.count(": the deadline passed") == 3);
  REQUIRE(reports.size() == 3);
}

TEST_CASE("a later cancel is watched as well, and the watch is no timer of the program") {
  const captured_reports reports;
  watched_loop w;
  rota_test::gate gate;
  const auto stubborn = [&]() -> task<> { co_await gate; };
  const auto program = [&]() -> task<> {
    rota::join_handle<> first = rota::spawn([]() -> task<> { co_await rota::sleep_for(1h); });
    rota::join_handle<> second = rota::spawn(stubborn).set_name("second");
    co_await rota::yield();
    first.cancel();
    (void)co_await rota::as_result(first);
    REQUIRE(w.loop().statistics().timers == 0);
    co_await rota::sleep_for(4s);
    second.cancel();
    co_await rota::sleep_for(5s - 1ns);
    REQUIRE(reports.size() == 0);
    co_await rota::sleep_for(1s);
    gate.open();
    co_await second;
    REQUIRE(w.loop().statistics().timers == 0);
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("task 'second'"));
}

TEST_CASE("a cancel in the iteration in which the watch looks is watched as well") {
  const captured_reports reports;
  watched_loop w;
  rota_test::gate first_gate, second_gate;
  const auto stubborn = [](rota_test::gate& gate) -> task<> { co_await gate; };
  const auto program = [&]() -> task<> {
    rota::join_handle<> first = rota::spawn(stubborn, std::ref(first_gate)).set_name("first");
    rota::join_handle<> second = rota::spawn(stubborn, std::ref(second_gate)).set_name("second");
    co_await rota::yield();
    // Armed before the watch, for the same instant: it runs right before the watch looks.
    const auto cancels = [](rota::join_handle<> handle) -> task<> {
      co_await rota::sleep_for(5s);
      handle.cancel();
    };
    rota::join_handle<> canceller = rota::spawn(cancels, second);
    co_await rota::yield();
    first.cancel();
    co_await canceller;
    REQUIRE(reports.count("task 'first'") == 1);
    co_await rota::sleep_for(5s);
    co_await rota::yield();
    REQUIRE(reports.count("task 'second'") == 1);
    first_gate.open();
    second_gate.open();
    co_await first;
    co_await second;
    REQUIRE(w.loop().statistics().timers == 0);
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.size() == 2);
}

TEST_CASE("the end of a loop names the tasks that it cancels") {
  const captured_reports reports;
  {
    watched_loop w;
    const auto forever = []() -> task<> { co_await rota::sleep_for(1h); };
    const auto program = [&]() -> task<> {
      (void)rota::spawn(forever).set_name("background");
      (void)rota::spawn(forever);
      co_await rota::yield();
    };
    w.loop().run(program());
    REQUIRE(reports.size() == 0);
  }
  INFO(reports.all());
  REQUIRE(reports.size() == 2);
  REQUIRE(reports.count("the event loop ends, and cancels task 'background', last at ") == 1);
  REQUIRE(reports.count("the event loop ends, and cancels task, last at ") == 1);
}

TEST_CASE("a loop names the first twenty of many tasks that it cancels") {
  const captured_reports reports;
  {
    watched_loop w;
    const auto forever = []() -> task<> { co_await rota::sleep_for(1h); };
    const auto program = [&]() -> task<> {
      for (int i = 0; i != 1000; ++i) (void)rota::spawn(forever);
      co_await rota::yield();
    };
    w.loop().run(program());
  }
  REQUIRE(reports.size() == 20);
  REQUIRE(reports.count("; and more") == 1);
}

TEST_CASE("a task that nobody awaited is reported in debug mode, in release builds as well") {
  const captured_reports reports;
  const auto forgotten = []() -> task<> { co_return; };
  {
    const task<> dropped = forgotten();
  }
  REQUIRE(reports.size() == (ROTA_ASSERTIONS || rota::detail::debug_by_environment() ? 1 : 0));
  const watched_loop w;
  {
    const task<> dropped = forgotten();
  }
  INFO(reports.all());
  REQUIRE(reports.contains("a task was destroyed without ever being awaited or spawned: a call of "));
}

TEST_CASE("a forgotten group is reported by the name that users know, with the task that dropped it") {
  const captured_reports reports;
  watched_loop w;
  const auto program = []() -> task<> {
    rota::this_task::set_name("main");
    co_await rota::yield();
    const auto body = [](rota::task_group&) -> task<> { co_return; };
    const auto forgotten = rota::with_task_group(body);
    co_return;
  };
  w.run(program());
  INFO(reports.all());
  REQUIRE(reports.contains("awaited or spawned: a call of with_task_group; dropped by task 'main', last at "));
}

TEST_CASE("a cancel from another thread ends the program with a word about it") {
  const auto outcome = rota_test::run_in_child([] {
    rota::event_loop loop(debugging());
    const auto forever = []() -> task<> { co_await rota::sleep_for(1h); };
    const auto program = [&]() -> task<> {
      rota::join_handle<> handle = rota::spawn(forever).set_name("victim");
      co_await rota::yield();
      std::thread([&] { handle.cancel(); }).join();
    };
    loop.run(program());
    return 0;
  });
  INFO(outcome.output);
  REQUIRE(outcome.signal() == SIGABRT);
  REQUIRE(outcome.says("join_handle::cancel() was called on another thread than its event loop's"));
  REQUIRE(outcome.says("it belongs to task 'victim', last at "));
}

TEST_CASE("a debug build ends the program when another thread wakes a task") {
  if (!ROTA_ASSERTIONS) SKIP("only debug builds look");
  const auto outcome = rota_test::run_in_child([] {
    rota::event_loop loop;
    rota_test::gate gate;
    const auto waiting = [&]() -> task<> { co_await gate; };
    const auto program = [&]() -> task<> {
      rota::join_handle<> handle = rota::spawn(waiting).set_name("sleeper");
      co_await rota::yield();
      std::thread([&] { gate.open(); }).join();
      co_await handle;
    };
    loop.run(program());
    return 0;
  });
  INFO(outcome.output);
  REQUIRE(outcome.signal() == SIGABRT);
  REQUIRE(outcome.says("task 'sleeper', last at "));
  REQUIRE(outcome.says(", was woken on another thread than its event loop's"));
}

TEST_CASE("ROTA_DEBUG in the environment turns debug mode on, and the option beats it") {
  const auto with = [](const char* value) {
    return rota_test::run_in_child([value] {
             value ? ::setenv("ROTA_DEBUG", value, 1) : ::unsetenv("ROTA_DEBUG");
             rota::event_loop_options options;
             const rota::event_loop by_environment(options);
             options.debug = !options.debug;
             const rota::event_loop opposite(options);
             return (by_environment.debug() ? 1 : 0) + (opposite.debug() ? 2 : 0);
           })
        .exit_code();
  };
  REQUIRE(with("1") == 1);
  REQUIRE(with("yes") == 1);
  REQUIRE(with("0") == 2);
  REQUIRE(with("") == 2);
  REQUIRE(with(nullptr) == 2);
}

TEST_CASE("without debug mode none of this is said") {
  rota::event_loop_options options;
  options.debug = false;
  const captured_reports reports;
  {
    watched_loop w(options);
    rota_test::gate gate;
    const auto stubborn = [&]() -> task<> { co_await gate; };
    const auto forever = []() -> task<> { co_await rota::sleep_for(1h); };
    const auto program = [&]() -> task<> {
      (void)rota::spawn(forever);
      rota::join_handle<> handle = rota::spawn(stubborn);
      co_await rota::yield();
      w.clock().advance(1s);
      co_await rota::yield();
      handle.cancel();
      co_await rota::sleep_for(1h);
      gate.open();
      co_await handle;
    };
    w.loop().run(program());
  }
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a program runs in debug mode as it does without, on the real clock") {
  rota::event_loop_options options = debugging();
  options.slow_step = 1h;
  const captured_reports reports;
  int ran = 0;
  {
    rota::event_loop loop(options);
    const auto child = [&]() -> task<> {
      co_await rota::yield();
      co_await rota::sleep_for(1ms);
      ++ran;
    };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      for (int i = 0; i != 1000; ++i) group.spawn(child);
      co_await rota::yield();
    };
    const auto program = [&]() -> task<> {
      co_await rota::with_task_group(in_group);
      const bool in_time = co_await rota::move_on_after(1ms, rota::sleep_for(1h));
      REQUIRE_FALSE(in_time);
    };
    rota_test::run_on(loop, program());
  }
  INFO(reports.all());
  REQUIRE(ran == 1000);
  REQUIRE(reports.size() == 0);
}
