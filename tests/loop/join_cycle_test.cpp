// Tasks that wait for each other: refused in whatever order they come, unless something breaks the circle.
#include <rota/loop/join_cycle.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::join_handle;
using rota::task;
using rota_test::exception_of;
using rota_test::run;

using handles = std::vector<join_handle<>>;
using waits = std::function<task<>(join_handle<>)>;

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// What a refused circle says, also if it comes in a group; empty for any other end.
std::string refusal(const std::exception_ptr& error) {
  if (!error) return {};
  try {
    std::rethrow_exception(error);
  } catch (const rota::usage_error& e) {
    return e.which() == rota::usage_error::kind::join_cycle ? e.what() : "";
  } catch (const rota::exception_group& group) {
    const auto* e = group.find<rota::usage_error>();
    return e && e->which() == rota::usage_error::kind::join_cycle ? e->what() : "";
  } catch (...) {
    return {};
  }
}

// ---- ways to wait for a task

task<> joins(join_handle<> other) { co_await other; }
task<> joins_from_a_group(join_handle<> other) {
  const auto body = [&](rota::task_group& group) -> task<> {
    group.spawn(joins, other).set_name("child");
    co_return;
  };
  co_await rota::with_task_group(body);
}
task<> joins_from_a_sleeping_group(join_handle<> other) {
  const auto body = [&](rota::task_group& group) -> task<> {
    group.spawn(joins, other).set_name("child");
    co_await rota::sleep_for(1ms);
  };
  co_await rota::with_task_group(body);
}
task<> all(join_handle<> other) { co_await rota::when_all(other, rota::sleep_for(1ms)); }
task<> any(join_handle<> other) { (void)co_await rota::when_any(other, joins(other)); }
task<> gathers(join_handle<> other) { (void)co_await rota::gather(other); }
task<> gathers_outcomes(join_handle<> other) { (void)co_await rota::gather(rota::return_exceptions, other); }
task<> waits_for(join_handle<> other) {
  handles list(1, other);
  (void)co_await rota::wait(std::move(list));
}
task<> asks_a_stream(join_handle<> other) {
  handles list(1, other);
  auto stream = rota::as_completed(std::move(list));
  (void)co_await stream.next();
}
task<> starts(join_handle<> other) {
  const auto body = [&](rota::task_group& group) -> task<> {
    const auto child = [](rota::task_status<> status, join_handle<> it) -> task<> {
      co_await it;
      status.started();
    };
    co_await group.start(child, other);
  };
  co_await rota::with_task_group(body);
}

struct outcome {
  std::vector<std::string> refused;  // in the order in which the tasks ended
};

// Task n waits for task n + 1, the last one for the first. order[n] says when.
task<outcome> ring(const std::vector<waits>& how, const std::vector<int>& order) {
  outcome result;
  handles all(how.size());
  const auto body = [&](std::size_t n) -> task<> {
    for (int turn = 0; turn != 5 * order[n]; ++turn) co_await rota::yield();
    task<> wait = how[n](all[(n + 1) % how.size()]);
    const std::exception_ptr error = co_await exception_of(std::move(wait));
    const std::string text = refusal(error);
    if (!text.empty()) result.refused.push_back(text);
  };
  for (std::size_t n = 0; n != how.size(); ++n) all[n] = rota::spawn(body, n).set_name("t" + std::to_string(n));
  for (std::size_t n = 0; n != how.size(); ++n) co_await all[n];
  all.clear();
  co_return result;
}

void is_refused_in_every_order(const std::vector<waits>& how) {
  std::vector<int> order;
  for (std::size_t n = 0; n != how.size(); ++n) order.push_back(static_cast<int>(n));
  do {
    std::string said;
    for (const int n : order) said += std::to_string(n);
    INFO("order " << said);
    const outcome result = run(ring, how, order);
    REQUIRE_FALSE(result.refused.empty());
    const std::string& text = result.refused[0];
    INFO(text);
    for (std::size_t n = 0; n != how.size(); ++n)
      REQUIRE((has(text, "'t" + std::to_string(n) + "'") || has(text, "'child'")));
    REQUIRE(has(text, "the first: none of them would ever go on"));
    REQUIRE(result.refused.size() == 1);
  } while (std::next_permutation(order.begin(), order.end()));
}
void is_left_alone_in_every_order(const std::vector<waits>& how) {
  std::vector<int> order;
  for (std::size_t n = 0; n != how.size(); ++n) order.push_back(static_cast<int>(n));
  do {
    const outcome result = run(ring, how, order);
    INFO((result.refused.empty() ? "" : result.refused[0]));
    REQUIRE(result.refused.empty());
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace

TEST_CASE("two tasks that wait for each other are refused in either order, however the first one waits") {
  const std::array<waits, 10> ways{joins,
                                   joins_from_a_group,
                                   joins_from_a_sleeping_group,
                                   all,
                                   any,
                                   gathers,
                                   gathers_outcomes,
                                   waits_for,
                                   asks_a_stream,
                                   starts};
  for (std::size_t i = 0; i != ways.size(); ++i) {
    INFO("way " << i);
    is_refused_in_every_order({ways[i], joins});
    is_refused_in_every_order({ways[i], ways[i]});
  }
}

TEST_CASE("a circle of four tasks through a group, when_all, gather and a join is refused in all 24 orders") {
  is_refused_in_every_order({joins_from_a_group, all, gathers, joins});
}

TEST_CASE("a task that waits for itself through a combinator or a group is refused") {
  for (const waits& way : {waits(all), waits(joins_from_a_group), waits(joins_from_a_sleeping_group), waits(any)})
    is_refused_in_every_order({way});
}

TEST_CASE("a circle that a deadline breaks is none, wherever the deadline is") {
  const waits limited_join = [](join_handle<> other) -> task<> {
    const bool joined = co_await rota::move_on_after(1ms, other);
    REQUIRE_FALSE(joined);
  };
  const waits limited_all = [](join_handle<> other) -> task<> {
    const std::error_code code =
        rota_test::code_of(co_await exception_of(rota::timeout(1ms, rota::when_all(other, rota::sleep_for(0ms)))));
    REQUIRE(code == rota::errc::timed_out);
  };
  const waits limited_group = [](join_handle<> other) -> task<> {
    const bool done = co_await rota::move_on_after(1ms, joins_from_a_group(other));
    REQUIRE_FALSE(done);
  };
  const waits limited_child = [](join_handle<> other) -> task<> {
    const auto limited = [](join_handle<> it) -> task<> { (void)co_await rota::move_on_after(1ms, it); };
    const auto body = [&](rota::task_group& group) -> task<> {
      group.spawn(limited, other);
      co_return;
    };
    co_await rota::with_task_group(body);
  };
  const waits in_a_cancel_scope = [](join_handle<> other) -> task<> {
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.set_deadline(rota::event_loop::current()->now() + 1ms);
      co_await other;
    };
    const bool done = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(done);
  };
  const waits limited_wait = [](join_handle<> other) -> task<> {
    handles list(1, other);
    const auto result = co_await rota::wait(std::move(list), rota::wait_until::all_completed, 1ms);
    REQUIRE(result.done.empty());
  };
  for (const waits& way : {limited_join, limited_all, limited_group, limited_child, in_a_cancel_scope, limited_wait}) {
    is_left_alone_in_every_order({way, joins});
    is_left_alone_in_every_order({joins, gathers, way});
  }
}

TEST_CASE("a circle that another alternative breaks is none") {
  const waits any_of_two = [](join_handle<> other) -> task<> {
    const auto first = co_await rota::when_any(other, rota::sleep_for(1ms));
    REQUIRE(first.index == 1);
  };
  const waits race_of_two = [](join_handle<> other) -> task<> {
    const auto first = co_await rota::race(rota::sleep_for(1ms), other);
    REQUIRE(first.index == 0);
  };
  const waits first_of_two = [](join_handle<> other) -> task<> {
    const auto sleeps = []() -> task<> { co_await rota::sleep_for(1ms); };
    handles list{other, rota::spawn(sleeps)};
    const auto result = co_await rota::wait(std::move(list), rota::wait_until::first_completed);
    REQUIRE(result.done.size() == 1);
  };
  for (const waits& way : {any_of_two, race_of_two, first_of_two}) {
    is_left_alone_in_every_order({way, joins});
    is_left_alone_in_every_order({joins, all, way});
    is_left_alone_in_every_order({joins, joins_from_a_group, way});
  }
  is_left_alone_in_every_order({any_of_two});  // it waits for its own end, or a moment
}

TEST_CASE("when_any is refused when every alternative leads back") {
  is_refused_in_every_order({any, all});
  is_refused_in_every_order({joins, any, gathers});
}

TEST_CASE("a circle that a deadline broke once is refused when it is closed for good") {
  run([]() -> task<> {
    join_handle<> first;
    std::string text;
    const auto two = [&]() -> task<> { co_await first; };
    join_handle<> second = rota::spawn(two);
    const auto one = [&]() -> task<> {
      const bool joined = co_await rota::move_on_after(1ms, second);
      REQUIRE_FALSE(joined);
      const std::exception_ptr error = co_await exception_of(second);
      text = refusal(error);
    };
    first = rota::spawn(one);
    co_await second;
    REQUIRE(has(text, "none of them would ever go on"));
    first = {};
  });
}

TEST_CASE("what only looks like a circle is none: siblings, children, many who wait for one") {
  run([]() -> task<> {
    const auto sleeps = []() -> task<> { co_await rota::sleep_for(1ms); };
    int ended = 0;
    const auto body = [&](rota::task_group& group) -> task<> {
      join_handle<> slow = group.spawn(sleeps);
      const auto wait = [&](join_handle<> sibling) -> task<> {
        co_await rota::when_all(sibling, rota::gather(sibling, slow));
        ++ended;
      };
      join_handle<> last = slow;
      for (int i = 0; i != 200; ++i) last = group.spawn(wait, last);
      co_await last;
    };
    co_await rota::with_task_group(body);
    REQUIRE(ended == 200);
  });
}

TEST_CASE("when_any ends with all errors when the alternative that failed was the only way out") {
  run([]() -> task<> {
    join_handle<> first;
    std::exception_ptr error;
    const auto two = [&]() -> task<> { co_await first; };
    join_handle<> second = rota::spawn(two);
    const auto fails = []() -> task<> {
      co_await rota::sleep_for(1ms);
      throw std::runtime_error("no luck");
    };
    const auto one = [&]() -> task<> { error = co_await exception_of(rota::when_any(second, fails)); };
    first = rota::spawn(one).set_name("first");
    co_await second;
    const auto group = rota_test::caught<rota::exception_group>(error);
    INFO(group.what());
    REQUIRE(group.size() == 2);
    REQUIRE(rota_test::text_of(group.members()[0].error) == "no luck");
    REQUIRE(has(refusal(group.members()[1].error), "task 'first'"));
    first = {};
  });
}

TEST_CASE("when_any goes on waiting when one that failed leaves another that can end, or a deadline") {
  run([]() -> task<> {
    join_handle<> first;
    const auto two = [&]() -> task<> { co_await first; };
    join_handle<> second = rota::spawn(two);
    const auto fails = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("no luck");
    };
    const auto one = [&]() -> task<> {
      const auto winner = co_await rota::when_any(second, fails, rota::sleep_for(1ms));
      REQUIRE(winner.index == 2);
      // At the deadline the error that came before it wins.
      const std::exception_ptr error = co_await exception_of(rota::move_on_after(1ms, rota::when_any(second, fails)));
      REQUIRE(rota_test::texts(error) == rota_test::strings{"no luck"});
    };
    first = rota::spawn(one);
    co_await second;
    first = {};
  });
}
