// The any-thread channels between tasks of a pool, tasks of two loops and plain threads, under cancels and time limits at random.
// Each item that was sent is received once, and no other; of one sender each receiver sees the items in their order; whoever was
// cancelled has sent or received nothing; in the end nobody waits and nothing is left. TSan looks for the rest.
#include <rota/sync/thread_channel.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using numbers = std::vector<int>;

constexpr int per_sender = 1'000'000;  // items are per_sender * sender + number

/// What all of them did, written by each when it ends.
class ledger {
 public:
  void sent(const numbers& some) { add(sent_, some); }
  void received(const numbers& some) {
    std::array<int, 16> last{};
    bool in_order = true;
    for (const int item : some) {
      int& before = last[static_cast<std::size_t>(item / per_sender)];
      in_order = in_order && before < item % per_sender;
      before = item % per_sender;
    }
    add(received_, some);
    if (!in_order) overtaken_.store(true);
  }
  std::size_t items() const { return received_.size(); }
  void check() {
    REQUIRE_FALSE(overtaken_.load());
    std::sort(sent_.begin(), sent_.end());
    std::sort(received_.begin(), received_.end());
    REQUIRE(sent_.size() == received_.size());
    REQUIRE((sent_ == received_));
  }

 private:
  void add(numbers& to, const numbers& some) {
    const std::lock_guard guard(mutex_);
    to.insert(to.end(), some.begin(), some.end());
  }
  std::mutex mutex_;
  numbers sent_, received_;
  std::atomic<bool> overtaken_{false};
};

/// Tells the ledger at the end of a task, however it ends.
struct account {
  account(ledger& b, void (ledger::*r)(const numbers&)) : book(b), record(r) {}
  account(const account&) = delete;
  account& operator=(const account&) = delete;
  ~account() { (book.*record)(items); }
  ledger& book;
  void (ledger::*record)(const numbers&);
  numbers items;
};

rota::duration soon(rota::detail::random& dice) { return std::chrono::microseconds(dice.below(100)); }

task<> send_some(rota::thread_sender<int> tx, ledger& book, int sender, int count, std::uint64_t seed) {
  account mine(book, &ledger::sent);
  rota::detail::random dice(seed);
  const bool has_room = tx.statistics().capacity != 0;
  for (int i = 1; i <= count; ++i) {
    const int item = per_sender * sender + i;
    const std::uint64_t how = dice.below(6);
    bool sent = true;
    if (how == 0 && has_room) {
      auto room = co_await tx.reserve();
      if (dice.below(4) == 0) co_await rota::yield();
      room.send(item);
    } else if (how == 1) {
      sent = co_await rota::move_on_after(soon(dice), tx.send(item));
    } else if (how == 2) {
      sent = tx.try_send(item);
    } else {
      co_await tx.send(item);
    }
    if (sent) mine.items.push_back(item);
  }
}

template <class Receiver>
task<> receive_some(Receiver rx, ledger& book, std::uint64_t seed) {
  account mine(book, &ledger::received);
  rota::detail::random dice(seed);
  for (;;) {
    const std::uint64_t how = dice.below(6);
    if (how == 0) {
      const std::size_t n = co_await rx.receive_many(mine.items, 5);
      if (n == 0) co_return;
    } else if (how == 1) {
      const auto in_time = co_await rota::move_on_after(soon(dice), rx.next());
      if (in_time && !*in_time) co_return;
      if (in_time) mine.items.push_back(**in_time);
    } else if (how == 2) {
      const std::optional<int> item = rx.try_receive();
      if (item) mine.items.push_back(*item);
    } else {
      const std::optional<int> item = co_await rx.next();
      if (!item) co_return;
      mine.items.push_back(*item);
    }
  }
}

/// Waits for all of them, some of which are cancelled at random.
template <class Handles>
task<> join_some_cancelled(Handles& handles, std::uint64_t seed) {
  rota::detail::random dice(seed);
  for (std::uint64_t turns = dice.below(30); turns != 0; --turns) co_await rota::yield();
  for (auto& one : handles)
    if (dice.below(3) == 0) one.cancel("at random");
  for (auto& one : handles) (void)co_await rota::as_result(one);
}

/// Senders on a pool, on a loop of their own, on this thread's loop, and on a plain thread. `receive(spawn)` starts the
/// receivers.
class crowd {
 public:
  crowd(ledger& b, rota::thread_pool& p, int c, std::uint64_t s) : book_(b), pool_(p), count_(c), seed_(s) {}

  template <class Receiver, bool Many>
  void run(rota::thread_sender<int> tx, Receiver rx, std::bool_constant<Many>) {
    std::vector<rota::pool_handle<>> on_pool;
    std::vector<rota::pool_handle<>> stays;  // is not cancelled: somebody has to receive
    for (int i = 0; i != 3; ++i)
      on_pool.push_back(pool_.spawn(send_some, tx.clone(), std::ref(book_), i, count_, seed_of(i)));
    std::thread other([&, to = tx.clone(), end = ends<Many>(rx)]() mutable {
      const auto main = [&]() -> task<> {
        std::vector<rota::join_handle<>> all;
        for (int i = 3; i != 5; ++i)
          all.push_back(rota::spawn(send_some, to.clone(), std::ref(book_), i, count_, seed_of(i)));
        to.close();
        if constexpr (Many) {
          all.push_back(rota::spawn(receive_some<Receiver>, end.clone(), std::ref(book_), seed_ + 50));
          end.close();
        }
        co_await join_some_cancelled(all, seed_ * 3);
      };
      rota::run(main());
    });
    std::thread plain([&, to = tx.clone()]() mutable {
      account mine(book_, &ledger::sent);
      for (int i = 1; i <= count_; ++i) {
        to.blocking_send(per_sender * 5 + i);
        mine.items.push_back(per_sender * 5 + i);
      }
    });
    tx.close();
    if constexpr (Many) {
      on_pool.push_back(pool_.spawn(receive_some<Receiver>, rx.clone(), std::ref(book_), seed_ + 60));
      on_pool.push_back(pool_.spawn(receive_some<Receiver>, rx.clone(), std::ref(book_), seed_ + 61));
    }
    stays.push_back(pool_.spawn(receive_some<Receiver>, std::move(rx), std::ref(book_), seed_ + 70));
    rota::run(join_some_cancelled(on_pool, seed_ * 5));
    other.join();
    plain.join();
    rota::sync_wait(stays[0]);
  }

 private:
  std::uint64_t seed_of(int sender) const { return seed_ + static_cast<std::uint64_t>(sender); }
  template <bool Many, class Receiver>
  static auto ends(const Receiver& rx) {
    if constexpr (Many)
      return rx.clone();
    else
      return 0;
  }

  ledger& book_;
  rota::thread_pool& pool_;
  const int count_;
  const std::uint64_t seed_;
};

template <bool Many, class Make>
void stress(Make make) {
  const int count = static_cast<int>(rota_test::scaled(300, 100, 150));
  rota::thread_pool pool(2);
  std::uint64_t seed = 1;
  std::size_t items = 0;
  const std::size_t rounds = rota_test::scaled(60, 40, 40);
  for (std::size_t round = 0; round != rounds; ++round) {
    for (const std::size_t capacity : {0u, 1u, 8u, 64u}) {
      ledger book;
      auto ends = make(capacity);
      rota::thread_sender<int> observer = ends.tx.clone();
      const rota::channel_statistics before = observer.statistics();
      REQUIRE(before.senders == 2);
      observer.close();
      crowd(book, pool, count, seed += 1000).run(std::move(ends.tx), std::move(ends.rx), std::bool_constant<Many>());
      book.check();
      items += book.items();
    }
  }
  REQUIRE(items > 4 * rounds * static_cast<std::size_t>(count));  // of six times that
}

}  // namespace

TEST_CASE(
    "an mpmc_channel between a pool, loops and threads loses no item, repeats none, and keeps each sender's order") {
  stress<true>([](std::size_t capacity) { return rota::mpmc_channel<int>(capacity); });
}

TEST_CASE(
    "an mpsc_channel between a pool, loops and threads loses no item, repeats none, and keeps each sender's order") {
  stress<false>([](std::size_t capacity) { return rota::mpsc_channel<int>(capacity); });
}

TEST_CASE("an any-thread oneshot between a pool and a loop is received, or left by a receiver that was cancelled") {
  rota::thread_pool pool(2);
  std::size_t received = 0, left = 0;
  const std::size_t rounds = rota_test::scaled(3'000, 600, 800);
  const auto receives = [](rota::any_thread::oneshot_receiver<int>& from, std::atomic<int>& got) -> task<> {
    got.store(co_await from.receive());
  };
  rota::run([&]() -> task<> {
    rota::detail::random dice(5);
    for (std::size_t round = 0; round != rounds; ++round) {
      auto ends = rota::any_thread::oneshot<int>();
      std::atomic<int> got{0};
      rota::pool_handle<> sends = pool.spawn([tx = std::move(ends.tx)]() mutable { tx.send(7); });
      rota::join_handle<> waits = rota::spawn(receives, std::ref(ends.rx), std::ref(got));
      for (std::uint64_t turns = dice.below(4); turns != 0; --turns) co_await rota::yield();
      if (round % 2 == 0) waits.cancel();
      (void)co_await rota::as_result(waits);
      co_await sends;
      const std::optional<int> there = ends.rx.try_receive();
      if ((got.load() == 7) == there.has_value()) FAIL("the value was lost, or is there twice");
      received += got.load() == 7;
      left += there.has_value();
    }
  }());
  REQUIRE(received >= rounds / 2);
  REQUIRE(received + left == rounds);
}
