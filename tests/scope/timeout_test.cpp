// timeout, move_on_after, shield: deadlines around one await.
#include <coroutine>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::manual_loop;
using rota_test::number_after;

task<int> number(int n) { co_return n; }
task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

// How an await of `t` ended.
struct outcome {
  std::optional<int> value;
  std::error_code code;
  bool cancelled = false;
  std::string other;
};
template <class Make>
task<outcome> outcome_of(Make make) {
  outcome o;
  try {
    o.value = co_await make();
  } catch (const std::system_error& error) {
    o.code = error.code();
  } catch (const std::exception& error) {
    o.other = error.what();
  } catch (const rota::cancelled&) {
    o.cancelled = true;
  }
  co_return o;
}

// Runs f(loop), which returns a task, on a manual clock.
template <class F>
void on_manual_clock(F f) {
  const rota_test::frame_balance nothing_left;
  manual_loop m;
  m.run(f(m));
  rota_test::require_quiescent(m.loop());
}

// Ready at once; gives 7. Not a rota awaiter.
struct ready_awaiter {
  ready_awaiter() noexcept {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return 7; }
};
// Hands control straight back.
struct transferring_awaiter {
  transferring_awaiter() noexcept {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) const noexcept { return h; }
  int await_resume() const noexcept { return 8; }
};

}  // namespace

TEST_CASE("a timeout gives the value of what ends in time") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const int around_a_task = co_await rota::timeout(10ms, number_after(3ms, 5));
    REQUIRE(around_a_task == 5);
    co_await rota::timeout(10ms, rota::sleep_for(2ms));
    const int at_once = co_await rota::timeout(10ms, number(6));
    REQUIRE(at_once == 6);
    REQUIRE(m.elapsed() == 5ms);
    REQUIRE(m.loop().statistics().timers == 0);
  });
}

TEST_CASE("a timeout that expires is errc::timed_out, at its very instant") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto around_a_task = [] { return rota::timeout(10ms, number_after(1h, 5)); };
    const outcome a = co_await outcome_of(around_a_task);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE(a.code == std::errc::timed_out);
    REQUIRE(m.elapsed() == 10ms);
    bool expired = false;
    try {
      co_await rota::timeout(5ms, rota::sleep_for(1h));
    } catch (const std::system_error& error) {
      expired = error.code() == rota::errc::timed_out;
    }
    REQUIRE(expired);
    REQUIRE(m.elapsed() == 15ms);
  });
}

TEST_CASE("timeout_at takes an absolute deadline") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto at = m.loop().now() + 4ms;
    const auto late = [at] { return rota::timeout_at(at, number_after(1h, 5)); };
    const outcome a = co_await outcome_of(late);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE(m.elapsed() == 4ms);
    const int no_limit = co_await rota::timeout_at(rota::time_point::max(), number_after(1ms, 3));
    REQUIRE(no_limit == 3);
  });
}

TEST_CASE("a timeout around something that is ready gives it, even when the deadline has passed") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const int task_value = co_await rota::timeout(0ms, number(4));
    const int past = co_await rota::timeout(-1h, number(5));
    const int absolute = co_await rota::timeout_at(m.loop().now() - 1h, number(6));
    const int awaiter = co_await rota::timeout(-1s, ready_awaiter());
    const int transferred = co_await rota::timeout(-1s, transferring_awaiter());
    REQUIRE(task_value == 4);
    REQUIRE(past == 5);
    REQUIRE(absolute == 6);
    REQUIRE(awaiter == 7);
    REQUIRE(transferred == 8);
    rota::join_handle<int> done = rota::spawn(number, 9);
    co_await rota::yield();
    const int joined = co_await rota::timeout(-1s, done);
    REQUIRE(joined == 9);
  });
}

TEST_CASE("a deadline in the past expires at the first suspension that lasts") {
  on_manual_clock([](manual_loop& m) -> task<> {
    bool began = false;
    const auto body = [&]() -> task<int> {
      began = true;
      co_await rota::sleep_for(1h);
      co_return 1;
    };
    const auto late = [&] { return rota::timeout(-5s, body()); };
    const outcome a = co_await outcome_of(late);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE(began);
    REQUIRE(m.elapsed() == 0ms);
  });
}

TEST_CASE("an exception of what is awaited passes a timeout unchanged") {
  on_manual_clock([](manual_loop&) -> task<> {
    const auto fail = []() -> task<int> {
      co_await rota::sleep_for(1ms);
      throw std::runtime_error("foreign");
    };
    const auto failing = [&] { return rota::timeout(1s, fail()); };
    const outcome a = co_await outcome_of(failing);
    REQUIRE(a.other == "foreign");

    // One that answers the cancel with an error of its own: that error is the result.
    const auto complain = []() -> task<int> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        throw std::runtime_error("complaint");
      }
      co_return 0;
    };
    const auto complaining = [&] { return rota::timeout(1ms, complain()); };
    const outcome b = co_await outcome_of(complaining);
    REQUIRE(b.other == "complaint");
  });
}

TEST_CASE("a value that comes in spite of the cancel is given") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto stubborn = []() -> task<int> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_return 3;
    };
    const int n = co_await rota::timeout(2ms, stubborn());
    REQUIRE(n == 3);
    REQUIRE(m.elapsed() == 2ms);
    co_await rota::sleep_for(1ms);  // and the task is not cancelled
  });
}

TEST_CASE("a timeout waits until what it cancelled has ended") {
  on_manual_clock([](manual_loop& m) -> task<> {
    bool cleaned = false;
    const auto slow_to_end = [&]() -> task<int> {
      bool interrupted = false;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        interrupted = true;
      }
      if (interrupted) {
        co_await rota::shield(1s, rota::sleep_for(5ms));
        cleaned = true;
      }
      co_await rota::yield();
      co_return 1;
    };
    const auto late = [&] { return rota::timeout(2ms, slow_to_end()); };
    const outcome a = co_await outcome_of(late);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE(cleaned);
    REQUIRE(m.elapsed() == 7ms);
  });
}

TEST_CASE("a cancel from outside stays a cancel inside a timeout") {
  on_manual_clock([](manual_loop&) -> task<> {
    outcome seen;
    const auto body = [&]() -> task<> {
      const auto limited = [] { return rota::timeout(1s, number_after(1h, 1)); };
      seen = co_await outcome_of(limited);
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::yield();
    handle.cancel();
    co_await handle;
    REQUIRE(seen.cancelled);
    REQUIRE_FALSE(seen.code);
  });
}

TEST_CASE("a cancel from outside wins over a timeout that has expired as well") {
  on_manual_clock([](manual_loop&) -> task<> {
    outcome seen;
    const auto body = [&]() -> task<> {
      const auto slow = []() -> task<int> {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
        }
        co_await rota::shield(1s, rota::sleep_for(10ms));
        co_await rota::yield();
        co_return 1;
      };
      const auto limited = [&] { return rota::timeout(2ms, slow()); };
      seen = co_await outcome_of(limited);
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::sleep_for(5ms);
    handle.cancel();
    co_await handle;
    REQUIRE(seen.cancelled);
  });
}

TEST_CASE("a timeout does not convert the end of a task that it joins") {
  on_manual_clock([](manual_loop&) -> task<> {
    rota::join_handle<> worker = rota::spawn(forever);
    const auto cancel_it = [](rota::join_handle<> handle) -> task<> {
      co_await rota::sleep_for(1ms);
      handle.cancel();
    };
    rota::join_handle<> canceller = rota::spawn(cancel_it, worker);
    std::error_code code;
    try {
      co_await rota::timeout(1s, worker);
    } catch (const std::system_error& error) {
      code = error.code();
    }
    REQUIRE(code == rota::errc::task_cancelled);
    co_await canceller;
  });
}

TEST_CASE("a timeout around a join leaves the joined task running") {
  on_manual_clock([](manual_loop& m) -> task<> {
    rota::join_handle<int> worker = rota::spawn(number_after, rota::duration(10ms), 4);
    bool expired = false;
    try {
      (void)co_await rota::timeout(2ms, worker);
    } catch (const std::system_error& error) {
      expired = error.code() == rota::errc::timed_out;
    }
    REQUIRE(expired);
    REQUIRE_FALSE(worker.done());
    const int n = co_await worker;
    REQUIRE(n == 4);
    REQUIRE(m.elapsed() == 10ms);
  });
}

TEST_CASE("of nested timeouts with equal deadlines the outermost expires") {
  on_manual_clock([](manual_loop& m) -> task<> {
    bool inner_expired = false;
    const auto body = [&]() -> task<int> {
      try {
        co_return co_await rota::timeout(3ms, number_after(1h, 1));
      } catch (const std::system_error&) {
        inner_expired = true;
      }
      co_return 0;
    };
    const auto outer = [&] { return rota::timeout(3ms, body()); };
    const outcome a = co_await outcome_of(outer);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE_FALSE(inner_expired);
    REQUIRE(m.elapsed() == 3ms);
  });
}

TEST_CASE("of nested timeouts the shorter one expires, whichever it is") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto inner_short = [&]() -> task<int> {
      std::error_code code;
      try {
        (void)co_await rota::timeout(2ms, number_after(1h, 1));
      } catch (const std::system_error& error) {
        code = error.code();
      }
      co_return code == rota::errc::timed_out ? 10 : 0;
    };
    const int ten = co_await rota::timeout(5ms, inner_short());
    REQUIRE(ten == 10);
    REQUIRE(m.elapsed() == 2ms);
    const auto inner_long = []() -> task<int> { co_return co_await rota::timeout(5s, number_after(1h, 1)); };
    const auto outer_short = [&] { return rota::timeout(3ms, inner_long()); };
    const outcome b = co_await outcome_of(outer_short);
    REQUIRE(b.code == rota::errc::timed_out);
    REQUIRE(m.elapsed() == 5ms);
  });
}

TEST_CASE("a deadline wins over a sleep that it limits and that ends at the same instant") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto same = [] { return rota::timeout(4ms, number_after(4ms, 1)); };
    const outcome a = co_await outcome_of(same);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE(m.elapsed() == 4ms);
  });
}

TEST_CASE("the deadline's cancel says that it was a deadline, and where it was set") {
  on_manual_clock([](manual_loop&) -> task<> {
    auto kind = rota::cancel_kind::requested;
    std::string reason;
    unsigned line = 0;
    const auto sleeper = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        kind = c.kind();
        reason = c.reason();
        line = c.where().line();
        throw;
      }
    };
    unsigned here = 0;
    const auto limits = [&]() -> task<> {
      try {
        here = __LINE__ + 1;
        co_await rota::timeout(1ms, sleeper());
      } catch (const std::system_error&) {
      }
    };
    co_await limits();
    REQUIRE(kind == rota::cancel_kind::deadline);
    REQUIRE_FALSE(reason.empty());
    REQUIRE(line == here);
  });
}

TEST_CASE("move_on_after gives the value or nothing") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const std::optional<int> in_time = co_await rota::move_on_after(5ms, number_after(2ms, 3));
    REQUIRE(in_time == 3);
    const std::optional<int> too_late = co_await rota::move_on_after(5ms, number_after(1h, 3));
    REQUIRE_FALSE(too_late.has_value());
    const bool slept = co_await rota::move_on_after(5ms, rota::sleep_for(1ms));
    REQUIRE(slept);
    const bool overslept = co_await rota::move_on_after(5ms, rota::sleep_for(1h));
    REQUIRE_FALSE(overslept);
    const bool absolute = co_await rota::move_on_at(m.loop().now() + 1ms, rota::sleep_for(1h));
    REQUIRE_FALSE(absolute);
    REQUIRE(m.elapsed() == 14ms);
  });
}

TEST_CASE("move_on_after lets errors and outside cancels pass") {
  on_manual_clock([](manual_loop&) -> task<> {
    const auto fail = []() -> task<int> {
      throw std::runtime_error("foreign");
      co_return 0;
    };
    std::string caught;
    try {
      (void)co_await rota::move_on_after(1s, fail());
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    REQUIRE(caught == "foreign");
    const auto body = []() -> task<int> {
      (void)co_await rota::move_on_after(1s, rota::sleep_for(1h));
      co_return 1;
    };
    rota::join_handle<int> handle = rota::spawn(body);
    co_await rota::yield();
    handle.cancel();
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(handle.cancelled());
  });
}

TEST_CASE("a shield keeps an outside cancel away until it ends") {
  on_manual_clock([](manual_loop& m) -> task<> {
    bool cleaned = false;
    bool after = false;
    const auto body = [&]() -> task<> {
      const auto cleanup = [&]() -> task<> {
        co_await rota::sleep_for(3ms);
        co_await rota::sleep_for(3ms);
        cleaned = true;
      };
      co_await rota::shield(1s, cleanup());
      co_await rota::yield();
      after = true;
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::sleep_for(1ms);
    handle.cancel();
    while (!handle.done()) co_await rota::sleep_for(1ms);
    REQUIRE(handle.cancelled());
    REQUIRE(cleaned);
    REQUIRE_FALSE(after);
    REQUIRE(m.elapsed() >= 6ms);
    REQUIRE(m.elapsed() <= 8ms);
  });
}

TEST_CASE("a shield may be entered when the scope is cancelled already") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto body = [&](rota::cancel_scope& scope) -> task<int> {
      scope.cancel();
      co_await rota::shield(1s, rota::sleep_for(2ms));
      co_return 1;
    };
    const std::optional<int> value = co_await rota::with_cancel_scope(body);
    REQUIRE(value == 1);
    REQUIRE(m.elapsed() == 2ms);
  });
}

TEST_CASE("a shield's own deadline ends it all the same") {
  on_manual_clock([](manual_loop& m) -> task<> {
    outcome seen;
    const auto body = [&]() -> task<> {
      const auto endless = [] { return rota::shield(5ms, number_after(1h, 1)); };
      seen = co_await outcome_of(endless);
      co_await rota::yield();
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::sleep_for(1ms);
    handle.cancel();
    while (!handle.done()) co_await rota::sleep_for(1ms);
    REQUIRE(seen.code == rota::errc::timed_out);
    REQUIRE(handle.cancelled());
    REQUIRE(m.elapsed() == 5ms);
  });
}

TEST_CASE("a timeout inside a shield works, and one around it reaches only what is outside") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const auto inner = []() -> task<int> {
      const bool ended = co_await rota::move_on_after(2ms, rota::sleep_for(1h));
      co_return ended ? 1 : 2;
    };
    const int two = co_await rota::shield(1s, inner());
    REQUIRE(two == 2);
    REQUIRE(m.elapsed() == 2ms);
    const auto shielded = []() -> task<int> {
      co_await rota::shield(1s, rota::sleep_for(10ms));
      co_return 1;
    };
    const int one = co_await rota::timeout(3ms, shielded());  // its value beats the cancel
    REQUIRE(one == 1);
    REQUIRE(m.elapsed() == 12ms);
  });
}

TEST_CASE("a million timeouts around something ready use constant stack and leave no timer") {
  const std::size_t times = rota_test::scaled(1'000'000, 100'000, 300'000);
  on_manual_clock([times](manual_loop& m) -> task<> {
    std::size_t n = 0;
    for (std::size_t i = 0; i != times; ++i) n += static_cast<std::size_t>(co_await rota::timeout(1h, number(1)));
    for (std::size_t i = 0; i != times; ++i) n += co_await rota::timeout(1h, ready_awaiter()) == 7;
    for (std::size_t i = 0; i != times; ++i) n += co_await rota::timeout(1h, transferring_awaiter()) == 8;
    REQUIRE(n == 3 * times);
    REQUIRE(m.loop().statistics().timers == 0);
  });
}

TEST_CASE("very long, very short and odd durations are taken") {
  on_manual_clock([](manual_loop& m) -> task<> {
    const int hours = co_await rota::timeout(std::chrono::hours::max(), number_after(1ms, 1));
    const int nanos = co_await rota::timeout(std::chrono::nanoseconds::max(), number_after(1ms, 2));
    const int infinite = co_await rota::timeout(std::chrono::duration<double>(std::numeric_limits<double>::infinity()),
                                                number_after(1ms, 3));
    REQUIRE(hours + nanos + infinite == 6);
    const auto fraction = [] { return rota::timeout(std::chrono::duration<double>(0.25), number_after(1h, 1)); };
    const outcome a = co_await outcome_of(fraction);
    REQUIRE(a.code == rota::errc::timed_out);
    REQUIRE(m.elapsed() == 253ms);
    const auto negative = [] { return rota::timeout(std::chrono::nanoseconds::min(), number_after(1h, 1)); };
    const outcome b = co_await outcome_of(negative);
    REQUIRE(b.code == rota::errc::timed_out);
    REQUIRE(m.elapsed() == 253ms);
  });
}

TEST_CASE("on the real clock a timeout waits at least its time") {
  rota_test::run([]() -> task<> {
    const auto start = std::chrono::steady_clock::now();
    const bool ended = co_await rota::move_on_after(2ms, rota::sleep_for(1h));
    REQUIRE_FALSE(ended);
    REQUIRE(std::chrono::steady_clock::now() - start >= 2ms);
  });
}

TEST_CASE("scopes around something that throws when it is to suspend are left in order") {
  struct throws_in_suspend {
    throws_in_suspend() noexcept {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const { throw std::runtime_error("not now"); }
    void await_resume() const noexcept {}
  };
  on_manual_clock([](manual_loop&) -> task<> {
    std::string caught;
    try {
      co_await rota::shield(3s, rota::timeout(1s, rota::timeout(2s, throws_in_suspend())));
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    REQUIRE(caught == "not now");
    co_await rota::sleep_for(1h);  // no deadline is left that would reach us
  });
}

TEST_CASE("a timeout needs an event loop") {
  const auto body = []() -> task<int> { co_return co_await rota::timeout(1s, number(1)); };
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(body()); }) == rota::usage_error::kind::no_event_loop);
}

#if ROTA_GCC_MISCOMPILES_COROUTINES
TEST_CASE("two time limits in one statement, which GCC 12 interleaves, are refused with a message that says so") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    const auto both = []() -> task<int> {
      co_return co_await rota::timeout(1h, number_after(1ms, 1)) + co_await rota::timeout(1h, number_after(1ms, 2));
    };
    return rota::run(both());
  });
  REQUIRE(child.signal() == SIGABRT);
  REQUIRE(child.says("write two statements"));
}
#endif
