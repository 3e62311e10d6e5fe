#include <rota/sync/shared_mutex.hpp>

#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::shared_mutex;
using rota::task;
using rota_test::run;

using lines = std::vector<std::string>;

task<> read(shared_mutex& m, lines& seen, std::string name) {
  const auto guard = co_await m.lock_shared();
  seen.push_back(name + " in");
  co_await rota::yield();
  seen.push_back(name + " out");
}

task<> write(shared_mutex& m, lines& seen, std::string name) {
  const auto guard = co_await m.lock();
  seen.push_back(name + " in");
  co_await rota::yield();
  seen.push_back(name + " out");
}

auto spawn_read(shared_mutex& m, lines& seen, const char* name) {
  return rota::spawn(read, std::ref(m), std::ref(seen), std::string(name));
}
auto spawn_write(shared_mutex& m, lines& seen, const char* name) {
  return rota::spawn(write, std::ref(m), std::ref(seen), std::string(name));
}

}  // namespace

TEST_CASE("readers are inside together, a writer alone") {
  run([]() -> task<> {
    shared_mutex m;
    lines seen;
    auto a = spawn_read(m, seen, "r1");
    auto b = spawn_read(m, seen, "r2");
    auto c = spawn_write(m, seen, "w");
    auto d = spawn_read(m, seen, "r3");
    co_await a;
    co_await b;
    co_await c;
    co_await d;
    REQUIRE(seen == lines{"r1 in", "r2 in", "r1 out", "r2 out", "w in", "w out", "r3 in", "r3 out"});
    REQUIRE_FALSE(m.is_locked());
    REQUIRE(m.readers() == 0);
  });
}

TEST_CASE("a reader that comes after a writer waits behind it, even while others read") {
  run([]() -> task<> {
    shared_mutex m;
    lines seen;
    auto reads = co_await m.lock_shared();
    auto writer = spawn_write(m, seen, "w");
    co_await rota::yield();
    auto late = spawn_read(m, seen, "r");
    co_await rota::yield();
    REQUIRE(m.waiting() == 2);
    {
      const auto barges = m.try_lock_shared();
      REQUIRE_FALSE(barges);
    }
    reads.unlock();
    co_await writer;
    co_await late;
    REQUIRE(seen == lines{"w in", "w out", "r in", "r out"});
  });
}

TEST_CASE("a writer that comes while somebody writes waits in front of readers that come later") {
  run([]() -> task<> {
    shared_mutex m;
    lines seen;
    auto first = co_await m.lock();
    auto a = spawn_write(m, seen, "w");
    auto b = spawn_read(m, seen, "r1");
    auto c = spawn_read(m, seen, "r2");
    co_await rota::yield();
    first.unlock();
    co_await a;
    co_await b;
    co_await c;
    REQUIRE(seen == lines{"w in", "w out", "r1 in", "r2 in", "r1 out", "r2 out"});
  });
}

TEST_CASE("a cancelled writer lets the readers behind it in") {
  run([]() -> task<> {
    shared_mutex m;
    lines seen;
    auto reads = co_await m.lock_shared();
    auto writer = spawn_write(m, seen, "w");
    auto second = spawn_read(m, seen, "r1");
    auto third = spawn_read(m, seen, "r2");
    co_await rota::yield();
    REQUIRE(m.waiting() == 3);
    writer.cancel();
    REQUIRE(m.waiting() == 0);
    REQUIRE(m.readers() == 3);
    co_await second;
    co_await third;
    REQUIRE(writer.cancelled());
    REQUIRE(seen == lines{"r1 in", "r2 in", "r1 out", "r2 out"});
    REQUIRE(reads);
  });
}

TEST_CASE("a downgraded writer reads on, with the readers that waited in front of the next writer") {
  run([]() -> task<> {
    shared_mutex m;
    lines seen;
    auto writes = co_await m.lock();
    auto a = spawn_read(m, seen, "r1");
    auto b = spawn_write(m, seen, "w");
    auto c = spawn_read(m, seen, "r2");
    co_await rota::yield();
    auto reads = writes.downgrade();
    REQUIRE_FALSE(writes);
    REQUIRE(reads);
    REQUIRE(m.readers() == 2);
    co_await a;
    REQUIRE(seen == lines{"r1 in", "r1 out"});
    REQUIRE(m.waiting() == 2);
    reads.unlock();
    co_await b;
    co_await c;
    REQUIRE(seen == lines{"r1 in", "r1 out", "w in", "w out", "r2 in", "r2 out"});
  });
}

TEST_CASE("try_lock and try_lock_shared get what is free and nothing else") {
  run([]() -> task<> {
    shared_mutex m;
    auto one = m.try_lock_shared();
    auto two = m.try_lock_shared();
    REQUIRE(one);
    REQUIRE(two);
    {
      const auto writes = m.try_lock();
      REQUIRE_FALSE(writes);
    }
    one.unlock();
    two = {};
    auto writes = m.try_lock();
    REQUIRE(writes);
    REQUIRE(m.is_locked());
    {
      const auto reads = m.try_lock_shared();
      REQUIRE_FALSE(reads);
    }
    co_return;
  });
}

TEST_CASE("a waiter that is cancelled after the hand-over of a shared_mutex has it") {
  run([]() -> task<> {
    shared_mutex m;
    lines seen;
    auto first = co_await m.lock();
    auto writer = spawn_write(m, seen, "w");
    auto reader = spawn_read(m, seen, "r");
    co_await rota::yield();
    first.unlock();
    writer.cancel();
    co_await reader;
    REQUIRE(writer.cancelled());
    REQUIRE(seen == lines{"w in", "r in", "r out"});
  });
}

TEST_CASE("in a cancelled scope a shared_mutex is not locked, even when it is free") {
  run([]() -> task<> {
    shared_mutex m;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      const auto guard = co_await m.lock_shared();
    };
    const bool finished = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(finished);
    REQUIRE(m.readers() == 0);
  });
}

TEST_CASE("misuse of a shared_mutex is an error: a second unlock, an empty downgrade, a lock within the lock") {
  run([]() -> task<> {
    shared_mutex m;
    auto guard = co_await m.lock();
    REQUIRE(m.holder().find("shared_mutex_test.cpp") != std::string::npos);
    auto kind = rota::usage_error::kind::no_task;
    try {
      const auto again = co_await m.lock_shared();
    } catch (const rota::usage_error& error) {
      kind = error.which();
    }
    REQUIRE(kind == rota::usage_error::kind::would_deadlock);
    auto moved = std::move(guard);
    REQUIRE(rota_test::usage_error_of([&] { guard.unlock(); }) == rota::usage_error::kind::not_held);
    REQUIRE(rota_test::usage_error_of([&] { return guard.downgrade(); }) == rota::usage_error::kind::not_held);
    moved.unlock();
    REQUIRE_FALSE(m.is_locked());
  });
}

namespace {

// Its frame is the task's outermost one: of others try_lock() does not know.
task<> tries_then_locks(shared_mutex& m) {
  const auto guard = m.try_lock();
  REQUIRE(guard);
  const auto again = co_await m.lock_shared();
}

}  // namespace

TEST_CASE("a task that waits for what it has by try_lock() is told so") {
  rota::event_loop loop;
  shared_mutex m;
  const auto wait = [&] { return loop.run(tries_then_locks(m)), 0; };
  REQUIRE(rota_test::usage_error_of(wait) == rota::usage_error::kind::would_deadlock);
  REQUIRE(!m.is_locked());
}

TEST_CASE("a shared_mutex that is destroyed while tasks read under it ends the program") {
  const rota_test::child_outcome end_of_it = rota_test::child_process([] {
                                               rota::run([]() -> task<> {
                                                 auto* m = new shared_mutex;
                                                 const auto guard = co_await m->lock_shared();
                                                 delete m;
                                               }());
                                               return 0;
                                             }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("a shared_mutex was destroyed while 1 tasks read"));
}
