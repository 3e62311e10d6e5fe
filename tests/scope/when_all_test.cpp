// when_all: all values, or all errors, and nobody left behind.
#include <rota/scope/when_all.hpp>

#include <functional>
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
using rota::exception_group;
using rota::task;
using rota_test::caught;
using rota_test::code_of;
using rota_test::exception_of;
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

task<int> number(int n) { co_return n; }
task<int> fail_after(int yields, std::string text) {
  for (int i = 0; i != yields; ++i) co_await rota::yield();
  throw std::runtime_error(text);
}
task<> nothing() { co_await rota::yield(); }

}  // namespace

TEST_CASE("when_all gives all values in the order of the arguments, in the time of the slowest") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto values =
        co_await rota::when_all(number_after(30ms, 1), number_after(10ms, 2), number_after(20ms, 3), number(4));
    REQUIRE(values == std::tuple<int, int, int, int>(1, 2, 3, 4));
    REQUIRE(loop.elapsed() == 30ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("when_all and values of all kinds: void, references, what can only be moved") {
  run([]() -> task<> {
    int target = 1;
    const auto reference = [&]() -> task<int&> {
      co_await rota::yield();
      co_return target;
    };
    const auto unique = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
    auto values = co_await rota::when_all(nothing(), reference(), unique());
    static_assert(std::is_same_v<decltype(values), std::tuple<std::monostate, int&, std::unique_ptr<int>>>);
    REQUIRE(&std::get<1>(values) == &target);
    REQUIRE(*std::get<2>(values) == 3);
    co_await rota::when_all(nothing(), nothing());
  });
}

TEST_CASE("when_all of nothing gives nothing, at once") {
  run([]() -> task<> {
    co_await rota::when_all();
    std::vector<task<int>> none;
    const std::vector<int> values = co_await rota::when_all(std::move(none));
    REQUIRE(values.empty());
    std::vector<task<>> no_tasks;
    co_await rota::when_all(std::move(no_tasks));
  });
}

TEST_CASE("when_all takes functions, handles, sleeps and whatever else can be awaited") {
  run([]() -> task<> {
    int calls = 0;
    const auto function = [&]() -> task<int> {
      ++calls;
      co_return 2;
    };
    rota::join_handle<int> handle = rota::spawn(number, 3);
    auto values = co_await rota::when_all(
        function, rota::sleep_for(0ms), handle, [] { return number(5); }, rota::yield(), rota::timeout(1h, number(6)));
    REQUIRE(calls == 1);
    REQUIRE(std::get<0>(values) == 2);
    REQUIRE(std::get<2>(values) == 3);
    REQUIRE(std::get<3>(values) == 5);
    REQUIRE(std::get<5>(values) == 6);
    REQUIRE(handle.result() == 3);
  });
}

TEST_CASE("when_all of a range, handed over or where it is") {
  run([]() -> task<> {
    std::vector<task<int>> tasks;
    for (int i = 0; i != 5; ++i) tasks.push_back(number_after(rota::duration(5 - i), i));
    const std::vector<int> values = co_await rota::when_all(std::move(tasks));
    REQUIRE(values == std::vector<int>{0, 1, 2, 3, 4});
    std::vector<rota::join_handle<int>> handles;
    for (int i = 0; i != 5; ++i) handles.push_back(rota::spawn(number, i));
    for (int round = 0; round != 2; ++round) {
      const std::vector<int> results = co_await rota::when_all(handles);
      REQUIRE(results == std::vector<int>{0, 1, 2, 3, 4});
    }
    const std::vector<int> some = co_await rota::when_all(std::span(handles).first(2));
    REQUIRE(some == std::vector<int>{0, 1});
    REQUIRE(handles[0].valid());
    REQUIRE(handles[1].valid());
    const std::vector<rota::join_handle<int>>& kept = handles;
    const std::vector<int> copied = co_await rota::when_all(kept);
    REQUIRE(copied == std::vector<int>{0, 1, 2, 3, 4});
    const std::vector<int> seen = co_await rota::when_all(std::span(kept).last(2));
    REQUIRE(seen == std::vector<int>{3, 4});
    rota::join_handle<int> array[] = {handles[1], handles[2]};
    const std::vector<int> of_array = co_await rota::when_all(array);
    REQUIRE(of_array == std::vector<int>{1, 2});
    std::vector<task<>> voids;
    for (int i = 0; i != 5; ++i) voids.push_back(nothing());
    co_await rota::when_all(std::move(voids));
    std::vector<task<std::unique_ptr<int>>> unique;
    const auto make = [](int n) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(n); };
    for (int i = 0; i != 3; ++i) unique.push_back(make(i));
    const std::vector<std::unique_ptr<int>> owned = co_await rota::when_all(std::move(unique));
    REQUIRE(*owned[2] == 2);
  });
}

TEST_CASE("children of when_all begin after the step that awaits it, in order, each as a task of its own") {
  run([]() -> task<> {
    std::vector<int> order;
    const auto child = [&](int n) -> task<> {
      order.push_back(n);
      co_await rota::yield();
      order.push_back(10 + n);
    };
    co_await rota::when_all(child(0), child(1), child(2));
    REQUIRE(order == std::vector<int>{0, 1, 2, 10, 11, 12});
  });
}

TEST_CASE("children of when_all may use the locals of who awaits it") {
  run([]() -> task<> {
    std::vector<std::string> words(3, "a text that is too long for the small buffer of a string");
    const auto child = [&](std::size_t i) -> task<std::size_t> {
      co_await rota::sleep_for(rota::duration(static_cast<int>(3 - i)));
      words[i] += std::to_string(i);
      co_return words[i].size();
    };
    {
      const std::string local = "another text that is too long for the small buffer";
      const auto reads = [&]() -> task<std::size_t> {
        co_await rota::yield();
        co_return local.size();
      };
      const auto sizes = co_await rota::when_all(child(0), reads(), child(1), child(2), reads);
      REQUIRE(std::get<1>(sizes) == local.size());
      REQUIRE(std::get<4>(sizes) == local.size());
    }
    REQUIRE(words[2].back() == '2');
  });
}

TEST_CASE("the locals of who awaits outlive children that are cancelled and clean up") {
  run([]() -> task<> {
    std::string local = "a text that is too long for the small buffer of a string";
    std::vector<std::string> copies;
    const auto slow = [&]() -> task<> {
      const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
      co_await rota::shield(1h, rota::sleep_for(1ms));
      copies.push_back(local);
      std::rethrow_exception(why);
    };
    const std::exception_ptr error = co_await exception_of(rota::when_all(slow(), fail_after(1, local), slow()));
    REQUIRE(texts(error) == strings{local});
    REQUIRE(copies == strings(2, local));
  });
}

TEST_CASE("the first failure of when_all cancels the others, all are waited for, all errors are kept") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    int cancels = 0;
    const auto slow = [&]() -> task<> {
      const std::exception_ptr why = co_await exception_of(rota::sleep_for(1h));
      co_await rota::shield(1h, rota::sleep_for(20ms));
      ++cancels;
      std::rethrow_exception(why);
    };
    const std::exception_ptr error = co_await exception_of(rota::when_all(
        until_cancelled(cancels), slow(), fail_in_cleanup("in cleanup"), fail_after(1, "first"), number(1)));
    REQUIRE(texts(error) == strings{"first", "in cleanup"});
    REQUIRE(cancels == 2);
    REQUIRE(loop.elapsed() == 20ms);
    const std::string text = caught<exception_group>(error).what();
    INFO(text);
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("when_all, "));
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("when_all_test.cpp:"));
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a report about a child of when_all tells the user's line, also when the child is no task") {
  run([]() -> task<> {
    const auto fails = []() -> task<int> {
      co_await rota::yield();
      throw std::runtime_error("no luck");
    };
    rota::join_handle<int> handle = rota::spawn(fails);
    std::exception_ptr error;
    const auto line = ":" + std::to_string(__LINE__ + 2);
    try {
      co_await rota::when_all(handle, fails);
    } catch (...) {
      error = std::current_exception();
    }
    const auto group = caught<exception_group>(error);
    INFO(group.what());
    std::vector<std::string> of_function, of_handle;
    for (const auto& member : group.members())
      (member.where.ends_with("when_all_test.cpp" + line) ? of_handle : of_function).push_back(member.where);
    if (rota_test::is_parallel()) {  // whichever fails first may cancel the other before it has failed
      REQUIRE(of_function.size() <= 1);
      REQUIRE(of_handle.size() <= 1);
    } else {
      REQUIRE(of_function.size() == 1);
      REQUIRE(of_handle.size() == 1);
      REQUIRE(group.members()[1].where == of_handle[0]);
    }
    // A function is a task: its own line tells more.
    for (const std::string& where : of_function)
      REQUIRE_THAT(where, Catch::Matchers::ContainsSubstring("when_all_test.cpp:"));
  });
}

TEST_CASE("when_all in when_all: the nesting of errors is kept") {
  run([]() -> task<> {
    const auto inner = []() -> task<> {
      co_await rota::when_all(fail_in_cleanup("inner b"), fail_after(1, "inner a"));
    };
    const std::exception_ptr error = co_await exception_of(rota::when_all(fail_in_cleanup("outer"), inner()));
    const auto group = caught<exception_group>(error);
    REQUIRE(group.size() == 2);
    REQUIRE(texts(group) == strings{"inner a", "inner b", "outer"});
    REQUIRE(texts(group.members().front().error) == strings{"inner a", "inner b"});
  });
}

TEST_CASE("nothing to call is refused by everything in scope/ that takes a function, when it is given") {
  using kind = rota::usage_error::kind;
  const auto refused = [](auto&& f) { return rota_test::usage_error_of(f) == kind::invalid_argument; };
  task<int> (*const null)() = nullptr;
  const std::function<task<int>()> empty;
  const std::vector<std::function<task<int>()>> empties(2);
  REQUIRE(refused([&] { (void)rota::when_all(null, number(1)); }));
  REQUIRE(refused([&] { (void)rota::when_all(number(1), empty); }));
  REQUIRE(refused([&] { (void)rota::when_any(empty, null); }));
  REQUIRE(refused([&] { (void)rota::race(empties); }));
  task<> (*const no_group)(rota::task_group&) = nullptr;
  const std::function<task<>(rota::cancel_scope&)> no_scope;
  REQUIRE(refused([&] { (void)rota::with_task_group(no_group); }));
  REQUIRE(refused([&] { (void)rota::with_cancel_scope(no_scope); }));
  task<> (*const no_body)(rota::tcp_stream&) = nullptr;
  REQUIRE(refused([&] { (void)rota::with(1s, rota::tcp_stream(), no_body); }));
  run([&]() -> task<> {
    task<> (*const no_cleanup)() = nullptr;
    const auto defers = [&](auto& scope) -> task<> {
      REQUIRE(refused([&] { scope.defer(1s, no_cleanup); }));
      co_return;
    };
    co_await rota::with_task_group(defers);
    (void)co_await rota::with_cancel_scope(defers);
  });
}

TEST_CASE("when_all: a function that throws instead of giving something to await") {
  run([]() -> task<> {
    int cancels = 0;
    const auto throws = []() -> task<int> { throw std::runtime_error("no task"); };
    const std::exception_ptr error = co_await exception_of(rota::when_all(until_cancelled(cancels), throws));
    REQUIRE(texts(error) == strings{"no task"});
    REQUIRE(cancels == 1);
  });
}

TEST_CASE("a cancel from outside cancels all children of when_all, waits for them, and passes") {
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
        co_await exception_of(rota::timeout(10ms, rota::when_all(slow(), until_cancelled(cancels))));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(cancels == 2);
    REQUIRE(loop.elapsed() == 15ms);

    std::exception_ptr seen;
    const auto main = [&]() -> task<> {
      seen = co_await exception_of(rota::when_all(slow(), until_cancelled(cancels)));
      std::rethrow_exception(seen);
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(1ms);
    handle.cancel("enough");
    (void)co_await exception_of(handle);
    REQUIRE(handle.cancelled());
    REQUIRE(caught<rota::cancelled>(seen).reason() == "enough");
    REQUIRE(cancels == 4);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("values that came in spite of a cancel are given by when_all, and the next suspension is cancelled") {
  run([]() -> task<> {
    std::optional<std::tuple<int, int>> values;
    std::exception_ptr next;
    const auto stubborn = [](int n) -> task<int> {
      (void)co_await exception_of(rota::sleep_for(1h));
      co_return n;
    };
    const auto main = [&]() -> task<> {
      values = co_await rota::when_all(stubborn(1), stubborn(2));
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    co_await handle;
    REQUIRE(values == std::tuple<int, int>(1, 2));
    REQUIRE(is_cancelled(next));
  });
}

TEST_CASE("errors win over a cancel in when_all") {
  run([]() -> task<> {
    std::exception_ptr error, next;
    int cancels = 0;
    const auto main = [&]() -> task<> {
      error = co_await exception_of(rota::when_all(until_cancelled(cancels), fail_in_cleanup("in cleanup")));
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

TEST_CASE("when_all in a cancelled scope throws without leaving anything behind") {
  int alive = 0;
  run([&]() -> task<> {
    const auto child = [](tracked) -> task<int> {
      co_await rota::yield();
      co_return 1;
    };
    bool reached = false;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel();
      (void)co_await rota::when_all(child(tracked(alive)), child(tracked(alive)));
      reached = true;
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE_FALSE(reached);
    REQUIRE(alive == 0);
  });
}

TEST_CASE("joining a cancelled task in when_all is an error, not a cancel") {
  run([]() -> task<> {
    int cancels = 0;
    rota::join_handle<> victim = rota::spawn(until_cancelled, std::ref(cancels));
    co_await rota::sleep_for(0ms);
    victim.cancel();
    const std::exception_ptr error = co_await exception_of(rota::when_all(victim, number_after(1h, 1)));
    const auto group = caught<exception_group>(error);
    REQUIRE(group.only<std::system_error>()->code() == rota::errc::task_cancelled);
    co_await rota::yield();
  });
}

TEST_CASE("cancelling when_all stops waiting for a handle, whose task goes on") {
  run([]() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number_after, rota::duration(2ms), 1);
    const auto none = co_await rota::move_on_after(1us, rota::when_all(handle, rota::sleep_for(1h)));
    REQUIRE_FALSE(none.has_value());
    const int one = co_await handle;
    REQUIRE(one == 1);
  });
}

TEST_CASE("when_all needs an event loop, and destroys its arguments without one") {
  const rota_test::captured_reports reports;
  int alive = 0;
  const rota_test::frame_balance nothing_left;
  const auto child = [](tracked) -> task<int> { co_return 1; };
  const auto main = [&]() -> task<> {
    const std::exception_ptr error =
        co_await exception_of(rota::when_all(child(tracked(alive)), child(tracked(alive))));
    REQUIRE(caught<rota::usage_error>(error).which() == rota::usage_error::kind::no_event_loop);
  };
  rota::sync_wait(main());
  REQUIRE(alive == 0);
  REQUIRE(reports.size() == 0);
}

TEST_CASE("an empty or moved-from task in when_all is a usage error") {
  run([]() -> task<> {
    const rota_test::captured_reports reports;  // of the other argument, which nobody will ever await
    task<int> empty;
    std::exception_ptr error;
    try {
      (void)co_await rota::when_all(number(1), std::move(empty));
    } catch (...) {
      error = std::current_exception();
    }
    REQUIRE(caught<rota::usage_error>(error).which() == rota::usage_error::kind::invalid_task);
  });
}

TEST_CASE("what a child of when_all holds is gone when the await has ended") {
  int alive = 0;
  run([&]() -> task<> {
    const auto child = [](tracked) -> task<int> {
      co_await rota::yield();
      co_return 1;
    };
    const auto values = co_await rota::when_all(child(tracked(alive)), child(tracked(alive)));
    REQUIRE(alive == 0);
    REQUIRE(std::get<0>(values) == 1);
  });
}

TEST_CASE("when_all directly in when_all") {
  run([]() -> task<> {
    std::vector<task<int>> tasks;
    tasks.push_back(number(5));
    const auto values =
        co_await rota::when_all(rota::when_all(number(1), number(2)), number(3), rota::when_all(std::move(tasks)));
    REQUIRE(std::get<0>(values) == std::tuple<int, int>(1, 2));
    REQUIRE(std::get<1>(values) == 3);
    REQUIRE(std::get<2>(values) == std::vector<int>{5});
  });
}

TEST_CASE("when_all in one expression with other awaits") {
  run([]() -> task<> {
    const auto sum = [](std::tuple<int, int> pair) -> task<int> {
      co_await rota::yield();
      co_return std::get<0>(pair) + std::get<1>(pair);
    };
    const auto both = co_await rota::when_all(sum(co_await rota::when_all(number(1), number(2))),
                                              sum(co_await rota::when_all(number(3), number(4))));
    REQUIRE(both == std::tuple<int, int>(3, 7));
  });
}

TEST_CASE("when_all of ten thousand children, that end well, and that all fail") {
  const std::size_t count = rota_test::scaled(10'000, 1'000, 10'000);
  run([=]() -> task<> {
    std::vector<task<int>> tasks;
    for (std::size_t i = 0; i != count; ++i) tasks.push_back(number_after(0ms, static_cast<int>(i)));
    const std::vector<int> values = co_await rota::when_all(std::move(tasks));
    REQUIRE(values.size() == count);
    for (std::size_t i = 0; i != count; ++i) REQUIRE(values[i] == static_cast<int>(i));
    std::vector<task<int>> failing;
    for (std::size_t i = 0; i + 1 != count; ++i) failing.push_back(fail_in_cleanup(std::to_string(i)));
    failing.push_back(fail_after(0, "last"));
    const std::exception_ptr error = co_await exception_of(rota::when_all(std::move(failing)));
    REQUIRE(caught<exception_group>(error).size() == count);
    REQUIRE(texts(error).front() == "last");
  });
}

TEST_CASE("when_all a hundred levels deep") {
  struct tree {
    static task<int> grow(int depth) {
      if (depth == 0) co_return 1;
      const auto both = co_await rota::when_all(grow(depth - 1), number(1));
      co_return std::get<0>(both) + std::get<1>(both);
    }
  };
  run([]() -> task<> {
    const int leaves = co_await tree::grow(100);
    REQUIRE(leaves == 101);
  });
}

TEST_CASE("when_all allocates nothing but the frames of its children") {
  run([]() -> task<> {
    const std::int64_t before = rota_test::frames();
    std::int64_t during = 0;
    const auto looks = [&]() -> task<> {
      during = rota_test::frames();
      co_return;
    };
    co_await rota::when_all(nothing(), looks(), nothing());
    REQUIRE(during == before + 3);
    REQUIRE(rota_test::frames() == before);
  });
}

TEST_CASE("what was handed to a child goes when the child ends, not when all have ended") {
  run([]() -> task<> {
    const auto shared = std::make_shared<int>(1);
    const auto keeps = [](std::shared_ptr<int>) -> task<int> { co_return 5; };
    const auto waits_for_its_end = [](const std::shared_ptr<int>& watched) -> task<int> {
      int turns = 0;
      for (; watched.use_count() != 1 && turns != 100; ++turns) co_await rota::yield();
      co_return turns;
    };
    const auto results = co_await rota::when_all(keeps(shared), waits_for_its_end(shared));
    REQUIRE(std::get<0>(results) == 5);
    REQUIRE(std::get<1>(results) < 100);
  });
}
