#include <rota/sync/barrier.hpp>

#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::barrier;
using rota::task;
using rota_test::run;

using names = std::vector<std::string>;

task<> meet(barrier& b, std::string name, names& seen) {
  try {
    const std::size_t index = co_await b.wait();
    seen.push_back(name + " " + std::to_string(index));
  } catch (const std::system_error& error) {
    seen.push_back(name + (error.code() == rota::errc::broken_barrier ? " broken" : " ?"));
  }
}

auto spawn_meet(barrier& b, const char* name, names& seen) {
  return rota::spawn(meet, std::ref(b), std::string(name), std::ref(seen));
}

}  // namespace

TEST_CASE("a barrier lets its parties pass together, each with an index of its own, in round after round") {
  run([]() -> task<> {
    barrier b(3);
    names seen;
    for (int round = 0; round != 2; ++round) {
      seen.clear();
      auto x = spawn_meet(b, "x", seen);
      auto y = spawn_meet(b, "y", seen);
      co_await rota::yield();
      REQUIRE(seen.empty());
      REQUIRE(b.waiting() == 2);
      const std::size_t mine = co_await b.wait();
      REQUIRE(mine == 2);
      co_await x;
      co_await y;
      REQUIRE(seen == names{"x 0", "y 1"});
    }
  });
}

TEST_CASE("whoever comes to a barrier after the last one waits for the next round, before the others have run even") {
  run([]() -> task<> {
    barrier b(2);
    names seen;
    auto x = spawn_meet(b, "x", seen);
    co_await rota::yield();
    (void)co_await b.wait();  // does not suspend
    auto late = spawn_meet(b, "late", seen);
    co_await x;
    co_await rota::yield();
    REQUIRE(seen == names{"x 0"});
    REQUIRE(b.waiting() == 1);
    (void)co_await b.wait();
    co_await late;
    REQUIRE(seen == names{"x 0", "late 0"});
  });
}

TEST_CASE("a task that is cancelled at a barrier was never there") {
  run([]() -> task<> {
    barrier b(2);
    names seen;
    auto x = spawn_meet(b, "x", seen);
    co_await rota::yield();
    x.cancel();
    REQUIRE(b.waiting() == 0);
    auto y = spawn_meet(b, "y", seen);
    co_await rota::yield();
    REQUIRE(seen.empty());
    (void)co_await b.wait();
    co_await y;
    REQUIRE(x.cancelled());
    REQUIRE(seen == names{"y 0"});
  });
}

TEST_CASE("a task that may pass the barrier and is then cancelled has passed") {
  run([]() -> task<> {
    barrier b(2);
    names seen;
    auto x = spawn_meet(b, "x", seen);
    co_await rota::yield();
    (void)co_await b.wait();
    x.cancel();
    co_await x;
    REQUIRE(seen == names{"x 0"});
  });
}

TEST_CASE("an aborted barrier is broken for those who wait and those who come, until it is reset") {
  run([]() -> task<> {
    barrier b(2);
    names seen;
    auto x = spawn_meet(b, "x", seen);
    co_await rota::yield();
    b.abort();
    REQUIRE(b.is_broken());
    co_await x;
    auto y = spawn_meet(b, "y", seen);
    co_await y;
    REQUIRE(seen == names{"x broken", "y broken"});
    b.reset();
    auto z = spawn_meet(b, "z", seen);
    co_await rota::yield();
    (void)co_await b.wait();
    co_await z;
    REQUIRE(seen.back() == "z 0");
  });
}

TEST_CASE("reset breaks a barrier for those who wait and for nobody who comes later") {
  run([]() -> task<> {
    barrier b(2);
    names seen;
    auto x = spawn_meet(b, "x", seen);
    co_await rota::yield();
    b.reset();
    auto y = spawn_meet(b, "y", seen);
    co_await x;
    co_await rota::yield();
    (void)co_await b.wait();
    co_await y;
    REQUIRE(seen == names{"x broken", "y 0"});
  });
}

TEST_CASE("a barrier knows how many wait, whoever came, was cancelled, passed or was sent away") {
  run([]() -> task<> {
    barrier b(4);
    names seen;
    auto x = spawn_meet(b, "x", seen);
    auto y = spawn_meet(b, "y", seen);
    auto z = spawn_meet(b, "z", seen);
    co_await rota::yield();
    REQUIRE(b.waiting() == 3);
    y.cancel();
    REQUIRE(b.waiting() == 2);
    b.abort();
    REQUIRE(b.waiting() == 0);
    auto broken = spawn_meet(b, "broken", seen);
    co_await rota::yield();
    REQUIRE(b.waiting() == 0);
    b.reset();
    auto late = spawn_meet(b, "late", seen);
    late.cancel();  // before its first step
    co_await rota::yield();
    REQUIRE(b.waiting() == 0);
    co_await x;
    co_await z;
    co_await broken;
  });
}

TEST_CASE("a barrier of one lets everybody pass, a barrier of none is an error") {
  run([]() -> task<> {
    barrier b(1);
    const std::size_t first = co_await b.wait();
    REQUIRE(first == 0);
  });
  REQUIRE(rota_test::usage_error_of([] { barrier b(0); }) == rota::usage_error::kind::invalid_argument);
}
