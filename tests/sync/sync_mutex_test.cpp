#include <rota/sync/sync_mutex.hpp>

#include <mutex>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::sync_mutex;
using rota::task;

#if ROTA_ASSERTIONS
template <class F>
rota_test::child_outcome ends(F body) {
  return rota_test::child_process([&] {
           body();
           return 0;
         })
      .wait();
}
#endif

}  // namespace

TEST_CASE("a sync_mutex lets one thread in at a time, and works with the standard's guards") {
  sync_mutex m;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i != 3; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k != 1'000; ++k) {
        const std::lock_guard guard(m);
        ++count;
      }
    });
  for (std::thread& one : threads) one.join();
  REQUIRE(count == 3'000);
  std::unique_lock first(m, std::try_to_lock);
  REQUIRE(first.owns_lock());
  bool second = true;
  std::thread([&] { second = m.try_lock(); }).join();
  REQUIRE_FALSE(second);
}

TEST_CASE("a task may hold a sync_mutex between two awaits") {
  rota_test::run([]() -> task<> {
    sync_mutex m;
    for (int i = 0; i != 2; ++i) {
      {
        const sync_mutex::guard lock(m);
      }
      co_await rota::yield();
    }
  });
}

#if ROTA_ASSERTIONS

TEST_CASE("a task that awaits with a sync_mutex held ends the program, which names both lines") {
  const rota_test::child_outcome end = ends([] {
    rota::run([]() -> task<> {
      sync_mutex m;
      m.lock();
      co_await rota::yield();
      m.unlock();
    }());
  });
  INFO(end.output);
  REQUIRE(end.signal() == SIGABRT);
  REQUIRE(end.says("a task awaits at "));
  REQUIRE(end.says("sync_mutex_test.cpp:"));
  REQUIRE(end.says(" while its thread holds a sync_mutex, locked at "));
}

TEST_CASE("a guard of sync_mutex tells its line, and one of the standard library is told to hide it") {
  const rota_test::child_outcome own = ends([] {
    rota::run([]() -> task<> {
      sync_mutex m;
      const sync_mutex::guard lock(m);
      co_await rota::yield();
    }());
  });
  INFO(own.output);
  REQUIRE(own.says(" while its thread holds a sync_mutex, locked at "));
  REQUIRE(own.output.find("sync_mutex_test.cpp:", own.output.find("locked at ")) != std::string::npos);

  const rota_test::child_outcome standard = ends([] {
    rota::run([]() -> task<> {
      sync_mutex m;
      const std::unique_lock lock(m);
      co_await rota::yield();
    }());
  });
  INFO(standard.output);
  REQUIRE(standard.says("locked by a guard of the standard library, which hides the line"));
  REQUIRE(standard.says("sync_mutex_test.cpp:"));
}

#if !ROTA_TSAN  // it would end these programs first

TEST_CASE("a second lock, an unlock by a stranger and destruction while it is locked end the program") {
  const rota_test::child_outcome twice = ends([] {
    sync_mutex m;
    m.lock();
    m.lock();
  });
  INFO(twice.output);
  REQUIRE(twice.signal() == SIGABRT);
  REQUIRE(twice.says("a thread locked a sync_mutex that it holds already, and would wait for ever, at "));

  const rota_test::child_outcome stranger = ends([] {
    sync_mutex m;
    m.lock();
    std::thread([&] { m.unlock(); }).join();
  });
  INFO(stranger.output);
  REQUIRE(stranger.signal() == SIGABRT);
  REQUIRE(stranger.says("a thread unlocked a sync_mutex that it does not hold, at "));

  const rota_test::child_outcome locked = ends([] {
    sync_mutex m;
    m.lock();
  });
  INFO(locked.output);
  REQUIRE(locked.signal() == SIGABRT);
  REQUIRE(locked.says("a sync_mutex was destroyed while it was locked"));
}

#endif
#endif
