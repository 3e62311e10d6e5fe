// The wait queue under every primitive of one loop: all short histories of arrivals, grants and cancels, and misuse.
#include <rota/sync/wait_list.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::detail::wait_list;
using rota::detail::waiter;
using rota_test::run;

/// Waits until it is granted.
class [[nodiscard]] baton_awaiter : public rota::detail::list_wait {
 public:
  explicit baton_awaiter(wait_list& list) noexcept : list_(list) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, rota::detail::line_mark where = ROTA_CALLERS_LINE) {
    return wait_in(list_, rota::detail::suspend_at(handle, where), handle.address());
  }
  void await_resume() const { check(); }

 private:
  wait_list& list_;
};

enum class end : std::uint8_t { none, granted, cancelled };

struct history {
  std::vector<end> ends;             // of each waiter
  std::vector<std::size_t> resumed;  // in this order
};

task<> wait_for_baton(wait_list& list, history& seen, std::size_t me) {
  try {
    co_await baton_awaiter(list);
    seen.ends[me] = end::granted;
  } catch (const rota::cancelled&) {
    seen.ends[me] = end::cancelled;
  }
  seen.resumed.push_back(me);
}

// One move of a history: 0 a waiter arrives, 1 the first is granted, 2 the tasks run, 3 + i the i-th waiter is cancelled.
constexpr std::size_t most_waiters = 4;
constexpr std::size_t moves = 3 + most_waiters;

task<> play(const std::vector<std::size_t>& history_of_moves) {
  wait_list list("baton");
  history seen;
  history expected;
  std::deque<std::size_t> waiting;
  std::vector<rota::join_handle<>> handles;
  for (const std::size_t move : history_of_moves) {
    if (move == 0) {
      if (handles.size() == most_waiters) continue;
      const std::size_t me = handles.size();
      seen.ends.push_back(end::none);
      expected.ends.push_back(end::none);
      waiting.push_back(me);
      handles.push_back(rota::spawn(wait_for_baton, std::ref(list), std::ref(seen), me));
      co_await rota::yield();
    } else if (move == 1) {
      if (list.empty()) continue;
      const std::size_t first = waiting.front();
      waiting.pop_front();
      expected.ends[first] = end::granted;
      expected.resumed.push_back(first);
      list.grant(*list.first());
    } else if (move == 2) {
      co_await rota::yield();
    } else {
      const std::size_t who = move - 3;
      if (who >= handles.size()) continue;
      handles[who].cancel("by the test");
      if (std::erase(waiting, who) != 0) {  // whoever was granted before keeps what it has
        expected.ends[who] = end::cancelled;
        expected.resumed.push_back(who);
      }
    }
    const std::size_t left = list.size();
    REQUIRE(left == waiting.size());
  }
  for (const std::size_t who : waiting) {
    expected.ends[who] = end::granted;
    expected.resumed.push_back(who);
  }
  list.grant_all();
  for (rota::join_handle<>& handle : handles) co_await handle;
  const bool same = seen.ends == expected.ends && seen.resumed == expected.resumed;
  if (!same) {
    std::string text;
    for (const std::size_t move : history_of_moves) text += std::to_string(move) + " ";
    FAIL("the moves " << text << "came out otherwise");
  }
}

}  // namespace

TEST_CASE(
    "in every history of six moves, whoever came first is granted first, and a cancel after that takes nothing away") {
  run([]() -> task<> {
    const std::size_t length = rota_test::under_tsan || rota_test::under_asan ? 5 : 6;
    std::vector<std::size_t> history(length, 0);
    for (;;) {
      co_await play(history);
      std::size_t i = 0;
      while (i != length && ++history[i] == moves) history[i++] = 0;
      if (i == length) break;
    }
  });
}

TEST_CASE("a waiter that was granted and then cancelled has what it was given, and its next await throws") {
  run([]() -> task<> {
    wait_list list("baton");
    bool had_it = false;
    bool was_cancelled = false;
    rota::join_handle<> handle = rota::spawn(
        [](wait_list& in, bool& had, bool& cancelled) -> task<> {
          co_await baton_awaiter(in);
          had = true;
          try {
            co_await rota::yield();
          } catch (const rota::cancelled&) {
            cancelled = true;
          }
        },
        std::ref(list), std::ref(had_it), std::ref(was_cancelled));
    co_await rota::yield();
    list.grant(*list.first());
    handle.cancel();
    co_await handle;
    REQUIRE(had_it);
    REQUIRE(was_cancelled);
  });
}

TEST_CASE("after a cancel has taken a waiter out, the list's owner can give its place's worth to the next") {
  struct owner : wait_list {
    owner() noexcept : wait_list("baton", &pass_on) {}
    static void pass_on(wait_list& self) noexcept { ++static_cast<owner&>(self).told; }
    int told = 0;
  };
  run([]() -> task<> {
    owner list;
    history seen;
    seen.ends.resize(2);
    rota::join_handle<> first = rota::spawn(wait_for_baton, std::ref(list), std::ref(seen), 0u);
    rota::join_handle<> second = rota::spawn(wait_for_baton, std::ref(list), std::ref(seen), 1u);
    co_await rota::yield();
    first.cancel();
    REQUIRE(list.told == 1);
    REQUIRE(list.size() == 1);
    list.grant_all();
    REQUIRE(list.told == 1);
    co_await first;
    co_await second;
    REQUIRE(seen.ends[0] == end::cancelled);
    REQUIRE(seen.ends[1] == end::granted);
  });
}

TEST_CASE("in a scope that is cancelled already a wait throws and never stands in the list") {
  run([]() -> task<> {
    wait_list list("baton");
    history seen;
    seen.ends.resize(1);
    rota::join_handle<> handle = rota::spawn(
        [](wait_list& in, history& h) -> task<> {
          try {
            co_await rota::yield();
          } catch (const rota::cancelled&) {
          }
          co_await wait_for_baton(in, h, 0);
        },
        std::ref(list), std::ref(seen));
    co_await rota::yield();
    handle.cancel();
    co_await handle;
    REQUIRE(seen.ends[0] == end::cancelled);
    REQUIRE(list.empty());
  });
}

TEST_CASE("a list that is destroyed while a task waits in it ends the program and names both") {
  const rota_test::child_outcome end_of_it =
      rota_test::child_process([] {
        rota::run([]() -> task<> {
          history seen;
          seen.ends.resize(1);
          wait_list list("baton");
          rota::spawn(wait_for_baton, std::ref(list), std::ref(seen), 0u).set_name("runner");
          co_await rota::yield();
        }());
        return 0;
      }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("a baton was destroyed while 1 waited for it, first task 'runner', last at "));
}
