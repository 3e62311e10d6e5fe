// sleep_for, sleep_until, yield: order and exact instants on a manual clock, "at least" on the real one.
#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::manual_loop;

// How long a sleep of `d` takes; how many iterations.
template <class Duration>
rota::duration slept(Duration d) {
  manual_loop m;
  const auto body = [](Duration how_long) -> task<> { co_await rota::sleep_for(how_long); };
  m.run(body(d));
  rota_test::require_quiescent(m.loop());
  return m.elapsed();
}

}  // namespace

TEST_CASE("on the real clock a sleep lasts at least its time") {
  rota_test::run([]() -> task<> {
    const auto start = std::chrono::steady_clock::now();
    co_await rota::sleep_for(2ms);
    REQUIRE(std::chrono::steady_clock::now() - start >= 2ms);
    const auto until = std::chrono::steady_clock::now() + 2ms;
    co_await rota::sleep_until(until);
    REQUIRE(std::chrono::steady_clock::now() >= until);
  });
}

TEST_CASE("sleepers wake in the order of their deadlines, equal ones in the order of sleeping") {
  manual_loop m;
  std::string log;
  const auto sleeper = [&](char name, rota::duration d) -> task<> {
    co_await rota::sleep_for(d);
    log += name;
  };
  const auto body = [&]() -> task<> {
    (void)rota::spawn(sleeper, 'f', rota::duration(30ms));
    (void)rota::spawn(sleeper, 'b', rota::duration(10ms));
    (void)rota::spawn(sleeper, 'c', rota::duration(10ms));
    (void)rota::spawn(sleeper, 'a', rota::duration(1ns));
    (void)rota::spawn(sleeper, 'd', rota::duration(10ms));
    (void)rota::spawn(sleeper, 'e', rota::duration(20ms));
    co_await rota::sleep_for(40ms);
  };
  m.run(body());
  REQUIRE(log == "abcdef");
  REQUIRE(m.elapsed() == 40ms);
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("deadlines that are equal by different ways are equal") {
  manual_loop m;
  std::string log;
  const auto until = [&](char name, rota::time_point t) -> task<> {
    co_await rota::sleep_until(t);
    log += name;
  };
  const auto in = [&](char name, rota::duration first, rota::duration second) -> task<> {
    co_await rota::sleep_for(first);
    co_await rota::sleep_for(second);
    log += name;
  };
  const auto body = [&]() -> task<> {
    const auto start = m.loop().now();
    (void)rota::spawn(in, 'c', rota::duration(3ms), rota::duration(4ms));
    (void)rota::spawn(until, 'a', start + 7ms);
    (void)rota::spawn(in, 'b', rota::duration(1ms), rota::duration(6ms));
    co_await rota::sleep_for(8ms);
  };
  m.run(body());
  REQUIRE(log == "abc");
}

TEST_CASE("a sleep of zero or less takes exactly one iteration, as yield does") {
  manual_loop m;
  std::string log;
  const auto by_yield = [&]() -> task<> {
    for (int i = 0; i != 3; ++i) {
      log += 'y';
      co_await rota::yield();
    }
  };
  const auto by_sleep = [&](rota::duration d) -> task<> {
    for (int i = 0; i != 3; ++i) {
      log += 's';
      co_await rota::sleep_for(d);
    }
  };
  const auto body = [&]() -> task<> {
    rota::join_handle<> a = rota::spawn(by_sleep, rota::duration(0ms));
    co_await a;
    const std::uint64_t before = m.loop().statistics().iterations;
    rota::join_handle<> b = rota::spawn(by_sleep, rota::duration(-1h));
    co_await b;
    REQUIRE(m.loop().statistics().iterations - before <= 6);
    log += '|';
    rota::join_handle<> c = rota::spawn(by_yield);
    co_await c;
  };
  m.run(body());
  REQUIRE(log == "ssssss|yyy");
  REQUIRE(m.elapsed() == 0ms);
}

TEST_CASE("a sleep until a time that has passed returns in the next iteration") {
  manual_loop m;
  const auto body = [&]() -> task<> {
    co_await rota::sleep_until(m.loop().now() - 1h);
    co_await rota::sleep_until(rota::time_point::min());
    co_await rota::sleep_until(rota::time_point());
  };
  m.run(body());
  REQUIRE(m.elapsed() == 0ms);
}

TEST_CASE("durations of every unit and representation") {
  REQUIRE(slept(3ns) == 3ns);
  REQUIRE(slept(2us) == 2us);
  REQUIRE(slept(25h) == 25h);
  REQUIRE(slept(std::chrono::years(100)) == std::chrono::years(100));
  REQUIRE(slept(std::chrono::duration<double>(0.5)) == 500ms);
  REQUIRE(slept(std::chrono::duration<float, std::milli>(1.5f)) == 1500us);
  REQUIRE(slept(std::chrono::duration<std::int8_t, std::ratio<60>>(2)) == 2min);
  REQUIRE(slept(std::chrono::duration<std::int64_t, std::pico>(7000)) == 7ns);
  REQUIRE(slept(-5s) == 0s);
  REQUIRE(slept(std::chrono::nanoseconds::min()) == 0s);
  REQUIRE(slept(std::chrono::hours::min()) == 0s);
}

TEST_CASE("NaN is refused, and the task is named") {
  std::string text;
  rota_test::run([&]() -> task<> {
    const auto body = [&]() -> task<> {
      try {
        co_await rota::sleep_for(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()));
      } catch (const rota::usage_error& error) {
        if (error.which() == rota::usage_error::kind::invalid_argument) text = error.what();
      }
    };
    rota::join_handle<> handle = rota::spawn(body).set_name("sleeper");
    co_await handle;
  });
  INFO(text);
  REQUIRE(text.find("task 'sleeper', last at ") != std::string::npos);
  REQUIRE(text.find("not a number (NaN)") != std::string::npos);
  REQUIRE(slept(std::chrono::duration<double>(-std::numeric_limits<double>::infinity())) == 0s);
}

TEST_CASE("sleeps that are longer than the clock can tell do not return, and can be cancelled") {
  manual_loop m;
  const auto body = [&]() -> task<> {
    std::vector<rota::join_handle<>> handles;
    const auto sleeper = [](auto d) -> task<> { co_await rota::sleep_for(d); };
    const auto until = []() -> task<> { co_await rota::sleep_until(rota::time_point::max()); };
    handles.push_back(rota::spawn(sleeper, std::chrono::nanoseconds::max()));
    handles.push_back(rota::spawn(sleeper, std::chrono::hours::max()));
    handles.push_back(rota::spawn(sleeper, std::chrono::duration<double>(1e300)));
    handles.push_back(rota::spawn(sleeper, std::chrono::duration<double>(std::numeric_limits<double>::infinity())));
    handles.push_back(rota::spawn(until));
    co_await rota::sleep_for(std::chrono::years(200));
    for (auto& handle : handles) {
      REQUIRE_FALSE(handle.done());
      handle.cancel();
    }
    co_await rota::yield();
    co_await rota::yield();
    for (auto& handle : handles) REQUIRE(handle.cancelled());
  };
  m.run(body());
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a cancel takes the timer away at once") {
  manual_loop m;
  const auto sleeper = []() -> task<> { co_await rota::sleep_for(1h); };
  const auto body = [&]() -> task<> {
    rota::join_handle<> handle = rota::spawn(sleeper);
    co_await rota::yield();
    REQUIRE(m.loop().statistics().timers == 1);
    handle.cancel();
    REQUIRE(m.loop().statistics().timers == 0);
    co_await rota::yield();
    REQUIRE(handle.cancelled());
  };
  m.run(body());
  REQUIRE(m.elapsed() == 0ms);
}

TEST_CASE("a sleep that has ended beats a cancel that comes before the task runs") {
  manual_loop m;
  bool woke = false;
  const auto sleeper = [&]() -> task<> {
    co_await rota::sleep_for(5ms);
    woke = true;
  };
  const auto body = [&]() -> task<> {
    rota::join_handle<> canceller;
    rota::join_handle<> handle;
    const auto cancel_it = [&]() -> task<> {
      co_await rota::sleep_for(5ms);  // armed first, so it runs first
      handle.cancel();
    };
    canceller = rota::spawn(cancel_it);
    handle = rota::spawn(sleeper);
    co_await rota::sleep_for(6ms);
    REQUIRE_FALSE(handle.cancelled());
  };
  m.run(body());
  REQUIRE(woke);
}

TEST_CASE("a task that works for long does not make others wake early or twice") {
  manual_loop m;
  int wakes = 0;
  const auto sleeper = [&]() -> task<> {
    for (int i = 0; i != 3; ++i) {
      co_await rota::sleep_for(1ms);
      ++wakes;
    }
  };
  const auto worker = [&]() -> task<> {
    m.clock().advance(10ms);
    co_return;
  };
  const auto body = [&]() -> task<> {
    rota::join_handle<> a = rota::spawn(sleeper);
    rota::join_handle<> b = rota::spawn(worker);
    co_await b;
    co_await a;
  };
  m.run(body());
  REQUIRE(wakes == 3);
  REQUIRE(m.elapsed() == 12ms);
}

TEST_CASE("ten thousand sleepers wake in order") {
  const std::size_t count = rota_test::scaled(10'000, 2'000);
  manual_loop m;
  std::vector<rota::detail::nanoseconds> order;
  const auto sleeper = [&](rota::duration d) -> task<> {
    co_await rota::sleep_for(d);
    order.push_back(d.count());
  };
  const auto body = [&]() -> task<> {
    rota::detail::random random(11);
    for (std::size_t i = 0; i != count; ++i)
      (void)rota::spawn(sleeper, rota::duration(random.below(1'000'000'000'000)));
    co_await rota::sleep_for(1001s);
  };
  m.run(body());
  REQUIRE(order.size() == count);
  REQUIRE(std::is_sorted(order.begin(), order.end()));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("yields of the only ready task count as iterations, and let the kernel, timers and posts have their turn") {
  rota_test::run([]() -> task<> {
    rota::event_loop& loop = *rota::event_loop::current();
    const rota::event_loop_statistics before = loop.statistics();
    for (int i = 0; i != 1000; ++i) co_await rota::yield();
    const rota::event_loop_statistics after = loop.statistics();
    REQUIRE(after.iterations - before.iterations == 1000);
    REQUIRE(after.steps - before.steps == 1000);

    bool slept = false;
    const auto sleeper = [&]() -> task<> {
      co_await rota::sleep_for(1ms);
      slept = true;
    };
    const rota::join_handle<> ends = rota::spawn(sleeper);
    while (!slept) co_await rota::yield();
    bool posted = false;
    loop.call_soon_threadsafe([&] { posted = true; });
    while (!posted) co_await rota::yield();
  });
}

TEST_CASE("a run that is stopped ends with the batch, also when its only task yields on and on") {
  rota::event_loop loop;
  int went_on = 0;
  const auto body = [&]() -> task<> {
    for (;;) {
      co_await rota::yield();
      loop.stop();
      co_await rota::yield();
      ++went_on;
    }
  };
  loop.call_soon([&] { (void)rota::spawn(body); });
  for (int runs = 0; runs != 3; ++runs) {
    loop.run();
    REQUIRE(went_on == runs);
  }
}

TEST_CASE("sleep and spawn need an event loop, yield does not") {
  const auto sleeps = []() -> task<> { co_await rota::sleep_for(1ms); };
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(sleeps()); }) == rota::usage_error::kind::no_event_loop);
  const auto yields = []() -> task<int> {
    co_await rota::yield();
    co_return 3;
  };
  REQUIRE(rota::sync_wait(yields()) == 3);
}

TEST_CASE("a task that swallows its cancel and awaits again, for ever, does not hold up the others") {
  rota_test::run([]() -> task<> {
    bool enough = false;
    std::size_t swallowed = 0;
    const auto stubborn = [&]() -> task<> {
      while (!enough) {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
          ++swallowed;
        }
        try {
          co_await rota::yield();
        } catch (const rota::cancelled&) {
          ++swallowed;
        }
      }
    };
    auto handle = rota::spawn(stubborn);
    co_await rota::yield();
    handle.cancel();
    for (int i = 0; i != 3; ++i) co_await rota::sleep_for(1ms);  // it would never come back
    enough = true;
    try {
      co_await handle;
    } catch (const std::system_error&) {
    }
    REQUIRE(swallowed > 2);
  });
}

TEST_CASE("a task that swallows its cancel in a loop of sleeps does not hold up the others") {
  rota_test::run([]() -> task<> {
    bool enough = false;
    const auto stubborn = [&]() -> task<> {
      while (!enough) {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
        }
      }
    };
    auto handle = rota::spawn(stubborn);
    co_await rota::yield();
    handle.cancel();
    for (int i = 0; i != 3; ++i) co_await rota::sleep_for(1ms);
    enough = true;
    co_await handle;
    REQUIRE_FALSE(handle.cancelled());
  });
}
