// A pool under pressure: more threads than cores, work from outside while it forks or while its tasks wake each other; and what
// its statistics say of that.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "support/meeting.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::thread_pool;
using rota_test::meeting;

task<int> give(int n) { co_return n; }
task<long> fib(int n, std::size_t* calls = nullptr) {
  if (calls) ++*calls;
  if (n < 2) co_return n;
  auto both = co_await rota::when_all(fib(n - 1, calls), fib(n - 2, calls));
  co_return std::get<0>(both) + std::get<1>(both);
}

/// What a task of the crowd shares with the others.
struct shared {
  rota::any_thread::mutex m;
  std::uint64_t visits = 0;  // under the mutex
  std::atomic<std::uint64_t> begun{0}, ended{0};
};
task<> one_of_many(shared& all, std::uint64_t seed) {
  struct accounted {
    explicit accounted(shared& a) noexcept : of(a) { of.begun.fetch_add(1); }
    ~accounted() { of.ended.fetch_add(1); }
    shared& of;
  } const here(all);
  rota::detail::random dice(seed);
  for (int i = 0; i != 4; ++i) {
    const long sum = co_await fib(8);
    if (sum != 21) FAIL("a wrong sum");
    if (dice.below(4) == 0) co_await rota::sleep_for(std::chrono::microseconds(dice.below(200)));
    const auto guard = co_await all.m.lock();
    ++all.visits;
    if (dice.below(4) == 0) co_await rota::yield();  // another thread may go on with the lock
  }
}
task<> crowd(shared& all, std::uint64_t seed) {
  const auto body = [&](rota::task_group& group) -> task<> {
    for (std::uint64_t i = 0; i != 16; ++i) group.spawn(one_of_many, std::ref(all), seed * 100 + i);
    co_return;
  };
  co_await rota::with_task_group(body);
}
task<> never_ends() {
  for (;;) co_await rota::yield();
}

/// Many times as many threads as cores.
unsigned too_many() { return std::max(64U, 8 * rota::usable_cpus()); }

TEST_CASE("of 64 threads on a few cores each has its turn") {
  thread_pool pool(too_many());
  for (std::size_t round = rota_test::scaled(20, 5, 5); round != 0; --round) {
    meeting all;
    std::vector<rota::pool_handle<>> handles;
    const int everybody = static_cast<int>(pool.threads());
    for (int i = 0; i != everybody; ++i) handles.push_back(pool.spawn([&all, everybody] { all.wait_for(everybody); }));
    for (rota::pool_handle<>& one : handles) rota::sync_wait(one);
    REQUIRE(all.arrived.load() == everybody);
  }
}

TEST_CASE(
    "64 threads on a few cores: forks, groups, locks, sleeps and cancels at random, everything is accounted for") {
  shared all;
  rota::detail::random dice(11);
  std::size_t done = 0, cancelled = 0;
  {
    thread_pool pool(too_many());
    for (std::size_t round = rota_test::scaled(12, 3, 3); round != 0; --round) {
      std::vector<rota::pool_handle<>> handles;
      for (int i = 0; i != 8; ++i) handles.push_back(pool.spawn(crowd, std::ref(all), dice.next()));
      handles[dice.below(8)].cancel("at random");
      for (rota::pool_handle<>& one : handles) {
        try {
          rota::sync_wait(one);
          ++done;
        } catch (const std::system_error& error) {
          REQUIRE(error.code() == rota::errc::task_cancelled);
          ++cancelled;
        }
      }
      REQUIRE(all.begun.load() == all.ended.load());
      REQUIRE_FALSE(all.m.is_locked());
    }
    for (int i = 0; i != 100; ++i) (void)pool.spawn(never_ends);
  }  // and it goes while all of them are busy
  REQUIRE(done >= 7 * cancelled);
  REQUIRE(all.visits >= done * 16 * 4);
  REQUIRE(all.begun.load() == all.ended.load());
}

TEST_CASE("what is given to a pool from outside waits for few forks, however many there will be") {
  thread_pool pool(1);
  const auto flat = [&]() -> task<std::size_t> {
    std::atomic<bool> ran{false};
    auto outside = pool.spawn([&] { ran.store(true); });
    std::size_t forks = 0;
    for (; !ran.load() && forks != 10'000; ++forks) (void)co_await rota::when_all(give(1), give(2));
    co_await outside;
    co_return forks;
  };
  const auto deep = [&]() -> task<std::size_t> {
    std::size_t calls = 0, before = 0;
    auto outside = pool.spawn([&] { before = calls; });
    (void)co_await fib(20, &calls);
    co_await outside;
    co_return calls > 20'000 ? before : 20'000;
  };
  for (int i = 0; i != 3; ++i) {
    REQUIRE(rota::sync_wait(pool.run(flat)) <= 33);
    REQUIRE(rota::sync_wait(pool.run(deep)) <= 100);
  }
}

TEST_CASE("tasks of a pool that wake each other without an end starve nobody") {
  thread_pool pool(1);
  auto there = rota::mpsc_channel<int>(1);
  auto back = rota::mpsc_channel<int>(1);
  std::size_t turns = 0, seen = 0;
  const auto answers = [](rota::thread_receiver<int, false> from, rota::thread_sender<int> to) -> task<> {
    while (auto item = co_await from.next()) co_await to.send(*item);
  };
  const auto asks = [&](rota::thread_receiver<int, false> from, rota::thread_sender<int> to) -> task<> {
    while (seen == 0 && turns != 10'000) {
      co_await to.send(1);
      (void)co_await from.next();
      if (++turns == 10) (void)pool.spawn([&] { seen = turns; });
    }
  };
  auto one = pool.spawn(answers, std::move(there.rx), std::move(back.tx));
  auto other = pool.spawn(asks, std::move(back.rx), std::move(there.tx));
  rota::sync_wait(other);
  rota::sync_wait(one);
  REQUIRE(seen >= 10);
  REQUIRE(seen <= 12);
}

TEST_CASE("statistics tell how long the queue and the deques are") {
  thread_pool pool(1);
  meeting gate;
  auto holds = pool.spawn([&] { gate.wait_for(2); });
  while (gate.arrived.load() != 1) std::this_thread::yield();
  std::vector<rota::pool_handle<>> wait;
  for (int i = 0; i != 3; ++i) wait.push_back(pool.spawn([] {}));
  REQUIRE(pool.statistics().queued == 3);
  REQUIRE(pool.statistics().workers[0].deque == 0);
  gate.wait_for(2);
  rota::sync_wait(holds);
  for (auto& one : wait) rota::sync_wait(one);
  REQUIRE(pool.statistics().queued == 0);

  const auto looks = [&]() -> task<std::size_t> { co_return pool.statistics().workers[0].deque; };
  const auto forks = [&]() -> task<std::size_t> {
    auto seen = co_await rota::when_all(looks(), looks(), looks(), looks());
    co_return std::get<0>(seen) + std::get<1>(seen) + std::get<2>(seen) + std::get<3>(seen);
  };
  REQUIRE(rota::sync_wait(pool.run(forks)) == 3 + 2 + 1 + 0);
}

TEST_CASE("statistics tell what was stolen, and that it was tried for") {
  thread_pool pool(2);
  const auto meets = [](meeting& m) -> task<> {
    m.wait_for(2);  // blocks: the other child needs the other worker
    co_return;
  };
  const auto forks = [&]() -> task<> {
    meeting m;
    co_await rota::when_all(meets(m), meets(m));
  };
  for (int i = 0; i != 5; ++i) rota::sync_wait(pool.run(forks));
  std::uint64_t stolen = 0, forked = 0, tries = 0;
  for (const rota::pool_worker_statistics& w : pool.statistics().workers) {
    REQUIRE(w.stolen <= w.steal_tries);
    REQUIRE(w.stolen <= w.forks);
    stolen += w.stolen;
    forked += w.forks;
    tries += w.steal_tries;
  }
  REQUIRE(stolen == 5);
  REQUIRE(forked == 5);
  REQUIRE(tries >= 5);
}

}  // namespace
