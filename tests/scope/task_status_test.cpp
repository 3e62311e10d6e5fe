// task_group::start: children that say when they are ready.
#include <rota/scope/task_status.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::cancel_scope;
using rota::task;
using rota::task_group;
using rota::task_status;
using rota_test::caught;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::is_cancelled;
using rota_test::kind_of;
using rota_test::manual_loop;
using rota_test::run;
using rota_test::strings;
using rota_test::texts;
using rota_test::tracked;
using rota_test::until_cancelled;

task<> serve(task_status<int> status, int port, std::string& log) {
  co_await rota::sleep_for(10ms);
  status.started(port + 1);
  log += "started ";
  co_await rota::sleep_for(20ms);
  log += "ended ";
}
task<> never_started(task_status<> status) {
  co_await rota::sleep_for(1h);
  status.started();
}
struct picky {
  explicit picky(int n) : value(n) {
    if (n < 0) throw std::runtime_error("negative");
  }
  int value;
};
// No coroutine: it runs inside start(), before there is a child.
task<> says_started_too_early(task_status<int> status) {
  status.started(1);
  return []() -> task<> { co_return; }();
}

}  // namespace

TEST_CASE("start() gives the value with which the child started, and the child goes on in the group") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    std::string log;
    const auto body = [&](task_group& group) -> task<> {
      const int port = co_await group.start(serve, 7, std::ref(log));
      REQUIRE(port == 8);
      REQUIRE(loop.elapsed() == 10ms);
      REQUIRE(log == "started ");
      REQUIRE(group.size() == 1);
    };
    co_await rota::with_task_group(body);
    REQUIRE(log == "started ended ");
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("start() without a value, with one that can only be moved, and with one made of several arguments") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      const auto nothing = [](task_status<> status) -> task<> {
        status.started();
        co_return;
      };
      co_await group.start(nothing);
      const auto unique = [](task_status<std::unique_ptr<int>> status) -> task<> {
        co_await rota::yield();
        status.started(std::make_unique<int>(3));
      };
      const std::unique_ptr<int> three = co_await group.start(unique);
      REQUIRE(*three == 3);
      const auto text = [](task_status<std::string> status) -> task<> {
        status.started(std::size_t{3}, 'x');
        co_return;
      };
      const std::string xxx = co_await group.start(text);
      REQUIRE(xxx == "xxx");
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("start() keeps functor and arguments in the child") {
  int alive = 0;
  run([&]() -> task<> {
    const auto body = [&](task_group& group) -> task<> {
      const auto child = [](task_status<> status, tracked token, std::string text) -> task<> {
        co_await rota::yield();
        status.started();
        co_await rota::yield();
        REQUIRE(*token.alive == 1);
        REQUIRE(text == "a text that is too long for the small buffer of a string");
      };
      std::string text = "a text that is too long for the small buffer of a string";
      const tracked token(alive);
      rota::task<> starting = group.start(child, token, text);
      text.assign(text.size(), 'x');
      co_await std::move(starting);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(alive == 0);
  });
}

TEST_CASE("an error before started() goes to the caller alone") {
  run([]() -> task<> {
    int cancels = 0;
    const auto fails = [](task_status<int>) -> task<> {
      co_await rota::yield();
      throw std::runtime_error("no port");
    };
    const auto fails_at_once = [](task_status<int>) -> task<> {
      throw std::runtime_error("at once");
      co_return;
    };
    const auto body = [&](task_group& group) -> task<int> {
      rota::join_handle<> sibling = group.spawn(until_cancelled, std::ref(cancels));
      const std::exception_ptr error = co_await exception_of(group.start(fails));
      REQUIRE(caught<std::runtime_error>(error).what() == std::string("no port"));
      const std::exception_ptr second = co_await exception_of(group.start(fails_at_once));
      REQUIRE(caught<std::runtime_error>(second).what() == std::string("at once"));
      REQUIRE_FALSE(group.cancel_requested());
      REQUIRE(group.size() == 1);
      sibling.cancel();
      co_return 1;
    };
    const rota_test::captured_reports reports;
    const int one = co_await rota::with_task_group(body);
    REQUIRE(one == 1);
    REQUIRE(reports.size() == 0);
  });
}

TEST_CASE("an error before started() that the caller lets pass is the group's through its body") {
  run([]() -> task<> {
    const auto fails = [](task_status<int>) -> task<> {
      co_await rota::yield();
      throw std::runtime_error("no port");
    };
    const auto body = [&](task_group& group) -> task<> {
      const int port = co_await group.start(fails);
      REQUIRE(port == 0);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"no port"});
    REQUIRE(caught<rota::exception_group>(error).size() == 1);
  });
}

TEST_CASE("an error after started() is the group's") {
  run([]() -> task<> {
    int cancels = 0;
    const auto fails_later = [](task_status<int> status) -> task<> {
      status.started(1);
      co_await rota::yield();
      co_await rota::yield();
      throw std::runtime_error("later");
    };
    const auto body = [&](task_group& group) -> task<> {
      const int one = co_await group.start(fails_later);
      REQUIRE(one == 1);
      co_await until_cancelled(cancels);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"later"});
    REQUIRE(cancels == 1);
  });
}

TEST_CASE("an error right after started(), in the same step: the value arrives, the error is the group's") {
  run([]() -> task<> {
    std::optional<int> value;
    const auto fails = [](task_status<int> status) -> task<> {
      status.started(1);
      throw std::runtime_error("right after");
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      value = co_await group.start(fails);
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"right after"});
    REQUIRE(value == 1);
  });
}

TEST_CASE("a cancel of the caller before started() cancels the child, which is waited for") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    bool cleaned_up = false;
    const auto slow = [&](task_status<>) -> task<> {
      const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
      co_await rota::shield(1h, rota::sleep_for(5ms));
      cleaned_up = true;
      std::rethrow_exception(why);
    };
    const auto body = [&](task_group& group) -> task<int> {
      const std::exception_ptr error = co_await exception_of(rota::timeout(10ms, group.start(slow)));
      REQUIRE(code_of(error) == rota::errc::timed_out);
      REQUIRE(cleaned_up);
      REQUIRE(loop.elapsed() == 15ms);
      REQUIRE(group.size() == 0);
      REQUIRE_FALSE(group.cancel_requested());
      co_await rota::yield();
      co_return 1;
    };
    const int one = co_await rota::with_task_group(body);
    REQUIRE(one == 1);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a caller whose scope is cancelled already starts nothing") {
  run([]() -> task<> {
    int runs = 0;
    int alive = 0;
    const auto never = [&](task_status<>, const tracked&) -> task<> {
      ++runs;
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto scope_body = [&](cancel_scope& scope) -> task<> {
        scope.cancel("enough");
        const std::exception_ptr error = co_await exception_of(group.start(never, tracked(alive)));
        REQUIRE(caught<rota::cancelled>(error).reason() == "enough");
      };
      co_await rota::with_cancel_scope(scope_body);
    };
    co_await rota::with_task_group(body);
    REQUIRE(runs == 0);
    REQUIRE(alive == 0);
  });
}

TEST_CASE("started() after the caller's cancel does nothing, and the child is cancelled at its next suspension") {
  run([]() -> task<> {
    std::vector<std::string> steps;
    const auto too_late = [&](task_status<int> status) -> task<> {
      (void)co_await exception_of(rota::sleep_for(1h));
      status.started(1);
      steps.emplace_back("started");
      const std::exception_ptr next = co_await exception_of(rota::yield());
      if (is_cancelled(next)) steps.emplace_back("cancelled");
      std::rethrow_exception(next);
    };
    const auto body = [&](task_group& group) -> task<> {
      const std::optional<int> value = co_await rota::move_on_after(1ms, group.start(too_late));
      REQUIRE_FALSE(value.has_value());
      REQUIRE(group.size() == 0);
    };
    co_await rota::with_task_group(body);
    REQUIRE(steps == strings{"started", "cancelled"});
  });
}

TEST_CASE("a child that had started when the caller was cancelled in the same iteration stays in the group") {
  run([]() -> task<> {
    std::optional<int> value;
    std::exception_ptr next;
    bool child_ended = false;
    const auto child = [&](task_status<int> status, cancel_scope& of_caller) -> task<> {
      co_await rota::yield();
      status.started(1);
      of_caller.cancel();
      co_await rota::sleep_for(0ms);
      child_ended = true;
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto scope_body = [&](cancel_scope& scope) -> task<> {
        value = co_await group.start(child, std::ref(scope));
        next = co_await exception_of(rota::yield());
      };
      (void)co_await rota::with_cancel_scope(scope_body);
    };
    co_await rota::with_task_group(body);
    REQUIRE(value == 1);
    REQUIRE(is_cancelled(next));
    REQUIRE(child_ended);
  });
}

TEST_CASE("a group that is cancelled while a child starts in its body ends the start") {
  run([]() -> task<> {
    std::exception_ptr error;
    const auto body = [&](task_group& group) -> task<> {
      const auto cancels = [&]() -> task<> {
        co_await rota::sleep_for(0ms);
        group.cancel("no more");
      };
      group.spawn(cancels);
      error = co_await exception_of(group.start(never_started));
      std::rethrow_exception(error);
    };
    co_await rota::with_task_group(body);
    REQUIRE(caught<rota::cancelled>(error).reason() == "no more");
  });
}

TEST_CASE("a child that starts from outside into a cancelled group is cancelled when it has started") {
  run([]() -> task<> {
    std::optional<int> value;
    int cancels = 0;
    rota::join_handle<> outsider;
    const auto child = [&](task_status<int> status) -> task<> {
      co_await rota::sleep_for(0ms);
      co_await rota::sleep_for(0ms);
      status.started(1);
      co_await until_cancelled(cancels);
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto starts = [&]() -> task<> { value = co_await group.start(child); };
      outsider = rota::spawn(starts);
      co_await rota::sleep_for(0ms);
      REQUIRE(group.size() == 1);
      group.cancel();
    };
    co_await rota::with_task_group(body);
    REQUIRE(cancels == 1);
    co_await outsider;
    REQUIRE(value == 1);
  });
}

TEST_CASE("a group waits for a start() from another task, also when its body has ended") {
  run([]() -> task<> {
    std::vector<std::string> order;
    rota::join_handle<> outsider;
    const auto child = [&](task_status<int> status) -> task<> {
      co_await rota::sleep_for(0ms);
      co_await rota::sleep_for(0ms);
      order.emplace_back("started");
      status.started(1);
      co_await rota::sleep_for(0ms);
      order.emplace_back("child ended");
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto starts = [&]() -> task<> { (void)co_await group.start(child); };
      outsider = rota::spawn(starts);
      co_await rota::yield();
      order.emplace_back("body ended");
    };
    co_await rota::with_task_group(body);
    order.emplace_back("group ended");
    co_await outsider;
    REQUIRE(order == strings{"body ended", "started", "child ended", "group ended"});
  });
}

TEST_CASE("a group whose last child ends in the step in which it started from outside") {
  // The group may be gone before the caller of start() goes on.
  run([]() -> task<> {
    std::optional<int> value;
    rota::join_handle<> outsider;
    const auto child = [](task_status<int> status) -> task<> {
      co_await rota::sleep_for(0ms);
      status.started(1);
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto starts = [&]() -> task<> { value = co_await group.start(child); };
      outsider = rota::spawn(starts);
      co_await rota::yield();
    };
    co_await rota::with_task_group(body);
    co_await outsider;
    REQUIRE(value == 1);
  });
}

TEST_CASE("a failed start() from another task lets the group end") {
  run([]() -> task<> {
    std::exception_ptr error;
    rota::join_handle<> outsider;
    const auto fails = [](task_status<int>) -> task<> {
      co_await rota::sleep_for(0ms);
      throw std::runtime_error("no port");
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto starts = [&]() -> task<> { error = co_await exception_of(group.start(fails)); };
      outsider = rota::spawn(starts);
      co_await rota::yield();
    };
    co_await rota::with_task_group(body);
    co_await outsider;
    REQUIRE(caught<std::runtime_error>(error).what() == std::string("no port"));
  });
}

TEST_CASE("a child that starts children with start() in its own group") {
  run([]() -> task<> {
    int ended = 0;
    struct chain {
      static task<> link(task_status<int> status, task_group& group, int depth, int& ends) {
        int below = 0;
        if (depth != 0) below = co_await group.start(link, std::ref(group), depth - 1, std::ref(ends));
        status.started(below + 1);
        co_await rota::yield();
        ++ends;
      }
    };
    const auto body = [&](task_group& group) -> task<int> {
      const int length = co_await group.start(chain::link, std::ref(group), 20, std::ref(ended));
      co_return length;
    };
    const int length = co_await rota::with_task_group(body);
    REQUIRE(length == 21);
    REQUIRE(ended == 21);
  });
}

TEST_CASE("several starts at once, each in a scope of its own") {
  run([]() -> task<> {
    std::vector<int> values;
    const auto child = [](task_status<int> status, int n) -> task<> {
      for (int i = 0; i != 10 - n; ++i) co_await rota::yield();
      status.started(n);
      co_await rota::yield();
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto starts = [&](int n) -> task<> {
        const int value = co_await group.start(child, n);
        values.push_back(value);
      };
      for (int n = 0; n != 10; ++n) group.spawn(starts, n);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(values == std::vector<int>{9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  });
}

// ---- misuse

TEST_CASE("a child that ends without started() is a usage error of the caller") {
  run([]() -> task<> {
    const auto forgets = [](task_status<int>) -> task<> { co_await rota::yield(); };
    const auto body = [&](task_group& group) -> task<> {
      const std::exception_ptr error = co_await exception_of(group.start(forgets));
      REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
      REQUIRE_THAT(caught<rota::usage_error>(error).what(), Catch::Matchers::ContainsSubstring("started()"));
      REQUIRE(group.size() == 0);
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("started() twice is a usage error of the child") {
  run([]() -> task<> {
    std::exception_ptr second;
    const auto eager = [&](task_status<int> status) -> task<> {
      status.started(1);
      try {
        status.started(2);
      } catch (...) {
        second = std::current_exception();
      }
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      const int one = co_await group.start(eager);
      REQUIRE(one == 1);
    };
    co_await rota::with_task_group(body);
    REQUIRE(kind_of(second) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("a status can be handed on: to another task, which says started for the child") {
  run([]() -> task<> {
    std::optional<task_status<int>> slot;
    const auto child = [&](task_status<int> status) -> task<> {
      slot.emplace(std::move(status));
      co_await rota::sleep_for(0ms);
      co_await rota::sleep_for(0ms);
    };
    const auto body = [&](task_group& group) -> task<> {
      const auto speaks = [&]() -> task<> {
        while (!slot) co_await rota::yield();
        slot->started(5);
        slot.reset();
      };
      group.spawn(speaks);
      const int five = co_await group.start(child);
      REQUIRE(five == 5);
      REQUIRE(group.size() == 1);
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("a status that is kept longer than its start() is worth nothing") {
  run([]() -> task<> {
    std::optional<task_status<int>> kept;
    std::exception_ptr late;
    const auto keeps = [&](task_status<int> status) -> task<> {
      kept.emplace(std::move(status));
      co_await rota::yield();
    };
    const auto body = [&](task_group& group) -> task<> {
      const std::exception_ptr error = co_await exception_of(group.start(keeps));
      REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
      try {
        kept->started(1);
      } catch (...) {
        late = std::current_exception();
      }
      REQUIRE(group.size() == 0);
    };
    co_await rota::with_task_group(body);
    REQUIRE(kind_of(late) == rota::usage_error::kind::invalid_argument);
    REQUIRE_THROWS_AS(kept->started(1), rota::usage_error);
  });
}

TEST_CASE("a status that is used between its child's end and the end of start()") {
  run([]() -> task<> {
    std::optional<task_status<int>> kept;
    std::exception_ptr late;
    const auto body = [&](task_group& group) -> task<> {
      const auto late_speaker = [&]() -> task<> {
        try {
          kept->started(1);
        } catch (...) {
          late = std::current_exception();
        }
        co_return;
      };
      // The speaker is queued before the caller of start() is woken by the child's end.
      const auto ends = [&](task_status<int> status) -> task<> {
        co_await rota::yield();
        kept.emplace(std::move(status));
        group.spawn(late_speaker);
      };
      const std::exception_ptr error = co_await exception_of(group.start(ends));
      REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
    };
    co_await rota::with_task_group(body);
    REQUIRE(kind_of(late) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("a function that says started before it has made the task") {
  run([]() -> task<> {
    const auto body = [&](task_group& group) -> task<> {
      const std::exception_ptr error = co_await exception_of(group.start(says_started_too_early));
      REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
      REQUIRE(group.size() == 0);
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("a status that is moved over another one and destroyed early") {
  run([]() -> task<> {
    const auto forgets = [](task_status<int> status) -> task<> {
      {
        const task_status<int> gone = std::move(status);
      }
      co_await rota::yield();
      status.started(1);  // moved from: nobody is told
    };
    const auto body = [&](task_group& group) -> task<> {
      const std::exception_ptr error = co_await exception_of(group.start(forgets));
      REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(error == nullptr);
  });
}

TEST_CASE("a value whose constructor throws is the child's error") {
  run([]() -> task<> {
    const auto child = [](task_status<picky> status) -> task<> {
      status.started(-1);
      co_return;
    };
    const auto tries_again = [](task_status<picky> status) -> task<> {
      try {
        status.started(-1);
      } catch (const std::runtime_error&) {
      }
      status.started(1);
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      const std::exception_ptr error = co_await exception_of(group.start(child));
      REQUIRE(caught<std::runtime_error>(error).what() == std::string("negative"));
      (void)co_await group.start(tries_again);
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("a start() that is made and never awaited starts nothing and does not hold the group") {
  const rota_test::captured_reports reports;
  run([]() -> task<> {
    int runs = 0;
    const auto child = [&](task_status<> status) -> task<> {
      ++runs;
      status.started();
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      (void)group.start(child);
      REQUIRE(group.size() == 0);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(runs == 0);
  });
  REQUIRE(reports.size() == (ROTA_ASSERTIONS ? 1 : 0));
}

TEST_CASE("start() needs an event loop") {
  const auto child = [](task_status<> status) -> task<> {
    status.started();
    co_return;
  };
  const auto body = [&](task_group& group) -> task<> {
    const std::exception_ptr error = co_await exception_of(group.start(child));
    REQUIRE(kind_of(error) == rota::usage_error::kind::no_event_loop);
    REQUIRE(group.size() == 0);
  };
  rota::sync_wait(rota::with_task_group(body));
}
