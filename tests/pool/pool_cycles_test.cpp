// Tasks that are spawned, forked, stolen and cancelled, that fail, and workers that fall asleep and are woken, all of it at
// random: every task that began has ended, and every spawned one has an outcome.
// The long run, of ten million tasks:   ROTA_POOL_CYCLES=10000000 build/release/tests/pool_cycles_test
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::thread_pool;

struct ledger {
  std::atomic<std::uint64_t> begun{0}, ended{0}, thrown{0};
  // The test's own thread's.
  std::uint64_t spawned = 0, values = 0, errors = 0, cancelled = 0, dropped = 0;
  std::uint64_t stolen = 0, parks = 0, wake_ups = 0;

  void add(const rota::thread_pool_statistics& s) {
    for (const rota::pool_worker_statistics& w : s.workers) {
      stolen += w.stolen;
      parks += w.parks;
      wake_ups += w.wake_ups;
    }
  }
};
struct entry {
  explicit entry(ledger& in) noexcept : book(in) { book.begun.fetch_add(1, std::memory_order_relaxed); }
  entry(const entry&) = delete;
  entry& operator=(const entry&) = delete;
  ~entry() { book.ended.fetch_add(1, std::memory_order_relaxed); }
  ledger& book;
};

/// Gives the number of tasks below it that began, itself included.
task<std::uint64_t> tree(ledger& book, std::uint64_t seed, int depth) {
  const entry mine(book);
  rota::detail::random dice(seed);
  if (dice.below(8) == 0) co_await rota::yield();
  if (dice.below(400) == 0) {
    book.thrown.fetch_add(1, std::memory_order_relaxed);
    throw std::runtime_error("at random");
  }
  if (depth == 0) co_return std::uint64_t{1};
  std::uint64_t sum = 1;
  bool forgives = dice.below(2) == 0;
  try {
    const std::uint64_t kind = dice.below(10);
    if (kind == 0) {
      const auto body = [&](rota::cancel_scope& scope) -> task<> {
        const auto stops = [&]() -> task<> {
          co_await rota::yield();
          scope.cancel();
        };
        co_await rota::when_all(tree(book, dice.next(), depth - 1), stops, tree(book, dice.next(), depth - 1));
      };
      (void)co_await rota::with_cancel_scope(body);
    } else if (kind < 4) {
      std::vector<task<std::uint64_t>> children;
      for (std::uint64_t i = dice.below(4); i != 0; --i) children.push_back(tree(book, dice.next(), depth - 1));
      const std::vector<std::uint64_t> below = co_await rota::when_all(std::move(children));
      for (const std::uint64_t n : below) sum += n;
    } else {
      auto below = co_await rota::when_all(tree(book, dice.next(), depth - 1), tree(book, dice.next(), depth - 1));
      sum += std::get<0>(below) + std::get<1>(below);
    }
  } catch (const rota::exception_group&) {
    if (!forgives) throw;
  }
  co_return sum;
}

void run_batch(ledger& book, thread_pool& pool, rota::detail::random& dice) {
  std::vector<rota::pool_handle<std::uint64_t>> all;
  for (std::uint64_t i = 1 + dice.below(32); i != 0; --i) {
    all.push_back(pool.spawn(tree, std::ref(book), dice.next(), static_cast<int>(dice.below(9))));
    ++book.spawned;
    if (dice.below(5) == 0) all[dice.below(all.size())].cancel("at random");
  }
  for (rota::pool_handle<std::uint64_t>& one : all) {
    try {
      book.values += rota::sync_wait(one) != 0;
    } catch (const rota::exception_group&) {
      ++book.errors;
    } catch (const std::runtime_error& error) {
      const auto* code = dynamic_cast<const std::system_error*>(&error);
      (code && code->code() == rota::errc::task_cancelled ? book.cancelled : book.errors) += 1;
    }
  }
}

TEST_CASE("tasks at random, on workers that fall asleep in between: everything is accounted for") {
  const char* const wish = std::getenv("ROTA_POOL_CYCLES");
  const std::uint64_t enough = wish ? std::strtoull(wish, nullptr, 10) : rota_test::scaled(200'000, 20'000, 50'000);
  const rota_test::captured_reports reports;  // of errors in what was dropped
  ledger book;
  rota::detail::random dice(27);
  for (unsigned round = 0; book.begun.load() < enough; ++round) {
    constexpr unsigned sizes[] = {1, 2, 3, 4, 8, 64};
    const unsigned threads = sizes[round % std::size(sizes)];
    {
      thread_pool pool(threads);
      for (int batch = 0; batch != 20; ++batch) {
        run_batch(book, pool, dice);
        if (book.begun.load() != book.ended.load()) FAIL("a task still runs after its root has ended");
        if (batch % 4 == 0)
          while (pool.statistics().sleeping != threads) std::this_thread::yield();
      }
      book.add(pool.statistics());
      // And the pool goes in the middle of this:
      for (std::uint64_t i = dice.below(8); i != 0; --i) {
        (void)pool.spawn(tree, std::ref(book), dice.next(), 6);
        ++book.dropped;
      }
    }
    if (book.begun.load() != book.ended.load()) FAIL("a task still runs after its pool has gone");
  }
  REQUIRE(book.spawned == book.values + book.errors + book.cancelled);
  REQUIRE(book.wake_ups <= book.parks);
  std::fprintf(
      stderr,
      "  %llu tasks began and ended, %llu of them threw; %llu spawned: %llu values, %llu errors, %llu cancelled; "
      "%llu more were left to the pool's end; %llu steals, %llu sleeps, %llu wake-ups\n",
      static_cast<unsigned long long>(book.begun.load()), static_cast<unsigned long long>(book.thrown.load()),
      static_cast<unsigned long long>(book.spawned), static_cast<unsigned long long>(book.values),
      static_cast<unsigned long long>(book.errors), static_cast<unsigned long long>(book.cancelled),
      static_cast<unsigned long long>(book.dropped), static_cast<unsigned long long>(book.stolen),
      static_cast<unsigned long long>(book.parks), static_cast<unsigned long long>(book.wake_ups));
}

}  // namespace
