// rota::this_task: what a task is told about itself, and that nobody else is.
#include <rota/scope/stop_token.hpp>
#include <rota/scope/this_task.hpp>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::manual_loop;
using rota_test::run;
namespace this_task = rota::this_task;

task<rota::time_point> deadline() { co_return this_task::deadline(); }
task<std::stop_token> token() { co_return this_task::stop_token(); }

}  // namespace

TEST_CASE("outside of a task everything is refused") {
  const auto refused = [](const char* where) {
    INFO(where);
    const auto kind = rota::usage_error::kind::no_task;
    CHECK(rota_test::usage_error_of([] { return this_task::name(); }) == kind);
    CHECK(rota_test::usage_error_of([] { return this_task::set_name("nobody"), 0; }) == kind);
    CHECK(rota_test::usage_error_of([] { return this_task::id(); }) == kind);
    CHECK(rota_test::usage_error_of([] { return this_task::is_cancelled(); }) == kind);
    CHECK(rota_test::usage_error_of([] { return this_task::checkpoint(), 0; }) == kind);
    CHECK(rota_test::usage_error_of([] { return this_task::stop_token(); }) == kind);
    CHECK(rota_test::usage_error_of([] { return this_task::deadline(); }) == kind);
    CHECK(rota_test::usage_error_of([] { return &this_task::scope(); }) == kind);
  };
  refused("no loop");
  run([&]() -> task<> {
    bool ran = false;
    rota::event_loop::current()->post([&] {
      refused("a post");
      ran = true;
    });
    co_await rota::sleep_for(0ms);
    REQUIRE(ran);
  });
}

TEST_CASE("a task's name is set and read from inside and outside") {
  run([]() -> task<> {
    const auto body = []() -> task<> {
      REQUIRE(this_task::name() == "given");
      co_await rota::yield();
      const auto deeper = []() -> task<> {
        this_task::set_name("renamed");
        co_return;
      };
      co_await deeper();
      REQUIRE(this_task::name() == "renamed");
    };
    rota::join_handle<> handle = rota::spawn(body).set_name("given");
    REQUIRE(this_task::name().empty());
    co_await handle;
    REQUIRE(handle.name() == "renamed");
  });
}

TEST_CASE("every task has a number of its own, and reports show it") {
  const rota_test::captured_reports reports;
  run([&]() -> task<> {
    std::set<std::uint64_t> ids;
    const auto body = [&]() -> task<> {
      const std::uint64_t id = this_task::id();
      ids.insert(id);
      co_await rota::yield();
      const auto deeper = []() -> task<std::uint64_t> { co_return this_task::id(); };
      const std::uint64_t below = co_await deeper();
      REQUIRE(below == id);
    };
    std::vector<rota::join_handle<>> handles;
    for (int i = 0; i != 50; ++i) handles.push_back(rota::spawn(body));
    for (auto& handle : handles) co_await handle;
    REQUIRE(ids.size() == 50);
    REQUIRE(ids.count(0) == 0);
    REQUIRE(handles.front().id() == *ids.begin());

    std::uint64_t its = 0;
    const auto fail = [&]() -> task<> {
      its = this_task::id();
      throw std::runtime_error("lost");
      co_return;
    };
    (void)rota::spawn(fail);
    co_await rota::yield();
    co_await rota::yield();
    INFO(reports.all());
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("task " + std::to_string(its) + ","));
  });
}

TEST_CASE("is_cancelled and checkpoint see the state of the innermost scope") {
  run([]() -> task<> {
    const auto body = []() -> task<int> {
      this_task::checkpoint();
      const auto in_scope = [](rota::cancel_scope& scope) -> task<> {
        REQUIRE_FALSE(this_task::is_cancelled());
        scope.cancel("enough");
        REQUIRE(this_task::is_cancelled());
        const auto shielded = []() -> task<> {
          REQUIRE_FALSE(this_task::is_cancelled());
          this_task::checkpoint();
          co_return;
        };
        co_await rota::shield(1h, shielded());
        this_task::checkpoint();
        FAIL("the checkpoint did not throw");
      };
      const bool finished = co_await rota::with_cancel_scope(in_scope);
      REQUIRE_FALSE(finished);
      REQUIRE_FALSE(this_task::is_cancelled());
      this_task::checkpoint();
      co_return 1;
    };
    const int one = co_await body();
    REQUIRE(one == 1);
  });
}

TEST_CASE("scope() is the innermost one") {
  run([]() -> task<> {
    const rota::scope_node& outer = this_task::scope();
    const auto inner = [&]() -> task<> {
      const rota::scope_node& mine = this_task::scope();
      REQUIRE(&mine != &outer);
      REQUIRE(mine.parent() == &outer);
      REQUIRE_FALSE(mine.is_shielded());
      const auto shielded = []() -> task<> {
        REQUIRE(this_task::scope().is_shielded());
        co_return;
      };
      co_await rota::shield(1h, shielded());
    };
    co_await rota::timeout(1h, inner());
    REQUIRE(&this_task::scope() == &outer);
  });
}

TEST_CASE("the deadline is the earliest one around, up to a shield, also in a child") {
  manual_loop m;
  const auto body = [&]() -> task<> {
    const rota::time_point start = m.loop().now();
    rota::time_point t = co_await deadline();
    REQUIRE(t == rota::time_point::max());
    t = co_await rota::timeout(5s, deadline());
    REQUIRE(t == start + 5s);
    t = co_await rota::timeout(5s, rota::timeout(10s, deadline()));
    REQUIRE(t == start + 5s);
    t = co_await rota::timeout(10s, rota::timeout(5s, deadline()));
    REQUIRE(t == start + 5s);
    t = co_await rota::timeout(5s, rota::shield(20s, deadline()));
    REQUIRE(t == start + 20s);
    const auto in_scope = [&](rota::cancel_scope& scope) -> task<> {
      scope.set_deadline(start + 3s);
      REQUIRE(this_task::deadline() == start + 3s);
      scope.set_deadline(rota::time_point::max());
      REQUIRE(this_task::deadline() == rota::time_point::max());
      scope.cancel();
      REQUIRE(this_task::deadline() == rota::time_point::min());
      co_return;
    };
    (void)co_await rota::with_cancel_scope(in_scope);
    rota::time_point in_a_child;
    const auto child = [&]() -> task<> {
      in_a_child = this_task::deadline();
      co_return;
    };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      (void)group.spawn(child);
      co_return;
    };
    co_await rota::timeout(7s, rota::with_task_group(in_group));
    REQUIRE(in_a_child == start + 7s);
    REQUIRE(this_task::deadline() == rota::time_point::max());
  };
  m.run(body());
}

TEST_CASE("a stop is requested when the task is cancelled, and callbacks run at once") {
  run([]() -> task<> {
    int calls = 0;
    const auto body = [&]() -> task<> {
      const std::stop_token stop = this_task::stop_token();
      const std::stop_callback callback(stop, [&calls] { ++calls; });
      REQUIRE(stop.stop_possible());
      REQUIRE_FALSE(stop.stop_requested());
      co_await rota::sleep_for(1h);
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::yield();
    handle.cancel();
    REQUIRE(calls == 1);
    (void)co_await rota::as_result(handle);
    REQUIRE(calls == 1);
  });
}

TEST_CASE("a scope has one stop state, and it hears of every scope around it but for a shield") {
  run([]() -> task<> {
    std::optional<std::stop_token> of_task;
    std::optional<std::stop_token> of_timeout;
    std::optional<std::stop_token> of_shield;
    const auto shielded = [&]() -> task<> {
      of_shield = this_task::stop_token();
      co_await rota::yield();
      REQUIRE_FALSE(this_task::is_cancelled());
      REQUIRE_FALSE(of_shield->stop_requested());
    };
    const auto inner = [&]() -> task<> {
      of_timeout = this_task::stop_token();
      REQUIRE(*of_timeout == this_task::stop_token());
      REQUIRE(*of_timeout != *of_task);
      rota::join_handle<> other = rota::spawn([]() -> task<> { co_return; });
      REQUIRE(*of_timeout == this_task::stop_token());
      co_await other;
      co_await rota::shield(1h, shielded());
      co_await rota::sleep_for(1h);
    };
    const auto body = [&]() -> task<> {
      of_task = this_task::stop_token();
      co_await rota::timeout(1h, inner());
    };
    rota::join_handle<> handle = rota::spawn(body);
    while (!of_shield) co_await rota::yield();
    handle.cancel();
    REQUIRE(of_task->stop_requested());
    REQUIRE(of_timeout->stop_requested());
    REQUIRE_FALSE(of_shield->stop_requested());
    (void)co_await rota::as_result(handle);
    REQUIRE_FALSE(of_shield->stop_possible());  // its scope has ended
  });
}

TEST_CASE("a deadline requests a stop of its scope only") {
  manual_loop m;
  const auto body = [&]() -> task<> {
    const std::stop_token outer = this_task::stop_token();
    std::stop_token inner;
    const auto sleeper = [&]() -> task<> {
      inner = this_task::stop_token();
      co_await rota::sleep_for(1h);
    };
    const bool in_time = co_await rota::move_on_after(1s, sleeper());
    REQUIRE_FALSE(in_time);
    REQUIRE(inner.stop_requested());
    REQUIRE_FALSE(outer.stop_requested());
  };
  m.run(body());
}

TEST_CASE("in a scope that is cancelled already a stop is requested from the beginning") {
  run([]() -> task<> {
    const auto in_scope = [](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      const std::stop_token late = co_await token();
      REQUIRE(late.stop_requested());
    };
    (void)co_await rota::with_cancel_scope(in_scope);
  });
}

TEST_CASE("a token outlives its scope, its task and its loop, and stays as it is") {
  const rota_test::frame_balance nothing_left;
  std::stop_token kept;
  rota::join_handle<std::stop_token> handle;
  {
    rota::event_loop loop;
    const auto body = [&]() -> task<> {
      kept = co_await rota::timeout(1h, token());
      handle = rota::spawn(token);
      const std::stop_token other = co_await handle;
      REQUIRE(other.stop_possible());
      rota::join_handle<std::stop_token> dropped = rota::spawn(token);
      (void)co_await dropped;
    };
    loop.run(body());
  }
  REQUIRE_FALSE(kept.stop_requested());
  REQUIRE_FALSE(kept.stop_possible());
  REQUIRE_FALSE(handle.result().stop_requested());
  handle = {};
}

TEST_CASE("another thread waits with the token of a task, and goes on when that is cancelled") {
  run([]() -> task<> {
    std::atomic<bool> woken{false};
    std::thread worker;
    const auto body = [&]() -> task<> {
      worker = std::thread([&woken, stop = this_task::stop_token()] {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::unique_lock guard(mutex);
        woken = !changed.wait(guard, stop, [] { return false; });
      });
      co_await rota::sleep_for(1h);
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::yield();
    handle.cancel();
    (void)co_await rota::as_result(handle);
    worker.join();
    REQUIRE(woken);
  });
}

TEST_CASE("a task in sync_wait knows itself, too") {
  const auto body = []() -> task<std::uint64_t> {
    this_task::set_name("alone");
    REQUIRE(this_task::name() == "alone");
    REQUIRE_FALSE(this_task::is_cancelled());
    REQUIRE(this_task::deadline() == rota::time_point::max());
    const std::stop_token stop = this_task::stop_token();
    REQUIRE_FALSE(stop.stop_requested());
    co_return this_task::id();
  };
  REQUIRE(rota::sync_wait(body()) != 0);
}
