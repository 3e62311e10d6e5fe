// Tasks that change threads between suspensions, and what the library keeps for each thread. Mostly for clang 16 (`./dev test
// clang16`): it keeps the address of a thread_local in a coroutine's frame, across a suspension, where it can
// (docs/compilers.md), and then one thread uses what belongs to another one.
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::thread_pool;

/// Which thread this is. Out of line, and not a function that always gives the same.
[[gnu::noinline]] pthread_t this_thread_now() {
  asm volatile("" ::: "memory");
  return pthread_self();
}

struct counts {
  std::atomic<std::size_t> hops{0}, wrong{0};
};

/// Runs several tasks like `make(counts, number)`, which yield all the time, on four threads, until they have changed threads often.
template <class Make>
counts& hop_until_enough(counts& seen, Make make) {
  const std::size_t enough = rota_test::scaled(20'000, 2'000, 5'000);
  thread_pool pool(4);
  std::vector<rota::pool_handle<>> tasks;
  for (std::size_t i = 0; i != 8; ++i) tasks.push_back(pool.spawn(make, std::ref(seen), i));
  while (seen.hops.load() < enough && seen.wrong.load() == 0) std::this_thread::yield();
  for (rota::pool_handle<>& one : tasks) one.cancel();
  for (rota::pool_handle<>& one : tasks) {
    try {
      rota::sync_wait(one);
    } catch (const std::system_error&) {  // cancelled
    }
  }
  return seen;
}

TEST_CASE("a task that changes threads finds itself in this_task") {
  const auto asks = [](counts& seen, std::size_t number) -> task<> {
    const std::string name = "task " + std::to_string(number);
    rota::this_task::set_name(name);
    const std::uint64_t id = rota::this_task::id();
    pthread_t before = this_thread_now();
    for (;;) {
      co_await rota::yield();
      if (rota::this_task::name() != name || rota::this_task::id() != id) seen.wrong.fetch_add(1);
      const pthread_t now = this_thread_now();
      if (!pthread_equal(now, before)) seen.hops.fetch_add(1);
      before = now;
    }
  };
  counts seen;
  REQUIRE(hop_until_enough(seen, asks).wrong.load() == 0);
}

// Holds a pattern in its frame for a while.
task<bool> keeps(std::uint64_t seed, bool yields) {
  std::array<std::uint64_t, 12> pattern;
  for (std::uint64_t& word : pattern) word = seed++;
  if (yields) co_await rota::yield();
  bool whole = true;
  for (auto word = pattern.rbegin(); word != pattern.rend(); ++word) whole = whole && *word == --seed;
  co_return whole;
}

TEST_CASE("frames that are made and freed on changing threads belong to one task at a time") {
  const auto makes = [](counts& seen, std::size_t number) -> task<> {
    pthread_t before = this_thread_now();
    for (std::uint64_t i = number << 32;; i += 100) {
      const bool first = co_await keeps(i, true);
      const bool second = co_await keeps(i + 20, false);
      const bool third = co_await keeps(i + 40, true);
      if (!first || !second || !third) seen.wrong.fetch_add(1);
      const pthread_t now = this_thread_now();
      if (!pthread_equal(now, before)) seen.hops.fetch_add(1);
      before = now;
    }
  };
  counts seen;
  REQUIRE(hop_until_enough(seen, makes).wrong.load() == 0);
}

TEST_CASE("a task that locks a sync_mutex on changing threads, and awaits without it, is not told that it holds one") {
  rota::sync_mutex mutex;
  std::size_t visits = 0;
  const auto locks = [&](counts& seen, std::size_t) -> task<> {
    pthread_t before = this_thread_now();
    for (;;) {
      {
        const std::lock_guard guard(mutex);
        ++visits;
      }
      co_await rota::yield();
      const pthread_t now = this_thread_now();
      if (!pthread_equal(now, before)) seen.hops.fetch_add(1);
      before = now;
    }
  };
  counts seen;
  hop_until_enough(seen, locks);
  REQUIRE(visits > 0);
}

TEST_CASE("callbacks that are awaited on changing threads have a slot of their own") {
  const auto calls = [](counts& seen, std::size_t number) -> task<> {
    pthread_t before = this_thread_now();
    for (std::size_t i = number << 32;; ++i) {
      const auto begin = [&](rota::callback<std::size_t> done) { done(i); };
      const std::size_t first = co_await rota::from_callback<std::size_t>(begin);
      co_await rota::yield();
      const std::size_t second = co_await rota::from_callback<std::size_t>(begin);
      if (first != i || second != i) seen.wrong.fetch_add(1);
      const pthread_t now = this_thread_now();
      if (!pthread_equal(now, before)) seen.hops.fetch_add(1);
      before = now;
    }
  };
  counts seen;
  REQUIRE(hop_until_enough(seen, calls).wrong.load() == 0);
}

}  // namespace
