// A child on another thread of a pool uses the group that it is in: spawn() and start(), as on a loop.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::join_handle;
using rota::task;
using rota::task_group;
using rota::task_status;
using rota::thread_pool;
using rota_test::exception_of;
using rota_test::text_of;
using rota_test::texts;

template <class F>
auto on_pool(unsigned threads, F f) {
  thread_pool pool(threads);
  return rota::sync_wait(pool.run(std::move(f)));
}

// As a crawler: a page's links are tasks of the same group, and the page ends before they do.
task<> visit(task_group& group, std::atomic<int>& visited, int depth) {
  visited.fetch_add(1);
  for (int i = 0; depth != 0 && i != 3; ++i) group.spawn(visit, std::ref(group), std::ref(visited), depth - 1);
  co_return;
}

task<int> give(int n) { co_return n; }
task<int> give_later(int n) {
  co_await rota::sleep_for(1ms);
  co_return n;
}
task<> fail(std::string text) {
  co_await rota::yield();
  throw std::runtime_error(text);
}
task<> until_cancelled(std::atomic<int>& begun, std::atomic<int>& cancels) {
  begun.fetch_add(1);
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled&) {
    cancels.fetch_add(1);
    throw;
  }
}
task<> count(std::atomic<int>& n) {
  n.fetch_add(1);
  co_return;
}

}  // namespace

TEST_CASE("children spawn into the group that they are in, and it ends after the last of them") {
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> visited{0};
      const auto body = [&](task_group& group) -> task<> {
        group.spawn(visit, std::ref(group), std::ref(visited), 6);
        co_return;
      };
      co_await rota::with_task_group(body);
      REQUIRE(visited == 1093);  // 1 + 3 + ... + 3^6
    });
}

TEST_CASE("a group waits for what its last child has spawned in its last step") {
  for (const unsigned threads : {1u, 4u})
    for (int i = 0; i != 50; ++i) {
      std::atomic<int> ended{0};
      on_pool(threads, [&]() -> task<> {
        const auto body = [&](task_group& group) -> task<> {
          const auto last = [&]() -> task<> {
            group.spawn(count, std::ref(ended));
            co_return;
          };
          const auto child = [&]() -> task<> {
            group.spawn(last);
            co_return;
          };
          co_await group.spawn(child);  // which refers to what is here
        };
        co_await rota::with_task_group(body);
        REQUIRE(ended == 1);
      });
    }
}

TEST_CASE("children of a when_all and of groups further below spawn into a group, too") {
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> ended{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto spawns = [&]() -> task<> {
          group.spawn(count, std::ref(ended));
          co_await rota::yield();
          group.spawn(count, std::ref(ended));
        };
        const auto inner = [&](task_group& own) -> task<> {
          for (int i = 0; i != 10; ++i) own.spawn(spawns);
          co_return;
        };
        const auto child = [&]() -> task<> { co_await rota::with_task_group(inner); };
        auto running = group.spawn(child);
        for (int i = 0; i != 100; ++i) co_await rota::when_all(spawns(), spawns(), spawns());
        co_await running;
      };
      co_await rota::with_task_group(body);
      REQUIRE(ended == 620);
    });
}

TEST_CASE("the handle of what a child spawned into the group gives the result in that child") {
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, []() -> task<> {
      static int somewhere = 0;
      const auto body = [](task_group& group) -> task<int> {
        const auto child = [&]() -> task<int> {
          auto later = group.spawn(give_later, 3);
          auto soon = group.spawn(give, 4);
          auto moved = group.spawn([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); });
          auto nothing = group.spawn([]() -> task<> { co_return; });
          auto place = group.spawn([]() -> task<int&> { co_return somewhere; });
          int& there = co_await place;
          REQUIRE(&there == &somewhere);
          co_await nothing;
          const int first = co_await later;
          const int again = co_await later;
          const int second = co_await std::move(soon);
          std::unique_ptr<int> third = co_await std::move(moved);
          REQUIRE(nothing.done());
          REQUIRE(later.result() == 3);
          REQUIRE(first == again);
          co_return first + second + *third;
        };
        auto handle = group.spawn(child);
        const int sum = co_await handle;
        co_return sum;
      };
      const int sum = co_await rota::with_task_group(body);
      REQUIRE(sum == 12);
    });
}

TEST_CASE("an error of what a child spawned into the group is the group's, and is seen by the handle") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> seen{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          auto failing = group.spawn(fail, std::string("broken"));
          const auto wait = [&]() -> task<> { co_await failing; };
          const std::exception_ptr error = co_await exception_of(rota::shield(10s, wait()));
          REQUIRE(text_of(error) == "broken");
          REQUIRE(text_of(failing.exception()) == "broken");
          seen.fetch_add(1);
        };
        group.spawn(child);
        co_return;
      };
      const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
      REQUIRE(texts(error) == std::vector<std::string>{"broken"});
      REQUIRE(seen == 1);
    });
}

TEST_CASE("a child cancels what it has spawned into the group by the handle") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> begun{0}, cancels{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          auto one = group.spawn(until_cancelled, std::ref(begun), std::ref(cancels));
          auto another = group.spawn(until_cancelled, std::ref(begun), std::ref(cancels));
          while (begun != 2) co_await rota::yield();
          REQUIRE(one.cancel("enough"));
          REQUIRE(!one.cancel());
          const auto wait = [&]() -> task<> { co_await one; };
          const std::exception_ptr error = co_await exception_of(wait());
          REQUIRE(rota_test::error_code_of([&] { std::rethrow_exception(error); }) == rota::errc::task_cancelled);
          REQUIRE(one.cancelled());
          REQUIRE(!one.exception());
          REQUIRE(!one.cancel());
          another.cancel();  // and its handle goes while the cancel is on its way
        };
        group.spawn(child);
        co_return;
      };
      co_await rota::with_task_group(body);
      REQUIRE(cancels == 2);
    });
}

TEST_CASE("a child that is cancelled while it waits for such a handle stops waiting, and the other goes on") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> ended{0};
      std::atomic<bool> released{false};
      const auto body = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          const auto slow = [&]() -> task<> {
            while (!released) co_await rota::yield();
            ended.fetch_add(1);
          };
          auto handle = group.spawn(slow);
          const bool in_time = co_await rota::move_on_after(1ms, handle);
          REQUIRE(!in_time);
          released = true;
        };
        group.spawn(child);
        co_return;
      };
      co_await rota::with_task_group(body);
      REQUIRE(ended == 1);
    });
}

TEST_CASE("a handle that leaves the child which spawned holds its end, and serves whoever gets it") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      const auto body = [](task_group& group) -> task<int> {
        const auto child = [&]() -> task<join_handle<int>> { co_return group.spawn(give_later, 7); };
        auto first = group.spawn(child);
        auto second = co_await std::move(first);
        REQUIRE(second.done());
        const int value = co_await second;
        co_return value;
      };
      const int value = co_await rota::with_task_group(body);
      REQUIRE(value == 7);
    });
}

TEST_CASE("a handle of what a child has spawned cannot be awaited by another task while it runs") {
  on_pool(2, []() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      std::atomic<join_handle<int>*> shared{nullptr};
      std::atomic<bool> tried{false};
      const auto child = [&]() -> task<> {
        auto handle = group.spawn([&]() -> task<int> {
          while (!tried) co_await rota::yield();
          co_return 1;
        });
        shared = &handle;
        while (!tried) co_await rota::yield();
        const int value = co_await handle;
        REQUIRE(value == 1);
      };
      auto running = group.spawn(child);
      while (!shared) co_await rota::yield();
      rota::detail::task_state& there = shared.load()->task();
      rota::detail::join_wait wait(there);
      rota::detail::task_state& me = co_await rota::detail::this_state_awaiter();
      REQUIRE(rota_test::usage_error_of([&] { return wait.suspend(me, nullptr); }) ==
              rota::usage_error::kind::wrong_loop);
      tried = true;
      co_await running;
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("what a child spawns into a cancelled group never begins") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> begun{0}, refused{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          group.cancel("closed");
          auto late = group.spawn(count, std::ref(begun));
          const auto wait = [&]() -> task<> { co_await late; };
          const std::exception_ptr error = co_await exception_of(rota::shield(10s, wait()));
          if (rota_test::error_code_of([&] { std::rethrow_exception(error); }) == rota::errc::task_cancelled)
            refused.fetch_add(1);
        };
        group.spawn(child);
        co_return;
      };
      co_await rota::with_task_group(body);
      REQUIRE(begun == 0);
      REQUIRE(refused == 1);
    });
}

TEST_CASE("task_locals of a child are inherited by what it spawns into the group, and stay when it has ended") {
  static const rota::task_local<std::string> label;
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> right{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto looks = [&]() -> task<> {
          co_await rota::sleep_for(1ms);  // the spawner has ended
          if (label.get_or("none") == "a request that is too long to be kept inside the string") right.fetch_add(1);
        };
        const auto serves = [&]() -> task<> {
          for (int i = 0; i != 10; ++i) group.spawn(looks);
          co_return;
        };
        const auto child = [&]() -> task<> {
          co_await rota::with_value(label, "a request that is too long to be kept inside the string", serves());
        };
        co_await group.spawn(child);
      };
      co_await rota::with_task_group(body);
      REQUIRE(right == 10);
    });
}

TEST_CASE("a child starts another one in the group, waits for its word, and lets it go on there") {
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> ended{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto server = [](task_status<int> status, std::atomic<int>& done, int port) -> task<> {
          co_await rota::yield();
          status.started(port);
          co_await rota::sleep_for(1ms);
          done.fetch_add(1);
        };
        const auto child = [&]() -> task<> {
          const int port = co_await group.start(server, std::ref(ended), 80);
          REQUIRE(port == 80);
          co_await group.start([](task_status<> status) -> task<> {
            status.started();
            co_return;
          });
        };
        co_await group.spawn(child);
      };
      co_await rota::with_task_group(body);
      REQUIRE(ended == 1);
    });
}

TEST_CASE("what fails before it has started is the caller's error, also where the caller is a child") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      const rota_test::captured_reports reports;
      std::atomic<int> seen{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          const auto fails = [](task_status<>) -> task<> {
            co_await rota::yield();
            throw std::runtime_error("no port");
          };
          const std::exception_ptr error = co_await exception_of(group.start(fails));
          REQUIRE(text_of(error) == "no port");
          const auto forgets = [](task_status<>) -> task<> { co_return; };
          const std::exception_ptr misuse = co_await exception_of(group.start(forgets));
          REQUIRE(rota_test::usage_error_of([&] { std::rethrow_exception(misuse); }) ==
                  rota::usage_error::kind::invalid_argument);
          seen.fetch_add(1);
        };
        group.spawn(child);
        co_return;
      };
      co_await rota::with_task_group(body);
      REQUIRE(seen == 1);
      INFO(reports.all());
      REQUIRE(reports.size() == 0);
    });
}

TEST_CASE("a child that is cancelled while it starts another one cancels that one, and waits for it") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> begun{0}, cancels{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          const auto in_scope = [&](rota::cancel_scope& scope) -> task<> {
            const auto never_starts = [&](task_status<>) -> task<> {
              scope.cancel();
              co_await until_cancelled(begun, cancels);
            };
            co_await group.start(never_starts);
          };
          const bool ended = co_await rota::with_cancel_scope(in_scope);
          REQUIRE(!ended);
          REQUIRE(cancels == 1);
        };
        co_await group.spawn(child);
      };
      co_await rota::with_task_group(body);
      REQUIRE(cancels == 1);
    });
}

TEST_CASE(
    "children that start others while the group's task is cancelled leave each strand its own account of the cancel") {
  const auto work = []() -> task<> {
    const auto child = [](task_group& group) -> task<> {
      const auto never_starts = [](task_status<>) -> task<> { co_await rota::sleep_for(1h); };
      co_await group.start(never_starts);
    };
    const auto body = [&](task_group& group) -> task<> {
      for (int i = 0; i != 8; ++i) group.spawn(child, std::ref(group));
      co_await rota::sleep_for(1h);
    };
    co_await rota::with_task_group(body);
  };
  thread_pool pool(4);
  const auto cancels = [&]() -> task<> {
    for (int i = 0; i != 50; ++i) {
      const bool ended = co_await rota::move_on_after(1ms, pool.run(work));
      REQUIRE(!ended);
    }
  };
  rota::run(cancels());
}

TEST_CASE("a start from below works while the group's task is cancelled, where the group or the caller has a shield") {
  const auto server = [](task_status<int> status) -> task<> {
    co_await rota::sleep_for(1ms);
    status.started(7);
  };
  const auto group_in_shield = [&]() -> task<> {
    const auto body = [&](task_group& group) -> task<> {
      const auto child = [&]() -> task<> {
        const int port = co_await group.start(server);
        REQUIRE(port == 7);
      };
      co_await group.spawn(child);
    };
    const auto cleanup = [&]() -> task<> { co_await rota::with_task_group(body); };
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled&) {
    }
    co_await rota::shield(10s, cleanup());
  };
  const auto caller_in_shield = [&]() -> task<> {
    const auto starts = [&](task_group& group) -> task<> {
      const int port = co_await group.start(server);
      REQUIRE(port == 7);
    };
    const auto child = [&](task_group& group) -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_await rota::shield(10s, starts(group));
    };
    const auto body = [&](task_group& group) -> task<> { co_await group.spawn(child, std::ref(group)); };
    co_await rota::with_task_group(body);
  };
  thread_pool pool(2);
  const auto all = [&]() -> task<> {
    (void)co_await rota::move_on_after(1ms, group_in_shield());
    (void)co_await rota::move_on_after(1ms, pool.run(group_in_shield));
    (void)co_await rota::move_on_after(1ms, caller_in_shield());
    (void)co_await rota::move_on_after(1ms, pool.run(caller_in_shield));
  };
  rota::run(all());
}

TEST_CASE("a child that has ended cannot say that it has started") {
  struct says_at_end {
    explicit says_at_end(std::atomic<int>& n) : refused(&n) {}
    says_at_end(says_at_end&&) = default;
    ~says_at_end() {
      if (!status) return;
      try {
        status->started(1);
      } catch (const rota::usage_error&) {
        refused->fetch_add(1);
      }
    }
    std::optional<task_status<int>> status;
    std::atomic<int>* refused;
  };
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> refused{0};
      const auto body = [&](task_group& group) -> task<> {
        const auto late = [](task_status<int> status, says_at_end end) -> task<> {
          end.status.emplace(std::move(status));
          co_return;
        };
        const std::exception_ptr error = co_await exception_of(group.start(late, says_at_end(refused)));
        REQUIRE(rota_test::usage_error_of([&] { std::rethrow_exception(error); }) ==
                rota::usage_error::kind::invalid_argument);
      };
      co_await rota::with_task_group(body);
      REQUIRE(refused == 1);
    });
}

TEST_CASE("a group that is kept open by what is on its way is open to everybody") {
  std::atomic<int> refused{0};
  const auto all = [&]() -> task<> {
    const auto rounds = rota_test::scaled(10000, 1000, 1000);
    for (std::size_t i = 0; i != rounds && refused == 0; ++i) {
      std::atomic<task_group*> inner{nullptr};
      std::atomic<bool> first{false}, second{false};
      const auto holds = [&]() -> task<> {
        while (!second) co_await rota::yield();
      };
      const auto spawns_first = [&]() -> task<> {
        while (!inner) co_await rota::yield();
        inner.load()->spawn(holds);
        first = true;
      };
      const auto spawns_next = [&]() -> task<> {
        while (!inner) co_await rota::yield();
        while (!first) {
        }
        try {
          for (int n = 0; n != 20; ++n) inner.load()->spawn(give, n);
        } catch (const rota::usage_error&) {
          refused.fetch_add(1);
        }
        second = true;
      };
      const auto body = [&](task_group& group) -> task<> {
        inner = &group;
        co_await rota::yield();
        while (!first) {  // the other two are spawned, and other workers run them
        }
      };
      const auto outer = [&](task_group& group) -> task<> {
        group.spawn(spawns_first);
        group.spawn(spawns_next);
        co_await rota::with_task_group(body);
      };
      co_await rota::with_task_group(outer);
    }
  };
  on_pool(4, all);
  REQUIRE(refused == 0);
}

TEST_CASE("a group is refused to tasks that are not below it, and to what it deferred") {
  on_pool(2, []() -> task<> {
    std::atomic<task_group*> shared{nullptr};
    std::atomic<bool> tried{false};
    bool refused = false;
    const auto opens = [&]() -> task<> {
      const auto body = [&](task_group& group) -> task<> {
        const auto late = [&]() -> task<> {
          const auto below = [&](task_group& own) -> task<> {
            const auto child = [&]() -> task<> {
              refused = rota_test::usage_error_of([&] { return group.spawn(give, 1); }) ==
                        rota::usage_error::kind::invalid_argument;
              co_return;
            };
            co_await own.spawn(child);
          };
          co_await rota::with_task_group(below);
        };
        group.defer(10s, late);
        shared = &group;
        while (!tried) co_await rota::yield();
      };
      co_await rota::with_task_group(body);
    };
    const auto outsider = [&]() -> task<> {
      while (!shared) co_await rota::yield();
      REQUIRE(rota_test::usage_error_of([&] { return shared.load()->spawn(give, 1); }) ==
              rota::usage_error::kind::wrong_thread);
      tried = true;
    };
    const auto both = [&](task_group& group) -> task<> {
      group.spawn(opens);
      group.spawn(outsider);
      co_return;
    };
    co_await rota::with_task_group(both);
    REQUIRE(refused);
  });
}

TEST_CASE("a storm: children spawn, await, drop, cancel and fail across threads, and all of them are accounted for") {
  struct weather {
    task_group* group = nullptr;
    std::atomic<std::int64_t> begun{0}, ended{0};
    std::atomic<int> left{0};
  };
  struct child {
    static task<int> live(weather& w, std::uint64_t seed) {
      struct account {
        explicit account(weather& of) : w(of) { w.begun.fetch_add(1); }
        ~account() { w.ended.fetch_add(1); }
        weather& w;
      } const mine(w);
      rota::detail::random dice(seed);
      for (int i = 0; i != 4; ++i) {
        if (w.left.fetch_sub(1) <= 0) co_return 1;
        auto next = w.group->spawn(live, std::ref(w), dice.next());
        switch (dice.next() % 6) {
          case 0: co_await rota::yield(); break;
          case 1: next.cancel(); break;
          case 2: {
            const auto wait = [&]() -> task<> { (void)co_await next; };
            (void)co_await exception_of(wait());
            break;
          }
          case 3: co_await rota::when_all(rota::yield(), rota::yield()); break;
          case 4: (void)co_await rota::move_on_after(1ms, next); break;
          default: break;
        }
      }
      co_return 0;
    }
  };
  const int size = static_cast<int>(rota_test::scaled(20000, 2000));
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, [&]() -> task<> {
      for (std::uint64_t seed = 1; seed != 4; ++seed) {
        weather w;
        const auto all = [&](task_group& group) -> task<> {
          w.group = &group;
          w.left = size;
          for (std::uint64_t i = 0; i != 8; ++i) group.spawn(child::live, std::ref(w), seed * 100 + i);
          if (seed == 3) {
            while (w.left > size / 2 && group.size() != 0) co_await rota::sleep_for(1ms);
            group.cancel("the storm is over");
          }
        };
        co_await rota::with_task_group(all);
        REQUIRE(w.begun == w.ended);
        REQUIRE(w.begun > 8);
      }
    });
}
