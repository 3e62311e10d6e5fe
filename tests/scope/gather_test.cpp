// gather, wait and as_completed: asyncio's clauses.
#include <rota/scope/gather.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::cancel_scope;
using rota::join_handle;
using rota::task;
using rota::wait_until;
using rota_test::caught;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::fail_at;
using rota_test::is_cancelled;
using rota_test::kind_of;
using rota_test::manual_loop;
using rota_test::number_after;
using rota_test::run;
using rota_test::strings;
using rota_test::text_of;
using rota_test::tracked;
using rota_test::until_cancelled;

task<> sleeps(rota::duration d) { co_await rota::sleep_for(d); }
task<int> cancelled_number(int& cancels) {
  co_await until_cancelled(cancels);
  co_return 0;
}

join_handle<int> number_at(rota::duration d, int n) { return rota::spawn(number_after, d, n); }
join_handle<int> failure_at(rota::duration d, std::string text) { return rota::spawn(fail_at, d, text); }
template <class T, class... Ts>
std::vector<join_handle<T>> list(const join_handle<T>& first, const Ts&... others) {
  return std::vector<join_handle<T>>{first, others...};
}
template <class... Durations>
std::vector<join_handle<int>> numbers(Durations... at) {
  std::vector<join_handle<int>> handles;
  (handles.push_back(number_at(at, static_cast<int>(handles.size()))), ...);
  return handles;
}
std::vector<int> results(std::vector<join_handle<int>>& handles) {
  std::vector<int> values;
  for (join_handle<int>& handle : handles) values.push_back(handle.result());
  return values;
}

}  // namespace

// ---- gather

TEST_CASE("gather gives the results in the order of its arguments") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    join_handle<> nothing = rota::spawn(sleeps, rota::duration(5ms));
    const auto values = co_await rota::gather(number_at(30ms, 1), number_at(10ms, 2), nothing, number_at(20ms, 3));
    REQUIRE(values == std::tuple<int, int, std::monostate, int>(1, 2, std::monostate(), 3));
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("gather of a vector, kept or handed over, of void, and of nothing") {
  run([]() -> task<> {
    std::vector<join_handle<int>> handles = numbers(2ns, 0ns, 1ns);
    for (int round = 0; round != 2; ++round) {
      const std::vector<int> values = co_await rota::gather(handles);
      REQUIRE(values == std::vector<int>{0, 1, 2});
    }
    const std::vector<int> moved = co_await rota::gather(std::move(handles));
    REQUIRE(moved == std::vector<int>{0, 1, 2});
    std::vector<join_handle<>> voids;
    voids.push_back(rota::spawn(sleeps, rota::duration(0)));
    co_await rota::gather(voids);
    const std::tuple<> none = co_await rota::gather();
    (void)none;
    const std::vector<int> no_values = co_await rota::gather(std::vector<join_handle<int>>());
    REQUIRE(no_values.empty());
  });
}

TEST_CASE("gather moves the result out of a handle that is handed over, and copies it from one that is kept") {
  run([]() -> task<> {
    const auto unique = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
    const auto moved = co_await rota::gather(rota::spawn(unique));
    REQUIRE(*std::get<0>(moved) == 3);
    const auto text = []() -> task<std::string> {
      co_return "a text that is too long for the small buffer of a string";
    };
    join_handle<std::string> kept = rota::spawn(text);
    const auto copied = co_await rota::gather(kept);
    REQUIRE(std::get<0>(copied) == kept.result());
    std::vector<join_handle<std::unique_ptr<int>>> many;
    many.push_back(rota::spawn(unique));
    const std::vector<std::unique_ptr<int>> values = co_await rota::gather(std::move(many));
    REQUIRE(*values.front() == 3);
  });
}

TEST_CASE("a task that is given to gather twice runs once and counts twice") {
  run([]() -> task<> {
    int runs = 0;
    const auto counts = [&]() -> task<int> {
      ++runs;
      co_await rota::yield();
      co_return 7;
    };
    join_handle<int> handle = rota::spawn(counts);
    const auto both = co_await rota::gather(handle, handle);
    REQUIRE(both == std::tuple<int, int>(7, 7));
    REQUIRE(runs == 1);
    join_handle<int> again = rota::spawn(counts);
    const std::vector<int> three = co_await rota::gather(std::vector<join_handle<int>>(3, again));
    REQUIRE(three == std::vector<int>{7, 7, 7});
    REQUIRE(runs == 2);
  });
}

TEST_CASE("gather of tasks that have ended does not wait") {
  run([]() -> task<> {
    join_handle<int> one = number_at(0ms, 1), two = number_at(0ms, 2);
    co_await one;
    co_await two;
    bool others_ran = false;
    const auto other = [&]() -> task<> {
      others_ran = true;
      co_return;
    };
    (void)rota::spawn(other);
    const auto both = co_await rota::gather(one, two);
    REQUIRE(both == std::tuple<int, int>(1, 2));
    REQUIRE_FALSE(others_ran);
    co_await rota::yield();
  });
}

TEST_CASE("the first error ends gather at once; the other tasks go on, and their errors are reported") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const rota_test::captured_reports reports;
    join_handle<int> slow = number_at(20ms, 1);
    const std::exception_ptr error =
        co_await exception_of(rota::gather(slow, failure_at(10ms, "first"), failure_at(15ms, "second")));
    REQUIRE(caught<std::runtime_error>(error).what() == std::string("first"));
    REQUIRE(loop.elapsed() == 10ms);
    REQUIRE_FALSE(slow.done());
    const int one = co_await slow;
    REQUIRE(one == 1);
    REQUIRE(loop.elapsed() == 20ms);
    INFO(reports.all());
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("second"));
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("two errors in the same iteration: gather throws the first, the other is reported once") {
  run([]() -> task<> {
    const rota_test::captured_reports reports;
    const auto fails = [](std::string text) -> task<int> {
      throw std::runtime_error(text);
      co_return 1;
    };
    const std::exception_ptr error =
        co_await exception_of(rota::gather(rota::spawn(fails, std::string("a")), rota::spawn(fails, std::string("b"))));
    REQUIRE(text_of(error) == "a");
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains(": b"));
  });
}

TEST_CASE("a cancelled task is an error for gather, and the caller is not cancelled") {
  run([]() -> task<> {
    int cancels = 0;
    join_handle<int> victim = rota::spawn(cancelled_number, std::ref(cancels));
    join_handle<int> other = number_at(2ms, 1);
    co_await rota::sleep_for(0ms);
    victim.cancel();
    const std::exception_ptr error = co_await exception_of(rota::gather(victim, other));
    REQUIRE(code_of(error) == rota::errc::task_cancelled);
    REQUIRE_FALSE(other.done());
    const int one = co_await other;
    REQUIRE(one == 1);
  });
}

TEST_CASE("gather with return_exceptions waits for all and gives an outcome for each") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    join_handle<int> victim = rota::spawn(cancelled_number, std::ref(cancels));
    join_handle<> nothing = rota::spawn(sleeps, rota::duration(20ms));
    co_await rota::sleep_for(1ms);
    victim.cancel();
    auto outcomes =
        co_await rota::gather(rota::return_exceptions, failure_at(1ms, "broken"), number_at(5ms, 2), victim, nothing);
    REQUIRE(loop.elapsed() == 20ms);
    REQUIRE(text_of(std::get<0>(outcomes).exception()) == "broken");
    REQUIRE(std::get<1>(outcomes).value() == 2);
    REQUIRE(code_of(std::get<2>(outcomes).exception()) == rota::errc::task_cancelled);
    REQUIRE(std::get<3>(outcomes).has_value());

    std::vector<join_handle<int>> handles = numbers(1ns, 0ns);
    handles.push_back(failure_at(0ms, "of a range"));
    auto of_range = co_await rota::gather(rota::return_exceptions, handles);
    REQUIRE(of_range.size() == 3);
    REQUIRE(of_range[1].value() == 1);
    REQUIRE(text_of(of_range[2].exception()) == "of a range");
    auto of_none = co_await rota::gather(rota::return_exceptions, std::vector<join_handle<int>>());
    REQUIRE(of_none.empty());
    const std::tuple<> none = co_await rota::gather(rota::return_exceptions);
    (void)none;
  }(m));
}

TEST_CASE("an error that gather gave is not reported again") {
  const rota_test::captured_reports reports;
  run([]() -> task<> {
    (void)co_await exception_of(rota::gather(failure_at(0ms, "thrown")));
    auto outcomes = co_await rota::gather(rota::return_exceptions, failure_at(0ms, "given"));
    REQUIRE(text_of(std::get<0>(outcomes).exception()) == "given");
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a cancel of the caller cancels all tasks of gather, waits for them, and passes") {
  for (const bool with_exceptions : {false, true}) {
    manual_loop m;
    m.run([](manual_loop& loop, bool exceptions) -> task<> {
      int cancels = 0;
      const auto slow = [&]() -> task<int> {
        const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
        co_await rota::shield(1h, rota::sleep_for(5ms));
        ++cancels;
        std::rethrow_exception(why);
      };
      join_handle<int> one = rota::spawn(slow), two = rota::spawn(cancelled_number, std::ref(cancels));
      std::exception_ptr error;
      const auto main = [&]() -> task<> {
        if (exceptions)
          error = co_await exception_of(rota::gather(rota::return_exceptions, one, two));
        else
          error = co_await exception_of(rota::gather(one, two));
        std::rethrow_exception(error);
      };
      join_handle<> caller = rota::spawn(main);
      co_await rota::sleep_for(10ms);
      caller.cancel("enough");
      (void)co_await exception_of(caller);
      REQUIRE(caller.cancelled());
      REQUIRE(caught<rota::cancelled>(error).reason() == "enough");
      REQUIRE(one.cancelled());
      REQUIRE(two.cancelled());
      REQUIRE(cancels == 2);
      REQUIRE(loop.elapsed() == 15ms);
    }(m, with_exceptions));
    rota_test::require_quiescent(m.loop());
  }
}

TEST_CASE("a cancel of the caller in the iteration in which all tasks ended is too late for gather") {
  run([]() -> task<> {
    std::optional<int> value;
    std::exception_ptr next;
    join_handle<> caller;
    const auto last = [&]() -> task<int> {
      co_await rota::sleep_for(0ms);
      co_return 3;
    };
    join_handle<int> handle = rota::spawn(last);
    const auto main = [&]() -> task<> {
      const auto values = co_await rota::gather(handle);
      value = std::get<0>(values);
      next = co_await exception_of(rota::yield());
    };
    caller = rota::spawn(main);
    const auto cancels_late = [&]() -> task<> {
      while (!handle.done()) co_await rota::yield();
      caller.cancel();
    };
    join_handle<> canceller = rota::spawn(cancels_late);
    co_await canceller;
    (void)co_await exception_of(caller);
    if (value) REQUIRE(value == 3);
    REQUIRE(value.has_value());
    REQUIRE(is_cancelled(next));
  });
}

TEST_CASE("gather under a timeout cancels its tasks") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    join_handle<int> one = rota::spawn(cancelled_number, std::ref(cancels));
    const std::exception_ptr error = co_await exception_of(rota::timeout(10ms, rota::gather(one)));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(one.cancelled());
    REQUIRE(loop.elapsed() == 10ms);
  }(m));
}

TEST_CASE("gather, wait and as_completed refuse empty handles, the caller itself, and tasks of another loop") {
  run([]() -> task<> {
    const std::exception_ptr empty = co_await exception_of(rota::gather(join_handle<int>()));
    REQUIRE(kind_of(empty) == rota::usage_error::kind::invalid_task);
    const std::exception_ptr waited = co_await exception_of(rota::wait(std::vector<join_handle<int>>(1)));
    REQUIRE(kind_of(waited) == rota::usage_error::kind::invalid_task);
    REQUIRE(rota_test::usage_error_of([] { return rota::as_completed(std::vector<join_handle<int>>(1)); }) ==
            rota::usage_error::kind::invalid_task);

    join_handle<> self;
    std::exception_ptr error;
    const auto main = [&]() -> task<> {
      error = co_await exception_of(rota::gather(self));
      const std::exception_ptr again = co_await exception_of(rota::wait(list(self)));
      REQUIRE(kind_of(again) == rota::usage_error::kind::join_cycle);
    };
    self = rota::spawn(main).set_name("careless");
    co_await self;
    REQUIRE(kind_of(error) == rota::usage_error::kind::join_cycle);
    REQUIRE(text_of(error).find("task 'careless', last at ") != std::string::npos);
  });
  rota::event_loop other;
  join_handle<int> foreign;
  const auto spawns = [&]() -> task<> {
    foreign = rota::spawn(number_after, rota::duration(1ms), 1);
    co_return;
  };
  other.run(spawns());
  run([&]() -> task<> {
    const std::exception_ptr error = co_await exception_of(rota::gather(foreign));
    REQUIRE(kind_of(error) == rota::usage_error::kind::wrong_loop);
    const std::exception_ptr waited = co_await exception_of(rota::wait(list(foreign)));
    REQUIRE(kind_of(waited) == rota::usage_error::kind::wrong_loop);
  });
  foreign = join_handle<int>();
}

TEST_CASE("two tasks that gather each other, with a deadline far away, can be cancelled") {
  run([]() -> task<> {
    join_handle<> a, b;
    const auto waits_for = [](join_handle<>& other) -> task<> {
      co_await rota::yield();
      co_await rota::timeout(1h, rota::gather(other));
    };
    a = rota::spawn(waits_for, std::ref(b));
    b = rota::spawn(waits_for, std::ref(a));
    co_await rota::sleep_for(0ms);
    a.cancel();
    for (int i = 0; i != 100; ++i) co_await rota::yield();
    if (!a.done() || !b.done()) std::abort();  // neither would ever end
    CHECK(a.cancelled());
    CHECK(b.cancelled());
  });
}

TEST_CASE("a chain of a thousand gathers is cancelled from its end") {
  const std::size_t length = rota_test::scaled(1'000, 100, 200);
  run([=]() -> task<> {
    int cancels = 0;
    std::vector<join_handle<>> chain;
    chain.push_back(rota::spawn(until_cancelled, std::ref(cancels)));
    const auto waits_for = [](join_handle<> below) -> task<> { co_await rota::gather(below); };
    while (chain.size() != length) chain.push_back(rota::spawn(waits_for, chain.back()));
    co_await rota::sleep_for(0ms);
    chain.back().cancel();
    (void)co_await exception_of(chain.back());
    for (const join_handle<>& link : chain) REQUIRE(link.cancelled());
    REQUIRE(cancels == 1);
  });
}

TEST_CASE("gather of ten thousand tasks") {
  const std::size_t count = rota_test::scaled(10'000, 1'000, 10'000);
  run([=]() -> task<> {
    std::vector<join_handle<int>> handles;
    for (std::size_t i = 0; i != count; ++i) handles.push_back(number_at(0ms, static_cast<int>(i)));
    const std::vector<int> values = co_await rota::gather(std::move(handles));
    REQUIRE(values.size() == count);
    REQUIRE(values.back() == static_cast<int>(count - 1));
  });
}

// ---- wait

TEST_CASE("wait gives what is done and what is pending, each task once, in the order of the argument") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    auto all = co_await rota::wait(numbers(30ms, 10ms, 20ms));
    REQUIRE(results(all.done) == std::vector<int>{0, 1, 2});
    REQUIRE(all.pending.empty());
    REQUIRE(loop.elapsed() == 30ms);
    std::vector<join_handle<int>> some = numbers(30ms, 10ms, 20ms);
    some.push_back(some[1]);
    auto first = co_await rota::wait(some, wait_until::first_completed);
    REQUIRE(results(first.done) == std::vector<int>{1});
    REQUIRE(first.pending.size() == 2);
    REQUIRE(loop.elapsed() == 40ms);
    auto rest = co_await rota::wait(first.pending);
    REQUIRE(results(rest.done) == std::vector<int>{0, 2});
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("the limit of wait is no error and cancels nothing") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    auto some = co_await rota::wait(numbers(30ms, 10ms), wait_until::all_completed, 20ms);
    REQUIRE(results(some.done) == std::vector<int>{1});
    REQUIRE(some.pending.size() == 1);
    REQUIRE(loop.elapsed() == 20ms);
    const int zero = co_await some.pending.front();
    REQUIRE(zero == 0);
    REQUIRE(loop.elapsed() == 30ms);
    // At the very same instant the task counts as done or as pending, but never as neither.
    auto same = co_await rota::wait(numbers(10ms), wait_until::all_completed, 10ms);
    REQUIRE(same.done.size() + same.pending.size() == 1);
    (void)co_await rota::wait(same.pending.empty() ? same.done : same.pending);
  }(m));
}

TEST_CASE("wait with a limit of nothing or less looks, and lets nothing be lost") {
  run([]() -> task<> {
    join_handle<int> done = number_at(0ms, 1);
    co_await done;
    for (const rota::duration limit : {rota::duration(0), rota::duration(-1), rota::duration::min()}) {
      join_handle<int> slow = number_at(1ms, 2);
      auto now = co_await rota::wait(list(slow, done), wait_until::all_completed, limit);
      REQUIRE(now.done.size() + now.pending.size() == 2);
      REQUIRE(now.done.size() >= 1);
      co_await slow;
    }
  });
}

TEST_CASE("the limit of wait may be of any unit and representation, but has to be a number") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    std::vector<join_handle<int>> tasks = numbers(30ms, 10ms);
    auto some = co_await rota::wait(tasks, wait_until::all_completed, std::chrono::duration<double>(0.02));
    REQUIRE(some.done.size() == 1);
    REQUIRE(loop.elapsed() == 20ms);
    const std::chrono::duration<float> nan(std::numeric_limits<float>::quiet_NaN());
    const std::exception_ptr error = co_await exception_of(rota::wait(tasks, wait_until::all_completed, nan));
    REQUIRE(caught<rota::usage_error>(error).which() == rota::usage_error::kind::invalid_argument);
    auto all = co_await rota::wait(tasks, wait_until::all_completed, std::chrono::hours::max());
    REQUIRE(all.done.size() == 2);
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("first_exception: an error ends the wait, a cancelled task does not") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    std::vector<join_handle<int>> handles;
    handles.push_back(rota::spawn(cancelled_number, std::ref(cancels)));
    handles.push_back(number_at(5ms, 1));
    handles.push_back(failure_at(20ms, "broken"));
    handles.push_back(number_at(30ms, 3));
    const auto cancels_later = [&]() -> task<> {
      co_await rota::sleep_for(10ms);
      handles[0].cancel();
    };
    join_handle<> canceller = rota::spawn(cancels_later);
    auto result = co_await rota::wait(handles, wait_until::first_exception);
    REQUIRE(loop.elapsed() == 20ms);
    REQUIRE(result.done.size() == 3);
    REQUIRE(result.pending.size() == 1);
    REQUIRE(result.done[0].cancelled());
    REQUIRE(text_of(result.done[2].exception()) == "broken");
    auto rest = co_await rota::wait(result.pending, wait_until::first_exception);
    REQUIRE(rest.done.size() == 1);
    REQUIRE(loop.elapsed() == 30ms);
    co_await canceller;
  }(m));
}

TEST_CASE("wait throws no error of a task, and the error is still there to be looked at") {
  const rota_test::captured_reports reports;
  run([]() -> task<> {
    std::vector<join_handle<int>> handles;
    handles.push_back(failure_at(0ms, "broken"));
    auto result = co_await rota::wait(handles);
    REQUIRE(result.done.size() == 1);
    REQUIRE_THROWS_AS(result.done.front().result(), std::runtime_error);
  });
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a cancel of who waits ends the wait and cancels nothing") {
  run([]() -> task<> {
    join_handle<int> slow = number_at(1ms, 1);
    std::exception_ptr error;
    const auto main = [&]() -> task<> {
      error = co_await exception_of(rota::wait(list(slow)));
      std::rethrow_exception(error);
    };
    join_handle<> caller = rota::spawn(main);
    co_await rota::yield();
    co_await rota::yield();
    caller.cancel();
    (void)co_await exception_of(caller);
    REQUIRE(is_cancelled(error));
    REQUIRE_FALSE(slow.cancelled());
    const int one = co_await slow;
    REQUIRE(one == 1);
  });
}

TEST_CASE("gather, wait and as_completed take every kind of range") {
  run([]() -> task<> {
    std::array<join_handle<int>, 2> pair{number_at(2ms, 1), number_at(1ms, 2)};
    const std::vector<int> of_array = co_await rota::gather(pair);
    REQUIRE(of_array == std::vector<int>{1, 2});
    const std::span<join_handle<int>> view(pair);
    const std::vector<int> of_view = co_await rota::gather(view);
    const std::vector<int> of_moved_view = co_await rota::gather(std::span<const join_handle<int>>(pair));
    REQUIRE(of_view == of_moved_view);
    const auto outcomes = co_await rota::gather(rota::return_exceptions, view);
    REQUIRE(outcomes.size() == 2);
    REQUIRE(outcomes[1].value() == 2);

    std::deque<join_handle<int>> queue;
    for (int n = 0; n != 3; ++n) queue.push_back(number_at(rota::duration(0), n));
    const auto waited = co_await rota::wait(queue);
    REQUIRE(waited.done.size() == 3);
    auto stream = rota::as_completed(view);
    REQUIRE(stream.left() == 2);
    join_handle<int> handles[] = {queue[0], pair[0]};
    const auto again = co_await rota::wait(handles);
    REQUIRE(again.done.size() == 2);
    const std::vector<int> of_queue = co_await rota::gather(std::move(queue));
    REQUIRE(of_queue == std::vector<int>{0, 1, 2});
    REQUIRE(pair[0].valid());
  });
}

TEST_CASE("what a range owns is moved out of it when it is handed over, what a view shows is copied") {
  run([]() -> task<> {
    const auto text = [](std::string s) -> task<std::string> { co_return s; };
    std::array<join_handle<std::string>, 1> own{rota::spawn(text, std::string("a text that is not short at all"))};
    join_handle<std::string> mine = own[0];
    const auto copied = co_await rota::gather(std::span<join_handle<std::string>>(own));
    REQUIRE(copied[0] == mine.result());
    REQUIRE(own[0].valid());
    const auto moved = co_await rota::gather(std::move(own));
    REQUIRE(moved == copied);
    REQUIRE(mine.result().empty());
  });
}

TEST_CASE("wait for nothing is a usage error") {
  run([]() -> task<> {
    const std::exception_ptr error = co_await exception_of(rota::wait(std::vector<join_handle<int>>()));
    REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("several tasks may wait for the same tasks") {
  run([]() -> task<> {
    std::vector<join_handle<int>> handles = numbers(1ns, 2ns, 3ns);
    int woken = 0;
    const auto waits = [&](wait_until policy) -> task<> {
      auto result = co_await rota::wait(handles, policy);
      REQUIRE_FALSE(result.done.empty());
      ++woken;
    };
    std::vector<task<>> waiters;
    for (int i = 0; i != 5; ++i) {
      waiters.push_back(waits(wait_until::all_completed));
      waiters.push_back(waits(wait_until::first_completed));
    }
    co_await rota::when_all(std::move(waiters));
    REQUIRE(woken == 10);
  });
}

// ---- as_completed

TEST_CASE("as_completed gives the tasks in the order of their ends") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    auto completions = rota::as_completed(numbers(30ms, 10ms, 20ms));
    REQUIRE(completions.left() == 3);
    std::vector<int> order;
    while (auto handle = co_await completions.next()) {
      REQUIRE(handle->done());
      order.push_back(handle->result());
      REQUIRE(loop.elapsed() == 10ms * static_cast<int>(order.size()));
    }
    REQUIRE(order == std::vector<int>{1, 2, 0});
    REQUIRE(completions.left() == 0);
    const auto none = co_await completions.next();
    REQUIRE_FALSE(none.has_value());
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("as_completed of nothing, of ended tasks, and of duplicates") {
  run([]() -> task<> {
    auto empty = rota::as_completed(std::vector<join_handle<int>>());
    const auto none = co_await empty.next();
    REQUIRE_FALSE(none.has_value());
    join_handle<int> done = number_at(0ms, 1);
    co_await done;
    join_handle<int> slow = number_at(1ms, 2);
    auto completions = rota::as_completed(list(slow, done, slow, done));
    REQUIRE(completions.left() == 2);
    std::vector<int> order;
    while (auto handle = co_await completions.next()) order.push_back(handle->result());
    REQUIRE(order == std::vector<int>{1, 2});
  });
}

TEST_CASE("as_completed gives failed and cancelled tasks, too") {
  run([]() -> task<> {
    int cancels = 0;
    join_handle<int> victim = rota::spawn(cancelled_number, std::ref(cancels));
    co_await rota::sleep_for(0ms);
    victim.cancel();
    auto completions = rota::as_completed(list(failure_at(1ms, "broken"), victim));
    auto first = co_await completions.next();
    REQUIRE(first->cancelled());
    auto second = co_await completions.next();
    REQUIRE(text_of(second->exception()) == "broken");
  });
}

TEST_CASE("a wait for the next completion that is cancelled loses nothing") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    auto completions = rota::as_completed(numbers(30ms, 10ms));
    const std::exception_ptr error = co_await exception_of(rota::timeout(5ms, completions.next()));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    const std::exception_ptr same_instant = co_await exception_of(rota::timeout(5ms, completions.next()));
    std::size_t given = same_instant ? 0 : 1;
    REQUIRE(loop.elapsed() == 10ms);
    while (auto handle = co_await completions.next()) ++given;
    REQUIRE(given == 2);
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
}

TEST_CASE("a stream of completions may be moved, and dropped while tasks run") {
  run([]() -> task<> {
    std::vector<join_handle<int>> handles = numbers(1ns, 2ns, 1'000'000ns);
    {
      auto completions = rota::as_completed(handles);
      auto moved = std::move(completions);
      REQUIRE(completions.left() == 0);
      REQUIRE(moved.left() == 3);
      const auto nobody = co_await completions.next();
      REQUIRE_FALSE(nobody.has_value());
      auto first = co_await moved.next();
      REQUIRE(first->result() == 0);
      auto again = std::move(moved);
      auto second = co_await again.next();
      REQUIRE(second->result() == 1);
    }
    const int last = co_await handles.back();
    REQUIRE(last == 2);
  });
}

TEST_CASE("two tasks on one stream of completions are a usage error of the second") {
  run([]() -> task<> {
    auto completions = rota::as_completed(numbers(1ms));
    std::exception_ptr error;
    const auto takes = [&]() -> task<> { (void)co_await completions.next(); };
    const auto takes_too = [&]() -> task<> { error = co_await exception_of(completions.next()); };
    co_await rota::when_all(takes(), takes_too());
    REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("as_completed of ten thousand tasks") {
  const std::size_t count = rota_test::scaled(10'000, 1'000, 10'000);
  run([=]() -> task<> {
    std::vector<join_handle<int>> handles;
    for (std::size_t i = 0; i != count; ++i) handles.push_back(number_at(0ms, static_cast<int>(i)));
    auto completions = rota::as_completed(std::move(handles));
    std::vector<int> order;
    while (auto handle = co_await completions.next()) order.push_back(handle->result());
    REQUIRE(order.size() == count);
    REQUIRE(std::is_sorted(order.begin(), order.end()));  // timers with equal deadlines fire in order
  });
}

TEST_CASE("a completion belongs to who waited for it, also before that task has gone on") {
  run([]() -> task<> {
    const auto ends = []() -> task<int> {
      co_await rota::yield();
      co_return 1;
    };
    auto completions = rota::as_completed(list(rota::spawn(ends), number_at(1ms, 2)));
    std::vector<int> taken;
    std::exception_ptr error;
    const auto takes = [&]() -> task<> {
      while (auto handle = co_await completions.next()) taken.push_back(handle->result());
    };
    // Runs after the end of the first task, and before the one that waited for it.
    const auto comes_between = [&]() -> task<> {
      co_await rota::yield();
      REQUIRE(taken.empty());
      error = co_await exception_of(completions.next());
    };
    co_await rota::when_all(takes(), comes_between());
    REQUIRE(kind_of(error) == rota::usage_error::kind::invalid_argument);
    REQUIRE(taken == std::vector<int>{1, 2});
  });
}

TEST_CASE("a stream of completions that goes while a task waits ends the program with a word about it") {
  const auto outcome = rota_test::run_in_child([] {
    const auto program = []() -> task<> {
      auto completions = std::make_unique<rota::completion_stream<int>>(rota::as_completed(numbers(1h)));
      const auto waits = [&]() -> task<> { (void)co_await completions->next(); };
      rota::join_handle<> waiter = rota::spawn(waits);
      co_await rota::yield();
      completions.reset();
      co_await waiter;
    };
    rota::run(program());
    return 0;
  });
  INFO(outcome.output);
  REQUIRE(outcome.signal() == SIGABRT);
  REQUIRE(outcome.says("a stream of completions was destroyed while a task waits for the next one"));
}
