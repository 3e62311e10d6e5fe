// What a handle promises about its task's end: asyncio's table row by row, and joins that could never end.
#include <rota/loop/join_handle.hpp>

#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;
using rota_test::manual_loop;
using rota_test::run;

task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

// The text of the usage_error that comes out of an await; empty when there is none of this kind.
template <class A>
task<std::string> refusal(rota::usage_error::kind kind, A& awaited) {
  std::string text;
  try {
    (void)co_await awaited;
  } catch (const rota::usage_error& error) {
    if (error.which() == kind) text = error.what();
  }
  co_return text;
}
task<std::string> refusal(rota::usage_error::kind kind, rota::join_handle<>& awaited) {
  std::string text;
  try {
    co_await awaited;
  } catch (const rota::usage_error& error) {
    if (error.which() == kind) text = error.what();
  }
  co_return text;
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

constexpr auto join_cycle = rota::usage_error::kind::join_cycle;

}  // namespace

// ---- joins that could never end ------------------------------------------------------------------------------------

TEST_CASE("a task that awaits itself is named") {
  run([]() -> task<> {
    rota::join_handle<> me;
    std::string text;
    const auto body = [&]() -> task<> { text = co_await refusal(join_cycle, me); };
    me = rota::spawn(body).set_name("lonely");
    co_await me;
    INFO(text);
    REQUIRE(has(text, "task 'lonely', last at "));
    REQUIRE(has(text, ", awaited itself: it would never go on"));
    me = {};
  });
}

TEST_CASE("two tasks that await each other: whoever comes second is refused, with both names") {
  run([]() -> task<> {
    rota::join_handle<> first;
    rota::join_handle<> second;
    std::string text;
    const auto join = [](rota::join_handle<>& other) -> task<> { co_await other; };
    const auto closing = [&]() -> task<> { text = co_await refusal(join_cycle, first); };
    first = rota::spawn(join, std::ref(second)).set_name("first");
    second = rota::spawn(closing).set_name("second");
    co_await first;
    INFO(text);
    REQUIRE(has(text, "task 'second', last at "));
    REQUIRE(has(text, ", awaited task 'first', last at "));
    REQUIRE(has(text, ", which waits for the first: none of them would ever go on"));
    first = {};
    second = {};
  });
}

TEST_CASE("a longer cycle names everyone in it, and the chain goes on when it is not closed") {
  run([]() -> task<> {
    std::vector<rota::join_handle<>> handles(5);
    std::string text;
    const auto join = [](rota::join_handle<>& other) -> task<> { co_await other; };
    const auto closing = [&]() -> task<> { text = co_await refusal(join_cycle, handles[0]); };
    for (std::size_t i = 0; i != 4; ++i)
      handles[i] = rota::spawn(join, std::ref(handles[i + 1])).set_name("t" + std::to_string(i));
    handles[4] = rota::spawn(closing).set_name("t4");
    for (auto& handle : handles) co_await handle;
    INFO(text);
    for (const std::string name : {"'t4'", "'t0'", "'t1'", "'t2'", "'t3'"}) REQUIRE(has(text, name));
    handles.clear();
  });
}

TEST_CASE("joins in a row that lead nowhere are no cycle, however many") {
  run([]() -> task<> {
    std::vector<rota::join_handle<int>> handles;
    const auto end = []() -> task<int> {
      co_await rota::sleep_for(1ms);
      co_return 0;
    };
    const auto join = [](rota::join_handle<int> next) -> task<int> {
      const int n = co_await next;
      co_return n + 1;
    };
    handles.push_back(rota::spawn(end));
    for (int i = 0; i != 1000; ++i) handles.push_back(rota::spawn(join, handles.back()));
    const int n = co_await handles.back();
    REQUIRE(n == 1000);
  });
}

TEST_CASE("a child that awaits the task whose group it is in is refused") {
  run([]() -> task<> {
    rota::join_handle<> parent;
    std::string text;
    const auto child = [&]() -> task<> { text = co_await refusal(join_cycle, parent); };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      group.spawn(child).set_name("child");
      co_return;
    };
    const auto body = [&]() -> task<> { co_await rota::with_task_group(in_group); };
    parent = rota::spawn(body).set_name("parent");
    co_await parent;
    INFO(text);
    REQUIRE(has(text, "task 'child', last at "));
    REQUIRE(has(text, ", awaited task 'parent', last at "));
    REQUIRE(has(text, "which cannot end before its child, the first"));
    parent = {};
  });
}

TEST_CASE("a cycle that leads through a group is refused") {
  run([]() -> task<> {
    rota::join_handle<> parent;
    rota::join_handle<> outsider;
    std::string text;
    const auto child = [&]() -> task<> {
      co_await rota::yield();
      text = co_await refusal(join_cycle, outsider);
    };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      group.spawn(child).set_name("child");
      co_return;
    };
    const auto body = [&]() -> task<> { co_await rota::with_task_group(in_group); };
    const auto join = [&]() -> task<> { co_await parent; };
    parent = rota::spawn(body).set_name("parent");
    outsider = rota::spawn(join).set_name("outsider");
    co_await outsider;
    INFO(text);
    REQUIRE(has(text, "task 'child', last at "));
    REQUIRE(has(text, ", awaited task 'outsider', last at "));
    REQUIRE(has(text, ", which waits for task 'parent', last at "));
    REQUIRE(has(text, "which cannot end before its child"));
    parent = {};
    outsider = {};
  });
}

TEST_CASE("a group's parent may join its child, and a child its sibling") {
  run([]() -> task<> {
    int joined = 0;
    const auto first = []() -> task<int> {
      co_await rota::sleep_for(1ms);
      co_return 5;
    };
    const auto second = [&](rota::join_handle<int> sibling) -> task<> {
      const int n = co_await sibling;
      joined += n;
    };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      rota::join_handle<int> child = group.spawn(first);
      group.spawn(second, child);
      const int n = co_await rota::timeout(1h, child);
      joined += n;
    };
    co_await rota::with_task_group(in_group);
    REQUIRE(joined == 10);
  });
}

TEST_CASE("awaiting a task of another loop names who did it") {
  rota::event_loop first;
  rota::join_handle<> of_first;
  const auto spawner = [&]() -> task<> {
    of_first = rota::spawn(forever);
    co_return;
  };
  first.run(spawner());
  run([&]() -> task<> {
    const auto body = [&]() -> task<std::string> {
      co_return co_await refusal(rota::usage_error::kind::wrong_loop, of_first);
    };
    rota::join_handle<std::string> handle = rota::spawn(body).set_name("stranger");
    const std::string text = co_await handle;
    INFO(text);
    REQUIRE(has(text, "task 'stranger', last at "));
    REQUIRE(has(text, "awaited a task of another event loop"));
  });
  of_first.cancel();
}

// ---- cancelled, done, result, exception ----------------------------------------------------------------------------

TEST_CASE("a task counts as cancelled if rota::cancelled left it, whoever threw it") {
  run([]() -> task<> {
    const auto by_itself = []() -> task<> {
      throw rota::cancelled(nullptr, nullptr);
      co_return;
    };
    rota::join_handle<> unasked = rota::spawn(by_itself);
    const rota::result<> outcome = co_await rota::as_result(unasked);
    REQUIRE(outcome.error() == rota::errc::task_cancelled);
    REQUIRE(unasked.cancelled());

    const auto converting = []() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        throw std::runtime_error("interrupted");
      }
    };
    rota::join_handle<> converted = rota::spawn(converting);
    co_await rota::yield();
    converted.cancel();
    std::string text;
    try {
      co_await converted;
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    REQUIRE(text == "interrupted");
    REQUIRE_FALSE(converted.cancelled());
    REQUIRE(converted.done());
  });
}

TEST_CASE("a cancelled task has no result, and its exception is the cancel with its reason") {
  run([]() -> task<> {
    rota::join_handle<> handle = rota::spawn(forever);
    co_await rota::yield();
    REQUIRE(handle.cancel("first"));
    REQUIRE_FALSE(handle.cancel("second"));  // a cancelled task is cancelled once
    REQUIRE_FALSE(handle.done());
    REQUIRE_FALSE(handle.cancelled());  // not yet
    (void)co_await rota::as_result(handle);
    REQUIRE(handle.cancelled());
    REQUIRE_FALSE(handle.cancel("third"));
    REQUIRE(rota_test::error_code_of([&] { handle.result(); }) == rota::errc::task_cancelled);
    std::string reason;
    try {
      std::rethrow_exception(handle.exception());
    } catch (const rota::cancelled& c) {
      reason = c.reason();
    }
    REQUIRE(reason == "first");
  });
}

TEST_CASE("cancelling a task that has ended changes nothing") {
  run([]() -> task<> {
    rota::join_handle<int> handle = rota::spawn([]() -> task<int> { co_return 3; });
    const int three = co_await handle;
    REQUIRE(three == 3);
    REQUIRE_FALSE(handle.cancel());
    REQUIRE_FALSE(handle.cancelled());
    REQUIRE(handle.result() == 3);
    REQUIRE(handle.exception() == nullptr);
  });
}

TEST_CASE("the joiner of a task that is cancelled gets an error, and is not cancelled itself") {
  run([]() -> task<> {
    rota::join_handle<> worker = rota::spawn(forever);
    const auto join = [&]() -> task<int> {
      const rota::result<> outcome = co_await rota::as_result(worker);
      co_await rota::yield();  // would throw in a cancelled task
      co_return outcome.error() == rota::errc::task_cancelled ? 1 : 0;
    };
    rota::join_handle<int> joiner = rota::spawn(join);
    co_await rota::yield();
    worker.cancel();
    const int one = co_await joiner;
    REQUIRE(one == 1);
  });
}

TEST_CASE("an exception that is no std::exception reaches the joiner, and a report when nobody joins") {
  const captured_reports reports;
  run([]() -> task<> {
    const auto fail = []() -> task<> {
      throw 42;
      co_return;
    };
    rota::join_handle<> handle = rota::spawn(fail);
    int caught = 0;
    try {
      co_await handle;
    } catch (int n) {
      caught = n;
    }
    REQUIRE(caught == 42);
    REQUIRE_FALSE(handle.cancelled());
    (void)rota::spawn(fail).set_name("thrower");
    co_await rota::yield();
    co_await rota::yield();
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("task 'thrower', "));
  REQUIRE(reports.contains("an exception "));
}

TEST_CASE("a name can be given in the same statement as the spawn") {
  run([]() -> task<> {
    rota::join_handle<> kept = rota::spawn(forever).set_name("kept");
    rota::spawn([]() -> task<> { co_return; }).set_name("not kept");
    REQUIRE(kept.name() == "kept");
    co_await rota::yield();
    kept.cancel();
    (void)co_await rota::as_result(kept);
  });
}

// ---- times ---------------------------------------------------------------------------------------------------------

TEST_CASE("deadlines in the past are due at once") {
  manual_loop m;
  const auto body = [&]() -> task<> {
    const rota::time_point start = m.loop().now();
    co_await rota::sleep_until(start - 1h);
    co_await rota::sleep_for(-1h);
    const bool in_time = co_await rota::move_on_at(start - 1h, rota::sleep_for(1h));
    REQUIRE_FALSE(in_time);
    const rota::result<> timed_out = co_await rota::as_result(rota::timeout(-1s, rota::sleep_for(1h)));
    REQUIRE(timed_out.error() == rota::errc::timed_out);
    REQUIRE(m.loop().now() == start);
  };
  m.run(body());
}

TEST_CASE("a timeout that is not a number is refused, names the task, and starts nothing") {
  run([]() -> task<> {
    constexpr std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    const auto body = [&]() -> task<std::string> {
      std::string text;
      for (int i = 0; i != 3; ++i) {
        bool started = false;
        const auto inner = [&]() -> task<> {
          started = true;
          co_return;
        };
        try {
          if (i == 0) co_await rota::timeout(nan, inner());
          if (i == 1) co_await rota::move_on_after(nan, inner());
          if (i == 2) co_await rota::shield(nan, inner());
        } catch (const rota::usage_error& error) {
          if (error.which() == rota::usage_error::kind::invalid_argument && !started) text += error.what();
        }
      }
      co_return text;
    };
    rota::join_handle<std::string> handle = rota::spawn(body).set_name("careless");
    const std::string text = co_await handle;
    INFO(text);
    std::size_t count = 0;
    for (std::size_t at = text.find("'careless'"); at != std::string::npos; at = text.find("'careless'", at + 1))
      ++count;
    REQUIRE(count == 3);
    REQUIRE(has(text, "not a number (NaN)"));
  });
}

TEST_CASE("a timeout of a thousand years lets its task end") {
  manual_loop m;
  const auto body = []() -> task<> {
    co_await rota::timeout(std::chrono::years(1000), rota::sleep_for(1h));
    co_await rota::timeout(std::chrono::duration<double>(1e300), rota::sleep_for(1h));
    co_await rota::timeout(std::chrono::duration<float>(std::numeric_limits<float>::infinity()), rota::sleep_for(1h));
  };
  m.run(body());
  REQUIRE(m.elapsed() == 3h);
}
