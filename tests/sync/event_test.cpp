#include <rota/sync/event.hpp>

#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::event;
using rota::event_reset;
using rota::task;
using rota_test::run;

using names = std::vector<std::string>;

task<> wait_for(event& e, std::string name, names& seen) {
  try {
    co_await e.wait();
    seen.push_back(name);
  } catch (const rota::cancelled&) {
    seen.push_back(name + " cancelled");
    throw;
  }
}

auto spawn_wait(event& e, const char* name, names& seen) {
  return rota::spawn(wait_for, std::ref(e), std::string(name), std::ref(seen));
}

}  // namespace

TEST_CASE("an event that is set lets all pass that wait, and all that come later") {
  run([]() -> task<> {
    event e;
    names seen;
    auto a = spawn_wait(e, "a", seen);
    auto b = spawn_wait(e, "b", seen);
    co_await rota::yield();
    REQUIRE(e.waiting() == 2);
    e.set();
    co_await e.wait();
    REQUIRE(seen.empty());  // an event that is set does not suspend
    co_await a;
    co_await b;
    REQUIRE(seen == names{"a", "b"});
    REQUIRE(e.is_set());
    REQUIRE(e.try_wait());
    REQUIRE(e.is_set());
  });
}

TEST_CASE("set() lets all pass that wait, even if reset() follows before they run") {
  run([]() -> task<> {
    event e;
    names seen;
    auto a = spawn_wait(e, "a", seen);
    auto b = spawn_wait(e, "b", seen);
    co_await rota::yield();
    e.set();
    e.reset();
    auto c = spawn_wait(e, "c", seen);
    co_await a;
    co_await b;
    co_await rota::yield();
    REQUIRE(seen == names{"a", "b"});
    e.set();
    co_await c;
  });
}

TEST_CASE("an automatic event lets one pass for each set(), first come first") {
  run([]() -> task<> {
    event e(event_reset::automatic);
    names seen;
    auto a = spawn_wait(e, "a", seen);
    auto b = spawn_wait(e, "b", seen);
    co_await rota::yield();
    e.set();
    REQUIRE_FALSE(e.is_set());
    REQUIRE_FALSE(e.try_wait());
    co_await a;
    REQUIRE(seen == names{"a"});
    e.set();
    co_await b;
    e.set();
    e.set();  // is set already
    REQUIRE(e.is_set());
    co_await e.wait();
    REQUIRE_FALSE(e.is_set());
  });
}

TEST_CASE("a cancelled waiter uses no set() of an automatic event up") {
  run([]() -> task<> {
    event e(event_reset::automatic);
    names seen;
    auto a = spawn_wait(e, "a", seen);
    auto b = spawn_wait(e, "b", seen);
    co_await rota::yield();
    a.cancel();
    e.set();
    co_await b;
    REQUIRE(a.cancelled());
    REQUIRE(seen == names{"a cancelled", "b"});
  });
}

TEST_CASE("a waiter that an event has let pass and that is then cancelled has passed") {
  run([]() -> task<> {
    event e(event_reset::automatic);
    names seen;
    auto a = spawn_wait(e, "a", seen);
    co_await rota::yield();
    e.set();
    a.cancel();
    co_await a;
    REQUIRE(seen == names{"a"});
  });
}

TEST_CASE("in a cancelled scope an event's wait throws and leaves the event set") {
  run([]() -> task<> {
    event e(event_reset::automatic, true);
    names seen;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await e.wait();
    };
    const bool finished = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(finished);
    REQUIRE(e.is_set());
  });
}

TEST_CASE("a task that waits for a set event again and again lets others have their turn") {
  run([]() -> task<> {
    event e(event_reset::manual, true);
    bool stop = false;
    auto other = rota::spawn(
        [](bool& flag) -> task<> {
          flag = true;
          co_return;
        },
        std::ref(stop));
    while (!stop) co_await e.wait();
    co_await other;
  });
}
