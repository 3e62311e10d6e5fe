// The deque of a worker: order, growth, and under several thieves no item lost or taken twice.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <rota/pool/work_stealing_deque.hpp>

#include "support/rota_test.hpp"

namespace {

using deque = rota::detail::work_stealing_deque<int>;

// Items whose address is their number.
struct numbers {
  explicit numbers(std::size_t count) : items(count) {}
  int* operator[](std::size_t i) { return &items[i]; }
  std::vector<int> items;
};

TEST_CASE("the owner gets the newest item, a thief the oldest") {
  numbers n(3);
  deque d;
  for (std::size_t i = 0; i != 3; ++i) REQUIRE(d.push(n[i]));
  REQUIRE(d.size() == 3);
  REQUIRE(d.pop() == n[2]);
  REQUIRE(d.steal() == n[0]);
  REQUIRE(d.pop() == n[1]);
  REQUIRE(d.pop() == nullptr);
  REQUIRE(d.steal() == nullptr);
  REQUIRE(d.size() == 0);
}

TEST_CASE("an empty deque stays usable however often it is asked") {
  numbers n(1);
  deque d(2);
  for (int round = 0; round != 10; ++round) {
    REQUIRE(d.pop() == nullptr);
    REQUIRE(d.steal() == nullptr);
    REQUIRE(d.push(n[0]));
    REQUIRE((round % 2 == 0 ? d.pop() : d.steal()) == n[0]);
  }
}

TEST_CASE("it grows, and what wrapped around the old ring keeps its order") {
  numbers n(100);
  deque d(4);
  for (std::size_t i = 0; i != 3; ++i) REQUIRE(d.push(n[i]));
  for (std::size_t i = 0; i != 3; ++i) REQUIRE(d.steal() == n[i]);
  for (std::size_t i = 0; i != 100; ++i) REQUIRE(d.push(n[i]));
  REQUIRE(d.size() == 100);
  for (std::size_t i = 0; i != 50; ++i) REQUIRE(d.steal() == n[i]);
  for (std::size_t i = 100; i != 50; --i) REQUIRE(d.pop() == n[i - 1]);
  REQUIRE(d.pop() == nullptr);
}

TEST_CASE("several are published at once, and nobody sees them before") {
  numbers n(9);
  deque d(2);
  REQUIRE(d.push(n[0]));
  REQUIRE(d.reserve(8));
  for (std::size_t i = 1; i != 9; ++i) d.put(static_cast<std::int64_t>(i - 1), n[i]);
  REQUIRE(d.size() == 1);
  d.publish(8);
  REQUIRE(d.size() == 9);
  for (std::size_t i = 0; i != 4; ++i) REQUIRE(d.steal() == n[i]);
  for (std::size_t i = 9; i != 4; --i) REQUIRE(d.pop() == n[i - 1]);
  REQUIRE(d.pop() == nullptr);
}

// Every item is written before it is pushed, read and counted by who takes it.
void stress(std::size_t thieves, std::size_t items, std::size_t burst, std::int64_t capacity) {
  numbers n(items);
  std::vector<std::atomic<int>> taken(items);
  deque d(capacity);
  std::atomic<bool> done{false};
  const auto take = [&](int* item) {
    const auto i = static_cast<std::size_t>(item - n[0]);
    taken[i].fetch_add(*item == static_cast<int>(i) ? 1 : 1000, std::memory_order_relaxed);
  };
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t != thieves; ++t)
    threads.emplace_back([&] {
      while (!done.load(std::memory_order_acquire) || d.size() != 0)
        if (int* item = d.steal()) take(item);
    });
  for (std::size_t i = 0; i != items;) {
    for (std::size_t b = 0; b != burst && i != items; ++b, ++i) {
      *n[i] = static_cast<int>(i);
      if (!d.push(n[i])) std::abort();
    }
    // Half of them are popped again, now and then all.
    for (std::size_t b = 0; b != (i % 7 == 0 ? burst : burst / 2); ++b)
      if (int* item = d.pop()) take(item);
  }
  while (int* item = d.pop()) take(item);
  done.store(true, std::memory_order_release);
  for (std::thread& t : threads) t.join();
  std::size_t wrong = 0;
  for (const std::atomic<int>& count : taken) wrong += count.load() != 1;
  REQUIRE(wrong == 0);
}

TEST_CASE("one item at a time, fought for by the owner and a thief, is taken once") {
  stress(1, rota_test::scaled(300'000, 30'000), 1, 2);
}
TEST_CASE("bursts under three thieves are taken once each, while the ring grows") {
  stress(3, rota_test::scaled(300'000, 30'000), 64, 2);
}
TEST_CASE("two items under two thieves are taken once each") { stress(2, rota_test::scaled(300'000, 30'000), 2, 4); }

}  // namespace
