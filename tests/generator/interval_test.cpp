// rota::interval, in exact virtual time.
#include <rota/generator/interval.hpp>

#include <limits>
#include <vector>

#include "support/outcomes.hpp"
#include "support/timed_executor.hpp"

namespace {

using namespace std::chrono_literals;
using rota::interval;
using rota::missed_tick;
using rota::task;
using rota_test::exception_of;
using rota_test::timed_executor;

// When a tick was due and when it was given, in milliseconds since the first.
struct tick {
  long due;
  long given;
  bool operator==(const tick&) const = default;
};
std::ostream& operator<<(std::ostream& out, const tick& t) { return out << t.due << '@' << t.given; }

// Takes ticks of 10 ms. After the second one, at 10 ms, it is busy for 25 ms.
std::vector<tick> ticks_of(missed_tick policy, int how_many) {
  std::vector<tick> all;
  timed_executor loop;
  const auto main = [&]() -> task<> {
    interval every(10ms, policy);
    co_await rota::sleep_for(3ms);  // nothing counts before the first tick
    const rota::time_point start = loop.now();
    for (int i = 0; i != how_many; ++i) {
      const auto due = co_await every.next();
      all.push_back({(*due - start) / 1ms, (loop.now() - start) / 1ms});
      if (i == 1) loop.advance(25ms);
    }
  };
  loop.run(main());
  return all;
}

}  // namespace

TEST_CASE("the first tick comes at once, and the others a period after one another") {
  CHECK(ticks_of(missed_tick::burst, 2) == std::vector<tick>{{0, 0}, {10, 10}});
}
TEST_CASE("burst gives the ticks that were missed at once, until it has caught up") {
  CHECK(ticks_of(missed_tick::burst, 6) == std::vector<tick>{{0, 0}, {10, 10}, {20, 35}, {30, 35}, {40, 40}, {50, 50}});
}
TEST_CASE("delay counts the next period from the late tick") {
  CHECK(ticks_of(missed_tick::delay, 5) == std::vector<tick>{{0, 0}, {10, 10}, {20, 35}, {45, 45}, {55, 55}});
}
TEST_CASE("skip leaves out what was missed, and keeps to the multiples of the period") {
  CHECK(ticks_of(missed_tick::skip, 5) == std::vector<tick>{{0, 0}, {10, 10}, {20, 35}, {40, 40}, {50, 50}});
}

TEST_CASE("a cancelled wait for a tick loses no tick") {
  timed_executor loop;
  const auto main = [&]() -> task<> {
    interval every(10ms);
    const auto start = co_await every.next();
    const auto none = co_await rota::move_on_after(4ms, every.next());
    CHECK_FALSE(none);
    const auto second = co_await every.next();
    CHECK(*second - *start == 10ms);
    CHECK(loop.now() == *second);
  };
  loop.run(main());
}

TEST_CASE("reset() lets the next tick come a period from now, also before the first") {
  timed_executor loop;
  const auto main = [&]() -> task<> {
    interval every(10ms, missed_tick::skip);
    const rota::time_point start = loop.now();
    every.reset();
    const auto first = co_await every.next();
    CHECK(*first - start == 10ms);
    co_await rota::sleep_for(7ms);
    every.reset();
    const auto second = co_await every.next();
    CHECK(*second - start == 27ms);
    const auto third = co_await every.next();
    CHECK(*third - start == 37ms);
  };
  loop.run(main());
}

TEST_CASE("an interval needs a period above zero, and a loop") {
  using kind = rota::usage_error::kind;
  using seconds = std::chrono::duration<double>;
  CHECK(rota_test::usage_error_of([] { return interval(0ms).period(); }) == kind::invalid_argument);
  CHECK(rota_test::usage_error_of([] { return interval(-1ms).period(); }) == kind::invalid_argument);
  CHECK(rota_test::usage_error_of([] {
          return interval(seconds(std::numeric_limits<double>::quiet_NaN())).period();
        }) == kind::invalid_argument);
  const interval every(2ms, missed_tick::delay);
  CHECK(every.period() == 2ms);
  CHECK(every.policy() == missed_tick::delay);
  const auto ask = []() -> task<> {
    interval one(1ms);
    (void)co_await one.next();
  };
  CHECK(rota_test::usage_error_of([&] {
          rota::sync_wait(ask());
          return 0;
        }) == kind::no_event_loop);
}
