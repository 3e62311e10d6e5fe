// when_any and race: one winner, and nobody left behind.
#include <rota/scope/when_any.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"
#include "support/streams.hpp"

namespace {

using namespace std::chrono_literals;
using rota::cancel_scope;
using rota::exception_group;
using rota::task;
using rota_test::caught;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::fail_at;
using rota_test::fail_in_cleanup;
using rota_test::is_cancelled;
using rota_test::manual_loop;
using rota_test::number_after;
using rota_test::run;
using rota_test::strings;
using rota_test::text_of;
using rota_test::texts;
using rota_test::tracked;
using rota_test::until_cancelled;

task<std::string> text_after(rota::duration d, std::string text) {
  co_await rota::sleep_for(d);
  co_return text;
}
task<int> stubborn(int n) {
  (void)co_await exception_of(rota::sleep_for(1h));
  co_return n;
}

}  // namespace

TEST_CASE("when_any gives the first value and its index") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto first = co_await rota::when_any(number_after(30ms, 1), number_after(10ms, 2), number_after(20ms, 3));
    REQUIRE(first.index == 1);
    REQUIRE(first.value == 2);
    REQUIRE(loop.elapsed() == 10ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("when_any of different types gives a variant, of void the index") {
  run([]() -> task<> {
    const auto mixed = co_await rota::when_any(number_after(1h, 1), text_after(0ms, "two"), rota::sleep_for(1h));
    REQUIRE(mixed.index == 1);
    REQUIRE(mixed.value.index() == 1);
    REQUIRE(std::get<1>(mixed.value) == "two");
    const auto which = co_await rota::when_any(rota::sleep_for(1h), rota::sleep_for(0ms));
    REQUIRE(which.index == 1);
    const auto same_type = co_await rota::when_any(text_after(1h, "one"), text_after(0ms, "two"));
    REQUIRE(same_type.value == "two");
  });
}

TEST_CASE("when_any and values that can only be moved, and references") {
  run([]() -> task<> {
    const auto unique = [](rota::duration d) -> task<std::unique_ptr<int>> {
      co_await rota::sleep_for(d);
      co_return std::make_unique<int>(3);
    };
    auto first = co_await rota::when_any(unique(1h), unique(0ms));
    REQUIRE(*first.value == 3);
    int a = 1, b = 2;
    const auto reference = [](rota::duration d, int& target) -> task<int&> {
      co_await rota::sleep_for(d);
      co_return target;
    };
    auto same = co_await rota::when_any(reference(1h, a), reference(0ms, b));
    REQUIRE(&same.value == &b);
    std::vector<task<std::unique_ptr<int>>> many;
    many.push_back(unique(1h));
    many.push_back(unique(0ms));
    auto of_range = co_await rota::when_any(std::move(many));
    REQUIRE(of_range.index == 1);
    REQUIRE(*of_range.value == 3);
  });
}

TEST_CASE("the losers of when_any have been cancelled and have ended before the winner's value is seen") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    std::string reason;
    rota::cancel_kind kind{};
    const auto loser = [&]() -> task<int> {
      std::exception_ptr why;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        reason = c.reason();
        kind = c.kind();
        why = std::current_exception();
      }
      co_await rota::shield(1h, rota::sleep_for(20ms));
      log.emplace_back("loser ended");
      std::rethrow_exception(why);
    };
    const auto first = co_await rota::when_any(loser(), number_after(10ms, 2), loser);
    log.emplace_back("winner seen");
    REQUIRE(first.index == 1);
    REQUIRE(first.value == 2);
    REQUIRE(log == strings{"loser ended", "loser ended", "winner seen"});
    REQUIRE(loop.elapsed() == 30ms);
    REQUIRE(kind == rota::cancel_kind::sibling);
    REQUIRE_FALSE(reason.empty());
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("losers of when_any may use the locals of who awaits it, also in their cleanup") {
  run([]() -> task<> {
    strings copies;
    {
      const std::string local = "a text that is too long for the small buffer of a string";
      const auto loser = [&]() -> task<int> {
        const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
        co_await rota::shield(1h, rota::sleep_for(1ms));
        copies.push_back(local);
        std::rethrow_exception(why);
      };
      (void)co_await rota::when_any(loser(), number_after(0ms, 1));
    }
    REQUIRE(copies.size() == 1);
  });
}

TEST_CASE("two that are ready in the same iteration: the first one wins, the other's value is destroyed") {
  int alive = 0;
  run([&]() -> task<> {
    const auto gives = [&]() -> task<tracked> {
      co_await rota::sleep_for(0ms);
      co_return tracked(alive);
    };
    {
      const auto first = co_await rota::when_any(gives(), gives());
      REQUIRE(first.index == 0);
      REQUIRE(alive == 1);
    }
    REQUIRE(alive == 0);
    const auto late = co_await rota::when_any(stubborn(1), number_after(0ms, 2), stubborn(3));
    REQUIRE(late.index == 1);
    REQUIRE(late.value == 2);
  });
}

TEST_CASE("when_any goes on past errors, and drops them when there is a winner") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const rota_test::captured_reports reports;
    const auto first = co_await rota::when_any(fail_at(5ms, "a"), number_after(20ms, 2), fail_at(10ms, "b"));
    REQUIRE(first.index == 1);
    REQUIRE(loop.elapsed() == 20ms);
    INFO(reports.all());
    REQUIRE(reports.size() == 0);
  }(m));
}

TEST_CASE("when all fail, when_any throws all their errors in the order in which they came") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto body = []() -> task<> { (void)co_await rota::when_any(fail_at(20ms, "late"), fail_at(5ms, "early")); };
    const std::exception_ptr error = co_await exception_of(body());
    REQUIRE(texts(error) == strings{"early", "late"});
    REQUIRE(loop.elapsed() == 20ms);
    const std::string text = caught<exception_group>(error).what();
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("when_any, "));
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("when_any_test.cpp:"));
  }(m));
}

TEST_CASE("a loser that fails in its cleanup is reported, not lost") {
  run([]() -> task<> {
    const rota_test::captured_reports reports;
    const auto first = co_await rota::when_any(fail_in_cleanup("in cleanup"), number_after(0ms, 2));
    REQUIRE(first.index == 1);
    INFO(reports.all());
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("in cleanup"));
  });
}

TEST_CASE("when_any of a range: tasks handed over, handles where they are") {
  run([]() -> task<> {
    std::vector<task<int>> tasks;
    for (int i = 0; i != 5; ++i) tasks.push_back(number_after(i == 3 ? rota::duration(0) : rota::duration(1h), i));
    const auto first = co_await rota::when_any(std::move(tasks));
    REQUIRE(first.index == 3);
    REQUIRE(first.value == 3);
    std::vector<task<>> voids;
    const auto sleeps = [](rota::duration d) -> task<> { co_await rota::sleep_for(d); };
    voids.push_back(sleeps(1h));
    voids.push_back(sleeps(0ms));
    const auto which = co_await rota::when_any(std::move(voids));
    REQUIRE(which.index == 1);
  });
}

TEST_CASE("when_any of a range of handles leaves the losers running") {
  run([]() -> task<> {
    std::vector<rota::join_handle<int>> handles;
    handles.push_back(rota::spawn(number_after, rota::duration(2ms), 1));
    handles.push_back(rota::spawn(number_after, rota::duration(0), 2));
    const auto first = co_await rota::when_any(handles);
    REQUIRE(first.index == 1);
    REQUIRE(first.value == 2);
    const int one = co_await handles[0];
    REQUIRE(one == 1);
    const auto racing = co_await rota::race(handles);
    REQUIRE(racing.index == 0);
    const std::vector<rota::join_handle<int>>& kept = handles;
    const auto of_const = co_await rota::race(kept);
    REQUIRE(of_const.index == 0);
    const auto of_view = co_await rota::when_any(std::span(handles));
    REQUIRE(of_view.index == 0);
    const auto of_view_too = co_await rota::race(std::span(handles));
    REQUIRE(of_view_too.index == 0);
    REQUIRE(handles[0].valid());
    REQUIRE(handles[1].valid());
    rota::join_handle<int> array[] = {handles[0], handles[1]};
    const auto of_array = co_await rota::when_any(array);
    REQUIRE(of_array.index == 0);
  });
}

TEST_CASE("when_any and race of an empty range are usage errors") {
  run([]() -> task<> {
    const auto any = [] { (void)rota::when_any(std::vector<task<int>>()); };
    REQUIRE(rota_test::usage_error_of([&] {
              any();
              return 0;
            }) == rota::usage_error::kind::invalid_argument);
    const auto racing = [] { (void)rota::race(std::vector<task<>>()); };
    REQUIRE(rota_test::usage_error_of([&] {
              racing();
              return 0;
            }) == rota::usage_error::kind::invalid_argument);
    co_return;
  });
}

TEST_CASE("when_any of one") {
  run([]() -> task<> {
    const auto first = co_await rota::when_any(number_after(0ms, 1));
    REQUIRE(first.index == 0);
    REQUIRE(first.value == 1);
    const std::exception_ptr error = co_await exception_of(rota::when_any(fail_at(0ms, "only")));
    REQUIRE(texts(error) == strings{"only"});
  });
}

TEST_CASE("a cancel from outside cancels all of when_any, waits for them, and passes") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    const auto slow = [&]() -> task<> {
      const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
      co_await rota::shield(1h, rota::sleep_for(5ms));
      ++cancels;
      std::rethrow_exception(why);
    };
    const std::exception_ptr error =
        co_await exception_of(rota::timeout(10ms, rota::when_any(slow(), until_cancelled(cancels))));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(cancels == 2);
    REQUIRE(loop.elapsed() == 15ms);
    co_await rota::yield();
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a value that came in spite of a cancel from outside wins when_any") {
  run([]() -> task<> {
    std::optional<std::size_t> index;
    std::exception_ptr next;
    int cancels = 0;
    const auto main = [&]() -> task<> {
      const auto first = co_await rota::when_any(until_cancelled(cancels), stubborn(2));
      index = first.index;
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    co_await handle;
    REQUIRE(index == 1);
    REQUIRE(is_cancelled(next));
    REQUIRE(cancels == 1);
  });
}

TEST_CASE("errors win over a cancel from outside in when_any") {
  run([]() -> task<> {
    std::exception_ptr error, next;
    int cancels = 0;
    const auto main = [&]() -> task<> {
      error = co_await exception_of(rota::when_any(until_cancelled(cancels), fail_in_cleanup("in cleanup")));
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    co_await handle;
    REQUIRE(texts(error) == strings{"in cleanup"});
    REQUIRE(is_cancelled(next));
  });
}

TEST_CASE("when_any in a cancelled scope") {
  run([]() -> task<> {
    bool reached = false;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel();
      (void)co_await rota::when_any(number_after(0ms, 1), number_after(0ms, 2));
      reached = true;
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE_FALSE(reached);
  });
}

TEST_CASE("a read against a deadline of one's own: nothing of the stream is lost") {
  run([]() -> task<> {
    rota_test::stream_pair pair = co_await rota_test::connect_streams();
    const auto first = co_await rota::when_any(rota_test::read_text(pair.server), rota::sleep_for(0ms));
    REQUIRE(first.index == 1);
    const std::string hello = "hello";
    co_await pair.client.write_all(std::as_bytes(std::span(hello)));
    const std::string text = co_await rota_test::read_text(pair.server);
    REQUIRE(text == "hello");
  });
}

TEST_CASE("when_any of ten thousand children") {
  const std::size_t count = rota_test::scaled(10'000, 1'000, 10'000);
  run([=]() -> task<> {
    int cancels = 0;
    std::vector<task<>> tasks;
    const auto ends = []() -> task<> { co_await rota::sleep_for(0ms); };
    for (std::size_t i = 0; i != count; ++i) {
      if (i == count / 2)
        tasks.push_back(ends());
      else
        tasks.push_back(until_cancelled(cancels));
    }
    const auto first = co_await rota::when_any(std::move(tasks));
    REQUIRE(first.index == count / 2);
    REQUIRE(cancels == static_cast<int>(count - 1));
  });
}

// ---- race

TEST_CASE("race: the first that ends decides, with its value") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    const auto first = co_await rota::race(until_cancelled(cancels), number_after(10ms, 2), fail_at(20ms, "late"));
    REQUIRE(first.index == 1);
    REQUIRE(std::get<1>(first.value) == 2);
    REQUIRE(cancels == 1);
    REQUIRE(loop.elapsed() == 10ms);
  }(m));
}

TEST_CASE("race: the first that ends decides, with its error, which is thrown as it is") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    const auto cancelled_one = [&]() -> task<int> {
      co_await until_cancelled(cancels);
      co_return 1;
    };
    const std::exception_ptr error =
        co_await exception_of(rota::race(cancelled_one(), fail_at(10ms, "early"), number_after(20ms, 3)));
    REQUIRE(caught<std::runtime_error>(error).what() == std::string("early"));
    REQUIRE(cancels == 1);
    REQUIRE(loop.elapsed() == 10ms);
    std::vector<task<int>> tasks;
    tasks.push_back(number_after(20ms, 1));
    tasks.push_back(fail_at(10ms, "of a range"));
    const std::exception_ptr second = co_await exception_of(rota::race(std::move(tasks)));
    REQUIRE(text_of(second) == "of a range");
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("race: a loser that fails in its cleanup is reported, one that ends well is not") {
  run([]() -> task<> {
    const rota_test::captured_reports reports;
    const auto first = co_await rota::race(fail_in_cleanup("in cleanup"), number_after(0ms, 2), stubborn(3));
    REQUIRE(first.index == 1);
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("in cleanup"));
  });
}

TEST_CASE("race in a race, and when_all in a race") {
  run([]() -> task<> {
    const auto inner = []() -> task<int> {
      const auto first = co_await rota::race(number_after(1h, 1), number_after(0ms, 2));
      co_return first.value;
    };
    const auto all = []() -> task<int> {
      const auto values = co_await rota::when_all(number_after(1h, 1), number_after(1h, 2));
      co_return std::get<0>(values);
    };
    const auto first = co_await rota::race(all(), inner(), rota::when_all(number_after(1h, 1), number_after(1h, 2)));
    REQUIRE(first.index == 1);
    REQUIRE(std::get<1>(first.value) == 2);
  });
}
