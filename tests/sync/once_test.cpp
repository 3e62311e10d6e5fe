#include <rota/sync/once.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::once;
using rota::task;
using rota_test::run;

using names = std::vector<std::string>;

// Calls something that takes a turn and may fail; notes what it did and how the call ended.
task<> call(once& o, std::string name, bool fails, names& seen) {
  const auto work = [&]() -> task<> {
    seen.push_back(name + " runs");
    co_await rota::yield();
    if (fails) throw std::runtime_error("no luck");
  };
  try {
    co_await o.call(work);
    seen.push_back(name + " done");
  } catch (const std::runtime_error&) {
    seen.push_back(name + " failed");
  } catch (const rota::cancelled&) {
    seen.push_back(name + " cancelled");
    throw;
  }
}

auto spawn_call(once& o, const char* name, names& seen, bool fails = false) {
  return rota::spawn(call, std::ref(o), std::string(name), fails, std::ref(seen));
}

}  // namespace

TEST_CASE("the first caller of a once runs, the others wait for its end and run nothing") {
  run([]() -> task<> {
    once o;
    names seen;
    auto a = spawn_call(o, "a", seen);
    auto b = spawn_call(o, "b", seen);
    auto c = spawn_call(o, "c", seen);
    co_await a;
    co_await b;
    co_await c;
    REQUIRE(o.is_done());
    auto d = spawn_call(o, "d", seen);
    co_await d;
    REQUIRE(seen == names{"a runs", "a done", "b done", "c done", "d done"});
  });
}

TEST_CASE("a failure is its caller's alone, and the next in the queue tries") {
  run([]() -> task<> {
    once o;
    names seen;
    auto a = spawn_call(o, "a", seen, true);
    auto b = spawn_call(o, "b", seen);
    auto c = spawn_call(o, "c", seen);
    co_await a;
    REQUIRE_FALSE(o.is_done());
    co_await b;
    co_await c;
    REQUIRE(seen == names{"a runs", "a failed", "b runs", "b done", "c done"});
  });
}

TEST_CASE("after a failure that nobody waited for, the next caller tries") {
  run([]() -> task<> {
    once o;
    names seen;
    auto a = spawn_call(o, "a", seen, true);
    co_await a;
    auto b = spawn_call(o, "b", seen);
    co_await b;
    REQUIRE(seen == names{"a runs", "a failed", "b runs", "b done"});
  });
}

TEST_CASE("a runner that is cancelled passes on, and so does one that is cancelled before it has begun") {
  run([]() -> task<> {
    once o;
    names seen;
    auto a = spawn_call(o, "a", seen);
    auto b = spawn_call(o, "b", seen);
    auto c = spawn_call(o, "c", seen);
    auto d = spawn_call(o, "d", seen);
    co_await rota::yield();
    REQUIRE(o.waiting() == 3);
    c.cancel();
    REQUIRE(o.waiting() == 2);
    a.cancel();
    while (o.waiting() == 2) co_await rota::yield();  // until it is b's turn
    b.cancel();
    co_await d;
    REQUIRE(a.cancelled());
    REQUIRE(b.cancelled());
    REQUIRE(c.cancelled());
    REQUIRE(seen == names{"a runs", "a cancelled", "c cancelled", "b runs", "b cancelled", "d runs", "d done"});
    REQUIRE(o.is_done());
  });
}

TEST_CASE("a once calls plain functions, and drops what comes out") {
  run([]() -> task<> {
    once o;
    int calls = 0;
    const auto count = [&calls] { return ++calls; };
    co_await o.call(count);
    co_await o.call(count);
    REQUIRE(calls == 1);
    once throws;
    bool failed = false;
    try {
      co_await throws.call([]() -> int { throw std::runtime_error("no luck"); });
    } catch (const std::runtime_error&) {
      failed = true;
    }
    REQUIRE(failed);
    REQUIRE_FALSE(throws.is_done());
  });
}

TEST_CASE("a once that is called within itself is an error, and stays usable") {
  run([]() -> task<> {
    once o;
    auto kind = rota::usage_error::kind::no_task;
    std::string runner;
    const auto work = [&]() -> task<> {
      runner = o.runner();
      try {
        co_await o.call([] {});
      } catch (const rota::usage_error& error) {
        kind = error.which();
      }
    };
    co_await o.call(work);
    INFO(runner);
    REQUIRE(runner.find(", since ") != std::string::npos);
    REQUIRE(runner.find("once_test.cpp", runner.find(", since ")) != std::string::npos);
    REQUIRE(kind == rota::usage_error::kind::would_deadlock);
    REQUIRE(o.is_done());
    REQUIRE(o.runner() == "nobody");
  });
}
