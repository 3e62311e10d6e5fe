// any_thread::mutex, semaphore and event between the tasks of a pool, of two loops and plain threads, under random cancels.
#include <rota/sync/any_thread.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

namespace any_thread = rota::any_thread;
using rota::task;

/// Runs `visit()` many times, at once on a pool of two threads and on two loops, all of it several times; on each of them
/// some of the tasks are cancelled. What visit() counts is looked at after each round.
template <class Visit, class AtEnd>
void stress(Visit visit, AtEnd at_end) {
  const std::size_t rounds = rota_test::scaled(200, 60, 60);
  constexpr std::size_t tasks = 8;
  const auto repeat = [&visit]() -> task<> {
    for (int i = 0; i != 50; ++i) {
      co_await visit();
      if (i % 7 == 0) co_await rota::yield();
    }
  };
  const auto on_a_loop = [&repeat](std::uint64_t seed) -> task<> {
    rota::detail::random dice(seed);
    std::vector<rota::join_handle<>> all;
    for (std::size_t i = 0; i != tasks; ++i) all.push_back(rota::spawn(repeat));
    for (std::uint64_t turns = dice.below(20); turns != 0; --turns) co_await rota::yield();
    all[dice.below(tasks)].cancel("at random");
    for (rota::join_handle<>& one : all) {
      try {
        co_await one;
      } catch (const std::system_error&) {  // was cancelled
      }
    }
  };
  rota::thread_pool pool(2);
  for (std::size_t round = 0; round != rounds; ++round) {
    std::vector<rota::pool_handle<>> on_pool;
    for (std::size_t i = 0; i != tasks; ++i) on_pool.push_back(pool.spawn(repeat));
    std::thread other([&] { rota::run(on_a_loop(round * 3 + 1)); });
    on_pool[round % tasks].cancel("at random");
    rota::run(on_a_loop(round * 5 + 2));
    other.join();
    for (rota::pool_handle<>& one : on_pool) {
      try {
        rota::sync_wait(one);
      } catch (const std::system_error&) {  // was cancelled
      }
    }
    at_end();
  }
}

}  // namespace

TEST_CASE("an any_thread::mutex has one owner among all threads, and what it guards needs no atomics") {
  any_thread::mutex m;
  std::uint64_t visits = 0;  // TSan looks
  std::atomic<std::uint64_t> counted{0};
  const auto visit = [&]() -> task<> {
    const auto guard = co_await m.lock();
    ++visits;
    counted.fetch_add(1, std::memory_order_relaxed);
    if (visits % 5 == 0) co_await rota::yield();  // with the lock
  };
  stress(visit, [&] {
    REQUIRE_FALSE(m.is_locked());
    REQUIRE(visits == counted.load());
  });
  REQUIRE(visits > 1'000);
}

TEST_CASE("an any_thread::semaphore gives out no more permits than it has, and gets all of them back") {
  constexpr std::size_t permits = 3;
  any_thread::semaphore s(permits);
  std::atomic<std::size_t> out{0};
  std::atomic<bool> too_many{false};
  std::atomic<std::uint64_t> visits{0};
  const auto visit = [&]() -> task<> {
    const std::size_t n = 1 + visits.fetch_add(1, std::memory_order_relaxed) % permits;
    const auto mine = co_await s.acquire(n);
    if (out.fetch_add(n) + n > permits) too_many.store(true);
    out.fetch_sub(n);
    if (n == 2) co_await rota::yield();  // with the permits
  };
  stress(visit, [&] {
    REQUIRE(s.available() == permits);
    REQUIRE_FALSE(too_many.load());
  });
  REQUIRE(visits.load() > 1'000);
}

// In these two TSan looks: the destruction must not race with the rest of set(), or of the unlock, on the other thread.
TEST_CASE("who passes an any_thread::event, or sees it set, may destroy it at once") {
  for (std::size_t round = rota_test::scaled(2'000, 500, 500); round != 0; --round) {
    auto e = std::make_unique<any_thread::event>();
    std::thread other([&to = *e] { to.set(); });
    const auto wait_and_destroy = [&]() -> task<> {
      if (round % 2 == 0) {
        while (!e->is_set()) std::this_thread::yield();
      }
      co_await e->wait();
      e.reset();
    };
    rota::run(wait_and_destroy());
    other.join();
  }
}

TEST_CASE("who locks an any_thread::mutex after the last waiter was cancelled may destroy it at once") {
  for (std::size_t round = rota_test::scaled(2'000, 500, 500); round != 0; --round) {
    auto m = std::make_unique<any_thread::mutex>();
    const auto contend_and_destroy = [&]() -> task<> {
      auto guard = m->try_lock();
      const auto wait = [](any_thread::mutex& of) -> task<> { const auto never = co_await of.lock(); };
      rota::join_handle<> waiting = rota::spawn(wait, std::ref(*m));
      co_await rota::yield();
      waiting.cancel();
      (void)co_await rota::as_result(waiting);
      std::thread other([mine = std::move(guard)]() mutable { mine.unlock(); });
      for (;;) {
        auto next = m->try_lock();
        if (next) break;  // and unlocks it
        std::this_thread::yield();
      }
      m.reset();
      other.join();
    };
    rota::run(contend_and_destroy());
  }
}

TEST_CASE("an any_thread::event loses nobody who waits, and what was written before set() is seen after wait()") {
  for (std::size_t round = rota_test::scaled(1'000, 300, 300); round != 0; --round) {
    any_thread::event e;
    int written = 0;
    std::atomic<int> seen{0};
    const auto waits = [&]() -> task<> {
      co_await e.wait();
      seen.fetch_add(written);
    };
    rota::thread_pool pool(2);
    std::vector<rota::pool_handle<>> all;
    for (int i = 0; i != 4; ++i) all.push_back(pool.spawn(waits));
    std::thread other([&] { rota::run(waits()); });
    written = 1;
    e.set();
    other.join();
    for (rota::pool_handle<>& one : all) rota::sync_wait(one);
    REQUIRE(seen.load() == 5);
  }
}
