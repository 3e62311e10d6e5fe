// Timers, groups, when_any, race and spawn on a pool: children in parallel, with a loop's joins and error rules.
// (That a strand behaves as a loop in everything else is what the programs of scope/ say when they run as <name>.strand.)
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/meeting.hpp"
#include "support/outcomes.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::task_group;
using rota::thread_pool;
using rota_test::exception_of;
using rota_test::meeting;
using rota_test::on_pool;
using rota_test::texts;

task<> meets(meeting& m, int n) {
  m.wait_for(n);
  co_return;
}
task<int> give(int n) { co_return n; }
task<> fail(std::string text) {
  co_await rota::yield();
  throw std::runtime_error(text);
}
task<> until_cancelled(std::atomic<int>& cancels) {
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled&) {
    cancels.fetch_add(1);
    throw;
  }
}
task<> computes_until_cancelled(std::atomic<int>& cancels) {
  try {
    for (;;) rota::this_task::checkpoint();
  } catch (const rota::cancelled&) {
    cancels.fetch_add(1);
    throw;
  }
  co_return;
}

}  // namespace

TEST_CASE("children of a group run at the same time, and beside the body") {
  on_pool(4, []() -> task<> {
    meeting m;
    const auto body = [&](task_group& group) -> task<> {
      for (int i = 0; i != 3; ++i) group.spawn(meets, std::ref(m), 4);
      m.wait_for(4);  // without a suspension
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(m.arrived == 4);
  });
}

TEST_CASE("candidates of when_any and of race run at the same time") {
  on_pool(2, []() -> task<> {
    meeting m, n;
    const auto any = co_await rota::when_any(meets(m, 2), meets(m, 2));
    REQUIRE(any.index < 2);
    const auto one = co_await rota::race(meets(n, 2), meets(n, 2));
    REQUIRE(one.index < 2);
  });
}

TEST_CASE("values of children come through their handles, whichever thread made them") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      const auto body = [](task_group& group) -> task<int> {
        std::vector<rota::join_handle<int>> handles;
        for (int i = 0; i != 100; ++i) handles.push_back(group.spawn(give, i));
        int sum = 0;
        for (auto& handle : handles) {
          const int value = co_await handle;
          sum += value;
        }
        co_return sum;
      };
      const int sum = co_await rota::with_task_group(body);
      REQUIRE(sum == 4950);
    });
}

TEST_CASE("the first failure cancels siblings on other threads and the body, and all are waited for") {
  for (const unsigned threads : {1u, 2u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> cancels{0};
      const auto body = [&](task_group& group) -> task<> {
        group.spawn(until_cancelled, std::ref(cancels));
        co_await rota::yield();
        group.spawn(until_cancelled, std::ref(cancels));
        co_await rota::sleep_for(1ms);
        group.spawn(fail, std::string("broken"));
        co_await until_cancelled(cancels);
      };
      const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
      REQUIRE(texts(error) == std::vector<std::string>{"broken"});
      REQUIRE(cancels >= 1);
    });
}

TEST_CASE("a cancel reaches children that compute on five threads") {
  on_pool(5, []() -> task<> {
    std::atomic<int> cancels{0};
    meeting m;
    const auto child = [&]() -> task<> {
      m.wait_for(5);
      co_await computes_until_cancelled(cancels);
    };
    const auto body = [&](task_group& group) -> task<> {
      for (int i = 0; i != 4; ++i) group.spawn(child);
      m.wait_for(5);
      group.cancel("enough");
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(cancels == 4);
  });
}

TEST_CASE("a child may cancel the group, and a scope around it") {
  on_pool(2, []() -> task<> {
    std::atomic<int> cancels{0};
    const auto body = [&](task_group& group) -> task<> {
      const auto stops = [&]() -> task<> {
        co_await rota::yield();
        group.cancel();
      };
      group.spawn(until_cancelled, std::ref(cancels));
      co_await rota::sleep_for(1ms);
      group.spawn(stops);
      co_await until_cancelled(cancels);
    };
    co_await rota::with_task_group(body);
    REQUIRE(cancels >= 1);
    const auto scope_body = [&](rota::cancel_scope& scope) -> task<> {
      const auto stops = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          scope.cancel();
          co_return;
        };
        group.spawn(child);
        co_await rota::sleep_for(1h);
      };
      co_await rota::with_task_group(stops);
    };
    const bool went_on = co_await rota::with_cancel_scope(scope_body);
    REQUIRE_FALSE(went_on);
  });
}

TEST_CASE("what cancelled a child is told with its kind, text and line") {
  on_pool(2, []() -> task<> {
    std::string reason;
    rota::cancel_kind kind = rota::cancel_kind::shutdown;
    std::atomic<bool> begun{false};
    const auto child = [&]() -> task<> {
      try {
        begun = true;
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& e) {
        reason = e.reason();
        kind = e.kind();
        throw;
      }
    };
    const auto body = [&](task_group& group) -> task<> {
      auto handle = group.spawn(child);
      while (!begun) co_await rota::yield();
      handle.cancel("not needed");
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(reason == "not needed");
    REQUIRE(kind == rota::cancel_kind::requested);
  });
}

TEST_CASE("the losers of when_any have been cancelled and have ended, whatever they did") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, [threads]() -> task<> {
      for (int i = 0; i != 20; ++i) {
        std::atomic<int> cancels{0};
        std::atomic<int> begun{0};
        const auto loser = [&](bool computes) -> task<> {
          begun.fetch_add(1);
          if (computes)
            co_await computes_until_cancelled(cancels);
          else
            co_await until_cancelled(cancels);
        };
        const auto won = [&]() -> task<> {
          while (begun.load() != 1) co_await rota::yield();
        };
        const auto first = co_await rota::when_any(loser(threads > 1 && i % 2 != 0), won());
        REQUIRE(first.index == 1);
        REQUIRE(cancels == 1);
      }
    });
}

TEST_CASE("sleeps wake in the order of their deadlines, and a cancel ends one at once") {
  on_pool(1, []() -> task<> {
    std::vector<int> order;
    const auto sleeps = [&](int n) -> task<> {
      co_await rota::sleep_for(std::chrono::milliseconds(n));
      order.push_back(n);
    };
    co_await rota::when_any(sleeps(1));
    REQUIRE(order == std::vector<int>{1});
    const auto started = rota::clock::now();
    const bool in_time = co_await rota::move_on_after(1ms, rota::sleep_for(1h));
    REQUIRE_FALSE(in_time);
    REQUIRE(rota::clock::now() - started >= 1ms);
  });
}

TEST_CASE("timeout, timeout_at, move_on_after and shield on a pool") {
  for (const unsigned threads : {1u, 3u})
    on_pool(threads, []() -> task<> {
      const std::exception_ptr late = co_await exception_of(rota::timeout(1ms, rota::sleep_for(1h)));
      REQUIRE(rota_test::code_of(late) == rota::errc::timed_out);
      const std::exception_ptr at = co_await exception_of(rota::timeout_at(rota::clock::now(), rota::sleep_for(1h)));
      REQUIRE(rota_test::code_of(at) == rota::errc::timed_out);
      const int value = co_await rota::timeout(1h, give(3));
      REQUIRE(value == 3);
      int steps = 0;
      const auto shielded = [&](rota::cancel_scope& scope) -> task<> {
        const auto cleanup = [&]() -> task<> {
          co_await rota::sleep_for(1ms);
          ++steps;
        };
        scope.cancel();
        co_await rota::shield(1h, cleanup());
        co_await rota::yield();
        ++steps;
      };
      co_await rota::with_cancel_scope(shielded);
      REQUIRE(steps == 1);
    });
}

TEST_CASE("start() waits until a child on another thread says that it is ready") {
  for (const unsigned threads : {1u, 4u})
    on_pool(threads, []() -> task<> {
      std::atomic<int> cancels{0};
      const auto serves = [&](rota::task_status<int> status, int port) -> task<> {
        co_await rota::yield();
        status.started(port + 1);
        co_await until_cancelled(cancels);
      };
      const auto breaks = [](rota::task_status<int>) -> task<> {
        co_await rota::yield();
        throw std::runtime_error("no port");
      };
      const auto body = [&](task_group& group) -> task<> {
        const int port = co_await group.start(serves, 7000);
        REQUIRE(port == 7001);
        REQUIRE(group.size() == 1);
        const std::exception_ptr error = co_await exception_of(group.start(breaks));
        REQUIRE(rota_test::text_of(error) == "no port");
        group.cancel();
      };
      co_await rota::with_task_group(body);
      REQUIRE(cancels == 1);
    });
}

TEST_CASE("a pool's task ends when what it has spawned has ended") {
  for (const unsigned threads : {1u, 4u}) {
    std::atomic<int> ended{0};
    on_pool(threads, [&]() -> task<> {
      const auto slow = [&]() -> task<> {
        co_await rota::sleep_for(1ms);
        ended.fetch_add(1);
      };
      (void)rota::spawn(slow);
      auto kept = rota::spawn(slow);
      co_await kept;
    });
    REQUIRE(ended == 2);
  }
}

TEST_CASE("an error of a spawned task that nobody retrieved is reported once") {
  const rota_test::captured_reports reports;
  on_pool(2, []() -> task<> {
    (void)rota::spawn(fail, std::string("lost"));
    co_return;
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("nobody retrieved: std::runtime_error: lost"));
}

TEST_CASE(
    "a child on another thread may ask whether its group or a scope was cancelled, and not for the group's size") {
  on_pool(3, []() -> task<> {
    meeting m;
    std::atomic<int> refused{0}, early{0};
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      const auto in_group = [&](task_group& group) -> task<> {
        const auto child = [&]() -> task<> {
          const auto error = rota_test::usage_error_of([&] { return group.size(); });
          if (error == rota::usage_error::kind::wrong_thread) refused.fetch_add(1);
          if (group.cancel_requested()) early.fetch_add(1);
          m.wait_for(3);
          while (!group.cancel_requested()) std::this_thread::yield();  // no suspension: nothing else tells it
          while (!scope.cancel_requested()) std::this_thread::yield();
          co_return;
        };
        for (int i = 0; i != 2; ++i) group.spawn(child);
        m.wait_for(3);
        REQUIRE(group.size() == 2);
        group.cancel();
        scope.cancel();
        co_return;
      };
      co_await rota::with_task_group(in_group);
    };
    co_await rota::with_cancel_scope(body);
    REQUIRE(refused == 2);
    REQUIRE(early == 0);
  });
}

TEST_CASE("children of a group inherit task_locals, and fork on their own strands") {
  static rota::task_local<int> number;
  on_pool(4, []() -> task<> {
    const auto leaf = []() -> task<int> { co_return number.get(); };
    const auto child = [&]() -> task<int> {
      const auto both = co_await rota::when_all(leaf(), leaf());
      co_return std::get<0>(both) + std::get<1>(both);
    };
    const auto opens = [&]() -> task<int> {
      const auto body = [&](task_group& group) -> task<int> {
        auto a = group.spawn(child);
        auto b = group.spawn(child);
        const int x = co_await a;
        const int y = co_await b;
        co_return x + y;
      };
      co_return co_await rota::with_task_group(body);
    };
    const int sum = co_await rota::with_value(number, 5, opens());
    REQUIRE(sum == 20);
  });
}

TEST_CASE("what belongs to the parent's strand is awaited there, whichever combinator awaits it") {
  on_pool(4, []() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      std::vector<rota::join_handle<int>> handles;
      for (int i = 0; i != 10; ++i) handles.push_back(group.spawn(give, i));
      const std::vector<int> all = co_await rota::when_all(handles);
      REQUIRE(all.size() == 10);
      const auto any = co_await rota::when_any(handles);
      REQUIRE(any.value == static_cast<int>(any.index));
      const auto both = co_await rota::gather(handles[1], handles[2]);
      REQUIRE(std::get<0>(both) + std::get<1>(both) == 3);
      auto completions = rota::as_completed(handles);
      std::set<int> seen;
      while (completions.left() != 0) {
        auto one = co_await completions.next();
        seen.insert(one->result());
      }
      REQUIRE(seen.size() == 10);
    };
    co_await rota::with_task_group(body);
  });
}

TEST_CASE("groups within groups, when_any within when_all, errors and cancels at random: everything is accounted for") {
  const rota_test::captured_reports reports;  // losers that fail in time are told of
  const std::size_t rounds = rota_test::scaled(200, 40, 100);
  for (const unsigned threads : {1u, 2u, 4u}) {
    std::atomic<int> alive{0};
    struct counted {
      explicit counted(std::atomic<int>& c) : count(c) { count.fetch_add(1); }
      counted(const counted& other) : count(other.count) { count.fetch_add(1); }
      counted& operator=(const counted&) = delete;
      ~counted() { count.fetch_sub(1); }
      std::atomic<int>& count;
    };
    struct tree {
      static task<> grow(counted mine, std::uint64_t seed, int depth) {
        const std::uint64_t next = seed * 6364136223846793005u + 1442695040888963407u;
        if (depth == 0) {
          switch ((next >> 33) % 5) {
            case 0: throw std::runtime_error("leaf");
            case 1: co_await rota::yield(); break;
            case 2: co_await rota::sleep_for(std::chrono::microseconds((next >> 40) % 50)); break;
            case 3: co_await rota::sleep_for(1h); break;
            default: break;
          }
          co_return;
        }
        switch ((next >> 33) % 4) {
          case 0: co_await rota::when_all(grow(mine, next, depth - 1), grow(mine, next + 1, depth - 1)); break;
          case 1: {
            const auto first = co_await rota::when_any(grow(mine, next, depth - 1), grow(mine, next + 1, depth - 1));
            (void)first;
            break;
          }
          case 2: {
            const auto body = [&](task_group& group) -> task<> {
              group.spawn(grow, mine, next, depth - 1);
              auto handle = group.spawn(grow, mine, next + 1, depth - 1);
              group.spawn(grow, mine, next + 2, depth - 1);
              if (next % 3 == 0) handle.cancel();
              if (next % 7 == 0) group.cancel();
              co_await rota::yield();
            };
            co_await rota::with_task_group(body);
            break;
          }
          default: {
            const bool ended =
                co_await rota::move_on_after(std::chrono::microseconds(100), grow(mine, next, depth - 1));
            (void)ended;
          }
        }
      }
    };
    thread_pool pool(threads);
    for (std::size_t i = 0; i != rounds; ++i) {
      const auto round = [&]() -> task<> {
        const std::exception_ptr error =
            co_await exception_of(rota::move_on_after(2ms, tree::grow(counted(alive), i * 977, 5)));
        (void)error;
      };
      rota::sync_wait(pool.run(round));
      REQUIRE(alive == 0);
    }
  }
}
