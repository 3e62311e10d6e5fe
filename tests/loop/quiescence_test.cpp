// The counters behind statistics().quiescent(), which ends every other test.
#include "support/rota_test.hpp"

using namespace std::chrono_literals;
using rota::task;

namespace {
task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}
}  // namespace

TEST_CASE("a loop is quiescent when it is made, and after it ran") {
  rota::event_loop loop;
  REQUIRE(loop.statistics().quiescent());
  const auto body = []() -> task<> { co_await rota::sleep_for(1ms); };
  loop.run(body());
  REQUIRE(loop.statistics().quiescent());
}

TEST_CASE("a loop with a task, or with something ready, is not quiescent") {
  rota::event_loop loop;
  const auto body = []() -> task<> {
    (void)rota::spawn(forever);
    co_return;
  };
  loop.run(body());
  REQUIRE_FALSE(loop.statistics().quiescent());
  REQUIRE(loop.statistics().tasks == 1);
  REQUIRE(loop.statistics().ready == 1);
  const auto one_step = []() -> task<> { co_await rota::yield(); };
  loop.run(one_step());
  REQUIRE(loop.statistics().ready == 0);
  REQUIRE(loop.statistics().timers == 1);
  REQUIRE_FALSE(loop.statistics().quiescent());
  REQUIRE(loop.shutdown() == 0);
  REQUIRE(loop.statistics().quiescent());
}

TEST_CASE("each counter alone is enough") {
  const auto quiescent_with = [](std::size_t rota::event_loop_statistics::* counter) {
    rota::event_loop_statistics s;
    s.*counter = 1;
    return s.quiescent();
  };
  using statistics = rota::event_loop_statistics;
  REQUIRE(statistics().quiescent());
  for (const auto counter :
       {&statistics::tasks, &statistics::ready, &statistics::timers, &statistics::operations, &statistics::descriptors})
    REQUIRE_FALSE(quiescent_with(counter));
}

TEST_CASE("counters of work done only grow, and do not disturb quiescence") {
  rota::event_loop loop;
  rota::event_loop_statistics before = loop.statistics();
  for (int i = 0; i != 3; ++i) {
    const auto body = []() -> task<> { co_await rota::sleep_for(0ms); };
    loop.post([] {});
    loop.run(body());
    const rota::event_loop_statistics after = loop.statistics();
    REQUIRE(after.steps > before.steps);
    REQUIRE(after.iterations > before.iterations);
    REQUIRE(after.polls > before.polls);
    REQUIRE(after.posts == before.posts + 1);
    REQUIRE(after.quiescent());
    before = after;
  }
}

TEST_CASE("waiting costs no iterations") {
  rota::event_loop loop;
  const auto body = []() -> task<> { co_await rota::sleep_for(3ms); };
  const std::uint64_t before = loop.statistics().iterations;
  loop.run(body());
  REQUIRE(loop.statistics().iterations - before <= 8);
}
