// Task groups that end well: values, order, who waits for whom, what children may use.
#include <rota/scope/task_group.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::task_group;
using rota_test::manual_loop;
using rota_test::number_after;
using rota_test::run;

task<> note(std::vector<int>& seen, int n) {
  seen.push_back(n);
  co_return;
}
task<> count_after(int& ended, int yields) {
  for (int i = 0; i != yields; ++i) co_await rota::yield();
  ++ended;
}

}  // namespace

TEST_CASE("a group gives its body's value") {
  run([]() -> task<> {
    const auto body = [](task_group&) -> task<int> { co_return 5; };
    const int five = co_await rota::with_task_group(body);
    REQUIRE(five == 5);
    const auto nothing = [](task_group& group) -> task<> {
      REQUIRE(group.size() == 0);
      REQUIRE_FALSE(group.cancel_requested());
      co_return;
    };
    co_await rota::with_task_group(nothing);
  });
}

TEST_CASE("a group gives values that can only be moved, and references") {
  run([]() -> task<> {
    int target = 1;
    const auto unique = [](task_group&) -> task<std::unique_ptr<int>> {
      co_await rota::yield();
      co_return std::make_unique<int>(7);
    };
    const std::unique_ptr<int> seven = co_await rota::with_task_group(unique);
    REQUIRE(*seven == 7);
    const auto reference = [&](task_group&) -> task<int&> { co_return target; };
    int& same = co_await rota::with_task_group(reference);
    REQUIRE(&same == &target);
  });
}

TEST_CASE("a group ends when its last child has ended, not with its body") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto body = [](task_group& group) -> task<int> {
      group.spawn(number_after, rota::duration(30ms), 1);
      group.spawn(number_after, rota::duration(10ms), 2);
      REQUIRE(group.size() == 2);
      co_return 3;
    };
    const int three = co_await rota::with_task_group(body);
    REQUIRE(three == 3);
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("children begin after the step that spawned them, in order") {
  run([]() -> task<> {
    std::vector<int> seen;
    const auto body = [&](task_group& group) -> task<> {
      for (int i = 0; i != 5; ++i) group.spawn(note, std::ref(seen), i);
      REQUIRE(seen.empty());
      co_await rota::yield();
      REQUIRE(seen.size() == 5);
      REQUIRE(group.size() == 0);
    };
    co_await rota::with_task_group(body);
    REQUIRE(seen == std::vector<int>{0, 1, 2, 3, 4});
  });
}

TEST_CASE("a child's handle gives its value, in the body and after the group") {
  run([]() -> task<> {
    rota::join_handle<int> later;
    const auto body = [&](task_group& group) -> task<int> {
      rota::join_handle<int> now = group.spawn(number_after, rota::duration(0), 4);
      later = group.spawn(number_after, rota::duration(0), 5);
      const int four = co_await now;
      co_return four;
    };
    const int four = co_await rota::with_task_group(body);
    REQUIRE(four == 4);
    REQUIRE(later.done());
    REQUIRE(later.result() == 5);
  });
}

TEST_CASE("functor and arguments live in the child, not where it was spawned") {
  int alive = 0;
  run([&]() -> task<> {
    std::string seen;
    const auto body = [&](task_group& group) -> task<> {
      {
        std::string text = "a text that is too long for the small buffer of a string";
        const rota_test::tracked token(alive);
        const auto child = [token, &seen](std::string given) -> task<> {
          co_await rota::yield();
          REQUIRE(*token.alive > 0);
          seen = given;
        };
        group.spawn(child, text);
        text.assign(text.size(), 'x');
      }
      REQUIRE(alive == 1);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(seen == "a text that is too long for the small buffer of a string");
    REQUIRE(alive == 0);
  });
}

TEST_CASE("children may use the locals of the body and of whoever opened the group") {
  run([]() -> task<> {
    std::vector<int> of_parent(100, 0);
    const auto body = [&](task_group& group) -> task<> {
      std::vector<int> of_body(100, 1);
      const auto child = [&](std::size_t i) -> task<> {
        co_await rota::yield();
        of_parent[i] += of_body[i];
        co_await rota::sleep_for(0ms);
        of_parent[i] += of_body[i];
      };
      for (std::size_t i = 0; i != of_parent.size(); ++i) group.spawn(child, i);
      while (group.size() != 0) co_await rota::yield();
    };
    co_await rota::with_task_group(body);
    REQUIRE(of_parent == std::vector<int>(100, 2));
  });
}

TEST_CASE("the locals of whoever opened the group outlive children that fail and are cancelled") {
  run([]() -> task<> {
    std::string local = "a text that is too long for the small buffer of a string";
    std::vector<std::string> copies;
    const auto slow = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        copies.push_back(local);
        throw;
      }
    };
    const auto fails = [&]() -> task<> {
      co_await rota::yield();
      throw std::runtime_error(local);
    };
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(slow);
      group.spawn(fails);
      group.spawn(slow);
      co_return;
    };
    const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
    REQUIRE(rota_test::texts(error) == rota_test::strings{local});
    REQUIRE(copies == std::vector<std::string>(2, local));
  });
}

TEST_CASE("children spawn children, also while the group ends, and all are waited for") {
  run([]() -> task<> {
    struct tree {
      static task<> grow(task_group& group, int depth, int& ended) {
        co_await rota::yield();
        if (depth != 0) {
          group.spawn(grow, std::ref(group), depth - 1, std::ref(ended));
          group.spawn(grow, std::ref(group), depth - 1, std::ref(ended));
        }
        ++ended;
      }
    };
    int ended = 0;
    const auto body = [&](task_group& group) -> task<> {
      group.spawn(tree::grow, std::ref(group), 6, std::ref(ended));
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(ended == 127);
  });
}

TEST_CASE("the last step of the last child may still spawn") {
  run([]() -> task<> {
    int ended = 0;
    const auto body = [&](task_group& group) -> task<> {
      const auto last = [&]() -> task<> {
        co_await rota::yield();
        REQUIRE(group.size() == 1);
        group.spawn(count_after, std::ref(ended), 3);
      };
      group.spawn(last);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(ended == 1);
  });
}

TEST_CASE("another task of the loop may spawn into an open group") {
  run([]() -> task<> {
    int ended = 0;
    const auto body = [&](task_group& group) -> task<> {
      const auto outsider = [&]() -> task<> {
        group.spawn(count_after, std::ref(ended), 5);
        co_return;
      };
      rota::join_handle<> other = rota::spawn(outsider);
      co_await other;
      REQUIRE(group.size() == 1);
    };
    co_await rota::with_task_group(body);
    REQUIRE(ended == 1);
  });
}

TEST_CASE("a named body is used where it is, any other lives in the group") {
  int alive = 0;
  run([&]() -> task<> {
    struct counting {
      explicit counting(int& n) : token(n) {}
      task<int> operator()(task_group&) {
        co_await rota::yield();
        co_return ++calls;
      }
      rota_test::tracked token;
      int calls = 0;
    };
    counting named(alive);
    for (int i = 1; i != 4; ++i) {
      const int calls = co_await rota::with_task_group(named);
      REQUIRE(calls == i);
      REQUIRE(alive == 1);
    }
    const auto make = [](int n) {
      return rota::with_task_group([n](task_group&) -> task<int> {
        co_await rota::yield();
        co_return n;
      });
    };
    rota::task<int> made = make(7);
    const int seven = co_await std::move(made);
    REQUIRE(seven == 7);
  });
  REQUIRE(alive == 0);
}

TEST_CASE("a group that was made and never awaited runs nothing") {
  const rota_test::captured_reports reports;
  int runs = 0;
  {
    const rota_test::frame_balance nothing_left;
    const auto body = [&](task_group&) -> task<> {
      ++runs;
      co_return;
    };
    (void)rota::with_task_group(body);
  }
  REQUIRE(runs == 0);
  REQUIRE(reports.size() == (ROTA_ASSERTIONS ? 1 : 0));
}

TEST_CASE("groups in a row and side by side do not see each other") {
  run([]() -> task<> {
    int ended = 0;
    const auto body = [&](task_group& group) -> task<> {
      for (int i = 0; i != 3; ++i) group.spawn(count_after, std::ref(ended), i);
      co_return;
    };
    for (int i = 0; i != 3; ++i) co_await rota::with_task_group(body);
    REQUIRE(ended == 9);
    const auto both = [&](task_group& outer) -> task<> {
      const auto inner = [&]() -> task<> { co_await rota::with_task_group(body); };
      outer.spawn(inner);
      outer.spawn(inner);
      co_await rota::with_task_group(body);
      REQUIRE(outer.size() <= 2);
    };
    co_await rota::with_task_group(both);
    REQUIRE(ended == 18);
  });
}

TEST_CASE("a group may stand in an expression with other awaits") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<int> {
      group.spawn(number_after, rota::duration(0), 1);
      co_return 2;
    };
    const auto twice = [](int n) -> task<int> {
      co_await rota::yield();
      co_return 2 * n;
    };
    const int eight = co_await twice(co_await twice(co_await rota::with_task_group(body)));
    REQUIRE(eight == 8);
  });
}

TEST_CASE("a hundred nested groups") {
  struct nest {
    static task<int> down(int depth, int& ended) {
      if (depth == 0) co_return 0;
      const auto body = [&](task_group& group) -> task<int> {
        group.spawn(count_after, std::ref(ended), depth % 3);
        const int below = co_await down(depth - 1, ended);
        co_return below + 1;
      };
      co_return co_await rota::with_task_group(body);
    }
  };
  run([]() -> task<> {
    int ended = 0;
    const int depth = co_await nest::down(100, ended);
    REQUIRE(depth == 100);
    REQUIRE(ended == 100);
  });
}

TEST_CASE("a group without children needs no event loop, a child does") {
  const auto body = [](task_group&) -> task<int> { co_return 3; };
  REQUIRE(rota::sync_wait(rota::with_task_group(body)) == 3);
  const auto spawns = [](task_group& group) -> task<> {
    REQUIRE(rota_test::usage_error_of([&] { return group.spawn(number_after, rota::duration(0), 1); }) ==
            rota::usage_error::kind::no_event_loop);
    REQUIRE(group.size() == 0);
    co_return;
  };
  rota::sync_wait(rota::with_task_group(spawns));
}

TEST_CASE("a group refuses other threads and other loops") {
  run([]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      const auto spawns = [&] { return group.spawn(number_after, rota::duration(0), 1); };
      std::optional<rota::usage_error::kind> without_loop, in_other_loop;
      std::thread other([&] {
        without_loop = rota_test::usage_error_of(spawns);
        rota::event_loop loop;
        loop.run([](auto& spawn_there, auto& kind) -> task<> {
          kind = rota_test::usage_error_of(spawn_there);
          co_return;
        }(spawns, in_other_loop));
      });
      other.join();
      REQUIRE(without_loop == rota::usage_error::kind::wrong_thread);
      REQUIRE(in_other_loop == rota::usage_error::kind::wrong_thread);
      REQUIRE(group.size() == 0);
      co_return;
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("a group that has ended refuses children, whoever asks") {
  // The group's own cleanup runs after the last child: nobody would wait for what it spawns.
  run([]() -> task<> {
    rota::this_task::set_name("opener");
    std::optional<rota::usage_error::kind> spawned, started;
    std::string text;
    int runs = 0;
    const auto body = [&](task_group& group) -> task<> {
      const auto cleanup = [&]() -> task<> {
        const auto child = [&]() -> task<> {
          ++runs;
          co_return;
        };
        const auto ready = [&](rota::task_status<> status) -> task<> {
          status.started();
          ++runs;
          co_return;
        };
        spawned = rota_test::usage_error_of([&] { return group.spawn(child); });
        const std::exception_ptr error = co_await rota_test::exception_of(group.start(ready));
        started = rota_test::caught<rota::usage_error>(error).which();
        text = rota_test::text_of(error);
      };
      group.defer(1s, cleanup);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(spawned == rota::usage_error::kind::invalid_argument);
    REQUIRE(started == rota::usage_error::kind::invalid_argument);
    REQUIRE(text.find("the task group of task 'opener', last at ") != std::string::npos);
    REQUIRE(runs == 0);
  });
}

TEST_CASE("a group refuses its own thread while its loop does not run") {
  rota::event_loop loop;
  task_group* kept = nullptr;
  const auto body = [&](task_group& group) -> task<> {
    kept = &group;
    loop.stop();
    co_await rota::sleep_for(1h);
  };
  const auto main = [&]() -> task<> { co_await rota::with_task_group(body); };
  REQUIRE(rota_test::error_code_of([&] {
            loop.run(main());
            return 0;
          }) == rota::errc::loop_stopped);
  REQUIRE(rota_test::usage_error_of([&] { return kept->spawn(number_after, rota::duration(0), 1); }) ==
          rota::usage_error::kind::wrong_loop);
}

TEST_CASE("in debug builds and debug mode a group and a cancel scope end the program when another thread uses them") {
  using use = void (*)(task_group&, rota::cancel_scope&);
  const struct {
    use what;
    const char* says;
  } cases[] = {
      {[](task_group& group, rota::cancel_scope&) { group.cancel(); }, "task_group::cancel() was called"},
      {[](task_group&, rota::cancel_scope& scope) { scope.cancel(); }, "cancel_scope::cancel() was called"},
      {[](task_group&, rota::cancel_scope& scope) { scope.set_deadline(rota::time_point::max()); },
       "cancel_scope::set_deadline() was called"},
      {[](task_group& group, rota::cancel_scope&) { group.defer(1s, [] { return rota::yield(); }); },
       "task_group::defer() was called"},
  };
  for (const auto& one : cases) {
    const auto child = rota_test::run_in_child([&] {
      const auto main = [&]() -> task<> {
        const auto in_scope = [&](rota::cancel_scope& scope) -> task<> {
          const auto in_group = [&](task_group& group) -> task<> {
            rota::this_task::set_name("owner");
            std::thread([&] { one.what(group, scope); }).join();
            co_return;
          };
          co_await rota::with_task_group(in_group);
        };
        co_await rota::with_cancel_scope(in_scope);
      };
      rota::event_loop_options options;
      options.debug = !ROTA_ASSERTIONS;
      rota::run(main(), options);
      return 0;
    });
    INFO(child.output);
    REQUIRE(child.signal() == SIGABRT);
    REQUIRE(child.says(std::string(one.says) + " on another thread than its event loop's, by no task"));
    REQUIRE(child.says("it belongs to task 'owner'"));
  }
}

TEST_CASE("in debug builds a group that is used after its end says so, as long as its memory is not used again") {
  if (!ROTA_ASSERTIONS || rota_test::under_asan || rota_test::under_tsan) SKIP("the sanitizers say it better");
  run([]() -> task<> {
    task_group* kept = nullptr;
    const auto body = [&](task_group& group) -> task<> {
      kept = &group;
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(rota_test::usage_error_of([&] { return kept->spawn(number_after, rota::duration(0), 1); }) ==
            rota::usage_error::kind::invalid_argument);
  });
}
