// The event count of a pool: who is woken, and that nobody sleeps while there is work.
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include <rota/pool/futex_semaphore.hpp>
#include <rota/pool/parking.hpp>

#include "support/rota_test.hpp"

namespace {

// Notes what the protocol asks for.
struct noting_semaphore {
  static inline int permits = 0;
  static inline int waits = 0;
  static inline bool comes_soon = false;
  void release() { ++permits; }
  void acquire() {
    ++waits;
    --permits;
  }
  bool acquire_briefly() {
    if (!comes_soon) return false;
    --permits;
    return true;
  }
};
struct noted {
  noted() { noting_semaphore::permits = noting_semaphore::waits = noting_semaphore::comes_soon = 0; }
  rota::detail::parking<noting_semaphore> parking;
};

TEST_CASE("nobody is woken when nobody sleeps") {
  noted n;
  REQUIRE_FALSE(n.parking.notify());
  REQUIRE_FALSE(n.parking.hint());
  n.parking.begin_search();
  REQUIRE_FALSE(n.parking.notify());
  n.parking.end_search();
  REQUIRE(noting_semaphore::permits == 0);
}

TEST_CASE("work that comes between the announcement and the last look is found by that look") {
  noted n;
  n.parking.begin_search();
  n.parking.sleep([] { return true; });
  REQUIRE(n.parking.searching() == 1);
  REQUIRE(n.parking.sleeping() == 0);
  REQUIRE(noting_semaphore::waits == 0);
}

TEST_CASE("who was chosen to wake between announcement and look takes the permit that is on its way") {
  noted n;
  n.parking.begin_search();
  n.parking.sleep([&] { return n.parking.notify(); });
  REQUIRE(n.parking.searching() == 1);
  REQUIRE(n.parking.sleeping() == 0);
  REQUIRE(noting_semaphore::waits == 1);
  REQUIRE(noting_semaphore::permits == 0);
}

TEST_CASE("a sleeper looks once more after a short sleep, for what forks have published") {
  noted n;
  int looks = 0;
  n.parking.begin_search();
  n.parking.sleep([&] { return ++looks == 2; });
  REQUIRE(looks == 2);
  REQUIRE(n.parking.sleeping() == 0);
  REQUIRE(noting_semaphore::waits == 0);
}

TEST_CASE("one notify wakes one sleeper, and none while that one still searches") {
  noted n;
  bool first = true;
  n.parking.begin_search();
  n.parking.begin_search();
  // The second sleeper goes to sleep within the first one's look: two are asleep then.
  n.parking.sleep([&] {
    if (!std::exchange(first, false)) return true;
    n.parking.sleep([&] {
      REQUIRE(n.parking.sleeping() == 2);
      REQUIRE(n.parking.hint());
      REQUIRE_FALSE(n.parking.notify());  // one searches
      REQUIRE(n.parking.searching() == 1);
      n.parking.end_search();  // as the last searcher it wakes the next
      return true;
    });
    return true;
  });
  REQUIRE(noting_semaphore::waits == 2);
  REQUIRE(noting_semaphore::permits == 0);
}

// Producers hand out work through a counter; workers take it and sleep in between. A lost wake-up hangs the test.
void stress(std::size_t workers, std::size_t producers, std::size_t rounds) {
  rota::detail::parking<rota::detail::futex_semaphore> parking;
  std::atomic<std::size_t> work{0};
  std::atomic<std::size_t> done{0};
  std::atomic<bool> stop{false};
  const std::size_t total = producers * rounds;
  std::vector<std::thread> threads;
  for (std::size_t w = 0; w != workers; ++w)
    threads.emplace_back([&] {
      const auto take = [&] {
        std::size_t n = work.load();
        while (n != 0)
          if (work.compare_exchange_weak(n, n - 1)) return true;
        return false;
      };
      for (;;) {
        while (take()) done.fetch_add(1);
        parking.begin_search();
        while (!take()) {
          if (stop.load()) {
            parking.end_search();
            return;
          }
          parking.sleep([&] { return work.load() != 0 || stop.load(); });
        }
        parking.end_search();
        done.fetch_add(1);
      }
    });
  for (std::size_t p = 0; p != producers; ++p)
    threads.emplace_back([&] {
      for (std::size_t i = 0; i != rounds; ++i) {
        work.fetch_add(1);
        parking.notify();
        // Mostly one by one: the pool falls asleep again and again.
        while (i % 4 != 0 && work.load() != 0) std::this_thread::yield();
      }
    });
  while (done.load() != total) std::this_thread::yield();
  stop.store(true);
  parking.wake_all();
  for (std::thread& t : threads) t.join();
  REQUIRE(work.load() == 0);
  REQUIRE(parking.searching() == 0);
  REQUIRE(parking.sleeping() == 0);
}

TEST_CASE("no wake-up is lost: one worker, one producer") { stress(1, 1, rota_test::scaled(20'000, 4'000)); }
TEST_CASE("no wake-up is lost: three workers, two producers") { stress(3, 2, rota_test::scaled(20'000, 4'000)); }
TEST_CASE("no wake-up is lost: eight workers, one producer") { stress(8, 1, rota_test::scaled(10'000, 2'000)); }

}  // namespace
