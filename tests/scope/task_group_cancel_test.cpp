// Task groups that are cancelled: from outside, by group.cancel(), child by child, by deadlines.
#include <rota/scope/task_group.hpp>

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::cancel_scope;
using rota::exception_group;
using rota::task;
using rota::task_group;
using rota_test::caught;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::fail_in_cleanup;
using rota_test::is_cancelled;
using rota_test::manual_loop;
using rota_test::number_after;
using rota_test::run;
using rota_test::strings;
using rota_test::texts;
using rota_test::tracked;
using rota_test::until_cancelled;

}  // namespace

// ---- from outside

TEST_CASE("a cancel from outside reaches body and children, all are waited for, and it leaves as a cancel") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    bool cleaned_up = false;
    std::exception_ptr error;
    const auto cleans_up = [&]() -> task<> {
      const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
      co_await rota::shield(1h, rota::sleep_for(20ms));
      cleaned_up = true;
      std::rethrow_exception(why);
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(until_cancelled, std::ref(cancels));
      group.spawn(cleans_up);
      co_await until_cancelled(cancels);
    };
    const auto opens_group = [&]() -> task<> {
      error = co_await exception_of(rota::with_task_group(body));
      std::rethrow_exception(error);
    };
    rota::join_handle<> host = rota::spawn(opens_group);
    co_await rota::sleep_for(10ms);
    host.cancel("enough");
    const std::exception_ptr joined = co_await exception_of(host);
    REQUIRE(code_of(joined) == rota::errc::task_cancelled);
    REQUIRE(is_cancelled(error));
    REQUIRE(caught<rota::cancelled>(error).reason() == "enough");
    REQUIRE(cancels == 2);
    REQUIRE(cleaned_up);
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a group whose body has ended is cancelled through its children") {
  run([]() -> task<> {
    int cancels = 0;
    bool went_on = false;
    const auto body = [&](task_group& group) -> task<int> {
      group.spawn(until_cancelled, std::ref(cancels));
      co_return 1;
    };
    const auto opens_group = [&]() -> task<> {
      (void)co_await rota::with_task_group(body);
      went_on = true;
    };
    rota::join_handle<> host = rota::spawn(opens_group);
    co_await rota::sleep_for(0ms);
    host.cancel();
    (void)co_await exception_of(host);
    REQUIRE(host.cancelled());
    REQUIRE(cancels == 1);
    REQUIRE_FALSE(went_on);
  });
}

TEST_CASE("errors out of a cancel win over it, and the next suspension is cancelled again") {
  run([]() -> task<> {
    std::exception_ptr error, next;
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(fail_in_cleanup, std::string("in cleanup"));
      co_await rota::sleep_for(1h);
    };
    const auto opens_group = [&]() -> task<> {
      error = co_await exception_of(rota::with_task_group(body));
      next = co_await exception_of(rota::yield());
      co_await rota::yield();
    };
    rota::join_handle<> host = rota::spawn(opens_group);
    co_await rota::sleep_for(0ms);
    host.cancel("enough");
    (void)co_await exception_of(host);
    REQUIRE(host.cancelled());
    REQUIRE(texts(error) == strings{"in cleanup"});
    REQUIRE(caught<rota::cancelled>(next).reason() == "enough");
  });
}

TEST_CASE("a value that came in spite of a cancel is given, when every child ended well, too") {
  run([]() -> task<> {
    std::optional<int> value;
    std::exception_ptr next;
    const auto stubborn = []() -> task<int> {
      (void)co_await exception_of(rota::sleep_for(1h));
      co_return 1;
    };
    const auto body = [&](task_group& group) -> task<int> {
      rota::join_handle<int> child = group.spawn(stubborn);
      co_await rota::shield(1h, child);
      co_return child.result();
    };
    const auto opens_group = [&]() -> task<> {
      value = co_await rota::with_task_group(body);
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> host = rota::spawn(opens_group);
    co_await rota::sleep_for(0ms);
    host.cancel();
    co_await host;
    REQUIRE(value == 1);
    REQUIRE(is_cancelled(next));
  });
}

TEST_CASE("a child that was cancelled for itself does not turn a late cancel from outside into a loss") {
  // The group has done all it was to do before the cancel came: its value counts (rule R2).
  run([]() -> task<> {
    std::optional<int> value;
    int cancels = 0;
    const auto scope_body = [&](cancel_scope& scope) -> task<> {
      const auto body = [&](task_group& group) -> task<int> {
        rota::join_handle<> child = group.spawn(until_cancelled, std::ref(cancels));
        co_await rota::sleep_for(0ms);
        child.cancel();
        (void)co_await exception_of(child);
        scope.cancel();
        co_return 5;
      };
      value = co_await rota::with_task_group(body);
    };
    (void)co_await rota::with_cancel_scope(scope_body);
    REQUIRE(cancels == 1);
    REQUIRE(value == 5);
  });
}

TEST_CASE("a group opened in a cancelled scope runs its body to the first suspension, and no child") {
  run([]() -> task<> {
    int runs = 0;
    bool reached = false;
    const auto scope_body = [&](cancel_scope& scope) -> task<> {
      scope.cancel();
      const auto child = [&]() -> task<> {
        ++runs;
        co_return;
      };
      const auto body = [&](task_group& group) -> task<> {
        group.spawn(child);
        co_await rota::yield();
        reached = true;
      };
      co_await rota::with_task_group(body);
      reached = true;
    };
    const bool ended = co_await rota::with_cancel_scope(scope_body);
    REQUIRE_FALSE(ended);
    REQUIRE(runs == 0);
    REQUIRE_FALSE(reached);
  });
}

TEST_CASE("a child in a shield is not cut short by a cancel of its group") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    std::vector<std::string> steps;
    const auto child = [&]() -> task<> {
      co_await rota::shield(1h, rota::sleep_for(20ms));
      steps.emplace_back("shielded");
      const std::exception_ptr next = co_await exception_of(rota::yield());
      if (is_cancelled(next)) steps.emplace_back("cancelled after it");
      std::rethrow_exception(next);
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(child);
      co_await rota::sleep_for(5ms);
      group.cancel();
    };
    co_await rota::with_task_group(body);
    REQUIRE(steps == strings{"shielded", "cancelled after it"});
    REQUIRE(loop.elapsed() == 20ms);
  }(m));
}

TEST_CASE("a group in a shield does not see a cancel from outside, its own it does") {
  run([]() -> task<> {
    int ended = 0;
    int cancels = 0;
    const auto child = [&]() -> task<> {
      co_await rota::yield();
      ++ended;
    };
    const auto scope_body = [&](cancel_scope& scope) -> task<> {
      const auto body = [&](task_group& group) -> task<> {
        group.spawn(child);
        scope.cancel();
        co_await rota::yield();
        group.spawn(child);
        group.spawn(until_cancelled, std::ref(cancels));
        co_await rota::yield();
        co_await rota::yield();
        group.cancel();
      };
      co_await rota::shield(1h, rota::with_task_group(body));
    };
    (void)co_await rota::with_cancel_scope(scope_body);
    REQUIRE(ended == 2);
    REQUIRE(cancels == 1);
  });
}

TEST_CASE("the loop's end cancels open groups and waits for them") {
  int cancels = 0;
  int alive = 0;
  {
    rota::event_loop loop;
    const auto opens_group = [&](const tracked&) -> task<> {
      const auto body = [&](task_group& group) -> task<> {
        group.spawn(until_cancelled, std::ref(cancels));
        co_await until_cancelled(cancels);
      };
      co_await rota::with_task_group(body);
    };
    const auto main = [&]() -> task<> {
      (void)rota::spawn(opens_group, tracked(alive));
      co_await rota::sleep_for(0ms);
    };
    loop.run(main());
    REQUIRE(loop.statistics().tasks == 2);
  }
  REQUIRE(cancels == 2);
  REQUIRE(alive == 0);
}

// ---- single children

TEST_CASE("a child that is cancelled by its handle is no error, and disturbs nobody") {
  run([]() -> task<> {
    int cancels = 0;
    const auto body = [&](task_group& group) -> task<int> {
      rota::join_handle<> child = group.spawn(until_cancelled, std::ref(cancels));
      rota::join_handle<int> sibling = group.spawn(number_after, rota::duration(0), 2);
      co_await rota::sleep_for(0ms);
      REQUIRE(child.cancel());
      const std::exception_ptr error = co_await exception_of(child);
      REQUIRE(code_of(error) == rota::errc::task_cancelled);
      REQUIRE_FALSE(group.cancel_requested());
      const int two = co_await sibling;
      co_return two;
    };
    const int two = co_await rota::with_task_group(body);
    REQUIRE(two == 2);
    REQUIRE(cancels == 1);
    co_await rota::yield();
  });
}

TEST_CASE("a child that is cancelled before it began never begins, and its arguments are destroyed") {
  run([]() -> task<> {
    int runs = 0;
    int alive = 0;
    const auto never = [&](const tracked&) -> task<> {
      ++runs;
      co_return;
    };
    const auto body = [&](task_group& group) -> task<int> {
      group.spawn(never, tracked(alive)).cancel();
      REQUIRE(alive == 1);
      co_return 1;
    };
    const int one = co_await rota::with_task_group(body);
    REQUIRE(one == 1);
    REQUIRE(runs == 0);
    REQUIRE(alive == 0);
  });
}

TEST_CASE("a cancelled child that fails instead is an error like any other") {
  run([]() -> task<> {
    int cancels = 0;
    const auto body = [&](task_group& group) -> task<> {
      rota::join_handle<int> child = group.spawn(fail_in_cleanup, std::string("in cleanup"));
      co_await rota::sleep_for(0ms);
      child.cancel();
      co_await until_cancelled(cancels);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"in cleanup"});
    REQUIRE(cancels == 1);
  });
}

// ---- group.cancel()

TEST_CASE("group.cancel() ends body and children, without an error") {
  run([]() -> task<> {
    int cancels = 0;
    std::string reason;
    rota::cancel_kind kind{};
    const auto child = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        reason = c.reason();
        kind = c.kind();
        throw;
      }
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(child);
      group.spawn(until_cancelled, std::ref(cancels));
      co_await rota::sleep_for(0ms);
      group.cancel("found it");
      REQUIRE(group.cancel_requested());
      group.cancel("again");
      co_await until_cancelled(cancels);
    };
    co_await rota::with_task_group(body);
    REQUIRE(cancels == 2);
    REQUIRE(reason == "found it");
    REQUIRE(kind == rota::cancel_kind::requested);
    co_await rota::yield();  // it went no further
  });
}

TEST_CASE("group.cancel() from a child, from another task, and before any child") {
  run([]() -> task<> {
    int cancels = 0;
    const auto from_child = [&](task_group& group) -> task<> {
      const auto child = [&]() -> task<> {
        group.cancel();
        co_await until_cancelled(cancels);
      };
      group.spawn(child);
      co_await until_cancelled(cancels);
    };
    co_await rota::with_task_group(from_child);
    REQUIRE(cancels == 2);

    rota::join_handle<> other;
    const auto from_outside = [&](task_group& group) -> task<> {
      const auto outsider = [&]() -> task<> {
        group.cancel();
        co_return;
      };
      group.spawn(until_cancelled, std::ref(cancels));
      other = rota::spawn(outsider);
      co_await until_cancelled(cancels);
    };
    co_await rota::with_task_group(from_outside);
    REQUIRE(cancels == 4);
    REQUIRE(other.done());

    int runs = 0;
    rota::join_handle<> late;
    const auto at_once = [&](task_group& group) -> task<> {
      group.cancel();
      const auto never = [&]() -> task<> {
        ++runs;
        co_return;
      };
      late = group.spawn(never);
      co_await until_cancelled(cancels);
    };
    co_await rota::with_task_group(at_once);
    REQUIRE(cancels == 5);
    REQUIRE(runs == 0);
    REQUIRE(late.cancelled());
  });
}

TEST_CASE("group.cancel() when the body has ended: children end, the body's value is given") {
  run([]() -> task<> {
    int cancels = 0;
    const auto body = [&](task_group& group) -> task<int> {
      const auto cancels_group = [&]() -> task<> {
        co_await rota::sleep_for(0ms);
        group.cancel();
      };
      group.spawn(until_cancelled, std::ref(cancels));
      group.spawn(cancels_group);
      co_return 4;
    };
    const int four = co_await rota::with_task_group(body);
    REQUIRE(four == 4);
    REQUIRE(cancels == 1);
    co_await rota::yield();
  });
}

TEST_CASE("a body with a value to give that group.cancel() ended is errc::task_cancelled") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<int> {
      group.cancel();
      co_await rota::yield();
      co_return 1;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(code_of(error) == rota::errc::task_cancelled);
    const auto gives = [](task_group& group) -> task<int> {
      group.cancel();
      co_return 2;
    };
    const int two = co_await rota::with_task_group(gives);
    REQUIRE(two == 2);
    co_await rota::yield();
  });
}

TEST_CASE("an error beside group.cancel() is not lost") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      group.spawn(fail_in_cleanup, std::string("in cleanup"));
      co_await rota::sleep_for(0ms);
      group.cancel();
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(texts(error) == strings{"in cleanup"});
    const auto throws = [](task_group& group) -> task<> {
      group.cancel();
      throw std::runtime_error("body");
      co_return;
    };
    const std::exception_ptr thrown = co_await exception_of(rota::with_task_group(throws));
    REQUIRE(texts(thrown) == strings{"body"});
  });
}

TEST_CASE("a cancel from outside beside group.cancel() is not swallowed, in either order") {
  for (const bool outside_first : {true, false}) {
    run([=]() -> task<> {
      bool went_on = false;
      int cancels = 0;
      const auto scope_body = [&](cancel_scope& scope) -> task<> {
        const auto body = [&](task_group& group) -> task<> {
          group.spawn(until_cancelled, std::ref(cancels));
          co_await rota::sleep_for(0ms);
          if (outside_first) scope.cancel();
          group.cancel();
          scope.cancel();
          co_await until_cancelled(cancels);
        };
        co_await rota::with_task_group(body);
        went_on = true;
      };
      const bool ended = co_await rota::with_cancel_scope(scope_body);
      REQUIRE_FALSE(ended);
      REQUIRE_FALSE(went_on);
      REQUIRE(cancels == 2);
    });
  }
}

TEST_CASE("cancelling an inner group leaves the outer one alone, cancelling the outer one ends both") {
  run([]() -> task<> {
    int cancels = 0;
    int steps = 0;
    const auto outer = [&](task_group& out) -> task<> {
      const auto first = [&](task_group& in) -> task<> {
        in.spawn(until_cancelled, std::ref(cancels));
        co_await rota::sleep_for(0ms);
        in.cancel();
        co_await until_cancelled(cancels);
      };
      out.spawn(until_cancelled, std::ref(cancels));
      co_await rota::with_task_group(first);
      ++steps;
      REQUIRE(cancels == 2);
      REQUIRE(out.size() == 1);
      const auto second = [&](task_group& in) -> task<> {
        in.spawn(until_cancelled, std::ref(cancels));
        co_await rota::sleep_for(0ms);
        out.cancel();
        co_await until_cancelled(cancels);
      };
      co_await rota::with_task_group(second);
      ++steps;
    };
    co_await rota::with_task_group(outer);
    REQUIRE(steps == 1);
    REQUIRE(cancels == 5);
  });
}

TEST_CASE("a group that its child cancels while it starts others ends all of them") {
  run([]() -> task<> {
    int begun = 0;
    const auto body = [&](task_group& group) -> task<> {
      const auto child = [&](int i) -> task<> {
        ++begun;
        if (i == 10) group.cancel();
        co_await rota::sleep_for(1h);
      };
      for (int i = 0; i != 100; ++i) group.spawn(child, i);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(begun == 11);
  });
}

// ---- deadlines

TEST_CASE("a timeout around a group ends it at the deadline and is the error") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    rota::cancel_kind kind{};
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(until_cancelled, std::ref(cancels));
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        kind = c.kind();
        throw;
      }
    };
    const std::exception_ptr error = co_await exception_of(rota::timeout(10ms, rota::with_task_group(body)));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(kind == rota::cancel_kind::deadline);
    REQUIRE(cancels == 1);
    REQUIRE(loop.elapsed() == 10ms);
    const bool in_time = co_await rota::move_on_after(10ms, rota::with_task_group(body));
    REQUIRE_FALSE(in_time);
    REQUIRE(loop.elapsed() == 20ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("the errors of a group that a timeout cancelled win over the timeout") {
  manual_loop m;
  m.run([](manual_loop&) -> task<> {
    const auto body = [](task_group& group) -> task<> {
      group.spawn(fail_in_cleanup, std::string("in cleanup"));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::timeout(10ms, rota::with_task_group(body)));
    REQUIRE(texts(error) == strings{"in cleanup"});
    co_await rota::yield();
  }(m));
}

TEST_CASE("a timeout in a child or in the body is an error of the group") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    const auto child = []() -> task<> { co_await rota::timeout(5ms, rota::sleep_for(1h)); };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(child);
      co_await until_cancelled(cancels);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    const auto group = caught<exception_group>(error);
    REQUIRE(group.only<std::system_error>()->code() == rota::errc::timed_out);
    REQUIRE(cancels == 1);
    REQUIRE(loop.elapsed() == 5ms);
    const auto in_body = [&](task_group& inner) -> task<> {
      inner.spawn(until_cancelled, std::ref(cancels));
      co_await rota::timeout(5ms, rota::sleep_for(1h));
    };
    const std::exception_ptr second = co_await exception_of(rota::with_task_group(in_body));
    REQUIRE(caught<exception_group>(second).only<std::system_error>()->code() == rota::errc::timed_out);
    REQUIRE(cancels == 2);
    REQUIRE(loop.elapsed() == 10ms);
  }(m));
}

TEST_CASE("a move_on_after in the body lets the group go on") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto body = [&](task_group& group) -> task<int> {
      rota::join_handle<int> child = group.spawn(number_after, rota::duration(20ms), 3);
      const bool slept = co_await rota::move_on_after(5ms, rota::sleep_for(1h));
      REQUIRE_FALSE(slept);
      REQUIRE(loop.elapsed() == 5ms);
      const int three = co_await child;
      co_return three;
    };
    const int three = co_await rota::with_task_group(body);
    REQUIRE(three == 3);
    REQUIRE(loop.elapsed() == 20ms);
  }(m));
}

TEST_CASE("the deadline of a group and of what is in it at the same instant: the outer one is told") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto child = []() -> task<> { co_await rota::timeout(10ms, rota::sleep_for(1h)); };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(child);
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await exception_of(rota::timeout(10ms, rota::with_task_group(body)));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(loop.elapsed() == 10ms);
  }(m));
}
