#include <rota/sync/mutex.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::mutex;
using rota::task;
using rota_test::run;

struct diary {
  std::vector<std::string> lines;
  void add(std::string line) { lines.push_back(std::move(line)); }
};

task<> lock_and_log(mutex& m, diary& seen, std::string name) {
  auto guard = co_await m.lock();
  seen.add(name + " in");
  co_await rota::yield();
  seen.add(name + " out");
}

// Locks and ends; or says that it was cancelled.
task<> lock_once(mutex& m, diary& seen, std::string name) {
  try {
    auto guard = co_await m.lock();
    seen.add(name);
  } catch (const rota::cancelled&) {
    seen.add(name + " cancelled");
    throw;
  }
}

}  // namespace

TEST_CASE("a mutex lets one task in at a time, in the order in which they came") {
  run([]() -> task<> {
    mutex m;
    diary seen;
    std::vector<rota::join_handle<>> all;
    for (const char* name : {"a", "b", "c"})
      all.push_back(rota::spawn(lock_and_log, std::ref(m), std::ref(seen), std::string(name)));
    for (auto& one : all) co_await one;
    REQUIRE(seen.lines == std::vector<std::string>{"a in", "a out", "b in", "b out", "c in", "c out"});
    REQUIRE_FALSE(m.is_locked());
  });
}

TEST_CASE("an unlock hands the mutex over at once: whoever comes later finds it locked") {
  run([]() -> task<> {
    mutex m;
    diary seen;
    auto guard = co_await m.lock();
    auto waits = rota::spawn(lock_once, std::ref(m), std::ref(seen), std::string("first"));
    co_await rota::yield();
    REQUIRE(m.waiting() == 1);
    guard.unlock();
    REQUIRE_FALSE(guard.owns_lock());
    REQUIRE(m.is_locked());
    {
      const auto barges = m.try_lock();
      REQUIRE_FALSE(barges);
    }
    guard = co_await m.lock();
    seen.add("second");
    co_await waits;
    REQUIRE(seen.lines == std::vector<std::string>{"first", "second"});
  });
}

TEST_CASE("try_lock gives a guard that holds the mutex, or an empty one") {
  run([]() -> task<> {
    mutex m;
    {
      const auto guard = m.try_lock();
      REQUIRE(guard);
      const auto second = m.try_lock();
      REQUIRE_FALSE(second);
    }
    REQUIRE_FALSE(m.is_locked());
    co_return;
  });
}

TEST_CASE("a waiter whose task is cancelled leaves the queue and never has the mutex") {
  run([]() -> task<> {
    mutex m;
    diary seen;
    auto guard = co_await m.lock();
    auto first = rota::spawn(lock_once, std::ref(m), std::ref(seen), std::string("first"));
    auto second = rota::spawn(lock_once, std::ref(m), std::ref(seen), std::string("second"));
    co_await rota::yield();
    first.cancel();
    REQUIRE(m.waiting() == 1);
    guard.unlock();
    co_await second;
    REQUIRE(seen.lines == std::vector<std::string>{"first cancelled", "second"});
    REQUIRE(first.cancelled());
  });
}

TEST_CASE("a waiter that is cancelled after the hand-over has the mutex, and gives it on when it ends") {
  run([]() -> task<> {
    mutex m;
    diary seen;
    auto guard = co_await m.lock();
    auto first = rota::spawn(lock_and_log, std::ref(m), std::ref(seen), std::string("first"));
    auto second = rota::spawn(lock_once, std::ref(m), std::ref(seen), std::string("second"));
    co_await rota::yield();
    guard.unlock();
    first.cancel();
    co_await second;
    REQUIRE(seen.lines == std::vector<std::string>{"first in", "second"});
    REQUIRE(first.cancelled());
  });
}

TEST_CASE("in a cancelled scope lock() throws, even when the mutex is free") {
  run([]() -> task<> {
    mutex m;
    diary seen;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await lock_once(m, seen, "it");
    };
    const bool finished = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(finished);
    REQUIRE(seen.lines == std::vector<std::string>{"it cancelled"});
    REQUIRE_FALSE(m.is_locked());
  });
}

TEST_CASE("a time limit around lock() leaves the queue when it expires") {
  run([]() -> task<> {
    mutex m;
    const auto guard = co_await m.lock();
    bool timed_out = false;
    auto other = rota::spawn(
        [](mutex& its, bool& late) -> task<> {
          const auto got = co_await rota::move_on_after(1ms, its.lock());
          late = !got.has_value();
        },
        std::ref(m), std::ref(timed_out));
    co_await other;
    REQUIRE(timed_out);
    REQUIRE(m.waiting() == 0);
  });
}

TEST_CASE("the mutex names its holder and the line of its lock") {
  run([]() -> task<> {
    mutex m;
    REQUIRE(m.holder() == "nobody");
    rota::this_task::set_name("importer");
    const unsigned line = __LINE__ + 1;
    auto guard = co_await m.lock();
    INFO(m.holder());
    REQUIRE(m.holder().starts_with("task 'importer', last at "));
    REQUIRE(m.holder().ends_with("mutex_test.cpp:" + std::to_string(line)));
    guard.unlock();
    REQUIRE(m.holder() == "nobody");
  });
}

TEST_CASE("after a hand-over the mutex names the new holder and the line where it waited") {
  run([]() -> task<> {
    mutex m;
    std::string during;
    auto guard = co_await m.lock();
    auto other = rota::spawn(
        [](mutex& its, std::string& seen) -> task<> {
          rota::this_task::set_name("heir");
          auto got = co_await its.lock();
          seen = its.holder();
        },
        std::ref(m), std::ref(during));
    co_await rota::yield();
    guard.unlock();
    co_await other;
    INFO(during);
    REQUIRE(during.starts_with("task 'heir', last at "));
    REQUIRE(during.find(", since ") != std::string::npos);
  });
}

TEST_CASE("a guard can be handed to another task, which then has the mutex until it ends") {
  run([]() -> task<> {
    mutex m;
    std::string holder_seen;
    auto guard = co_await m.lock();
    auto other = rota::spawn(
        [](mutex::guard mine, mutex& its, std::string& holder) -> task<> {
          co_await rota::yield();
          holder = its.holder();
          REQUIRE(mine);
        },
        std::move(guard), std::ref(m), std::ref(holder_seen));
    REQUIRE_FALSE(guard);
    REQUIRE(m.is_locked());
    const auto mine = co_await m.lock();
    REQUIRE(other.done());
    REQUIRE(holder_seen.starts_with("somebody, since "));
  });
}

TEST_CASE("a holder that left its guard to something longer lived is not looked for after its end") {
  run([]() -> task<> {
    mutex m;
    std::unique_ptr<mutex::guard> kept;
    auto ends = rota::spawn(
        [](mutex& its, std::unique_ptr<mutex::guard>& out) -> task<> {
          out.reset(new mutex::guard(its.try_lock()));  // not moved
          co_return;
        },
        std::ref(m), std::ref(kept));
    co_await ends;
    INFO(m.holder());
    REQUIRE(m.holder().starts_with("somebody, since "));
  });
}

TEST_CASE("locking twice in one task is an error that says where the mutex was locked") {
  run([]() -> task<> {
    mutex m;
    const auto guard = co_await m.lock();
    std::string text;
    auto kind = rota::usage_error::kind::no_task;
    try {
      const auto again = co_await m.lock();
    } catch (const rota::usage_error& error) {
      kind = error.which();
      text = error.what();
    }
    INFO(text);
    REQUIRE(kind == rota::usage_error::kind::would_deadlock);
    REQUIRE(text.find("that it has locked itself: held by task") != std::string::npos);
    REQUIRE(m.waiting() == 0);
    REQUIRE(m.is_locked());
  });
}

namespace {

// Nothing is moved: the guard is made where it stays, on the heap.
task<> lock_for_later(mutex& m, std::unique_ptr<mutex::guard>& out, const void*& state) {
  state = rota::detail::running_task();
  out.reset(new mutex::guard(m.try_lock()));
  if (!*out) *out = co_await m.lock();
}

}  // namespace

namespace {

// Its frame is the task's outermost one: of others try_lock() does not know.
task<> tries_then_locks(mutex& m) {
  const auto guard = m.try_lock();
  REQUIRE(guard);
  const auto again = co_await m.lock();
}

}  // namespace

TEST_CASE("a task that waits for what it has by try_lock() is told so") {
  rota::event_loop loop;
  mutex m;
  REQUIRE(rota_test::usage_error_of([&] {
            loop.run(tries_then_locks(m));
            return 0;
          }) == rota::usage_error::kind::would_deadlock);
  REQUIRE(!m.is_locked());
}

TEST_CASE("a task is not accused of what an ended task has left locked, even if it lies in the same place") {
  if (rota_test::under_tsan) {
    SKIP("a task may lie where another one was, and without the frame cache nobody knows where a guard lies");
  }
  run([]() -> task<> {
    mutex m;
    std::unique_ptr<mutex::guard> left, got;
    const void* first = nullptr;
    const void* second = nullptr;
    {
      auto ends = rota::spawn(lock_for_later, std::ref(m), std::ref(left), std::ref(first));
      co_await ends;
    }
    auto waits = rota::spawn(lock_for_later, std::ref(m), std::ref(got), std::ref(second));
    co_await rota::yield();
    REQUIRE(m.waiting() == 1);
    if (!ROTA_PLAIN_FRAMES) REQUIRE(first == second);
    left.reset();
    co_await waits;
    REQUIRE(m.is_locked());
  });
}

TEST_CASE("a task waits for a mutex whose guard it has given away on the heap") {
  if (ROTA_PLAIN_FRAMES) return;  // there a frame is as good as any other block: the guard could be in it
  run([]() -> task<> {
    mutex m;
    auto mine = std::unique_ptr<mutex::guard>(new mutex::guard(m.try_lock()));
    const auto keep = [](std::unique_ptr<mutex::guard>) -> task<> { co_await rota::yield(); };
    auto keeps = rota::spawn(keep, std::move(mine));
    const auto again = co_await m.lock();
    REQUIRE(again);
    REQUIRE(keeps.done());
  });
}

TEST_CASE("unlock() of a guard that holds nothing is an error, and unlocks nobody's mutex") {
  run([]() -> task<> {
    mutex m;
    auto guard = co_await m.lock();
    auto holds = std::move(guard);
    REQUIRE(rota_test::usage_error_of([&] { guard.unlock(); }) == rota::usage_error::kind::not_held);
    REQUIRE(m.is_locked());
    holds.unlock();
    REQUIRE(rota_test::usage_error_of([&] { holds.unlock(); }) == rota::usage_error::kind::not_held);
  });
}

TEST_CASE("a guard that is assigned to unlocks what it held") {
  run([]() -> task<> {
    mutex a, b;
    auto guard = co_await a.lock();
    guard = co_await b.lock();
    REQUIRE_FALSE(a.is_locked());
    REQUIRE(b.is_locked());
  });
}

TEST_CASE("a task that locks a free mutex again and again lets others have their turn") {
  run([]() -> task<> {
    mutex m;
    bool stop = false;
    auto other = rota::spawn(
        [](bool& flag) -> task<> {
          flag = true;
          co_return;
        },
        std::ref(stop));
    while (!stop) auto guard = co_await m.lock();
    co_await other;
  });
}

TEST_CASE("a mutex that is destroyed while it is locked ends the program and names the holder") {
  const rota_test::child_outcome end_of_it = rota_test::child_process([] {
                                               rota::run([]() -> task<> {
                                                 rota::this_task::set_name("hoarder");
                                                 auto* m = new mutex;
                                                 const auto guard = co_await m->lock();
                                                 delete m;
                                               }());
                                               return 0;
                                             }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("a mutex was destroyed while it was held by task 'hoarder', last at "));
}

TEST_CASE("a task of another loop that waits for the same mutex gets an error") {
  // One thread, so that nothing races: the second loop runs inside a task of the first one's thread, after it stopped.
  mutex m;
  rota::event_loop one;
  const auto wait_for_it = [](mutex& its) -> task<> { const auto guard = co_await its.lock(); };
  auto guard = m.try_lock();
  one.run([](mutex& its, auto waits) -> task<> {
    rota::spawn(waits, std::ref(its)).set_name("first");
    co_await rota::yield();
  }(m, wait_for_it));
  REQUIRE(m.waiting() == 1);
  {
    rota::event_loop two;
    REQUIRE(rota_test::usage_error_of([&] { two.run(wait_for_it(m)); }) == rota::usage_error::kind::wrong_loop);
  }
  guard.unlock();
}
