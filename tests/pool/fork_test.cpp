// when_all on a pool: forks, joins, steals, errors, and cancels that meet stolen children.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "support/meeting.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::thread_pool;
using rota::when_all;
using rota_test::at_end;
using rota_test::meeting;
using rota_test::on_pool;

task<long> fib(int n) {
  if (n < 2) co_return n;
  auto both = co_await when_all(fib(n - 1), fib(n - 2));
  co_return std::get<0>(both) + std::get<1>(both);
}
task<int> give(int n) { co_return n; }
task<int> give_later(int n) {
  for (int i = 0; i != 3; ++i) co_await rota::yield();
  co_return n;
}
task<> never_ends(std::atomic<int>* begun = nullptr) {
  if (begun) begun->fetch_add(1);
  for (;;) co_await rota::yield();
}

TEST_CASE("values come in the order of the arguments, whoever was first") {
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, [&]() -> task<> {
      auto [a, b, c, d] = co_await when_all(give(1), give_later(2), give(3), give_later(4));
      REQUIRE(std::array{a, b, c, d} == std::array{1, 2, 3, 4});
      std::vector<task<int>> tasks;
      for (int i = 0; i != 100; ++i) tasks.push_back(i % 3 == 0 ? give_later(i) : give(i));
      const std::vector<int> values = co_await when_all(std::move(tasks));
      int wrong = 0;
      for (int i = 0; i != 100; ++i) wrong += values[static_cast<std::size_t>(i)] != i;
      REQUIRE(wrong == 0);
    });
}

TEST_CASE("nothing, one, functions and other awaitables can be forked, too") {
  on_pool(2, []() -> task<> {
    const std::vector<int> none = co_await when_all(std::vector<task<int>>());
    REQUIRE(none.empty());
    std::vector<task<int>> single;
    single.push_back(give(1));
    const std::vector<int> one = co_await when_all(std::move(single));
    REQUIRE(one == std::vector{1});
    int ran = 0;
    const auto function = [&ran]() -> task<> {
      ++ran;
      co_return;
    };
    auto results = co_await when_all(function, rota::yield(), give(2));
    REQUIRE(std::get<2>(results) == 2);
    REQUIRE(ran == 1);
  });
}

TEST_CASE("a view that makes its tasks as it is read is forked without a container") {
  on_pool(2, []() -> task<> {
    auto odd =
        std::views::iota(1, 8) | std::views::filter([](int n) { return n % 2 != 0; }) | std::views::transform(give);
    const std::vector<int> values = co_await when_all(odd);
    REQUIRE(values == std::vector{1, 3, 5, 7});
  });
}

TEST_CASE("a tree of forks gives the same on any number of threads") {
  for (const unsigned threads : {1u, 2u, 3u, 64u}) REQUIRE(on_pool(threads, [] { return fib(16); }) == 987);
}

TEST_CASE("children run in parallel: two that wait for each other, blocking, on two threads") {
  meeting both;
  on_pool(2, [&]() -> task<> {
    const auto meets = [&]() -> task<> {
      both.wait_for(2);
      co_return;
    };
    co_await when_all(meets, meets);
  });
  REQUIRE(both.arrived.load() == 2);
}

TEST_CASE("five children on five threads, within children of children") {
  meeting all;
  on_pool(5, [&]() -> task<> {
    const auto meets = [&]() -> task<> {
      all.wait_for(5);
      co_return;
    };
    const auto two = [&]() -> task<> { co_await when_all(meets, meets); };
    co_await when_all(two, meets, two);
  });
  REQUIRE(all.arrived.load() == 5);
}

TEST_CASE("what children borrow from their parent lives until all have ended") {
  for (const unsigned threads : {1u, 3u})
    on_pool(threads, []() -> task<> {
      std::vector<int> numbers(64, 1);
      const auto doubles = [&](std::size_t from, std::size_t to) -> task<> {
        for (std::size_t i = from; i != to; ++i) {
          numbers[i] *= 2;
          if (i % 8 == 0) co_await rota::yield();
        }
      };
      co_await when_all(doubles(0, 16), doubles(16, 32), doubles(32, 64));
      int sum = 0;
      for (const int n : numbers) sum += n;
      REQUIRE(sum == 128);
    });
}

struct tried {
  int errors = 0;
  bool was_cancelled = false;
};
template <class A>
task<tried> attempt(A make) {
  tried result;
  try {
    co_await make();
  } catch (const rota::exception_group& group) {
    result.errors = static_cast<int>(group.size());
  } catch (const std::system_error& error) {
    result.was_cancelled = error.code() == rota::errc::task_cancelled;
  }
  co_return result;
}

task<> fails(const char* what, int yields = 0) {
  for (int i = 0; i != yields; ++i) co_await rota::yield();
  throw std::runtime_error(what);
}

TEST_CASE("the first failure cancels the siblings, wherever it happens; all are joined") {
  for (const unsigned threads : {1u, 2u, 5u}) {
    for (int which = 0; which != 3; ++which) {
      const auto siblings = [&]() -> task<> {
        if (which == 0) co_await when_all(fails("a", 5), never_ends(), never_ends());
        if (which == 1) co_await when_all(never_ends(), fails("b", 5), never_ends());
        if (which == 2) co_await when_all(never_ends(), never_ends(), fails("c", 5));
      };
      const tried result = on_pool(threads, [&] { return attempt(siblings); });
      REQUIRE(result.errors == 1);
    }
  }
}

TEST_CASE("errors of several children come out together") {
  meeting both;
  const auto siblings = [&]() -> task<> {
    const auto meets = [&]() -> task<> {
      both.wait_for(2);
      throw std::runtime_error("both");
      co_return;
    };
    co_await when_all(meets, meets);
  };
  const tried result = on_pool(2, [&] { return attempt(siblings); });
  REQUIRE(result.errors == 2);
}

TEST_CASE("a stolen child that fails stops the one that runs at home, in its innermost scope") {
  std::atomic<bool> home_began{false};
  int ended_by = 0;
  const auto siblings = [&]() -> task<> {
    const auto stolen = [&]() -> task<> {
      while (!home_began.load()) std::this_thread::yield();
      throw std::runtime_error("stolen");
      co_return;
    };
    const auto at_home = [&]() -> task<> {
      home_began.store(true);
      const auto within = [&](rota::cancel_scope&) -> task<> {
        // A fork within, so that there is an inner one which began in the same scope.
        try {
          co_await when_all(never_ends(), never_ends());
        } catch (const rota::cancelled& c) {
          ended_by = c.kind() == rota::cancel_kind::sibling ? 1 : 2;
          throw;
        }
      };
      (void)co_await rota::with_cancel_scope(within);
    };
    co_await when_all(stolen, at_home);
  };
  const tried result = on_pool(2, [&] { return attempt(siblings); });
  REQUIRE(result.errors == 1);
  REQUIRE(ended_by == 1);
}

TEST_CASE("after a stolen child failed, the parent goes on, forks again, and opens scopes") {
  thread_pool pool(3);
  const auto rounds = [](int n) -> task<int> {
    int good = 0;
    for (int i = 0; i != n; ++i) {
      const auto siblings = []() -> task<> { co_await when_all(fails("x", 3), fib(5), never_ends()); };
      const tried result = co_await attempt(siblings);
      const auto body = [&](rota::cancel_scope& scope) -> task<> {
        scope.cancel();
        co_await when_all(never_ends(), never_ends());
      };
      const bool done = co_await rota::with_cancel_scope(body);
      const long f = co_await fib(7);
      good += result.errors == 1 && !done && f == 13;
    }
    co_return good;
  };
  REQUIRE(rota::sync_wait(pool.run(rounds, 100)) == 100);
}

TEST_CASE("a cancel from outside reaches children on five threads, and all have ended before the await goes on") {
  thread_pool pool(5);
  std::atomic<int> begun{0}, ended{0};
  const auto child = [&]() -> task<> {
    const at_end counts(ended);
    co_await never_ends(&begun);
  };
  const auto five = [&]() -> task<> {
    const auto two = [&]() -> task<> { co_await when_all(child, child); };
    co_await when_all(child, two, two);
  };
  rota_test::run([&]() -> task<> {
    const auto work = [&]() -> task<> { co_await pool.run(five); };
    auto handle = rota::spawn(work);
    while (begun.load() != 5) co_await rota::yield();
    handle.cancel();
    bool was_cancelled = false;
    try {
      co_await handle;
    } catch (const std::system_error& error) {
      was_cancelled = error.code() == rota::errc::task_cancelled;
    }
    REQUIRE(was_cancelled);
    REQUIRE(ended.load() == 5);
  });
}

TEST_CASE("children that compute hear of a cancel at their next fork") {
  thread_pool pool(2);
  std::atomic<bool> begun{false};
  const auto computes = [&]() -> task<> {
    begun.store(true);
    for (;;) (void)co_await fib(3);
  };
  const auto both = [&]() -> task<> { co_await when_all(computes, computes); };
  auto handle = pool.spawn(both);
  while (!begun.load()) std::this_thread::yield();
  handle.cancel();
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(handle); }) == rota::errc::task_cancelled);
}

TEST_CASE("in a cancelled scope nothing is forked") {
  bool ran = false;
  const auto runs = [&]() -> task<> {
    ran = true;
    co_return;
  };
  const bool done = on_pool(2, [&]() -> task<bool> {
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await when_all(runs, runs);
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    co_return ended;
  });
  REQUIRE_FALSE(done);
  REQUIRE_FALSE(ran);
}

TEST_CASE("children see the task_locals of their parent, and bind their own") {
  static constinit rota::task_local<int> local;
  for (const unsigned threads : {1u, 4u}) {
    const int sum = on_pool(threads, []() -> task<int> {
      const auto leaf = [](int i) -> task<int> {
        const int seen = local.get();
        const auto own = [](int j) -> task<int> {
          for (int k = 0; k != 3; ++k) co_await rota::yield();
          co_return local.get() + j;
        };
        const int bound = co_await rota::with_value(local, i, own(0));
        co_return seen + (bound == i && local.get() == seen ? 0 : 1000);
      };
      const auto all = [&]() -> task<int> {
        std::vector<task<int>> leaves;
        for (int i = 0; i != 20; ++i) leaves.push_back(leaf(i));
        const std::vector<int> values = co_await when_all(std::move(leaves));
        int total = 0;
        for (const int v : values) total += v;
        co_return total;
      };
      const int total = co_await rota::with_value(local, 7, all());
      co_return total;
    });
    REQUIRE(sum == 140);
  }
}

[[gnu::noinline]] task<int> chain(int n) {
  if (n == 0) co_return 0;
  const int below = co_await chain(n - 1);
  co_return below + 1;
}
[[gnu::noinline]] task<int> forked_chain(int n) {
  if (n == 0) co_return 0;
  auto both = co_await when_all(give(1), forked_chain(n - 1));
  co_return std::get<0>(both) + std::get<1>(both);
}
TEST_CASE("a chain of a million awaits, and one of forks, needs no deep stack") {
  const int deep = static_cast<int>(rota_test::scaled(1'000'000, 100'000, 100'000));
  for (const unsigned threads : {1u, 2u}) {
    REQUIRE(on_pool(threads, [&] { return chain(deep); }) == deep);
    REQUIRE(on_pool(threads, [&] { return forked_chain(deep / 10); }) == deep / 10);
  }
}

// Everything at random: forks, yields, errors, cancels from within. What was begun must have ended.
struct accounts {
  std::atomic<std::int64_t> begun{0}, ended{0};
};
struct account {
  explicit account(accounts& a) noexcept : all(a) { all.begun.fetch_add(1, std::memory_order_relaxed); }
  account(const account&) = delete;
  ~account() { all.ended.fetch_add(1, std::memory_order_relaxed); }
  accounts& all;
};
std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}
task<std::int64_t> random_tree(accounts& all, std::uint32_t seed, int depth) {
  const account mine(all);
  const std::uint32_t r = mix(seed);
  if (r % 7 == 0) co_await rota::yield();
  if (r % 211 == 0) throw std::runtime_error("at random");
  if (depth == 0) co_return 1;
  std::int64_t sum = 1;
  try {
    if (r % 53 == 0) {
      const auto body = [&](rota::cancel_scope& scope) -> task<> {
        const auto stops = [&]() -> task<> {
          co_await rota::yield();
          scope.cancel();
        };
        co_await when_all(random_tree(all, seed * 5 + 1, depth - 1), stops, random_tree(all, seed * 5 + 2, depth - 1));
      };
      (void)co_await rota::with_cancel_scope(body);
    } else if (r % 3 == 0) {
      std::vector<task<std::int64_t>> children;
      for (std::uint32_t i = 0; i != r % 5; ++i) children.push_back(random_tree(all, seed * 5 + i + 1, depth - 1));
      const std::vector<std::int64_t> values = co_await when_all(std::move(children));
      for (const std::int64_t v : values) sum += v;
    } else {
      auto both =
          co_await when_all(random_tree(all, seed * 5 + 1, depth - 1), random_tree(all, seed * 5 + 2, depth - 1));
      sum += std::get<0>(both) + std::get<1>(both);
    }
  } catch (const rota::exception_group&) {
    if (r % 2 == 0) throw;
  } catch (const std::system_error&) {
  }
  co_return sum;
}
TEST_CASE("random trees with errors and cancels: what began has ended") {
  accounts all;
  const std::size_t rounds = rota_test::scaled(300, 60, 100);
  for (const unsigned threads : {1u, 2u, 4u, 64u}) {
    thread_pool pool(threads);
    for (std::uint32_t round = 0; round != rounds; ++round) {
      auto handle = pool.spawn(random_tree, std::ref(all), round * 1000 + 17, 7);
      if (round % 5 == 0) handle.cancel();
      try {
        (void)rota::sync_wait(handle);
      } catch (const rota::exception_group&) {
      } catch (const std::exception&) {
      }
      if (all.begun.load() != all.ended.load()) FAIL("something is still running after its root has ended");
    }
  }
  REQUIRE(all.begun.load() > static_cast<std::int64_t>(rounds) * 40);
}

TEST_CASE("pools that come and go in the middle of their work lose nothing") {
  accounts all;
  const std::size_t rounds = rota_test::scaled(100, 20);
  for (std::size_t round = 0; round != rounds; ++round) {
    thread_pool pool(3);
    for (std::uint32_t i = 0; i != 4; ++i) {
      const auto quietly = [](accounts& a, std::uint32_t seed) -> task<> {
        try {
          (void)co_await random_tree(a, seed, 8);
        } catch (const std::exception&) {
        }
      };
      (void)pool.spawn(quietly, std::ref(all), static_cast<std::uint32_t>(round) * 10 + i);
    }
  }
  REQUIRE(all.begun.load() == all.ended.load());
}

}  // namespace
