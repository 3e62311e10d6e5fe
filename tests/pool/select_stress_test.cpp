// select between threads: tasks of two loops and of a pool, and plain threads, meet on the same channels, most of them in
// selects that send on one and receive on another one, some of them cancelled. Every item that was sent is received or still
// inside, once.
#include <rota/sync/select_decision.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;

namespace {

namespace any_thread = rota::any_thread;
using rota::task;
using to = rota::thread_sender<std::uint32_t>;
using from = rota::thread_receiver<std::uint32_t, true>;

/// What all of them share.
struct market {
  explicit market(std::size_t items) : given(items), taken(items) {}

  std::uint32_t new_item() { return next.fetch_add(1, std::memory_order_relaxed); }
  void gave(std::uint32_t item) { given[item].fetch_add(1, std::memory_order_relaxed); }
  void took(std::uint32_t item) { taken[item].fetch_add(1, std::memory_order_relaxed); }

  std::atomic<std::uint32_t> next{0};
  std::vector<std::atomic<std::uint8_t>> given, taken;
  any_thread::mutex m;
  any_thread::semaphore s{2};
  std::uint64_t under_mutex = 0;  // TSan looks
  std::atomic<int> under_permits{0};
  std::atomic<std::uint64_t> met{0}, locked{0}, cancelled{0}, broken{0};
};

struct counted_in {
  explicit counted_in(market& m) noexcept : all(m) {
    if (all.under_permits.fetch_add(1) >= 2) all.broken.fetch_add(1);
  }
  counted_in(const counted_in&) = delete;
  counted_in& operator=(const counted_in&) = delete;
  ~counted_in() { all.under_permits.fetch_sub(1); }
  market& all;
};

/// The ends of one who sends on one channel and receives from another one.
struct trader {
  trader(market& m, to&& t, from&& f) : all(m), tx(std::move(t)), rx(std::move(f)) {}
  market& all;
  to tx;
  from rx;
};

task<> trade_once(trader& its, std::uint32_t item, bool with_permit) {
  market& all = its.all;
  if (with_permit) {
    auto r = co_await rota::select(its.tx.send(item), its.rx.next(), all.s.acquire(), all.m.lock());
    if (r.index() == 0) all.gave(item);
    if (r.index() == 1 && r.get<1>()) all.took(*r.get<1>());
    if (r.index() == 2) {
      const counted_in inside(all);
      co_await rota::yield();
    }
    if (r.index() == 3) {
      ++all.under_mutex;
      all.locked.fetch_add(1, std::memory_order_relaxed);
      co_await rota::yield();
    }
  } else {
    auto r = co_await rota::select(its.tx.send(item), its.rx.next());
    if (r.index() == 0) all.gave(item);
    if (r.index() == 1 && r.get<1>()) all.took(*r.get<1>());
    all.met.fetch_add(1, std::memory_order_relaxed);
  }
}
task<> trade(std::unique_ptr<trader> its, std::uint64_t seed, std::size_t rounds) {
  rota::detail::random dice(seed);
  for (std::size_t i = 0; i != rounds; ++i) {
    const std::uint32_t item = its->all.new_item();
    rota::join_handle<> one = rota::spawn(trade_once, std::ref(*its), item, dice.below(4) == 0);
    if (dice.below(3) == 0) {
      for (std::uint64_t turns = dice.below(4); turns != 0; --turns) co_await rota::yield();
      one.cancel();
    }
    try {
      co_await one;
    } catch (const std::system_error&) {  // was cancelled
      its->all.cancelled.fetch_add(1, std::memory_order_relaxed);
    }
  }
}
task<> trade_side_by_side(market& all, const to& t1, const from& r1, const to& t2, const from& r2, std::uint64_t seed,
                          std::size_t rounds) {
  auto first = std::make_unique<trader>(all, t1.clone(), r2.clone());
  auto second = std::make_unique<trader>(all, t2.clone(), r1.clone());
  task<> a = trade(std::move(first), seed, rounds);
  task<> b = trade(std::move(second), seed + 1, rounds);
  co_await rota::when_all(std::move(a), std::move(b));
}

void drain(market& all, from& rx) {
  while (const auto item = rx.try_receive()) all.took(*item);
}

void run_market(std::size_t capacity, std::size_t rounds, std::uint64_t seed) {
  market all(8 * rounds);
  auto [ta, ra] = rota::mpmc_channel<std::uint32_t>(capacity);
  auto [tb, rb] = rota::mpmc_channel<std::uint32_t>(capacity);
  rota::thread_pool pool(2);
  std::vector<rota::pool_handle<>> on_pool;
  for (int i = 0; i != 2; ++i) {
    auto its = i == 0 ? std::make_unique<trader>(all, ta.clone(), rb.clone())
                      : std::make_unique<trader>(all, tb.clone(), ra.clone());
    on_pool.push_back(pool.spawn(trade, std::move(its), seed + static_cast<std::uint64_t>(i), rounds));
  }
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i != 2; ++i)
    threads.emplace_back([&, i, a = ta.clone(), b = tb.clone(), c = ra.clone(), d = rb.clone()] {
      rota::run(trade_side_by_side(all, a, c, b, d, seed + 10 * i, rounds));
    });
  const auto send_all = [&all, rounds](to tx) {
    for (std::size_t i = 0; i != rounds; ++i) {
      const std::uint32_t item = all.new_item();
      tx.blocking_send(item);
      all.gave(item);
    }
  };
  const auto receive_all = [&all](from rx) {
    while (const auto item = rx.blocking_next()) all.took(*item);
  };
  threads.emplace_back(send_all, ta.clone());
  threads.emplace_back(send_all, tb.clone());
  threads.emplace_back(receive_all, ra.clone());
  threads.emplace_back(receive_all, rb.clone());
  ta.close();
  tb.close();
  for (rota::pool_handle<>& one : on_pool) rota::sync_wait(one);
  for (std::thread& thread : threads) thread.join();
  drain(all, ra);
  drain(all, rb);

  std::size_t lost = 0, twice = 0, items = 0;
  for (std::size_t i = 0; i != all.given.size(); ++i) {
    const int given = all.given[i].load(), taken = all.taken[i].load();
    lost += given > taken;
    twice += taken > given || given > 1;
    items += static_cast<std::size_t>(given);
  }
  INFO("capacity " << capacity << ", seed " << seed << ": " << items << " items, " << all.cancelled.load()
                   << " cancelled");
  REQUIRE(lost == 0);
  REQUIRE(twice == 0);
  REQUIRE(items >= 2 * rounds);
  REQUIRE(all.broken.load() == 0);
  REQUIRE(all.under_mutex == all.locked.load());
  REQUIRE(!all.m.is_locked());
  REQUIRE(all.s.available() == 2);
  REQUIRE(all.met.load() != 0);
  for (from* rx : {&ra, &rb}) {
    const auto left = rx->statistics();
    REQUIRE(left.size + left.reserved + left.waiting_senders + left.waiting_receivers == 0);
  }
}

}  // namespace

TEST_CASE("selects of tasks everywhere over the same channels, with cancels: what was sent is received, once") {
  const std::size_t rounds = rota_test::scaled(5'000, 2'000, 2'000);
  std::uint64_t seed = 1;
  for (const std::size_t capacity : {0u, 1u, 4u}) run_market(capacity, rounds, seed += 100);
}

TEST_CASE("one of a loop's own channels and one of another thread's in a select: both are emptied, nothing is lost") {
  const int count = static_cast<int>(rota_test::scaled(20'000, 2'000, 2'000));
  auto [far_tx, far] = rota::mpsc_channel<int>(4);
  std::thread thread([count, tx = std::move(far_tx)]() mutable {
    for (int i = 0; i != count; ++i) tx.blocking_send(i);
  });
  int selects = 0, near_next = 0, far_next = 0;
  bool in_order = true;
  rota::run([&]() -> task<> {
    auto [near_tx, near] = rota::channel<int>(0);
    const auto send_near = [](rota::sender<int> tx, int n) -> task<> {
      for (int i = 0; i != n; ++i) co_await tx.send(i);
    };
    rota::join_handle<> sending = rota::spawn(send_near, near_tx.clone(), count);
    near_tx.close();
    while (near_next != count || far_next != count) {
      if (near_next == count) {
        auto item = co_await far.receive();
        in_order = in_order && item == far_next++;
        continue;
      }
      if (far_next == count) {
        auto item = co_await near.receive();
        in_order = in_order && item == near_next++;
        continue;
      }
      auto r = co_await rota::select(near.receive(), far.receive());
      if (r.index() == 0) in_order = in_order && r.get<0>() == near_next++;
      if (r.index() == 1) in_order = in_order && r.get<1>() == far_next++;
      ++selects;
    }
    co_await sending;
  }());
  thread.join();
  REQUIRE(in_order);
  REQUIRE(selects != 0);
}
