// select between threads: tasks of two loops and of a pool, and plain threads, meet on the same channels, most of them in
// selects that send on one and receive on another one, some of them cancelled. Every item that was sent is received or still
// inside, once. The last test mixes that with all that a loop has for itself.
#include <rota/sync/select_decision.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
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
  void must(bool holds) { broken.fetch_add(holds ? 0 : 1, std::memory_order_relaxed); }

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

/// REQUIREs that every item that was given has been taken, once, and nothing is held; returns how many items.
std::size_t items_after(market& all) {
  std::size_t lost = 0, twice = 0, items = 0;
  for (std::size_t i = 0; i != all.given.size(); ++i) {
    const int given = all.given[i].load(), taken = all.taken[i].load();
    lost += given > taken;
    twice += taken > given || given > 1;
    items += static_cast<std::size_t>(given);
  }
  INFO(items << " items, " << all.cancelled.load() << " cancelled");
  REQUIRE(lost == 0);
  REQUIRE(twice == 0);
  REQUIRE(all.broken.load() == 0);
  REQUIRE(all.under_mutex == all.locked.load());
  REQUIRE(!all.m.is_locked());
  REQUIRE(all.s.available() == 2);
  return items;
}
template <class Receiver>
void require_empty(const Receiver& rx) {
  const auto left = rx.statistics();
  REQUIRE(left.size + left.reserved + left.waiting_senders + left.waiting_receivers == 0);
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

  INFO("capacity " << capacity << ", seed " << seed);
  REQUIRE(items_after(all) >= 2 * rounds);
  REQUIRE(all.met.load() != 0);
  require_empty(ra);
  require_empty(rb);
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

namespace {

using box = std::unique_ptr<std::uint32_t>;  // an item that is in one place only
using box_to = rota::thread_sender<box>;
using box_from = rota::thread_receiver<box, true>;
using near_ends = rota::channel_ends<rota::sender<box>, rota::receiver<box>>;

/// What one loop has for itself, and its ends of the channels between the loops.
struct home {
  home(market& shared, any_thread::event& rung, const box_to& a_to, const box_from& a_from, const box_to& b_to,
       const box_from& b_from, std::uint64_t seed)
      : all(shared),
        bell(rung),
        ta(a_to.clone()),
        tb(b_to.clone()),
        ra(a_from.clone()),
        rb(b_from.clone()),
        dice(seed) {}

  void took(const box& item) {
    all.must(item != nullptr);
    if (item) all.took(*item);
  }
  /// Gives it with room that a select had.
  template <class Room>
  void give(Room& room, box item) {
    const std::uint32_t which = *item;
    room.send(std::move(item));
    all.gave(which);
  }

  market& all;
  any_thread::event& bell;
  box_to ta, tb;
  box_from ra, rb;
  near_ends direct = rota::channel<box>(0), roomy = rota::channel<box>(1);
  rota::semaphore s{2};
  rota::mutex m;
  rota::shared_mutex sm;
  rota::capacity_limiter limiter{1};
  rota::event e{rota::event_reset::automatic};
  rota::condition_variable cv;
  int in_mutex = 0, with_permits = 0, writers = 0, readers = 0, borrowers = 0;
  rota::detail::random dice;
};

/// Someone is inside, for one turn of the loop or until cancelled.
struct inside {
  explicit inside(int& n) noexcept : count(n) { ++count; }
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;
  ~inside() { --count; }
  int& count;
};

task<> far_send_or_near_receive_or_permits(home& its, std::uint32_t which) {
  box item = std::make_unique<std::uint32_t>(which);
  auto r = co_await rota::select(its.ta.send(std::move(item)), its.direct.rx.receive(), its.s.acquire(2));
  if (r.index() == 0) its.all.gave(which);
  if (r.index() == 1) its.took(r.get<1>());
  if (r.index() == 2) {
    const inside here(its.with_permits);
    its.all.must(its.with_permits == 1);
    co_await rota::yield();
  }
}
task<> near_send_or_far_receive_or_write(home& its, std::uint32_t which) {
  box item = std::make_unique<std::uint32_t>(which);
  auto r = co_await rota::select(its.direct.tx.send(std::move(item)), its.rb.receive(), its.sm.lock());
  if (r.index() == 0) its.all.gave(which);
  if (r.index() == 1) its.took(r.get<1>());
  if (r.index() == 2) {
    const inside here(its.writers);
    its.all.must(its.writers == 1 && its.readers == 0);
    co_await rota::yield();
  }
}
task<> read_or_far_receive_or_borrow(home& its, std::uint32_t) {
  auto r = co_await rota::select(its.sm.lock_shared(), its.ra.receive(), its.limiter.acquire());
  if (r.index() == 0) {
    const inside here(its.readers);
    its.all.must(its.writers == 0);
    co_await rota::yield();
  }
  if (r.index() == 1) its.took(r.get<1>());
  if (r.index() == 2) {
    const inside here(its.borrowers);
    its.all.must(its.borrowers == 1);
    co_await rota::yield();
  }
}
task<> lock_or_far_send_or_near_receive(home& its, std::uint32_t which) {
  box item = std::make_unique<std::uint32_t>(which);
  auto r = co_await rota::select(its.m.lock(), its.tb.send(std::move(item)), its.roomy.rx.receive());
  if (r.index() == 0) {
    const inside here(its.in_mutex);
    its.all.must(its.in_mutex == 1);
    co_await rota::yield();
  }
  if (r.index() == 1) its.all.gave(which);
  if (r.index() == 2) its.took(r.get<2>());
}
task<> near_room_or_far_receive_or_far_permits(home& its, std::uint32_t which) {
  box item = std::make_unique<std::uint32_t>(which);
  auto r = co_await rota::select(its.roomy.tx.reserve(), its.ra.receive(), its.all.s.acquire(2));
  if (r.index() == 0) {
    co_await rota::yield();
    its.give(r.get<0>(), std::move(item));
  }
  if (r.index() == 1) its.took(r.get<1>());
  if (r.index() == 2) {
    ++its.all.under_mutex;  // has all permits there are
    its.all.locked.fetch_add(1, std::memory_order_relaxed);
    co_await rota::yield();
  }
}
task<> condition_or_bell_or_far_receive(home& its, std::uint32_t) {
  auto guard = co_await its.m.lock();
  auto r = co_await rota::select(its.cv.wait(guard), its.bell.wait(), its.rb.receive());
  const inside here(its.in_mutex);
  its.all.must(guard && its.m.is_locked() && its.in_mutex == 1);
  if (r.index() == 2) its.took(r.get<2>());
  co_await rota::yield();
}
task<> notify_and_near_send_or_far_room(home& its, std::uint32_t which) {
  box item = std::make_unique<std::uint32_t>(which);
  its.cv.notify_one();
  its.e.set();
  auto r = co_await rota::select(its.roomy.tx.send(std::move(item)), its.ta.reserve());
  if (r.index() == 0) its.all.gave(which);
  if (r.index() == 1) {
    co_await rota::yield();
    its.give(r.get<1>(), std::move(item));
  }
}
task<> event_or_either_receive_or_timer(home& its, std::uint32_t) {
  const std::chrono::microseconds at_most(its.dice.below(300));
  auto r = co_await rota::select(its.e.wait(), its.direct.rx.receive(), its.rb.receive(), rota::sleep_for(at_most));
  if (r.index() == 1) its.took(r.get<1>());
  if (r.index() == 2) its.took(r.get<2>());
}
task<> near_receive_or_near_send(home& its, std::uint32_t which) {
  box item = std::make_unique<std::uint32_t>(which);
  auto r = co_await rota::select(its.roomy.rx.receive(), its.direct.tx.send(std::move(item)));
  if (r.index() == 0) its.took(r.get<0>());
  if (r.index() == 1) its.all.gave(which);
}
constexpr std::array kinds{
    &far_send_or_near_receive_or_permits,     &near_send_or_far_receive_or_write, &read_or_far_receive_or_borrow,
    &lock_or_far_send_or_near_receive,        &condition_or_bell_or_far_receive,  &event_or_either_receive_or_timer,
    &near_room_or_far_receive_or_far_permits, &notify_and_near_send_or_far_room,  &near_receive_or_near_send};

task<> cancel_oldest(home& its, std::vector<rota::join_handle<>>& out, std::size_t count) {
  for (std::size_t i = 0; i != count; ++i) out[i].cancel();
  for (std::size_t i = 0; i != count; ++i) {
    try {
      co_await out[i];
    } catch (const std::system_error&) {  // was cancelled
      its.all.cancelled.fetch_add(1, std::memory_order_relaxed);
    }
  }
  out.erase(out.begin(), std::next(out.begin(), static_cast<std::ptrdiff_t>(count)));
}
task<> live(home& its, std::size_t rounds) {
  std::vector<rota::join_handle<>> out;
  for (std::size_t i = 0; i != rounds; ++i) {
    out.push_back(rota::spawn(kinds[its.dice.below(kinds.size())], std::ref(its), its.all.new_item()));
    for (std::uint64_t turns = its.dice.below(3); turns != 0; --turns) co_await rota::yield();
    if (its.dice.below(3) == 0) out[its.dice.below(out.size())].cancel();
    if (its.dice.below(8) == 0) {
      its.bell.set();
      its.bell.reset();
    }
    if (out.size() > 24) co_await cancel_oldest(its, out, 6);
  }
  co_await cancel_oldest(its, out, out.size());
  for (near_ends* near : {&its.direct, &its.roomy}) {
    while (const auto item = near->rx.try_receive()) its.took(*item);
    const auto left = near->rx.statistics();
    its.all.must(left.size + left.reserved + left.waiting_senders + left.waiting_receivers == 0);
  }
  its.all.must(its.s.available() == 2 && its.s.waiting() == 0);
  its.all.must(!its.m.is_locked() && !its.sm.is_locked() && its.sm.readers() == 0);
  its.all.must(its.limiter.borrowed() == 0 && its.cv.waiting() == 0 && its.e.waiting() == 0);
}

void run_homes(std::size_t a_capacity, std::size_t b_capacity, std::size_t rounds, std::uint64_t seed) {
  constexpr std::uint64_t loops = 3;
  market all(loops * rounds);
  any_thread::event bell;
  auto [ta, ra] = rota::mpmc_channel<box>(a_capacity);
  auto [tb, rb] = rota::mpmc_channel<box>(b_capacity);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i != loops; ++i)
    threads.emplace_back([&, i, a = ta.clone(), b = tb.clone(), c = ra.clone(), d = rb.clone()] {
      rota::run([&]() -> task<> {
        home its(all, bell, a, c, b, d, seed + i);
        co_await live(its, rounds);
      }());
    });
  for (std::thread& thread : threads) thread.join();
  for (box_from* rx : {&ra, &rb}) {
    while (const auto item = rx->try_receive()) all.took(**item);
    require_empty(*rx);
  }
  INFO("capacities " << a_capacity << " and " << b_capacity << ", seed " << seed);
  REQUIRE(items_after(all) != 0);
  REQUIRE(all.cancelled.load() != 0);
}

}  // namespace

TEST_CASE("selects of everything that one loop has and what is between three of them, with cancels: nothing is lost") {
  const std::size_t rounds = rota_test::scaled(2'000, 1'000, 1'000);
  std::uint64_t seed = 1;
  for (const std::size_t a : {1u, 2u})
    for (const std::size_t b : {0u, 2u}) run_homes(a, b, rounds, seed += 100);
}
