// Task groups in which something fails: who is cancelled, who is waited for, what leaves.
#include <rota/scope/task_group.hpp>

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::exception_group;
using rota::task;
using rota::task_group;
using rota_test::caught;
using rota_test::exception_of;
using rota_test::fail_at;
using rota_test::fail_in_cleanup;
using rota_test::manual_loop;
using rota_test::run;
using rota_test::strings;
using rota_test::texts;
using rota_test::until_cancelled;

task<> fail_after(int yields, std::string text) {
  for (int i = 0; i != yields; ++i) co_await rota::yield();
  throw std::runtime_error(text);
}
// Waits for something that no cancel ends.
task<> fail_when_open(rota_test::gate& gate, std::string text) {
  co_await gate;
  throw std::runtime_error(text);
}
task<> open_both(rota_test::gate& first, rota_test::gate& second) {
  co_await rota::yield();
  first.open();
  second.open();
}
// Ends with another error when it is cancelled.

}  // namespace

TEST_CASE("the error of one child is a group of one, which says where it comes from") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      group.spawn(fail_after, 1, std::string("broken"));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    const auto group = caught<exception_group>(error);
    REQUIRE(group.size() == 1);
    REQUIRE(texts(group) == strings{"broken"});
    REQUIRE(group.only<std::runtime_error>() != nullptr);
    const std::string text = group.what();
    INFO(text);
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("a task group, "));
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("task_group_failures_test.cpp:"));
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("failed with 1 error\n"));
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("broken"));
    REQUIRE_THAT(group.members().front().where, Catch::Matchers::ContainsSubstring("task_group_failures_test.cpp:"));
  });
}

TEST_CASE("the message of a group names the line that opened it") {
  run([]() -> task<> {
    const auto body = [](task_group&) -> task<> {
      throw std::runtime_error("broken");
      co_return;
    };
    const unsigned line = __LINE__ + 1;
    rota::task<> opened = rota::with_task_group(body);
    const std::exception_ptr error = co_await exception_of(std::move(opened));
    const auto group = caught<exception_group>(error);
    REQUIRE_THAT(group.message(), Catch::Matchers::ContainsSubstring(":" + std::to_string(line)));
  });
}

TEST_CASE("the first child that fails cancels its siblings and the body, and all are waited for") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    bool cleaned_up = false;
    const auto slow_cleanup = [&]() -> task<> {
      std::exception_ptr why;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        why = std::current_exception();
      }
      co_await rota::shield(1h, rota::sleep_for(20ms));
      cleaned_up = true;
      std::rethrow_exception(why);
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(until_cancelled, std::ref(cancels));
      group.spawn(slow_cleanup);
      group.spawn(fail_at, rota::duration(10ms), std::string("broken"));
      co_await until_cancelled(cancels);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    REQUIRE(cancels == 2);
    REQUIRE(cleaned_up);
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("what a sibling's failure cancels is told so, with the error's text and line") {
  run([]() -> task<> {
    std::vector<rota::cancel_kind> kinds;
    std::vector<std::string> reasons;
    const auto listens = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        kinds.push_back(c.kind());
        reasons.emplace_back(c.reason());
        REQUIRE(std::string(c.where().file_name()).find("task_group_failures_test.cpp") != std::string::npos);
        throw;
      }
    };
    const auto fails = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("broken");
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(listens);
      group.spawn(fails);
      co_await listens();
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    REQUIRE(kinds == std::vector<rota::cancel_kind>(2, rota::cancel_kind::sibling));
    REQUIRE(reasons == strings(2, "a sibling failed: std::runtime_error: broken"));
  });
}

TEST_CASE("a body that throws cancels its children and is the group's last error") {
  run([]() -> task<> {
    int cancels = 0;
    const auto body = [&](task_group& group) -> task<int> {
      group.spawn(until_cancelled, std::ref(cancels));
      group.spawn(fail_in_cleanup, std::string("child"));
      co_await rota::yield();
      throw std::runtime_error("body");
      co_return 1;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"child", "body"});
    REQUIRE(caught<exception_group>(error).members().back().where == "its body");
    REQUIRE(cancels == 1);
  });
}

TEST_CASE("a body that throws before its first await, and one that makes no task") {
  run([]() -> task<> {
    int runs = 0;
    const auto child = [&]() -> task<> {
      ++runs;
      co_return;
    };
    const auto at_once = [&](task_group& group) -> task<> {
      group.spawn(child);
      throw std::runtime_error("at once");
      co_return;
    };
    const std::exception_ptr first = co_await exception_of(rota::with_task_group(at_once));
    REQUIRE(texts(first) == strings{"at once"});
    const auto no_coroutine = [&](task_group& group) -> task<> {
      group.spawn(child);
      throw std::runtime_error("no task");
    };
    const std::exception_ptr second = co_await exception_of(rota::with_task_group(no_coroutine));
    REQUIRE(texts(second) == strings{"no task"});
    REQUIRE(runs == 0);
    co_await rota::yield();  // no scope was left open
  });
}

TEST_CASE("a child that fails before its first await, and one whose function throws instead of making a task") {
  run([]() -> task<> {
    const auto at_once = [&](task_group& group) -> task<> {
      group.spawn(fail_after, 0, std::string("at once"));
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr first = co_await exception_of(rota::with_task_group(at_once));
    REQUIRE(texts(first) == strings{"at once"});
    // A function with state is called within the child, a plain one by spawn() itself.
    int state = 0;
    const auto with_state = [&state]() -> task<> {
      ++state;
      throw std::runtime_error("no task");
    };
    const auto stored = [&](task_group& group) -> task<> {
      group.spawn(with_state);
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr second = co_await exception_of(rota::with_task_group(stored));
    REQUIRE(texts(second) == strings{"no task"});
    REQUIRE(state == 1);
  });
}

TEST_CASE("everything that fails is kept: in the same iteration, later, and out of a cancel") {
  run([]() -> task<> {
    rota_test::gate first, second;
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(fail_in_cleanup, std::string("in cleanup"));
      group.spawn(fail_when_open, std::ref(first), std::string("first"));
      group.spawn(fail_when_open, std::ref(second), std::string("same iteration"));
      group.spawn(open_both, std::ref(first), std::ref(second));
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      throw std::runtime_error("body");
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"first", "same iteration", "in cleanup", "body"});
  });
}

TEST_CASE("all children fail in their first step") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      for (int i = 0; i != 3; ++i) group.spawn(fail_after, 0, std::to_string(i));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"0"});  // the failure of the first keeps the others from beginning
  });
}

TEST_CASE("a body that swallows the cancel and gives a value does not hide the error") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<int> {
      group.spawn(fail_after, 1, std::string("broken"));
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_return 1;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
  });
}

TEST_CASE("a child that swallows the cancel of a failed sibling is waited for") {
  run([]() -> task<> {
    int rounds = 0;
    const auto stubborn = [&]() -> task<> {
      for (; rounds != 10; ++rounds) {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
        }
      }
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(stubborn);
      group.spawn(fail_after, 1, std::string("broken"));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    REQUIRE(rounds == 10);
  });
}

TEST_CASE("the error of a child reaches its handle as well as the group, and is not reported as lost") {
  const rota_test::captured_reports reports;
  run([]() -> task<> {
    rota::join_handle<> kept, dropped;
    rota_test::gate first, second;
    const auto body = [&](task_group& group) -> task<> {
      kept = group.spawn(fail_when_open, std::ref(first), std::string("kept"));
      dropped = group.spawn(fail_when_open, std::ref(second), std::string("dropped"));
      group.spawn(open_both, std::ref(first), std::ref(second));
      co_await rota::yield();
      dropped = rota::join_handle<>();
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"kept", "dropped"});
    REQUIRE(kept.done());
    REQUIRE_THROWS_AS(kept.result(), std::runtime_error);
    REQUIRE(caught<std::runtime_error>(kept.exception()).what() == std::string("kept"));
    kept = rota::join_handle<>();
    const std::exception_ptr of_group = caught<exception_group>(error).members().front().error;
    REQUIRE(caught<std::runtime_error>(of_group).what() == std::string("kept"));
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a body that awaits the failing child's handle is cancelled, and the error counts once") {
  run([]() -> task<> {
    bool was_cancelled = false;
    const auto body = [&](task_group& group) -> task<> {
      rota::join_handle<> child = group.spawn(fail_after, 1, std::string("broken"));
      const std::exception_ptr error = co_await exception_of(child);
      was_cancelled = rota_test::is_cancelled(error);
      if (error) std::rethrow_exception(error);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    REQUIRE(was_cancelled);
  });
}

TEST_CASE("an outside task that awaits a child of a failing group gets its error") {
  run([]() -> task<> {
    std::vector<std::string> seen;
    rota::join_handle<> child, observer;
    const auto observes = [&]() -> task<> {
      const std::exception_ptr error = co_await exception_of(child);
      seen.push_back(rota_test::text_of(error));
    };
    const auto body = [&](task_group& group) -> task<> {
      child = group.spawn(fail_after, 2, std::string("broken"));
      observer = rota::spawn(observes);
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    co_await observer;
    REQUIRE(seen == strings{"broken"});
  });
}

TEST_CASE("the error of an inner group is one member of the outer one: nesting is kept") {
  run([]() -> task<> {
    const auto inner = [](task_group& group) -> task<> {
      group.spawn(fail_in_cleanup, std::string("inner b"));
      group.spawn(fail_after, 1, std::string("inner a"));
      co_return;
    };
    const auto outer = [&](task_group& group) -> task<> {
      group.spawn(fail_in_cleanup, std::string("outer"));
      co_await rota::with_task_group(inner);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(outer));
    const auto group = caught<exception_group>(error);
    REQUIRE(group.size() == 2);
    REQUIRE(texts(group) == strings{"outer", "inner a", "inner b"});
    const auto nested = caught<exception_group>(group.members().back().error);
    REQUIRE(texts(nested) == strings{"inner a", "inner b"});
  });
}

TEST_CASE("a child that was made of a closure or takes references is named by its own line, too") {
  run([]() -> task<> {
    int state = 0;
    const auto with_state = [&state]() -> task<> {
      ++state;
      co_await rota::yield();
      throw std::runtime_error("broken");
    };
    const auto with_reference = [](int& n) -> task<> {
      ++n;
      co_await rota::yield();
      throw std::runtime_error("broken");
    };
    const auto first = [&](task_group& group) -> task<> {
      group.spawn(with_state);
      co_return;
    };
    const auto second = [&](task_group& group) -> task<> {
      group.spawn(with_reference, std::ref(state));
      co_return;
    };
    for (const bool is_first : {true, false}) {
      std::exception_ptr error;
      if (is_first)
        error = co_await exception_of(rota::with_task_group(first));
      else
        error = co_await exception_of(rota::with_task_group(second));
      const auto group = caught<exception_group>(error);
      REQUIRE_THAT(group.members().front().where, Catch::Matchers::ContainsSubstring("task_group_failures_test.cpp:"));
    }
  });
}

TEST_CASE("an inner and an outer group that fail in the same iteration both tell all they have") {
  for (const bool outer_first : {true, false}) {
    run([=]() -> task<> {
      rota_test::gate one, two;
      const auto inner = [&](task_group& group) -> task<> {
        group.spawn(fail_when_open, std::ref(outer_first ? two : one), std::string("inner"));
        group.spawn(fail_in_cleanup, std::string("inner cleanup"));
        co_await rota::sleep_for(1h);
      };
      const auto opens_inner = [&]() -> task<> { co_await rota::with_task_group(inner); };
      const auto outer = [&](task_group& group) -> task<> {
        group.spawn(fail_when_open, std::ref(outer_first ? one : two), std::string("outer"));
        group.spawn(opens_inner);
        co_await rota::sleep_for(0ms);
        group.spawn(open_both, std::ref(one), std::ref(two));
        co_await rota::sleep_for(1h);
      };
      const std::exception_ptr error = co_await exception_of(rota::with_task_group(outer));
      const auto group = caught<exception_group>(error);
      // The inner group ends later than its first error.
      REQUIRE(group.size() == 2);
      REQUIRE(rota_test::text_of(group.members().front().error) == "outer");
      REQUIRE(texts(group.members().back().error) == strings{"inner", "inner cleanup"});
    });
  }
}

TEST_CASE("a group inside a failing group that had no error of its own adds none") {
  run([]() -> task<> {
    int cancels = 0;
    const auto inner = [&](task_group& group) -> task<> {
      group.spawn(until_cancelled, std::ref(cancels));
      co_await until_cancelled(cancels);
    };
    const auto opens_inner = [&]() -> task<> { co_await rota::with_task_group(inner); };
    const auto outer = [&](task_group& group) -> task<> {
      group.spawn(opens_inner);
      group.spawn(fail_after, 3, std::string("outer"));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(outer));
    REQUIRE(texts(error) == strings{"outer"});
    REQUIRE(caught<exception_group>(error).size() == 1);
    REQUIRE(cancels == 2);
  });
}

TEST_CASE("an error that is handled within a child is none of the group's") {
  run([]() -> task<> {
    const auto handles = []() -> task<int> {
      const std::exception_ptr error = co_await exception_of(fail_after(1, "handled"));
      co_return error ? 1 : 0;
    };
    const auto body = [&](task_group& group) -> task<int> {
      rota::join_handle<int> child = group.spawn(handles);
      const int one = co_await child;
      co_return one;
    };
    const int one = co_await rota::with_task_group(body);
    REQUIRE(one == 1);
  });
}

TEST_CASE("exceptions that are no std::exception are kept, found and printed") {
  run([]() -> task<> {
    struct odd {
      int n;
    };
    const auto throws_int = []() -> task<> {
      throw 42;
      co_return;
    };
    const auto throws_odd = []() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      throw odd{7};
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(throws_odd);
      group.spawn(throws_int);
      co_return;
    };
    // throws_odd begins first, so that it is there to be cancelled.
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    const auto group = caught<exception_group>(error);
    REQUIRE(group.size() == 2);
    REQUIRE(group.find<int>() != nullptr);
    REQUIRE(*group.find<int>() == 42);
    REQUIRE(group.find<odd>()->n == 7);
    REQUIRE(group.find<std::exception>() == nullptr);
    REQUIRE_THAT(std::string(group.what()), Catch::Matchers::ContainsSubstring("an exception of type int"));
  });
}

TEST_CASE("a child spawned while the group fails never begins, and its arguments are destroyed") {
  run([]() -> task<> {
    int runs = 0;
    int alive = 0;
    rota::join_handle<> late;
    const auto never = [&](const rota_test::tracked&) -> task<> {
      ++runs;
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto spawns_late = [&]() -> task<> {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
          late = group.spawn(never, rota_test::tracked(alive));
          REQUIRE(alive == 1);
          throw;
        }
      };
      group.spawn(spawns_late);
      group.spawn(fail_after, 1, std::string("broken"));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    REQUIRE(runs == 0);
    REQUIRE(late.cancelled());
    late = rota::join_handle<>();
    REQUIRE(alive == 0);
  });
}

TEST_CASE("a group can be opened again after it has failed") {
  run([]() -> task<> {
    bool broken = true;
    const auto body = [&](task_group& group) -> task<int> {
      group.spawn(fail_after, broken ? 0 : 1, std::string("broken"));
      if (!broken) group.cancel();
      co_return 1;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"broken"});
    broken = false;
    const int one = co_await rota::with_task_group(body);
    REQUIRE(one == 1);
    co_await rota::yield();
  });
}

TEST_CASE("an exception whose text is asked for after the group and its loop are gone") {
  std::exception_ptr error;
  run([&]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      group.spawn(fail_after, 1, std::string("broken"));
      co_await rota::sleep_for(1h);
    };
    error = co_await exception_of(rota::with_task_group(body));
  });
  REQUIRE(texts(error) == strings{"broken"});
}
