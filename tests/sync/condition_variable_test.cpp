#include <rota/sync/condition_variable.hpp>

#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::condition_variable;
using rota::mutex;
using rota::task;
using rota_test::run;

using names = std::vector<std::string>;

struct meeting {
  mutex m;
  condition_variable cv;
  names seen;
};

task<> wait_once(meeting& at, std::string name) {
  auto guard = co_await at.m.lock();
  try {
    co_await at.cv.wait(guard);
    at.seen.push_back(name + (guard && at.m.is_locked() ? "" : " without the lock"));
  } catch (const rota::cancelled&) {
    at.seen.push_back(name + " cancelled" + (guard && at.m.is_locked() ? "" : " without the lock"));
    throw;
  }
}

auto spawn_wait(meeting& at, const char* name) { return rota::spawn(wait_once, std::ref(at), std::string(name)); }

}  // namespace

TEST_CASE("notify_one lets the one go on that has waited longest, and notify_all everybody, each under the lock") {
  run([]() -> task<> {
    meeting at;
    auto a = spawn_wait(at, "a");
    auto b = spawn_wait(at, "b");
    auto c = spawn_wait(at, "c");
    co_await rota::yield();
    REQUIRE(at.cv.waiting() == 3);
    REQUIRE_FALSE(at.m.is_locked());
    at.cv.notify_one();
    co_await a;
    REQUIRE(at.seen == names{"a"});
    at.cv.notify_all();
    co_await b;
    co_await c;
    REQUIRE(at.seen == names{"a", "b", "c"});
  });
}

TEST_CASE("a notified task goes on when the notifier has unlocked, behind those who wait for the mutex already") {
  run([]() -> task<> {
    meeting at;
    auto a = spawn_wait(at, "a");
    co_await rota::yield();
    auto guard = co_await at.m.lock();
    auto b = rota::spawn(
        [](meeting& its) -> task<> {
          const auto inner = co_await its.m.lock();
          its.seen.push_back("b");
        },
        std::ref(at));
    co_await rota::yield();
    at.cv.notify_one();
    REQUIRE(at.cv.waiting() == 0);
    REQUIRE(at.m.waiting() == 2);
    guard.unlock();
    co_await a;
    co_await b;
    REQUIRE(at.seen == names{"b", "a"});
  });
}

TEST_CASE("a cancelled wait has the lock again before it throws, and takes nobody's notification") {
  run([]() -> task<> {
    meeting at;
    auto a = spawn_wait(at, "a");
    auto b = spawn_wait(at, "b");
    co_await rota::yield();
    auto guard = co_await at.m.lock();
    a.cancel();
    at.cv.notify_one();
    co_await rota::yield();
    REQUIRE(at.seen.empty());
    REQUIRE(at.m.waiting() == 2);  // a, too
    guard.unlock();
    co_await b;
    REQUIRE(a.cancelled());
    REQUIRE(at.seen == names{"a cancelled", "b"});
    REQUIRE_FALSE(at.m.is_locked());
  });
}

TEST_CASE("whoever was notified and is then cancelled, while it waits for the lock, was notified") {
  run([]() -> task<> {
    meeting at;
    auto a = spawn_wait(at, "a");
    co_await rota::yield();
    auto guard = co_await at.m.lock();
    at.cv.notify_one();
    a.cancel();
    guard.unlock();
    co_await a;
    REQUIRE(at.seen == names{"a"});
  });
}

TEST_CASE("in a cancelled scope a wait throws and has kept the lock all the time") {
  run([]() -> task<> {
    meeting at;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      auto guard = co_await at.m.lock();
      scope.cancel();
      bool threw = false;
      try {
        co_await at.cv.wait(guard);
      } catch (const rota::cancelled&) {
        threw = true;
      }
      REQUIRE(threw);
      REQUIRE(guard);
      REQUIRE(at.m.is_locked());
    };
    (void)co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(at.m.is_locked());
  });
}

TEST_CASE("a wait with a predicate returns when that is true, whatever notifications come before") {
  run([]() -> task<> {
    meeting at;
    int items = 0;
    auto a = rota::spawn(
        [](meeting& its, int& n) -> task<> {
          auto guard = co_await its.m.lock();
          co_await its.cv.wait(guard, [&n] { return n == 2; });
          REQUIRE(guard);
          its.seen.push_back("two");
          co_await its.cv.wait(guard, [&n] { return n == 2; });  // is true already
        },
        std::ref(at), std::ref(items));
    for (int i = 0; i != 2; ++i) {
      co_await rota::yield();
      REQUIRE(at.seen.empty());
      auto guard = co_await at.m.lock();
      ++items;
      at.cv.notify_all();
    }
    co_await a;
    REQUIRE(at.seen == names{"two"});
  });
}

TEST_CASE("a wait with a predicate names the user's line as the one where the lock is held") {
  run([]() -> task<> {
    meeting at;
    std::string holder;
    auto a = rota::spawn(
        [](meeting& its, std::string& seen) -> task<> {
          bool go_on = false;
          auto guard = co_await its.m.lock();
          co_await its.cv.wait(guard, [&] { return std::exchange(go_on, true); });
          seen = its.m.holder();
        },
        std::ref(at), std::ref(holder));
    co_await rota::yield();
    at.cv.notify_one();
    co_await a;
    INFO(holder);
    REQUIRE(holder.find(", since ") != std::string::npos);
    REQUIRE(holder.find("condition_variable_test.cpp", holder.find(", since ")) != std::string::npos);
  });
}

TEST_CASE("a wait with a guard that holds nothing is an error") {
  run([]() -> task<> {
    meeting at;
    mutex::guard nothing;
    auto kind = rota::usage_error::kind::no_task;
    try {
      co_await at.cv.wait(nothing);
    } catch (const rota::usage_error& error) {
      kind = error.which();
    }
    REQUIRE(kind == rota::usage_error::kind::not_held);
    at.cv.notify_all();  // nobody is there
  });
}

TEST_CASE("a condition variable that is destroyed while a task waits ends the program") {
  const rota_test::child_outcome end_of_it =
      rota_test::child_process([] {
        rota::run([]() -> task<> {
          auto* at = new meeting;
          rota::spawn(wait_once, std::ref(*at), std::string("a")).set_name("patient");
          co_await rota::yield();
          delete at;
        }());
        return 0;
      }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("a condition variable was destroyed while 1 waited for it, first task 'patient', last at "));
}
