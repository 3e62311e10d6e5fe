// What this_task says in a child on another strand of a pool: what its parent's handle says, and what is around the parent.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::task_group;
using rota::thread_pool;
namespace this_task = rota::this_task;

template <class F>
auto on_pool(unsigned threads, F f) {
  thread_pool pool(threads);
  return rota::sync_wait(pool.run(std::move(f)));
}

}  // namespace

TEST_CASE("a child of a pool and its parent's handle agree on name and number, while it runs and afterwards") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::set<std::uint64_t> ids;
      const auto body = [&](task_group& group) -> task<> {
        std::atomic<std::uint64_t> inside{0};
        std::string first, second;
        std::atomic<bool> renamed{false}, seen{false};
        const auto child = [&]() -> task<> {
          while (!renamed) co_await rota::yield();
          first = this_task::name();
          inside = this_task::id();
          this_task::set_name("by itself");
          while (!seen) co_await rota::yield();
          second = this_task::name();
        };
        auto handle = group.spawn(child);
        handle.set_name("by its parent");
        renamed = true;
        while (inside == 0) co_await rota::yield();
        while (handle.name() != "by itself") co_await rota::yield();
        REQUIRE(handle.id() == inside);
        handle.set_name("at last");
        seen = true;
        co_await handle;
        REQUIRE(first == "by its parent");
        REQUIRE(second == "at last");
        REQUIRE(handle.name() == "at last");
        REQUIRE(handle.id() == inside);
        ids.insert(inside);
        ids.insert(this_task::id());

        const auto says = []() -> task<std::uint64_t> {
          this_task::set_name("short");
          co_return this_task::id();
        };
        auto asked_late = group.spawn(says);
        const std::uint64_t its = co_await asked_late;
        REQUIRE(asked_late.id() == its);
        REQUIRE(asked_late.name() == "short");
        ids.insert(its);
      };
      co_await rota::with_task_group(body);
      REQUIRE(ids.size() == 3);
    });
}

TEST_CASE("a child may be named by who spawned it from below while it ends") {
  on_pool(4, []() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      const auto ends = []() -> task<> {
        this_task::set_name("a name that is too long to be kept inside the string");
        co_return;
      };
      const auto child = [&]() -> task<> {
        auto handle = group.spawn(ends);
        for (int i = 0; i != 100; ++i)
          handle.set_name("a name from below, which is as long as the one before, or more");
        co_await handle;
      };
      for (int i = 0; i != 50; ++i) co_await group.spawn(child);
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("a child that spawns into its group has the name and number of what it spawned, too") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      const auto body = [](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          const auto grandchild = []() -> task<std::uint64_t> {
            while (this_task::name() != "given from below") co_await rota::yield();
            this_task::set_name("renamed");
            co_return this_task::id();
          };
          auto handle = group.spawn(grandchild).set_name("given from below");
          const std::uint64_t before = handle.id();
          const std::uint64_t its = co_await handle;
          REQUIRE(before == its);
          REQUIRE(handle.id() == its);
          REQUIRE(handle.name() == "renamed");
          REQUIRE(this_task::id() != its);
        };
        co_await group.spawn(child);
      };
      co_await rota::with_task_group(body);
    });
}

TEST_CASE("children of a when_all have their parent's name and number, stolen or not") {
  on_pool(4, []() -> task<> {
    this_task::set_name("the parent");
    const std::uint64_t mine = this_task::id();
    for (int i = 0; i != 100; ++i) {
      std::atomic<int> arrived{0}, right{0};
      const auto child = [&]() -> task<> {
        arrived.fetch_add(1);
        while (arrived < 3) std::this_thread::yield();  // so two of them are stolen
        if (this_task::name() == "the parent" && this_task::id() == mine) right.fetch_add(1);
        co_return;
      };
      co_await rota::when_all(child(), child(), child());
      REQUIRE(right == 3);
    }
  });
}

TEST_CASE("a child on another strand knows the deadline around its parent, up to a shield") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      REQUIRE(this_task::deadline() == rota::time_point::max());
      rota::time_point around;
      const auto asks = [&]() -> task<bool> { co_return this_task::deadline() == around; };
      const auto none = []() -> task<bool> { co_return this_task::deadline() == rota::time_point::max(); };
      const auto body = [&](task_group& group) -> task<> {
        around = this_task::deadline();
        REQUIRE(around < rota::time_point::max());
        auto child = group.spawn(asks);
        const bool same = co_await child;
        REQUIRE(same);
        const auto deeper = [&]() -> task<bool> {
          const auto inner = [&](task_group& own) -> task<bool> {
            auto grandchild = own.spawn(asks);
            const bool also = co_await grandchild;
            co_return also;
          };
          const bool all = co_await rota::with_task_group(inner);
          co_return all;
        };
        auto parent = group.spawn(deeper);
        const bool below = co_await parent;
        REQUIRE(below);
        const auto spawns = [&]() -> task<bool> {
          auto sibling = group.spawn(asks);
          const bool also = co_await sibling;
          co_return also;
        };
        auto spawner = group.spawn(spawns);
        const bool beside = co_await spawner;
        REQUIRE(beside);
      };
      co_await rota::timeout(1h, rota::with_task_group(body));
      auto free = rota::spawn(none);
      const bool unlimited = co_await free;
      REQUIRE(unlimited);
    });
}

TEST_CASE("children of a when_all that were stolen know the deadline around it") {
  on_pool(4, []() -> task<> {
    for (int i = 0; i != 100; ++i) {
      std::atomic<int> arrived{0}, right{0};
      rota::time_point around;
      const auto child = [&]() -> task<> {
        arrived.fetch_add(1);
        while (arrived < 3) std::this_thread::yield();
        if (this_task::deadline() == around) right.fetch_add(1);
        co_return;
      };
      const auto forks = [&]() -> task<> {
        around = this_task::deadline();
        arrived = 0;
        co_await rota::when_all(child(), child(), child());
      };
      co_await forks();
      co_await rota::timeout(1h, forks());
      co_await rota::timeout(1h, rota::shield(2h, forks()));
      const auto in_turn = [&]() -> task<> {
        co_await rota::timeout(10min, forks());
        co_await forks();
      };
      co_await rota::timeout(30min, in_turn());
      REQUIRE(right == 15);
    }
  });
}
