// any_thread::mutex, semaphore and event among the tasks of one loop; tests/pool/any_thread_stress_test.cpp has the threads.
#include <rota/sync/any_thread.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;

namespace {

namespace any_thread = rota::any_thread;
using rota::task;
using rota_test::run;

using names = std::vector<std::string>;

// Gets it, notes that, keeps it for a turn.
template <class Awaiter>
task<> keep(Awaiter get, std::string name, names& seen) {
  try {
    const auto got = co_await get();
    seen.push_back(name);
    co_await rota::yield();
    seen.push_back(name + " ends");
  } catch (const rota::cancelled&) {
    seen.push_back(name + " cancelled");
    throw;
  }
}

auto spawn_lock(any_thread::mutex& m, const char* name, names& seen) {
  const auto get = [&m] { return m.lock(); };
  return rota::spawn(keep<decltype(get)>, get, std::string(name), std::ref(seen));
}
auto spawn_take(any_thread::semaphore& s, std::size_t n, const char* name, names& seen) {
  const auto get = [&s, n] { return s.acquire(n); };
  return rota::spawn(keep<decltype(get)>, get, std::string(name), std::ref(seen));
}

task<> pass(any_thread::event& e, std::string name, names& seen) {
  co_await e.wait();
  seen.push_back(name);
}

}  // namespace

TEST_CASE("an any_thread::mutex serves in order, and hands over at once") {
  run([]() -> task<> {
    any_thread::mutex m;
    names seen;
    auto guard = co_await m.lock();
    auto a = spawn_lock(m, "a", seen);
    auto b = spawn_lock(m, "b", seen);
    co_await rota::yield();
    guard.unlock();
    REQUIRE(m.is_locked());
    REQUIRE_FALSE(m.try_lock());
    co_await a;
    co_await b;
    REQUIRE(seen == names{"a", "a ends", "b", "b ends"});
    REQUIRE_FALSE(m.is_locked());
    guard = m.try_lock();
    REQUIRE(guard);
  });
}

TEST_CASE("a waiter of an any_thread::mutex that is cancelled leaves; one that was handed the lock first has it") {
  run([]() -> task<> {
    any_thread::mutex m;
    names seen;
    auto guard = co_await m.lock();
    auto a = spawn_lock(m, "a", seen);
    auto b = spawn_lock(m, "b", seen);
    auto c = spawn_lock(m, "c", seen);
    co_await rota::yield();
    a.cancel();
    guard.unlock();
    b.cancel();
    co_await c;
    REQUIRE(a.cancelled());
    REQUIRE(b.cancelled());
    REQUIRE(seen == names{"a cancelled", "b", "b cancelled", "c", "c ends"});
    REQUIRE_FALSE(m.is_locked());
  });
}

TEST_CASE("an any_thread::mutex whose waiters were all cancelled is free after the unlock") {
  run([]() -> task<> {
    any_thread::mutex m;
    names seen;
    auto guard = co_await m.lock();
    auto a = spawn_lock(m, "a", seen);
    co_await rota::yield();
    a.cancel();
    guard.unlock();
    REQUIRE_FALSE(m.is_locked());
    co_await rota::yield();
    REQUIRE(a.cancelled());
    REQUIRE(rota_test::usage_error_of([&] { guard.unlock(); }) == rota::usage_error::kind::not_held);
  });
}

TEST_CASE(
    "a large request to an any_thread::semaphore is not passed, and lets the others have what there is when it ends") {
  run([]() -> task<> {
    any_thread::semaphore s(3);
    names seen;
    auto mine = co_await s.acquire(2);
    auto large = spawn_take(s, 3, "three", seen);
    auto small = spawn_take(s, 1, "one", seen);
    co_await rota::yield();
    REQUIRE(seen.empty());
    REQUIRE_FALSE(s.try_acquire(1));
    large.cancel();
    co_await small;
    REQUIRE(seen == names{"three cancelled", "one", "one ends"});
    mine.release();
    REQUIRE(s.available() == 3);
    auto again = spawn_take(s, 3, "three", seen);
    co_await again;
    REQUIRE(s.available() == 3);
  });
}

TEST_CASE("an any_thread::semaphore takes permits from outside, and lets them be forgotten") {
  run([]() -> task<> {
    any_thread::semaphore s(0);
    names seen;
    auto a = spawn_take(s, 2, "a", seen);
    co_await rota::yield();
    s.release();
    co_await rota::yield();
    REQUIRE(seen.empty());
    s.release();
    co_await a;
    auto permits = s.try_acquire(2);
    REQUIRE(permits.count() == 2);
    permits.forget();
    REQUIRE(s.available() == 0);
  });
}

TEST_CASE("an any_thread::semaphore refuses more permits than can be counted, held ones included") {
  run([]() -> task<> {
    any_thread::semaphore s(SIZE_MAX);
    using kind = rota::usage_error::kind;
    REQUIRE(rota_test::usage_error_of([&] { s.release(); }) == kind::not_held);
    auto held = co_await s.acquire(2);
    REQUIRE(rota_test::usage_error_of([&] { s.release(); }) == kind::not_held);
    REQUIRE(s.available() == SIZE_MAX - 2);
    held.forget();
    s.release(2);
    REQUIRE(s.available() == SIZE_MAX);
    REQUIRE(rota_test::usage_error_of([&] { s.release(SIZE_MAX); }) == kind::not_held);
  });
}

TEST_CASE("an any_thread::event lets all pass that wait, even if it is reset before they run") {
  run([]() -> task<> {
    any_thread::event e;
    names seen;
    auto a = rota::spawn(pass, std::ref(e), std::string("a"), std::ref(seen));
    auto b = rota::spawn(pass, std::ref(e), std::string("b"), std::ref(seen));
    auto c = rota::spawn(pass, std::ref(e), std::string("c"), std::ref(seen));
    co_await rota::yield();
    b.cancel();
    e.set();
    e.reset();
    co_await a;
    co_await c;
    REQUIRE(b.cancelled());
    REQUIRE(seen == names{"a", "c"});
    REQUIRE_FALSE(e.is_set());
    e.set();
    co_await e.wait();
  });
}

TEST_CASE("in a cancelled scope every any_thread wait throws and takes nothing") {
  run([]() -> task<> {
    any_thread::mutex m;
    any_thread::semaphore s(1);
    any_thread::event e;
    e.set();
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      int thrown = 0;
      try {
        const auto guard = co_await m.lock();
      } catch (const rota::cancelled&) {
        ++thrown;
      }
      try {
        const auto permits = co_await s.acquire();
      } catch (const rota::cancelled&) {
        ++thrown;
      }
      REQUIRE(thrown == 2);
      co_await e.wait();
    };
    const bool finished = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(finished);
    REQUIRE_FALSE(m.is_locked());
    REQUIRE(s.available() == 1);
  });
}

TEST_CASE("a time limit ends a wait for an any_thread::mutex, semaphore and event") {
  run([]() -> task<> {
    any_thread::mutex m;
    any_thread::semaphore s(0);
    any_thread::event e;
    const auto guard = co_await m.lock();
    const auto locked = co_await rota::move_on_after(1ms, m.lock());
    REQUIRE_FALSE(locked);
    const auto acquired = co_await rota::move_on_after(1ms, s.acquire());
    REQUIRE_FALSE(acquired);
    const bool happened = co_await rota::move_on_after(1ms, e.wait());
    REQUIRE_FALSE(happened);
    const auto locked_in_time = co_await rota::as_result(rota::timeout(1ms, m.lock()));
    REQUIRE(locked_in_time.error() == rota::errc::timed_out);
    const auto acquired_in_time = co_await rota::as_result(rota::timeout(1ms, s.acquire()));
    REQUIRE(acquired_in_time.error() == rota::errc::timed_out);
    const auto happened_in_time = co_await rota::as_result(rota::timeout(1ms, e.wait()));
    REQUIRE(happened_in_time.error() == rota::errc::timed_out);
  });
}

TEST_CASE("an any_thread::mutex that is destroyed while it is locked ends the program") {
  const rota_test::child_outcome end_of_it = rota_test::child_process([] {
                                               auto* m = new any_thread::mutex;
                                               const auto guard = m->try_lock();
                                               delete m;
                                               return 0;
                                             }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("an any_thread::mutex was destroyed while it was locked"));
}
