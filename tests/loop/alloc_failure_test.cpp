// Memory runs out in a callback's loop: what is refused, and what is reported all the same. tests/faults/allocation_*_test.cpp
// let each allocation of whole programs fail.
#include "support/failing_new.hpp"

#include <chrono>
#include <csignal>
#include <future>
#include <stdexcept>
#include <string>

#include <rota/adapt/spawn_threadsafe.hpp>

#include "support/sockets.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::allocations_left;
using rota_test::counted;
using rota_test::no_memory;

task<int> leaf(counted, int n) {
  co_await rota::yield();
  co_return n;
}

}  // namespace

TEST_CASE("a post that finds no memory throws and changes nothing") {
  if (rota_test::under_tsan) {
    SKIP("ThreadSanitizer does not let a program replace operator new");
  }
  rota::event_loop loop;
  int ran = 0;
  allocations_left = 0;
  REQUIRE_THROWS_AS(loop.post([&] { ++ran; }), std::bad_alloc);
  allocations_left = -1;
  loop.post([&] { ++ran; });
  loop.stop();
  loop.run();
  REQUIRE(ran == 1);
}

TEST_CASE("whichever allocation fails, a callback is refused, and nothing is left of it") {
  if (rota_test::under_tsan) {
    SKIP("ThreadSanitizer does not let a program replace operator new");
  }
  const rota_test::descriptor_balance no_descriptors;
  int failures = 0;
  for (long failing = 0, passed = 0; passed == 0; ++failing) {
    REQUIRE(failing < 1000);
    const rota_test::frame_balance nothing_left;
    rota::event_loop loop;
    int ran = 0;
    int expected = 0;
    int refused = 0;
    const auto ask = [&](int calls, auto how) {
      try {
        how([&ran, c = counted()] { ++ran; });
        expected += calls;
      } catch (const std::bad_alloc&) {
        ++refused;
      }
    };
    const auto body = [&]() -> task<> {
      rota::join_handle<int> handle = rota::spawn(leaf, counted(), 1);
      co_await handle;
      allocations_left = failing;
      ask(1, [&](auto f) { loop.call_soon(std::move(f)); });
      ask(1, [&](auto f) { loop.call_soon_threadsafe(std::move(f)); });
      ask(1, [&](auto f) { loop.call_later(0ms, std::move(f)); });
      ask(1, [&](auto f) { handle.on_done(std::move(f)); });
      ask(0, [&](auto f) {
        rota::prepared_call call(std::move(f));
        loop.call_soon_threadsafe(call);  // goes before its turn
      });
      ask(0, [&](auto f) { loop.add_writer(1, std::move(f)); });
      ask(0, [&](auto f) { loop.add_signal_handler(SIGUSR1, std::move(f)); });
      passed = allocations_left >= 0;
      allocations_left = -1;
      loop.remove_writer(1);
      loop.remove_signal_handler(SIGUSR1);
      for (int i = 0; i != 3; ++i) co_await rota::sleep_for(0ms);
    };
    loop.run(body());
    INFO("allocation " << failing << " failed");
    REQUIRE(ran == expected);
    REQUIRE(refused == (passed != 0 ? 0 : 1));
    REQUIRE(counted::alive == 0);
    failures += refused;
  }
  REQUIRE(failures >= 8);
}

TEST_CASE("an error is reported although there is no memory left") {
  if (rota_test::under_tsan) {
    SKIP("ThreadSanitizer does not let a program replace operator new");
  }
  static char said[1024];
  rota::event_loop loop;
  const auto fail = []() -> task<> {
    const std::runtime_error error("a text that does not fit into the object that holds a short string");
    co_await rota::yield();
    no_memory = true;
    throw error;
  };
  const auto spawner = [&]() -> task<> {
    rota::spawn(fail).set_name("the one whose name is too long for a short string, too");
    for (int i = 0; i != 4; ++i) co_await rota::yield();
  };
  const rota::report_handler before = rota::set_report_handler([](const char* line) noexcept {
    no_memory = false;
    std::snprintf(said, sizeof said, "%s", line);
  });
  loop.run(spawner());
  rota::set_report_handler(before);
  INFO(said);
  REQUIRE_FALSE(no_memory);
  const std::string line = said;
  REQUIRE(line.find("std::runtime_error: a text that does not fit") != std::string::npos);
  REQUIRE(line.find("'the one whose name") != std::string::npos);
}

TEST_CASE("a cancel of a task_future that finds no memory for its reason comes without it") {
  if (rota_test::under_tsan) {
    SKIP("ThreadSanitizer does not let a program replace operator new");
  }
  rota::event_loop loop;
  bool begun = false;
  std::string reason = "not cancelled";
  const auto sleeps = [&]() -> task<> {
    begun = true;
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled& c) {
      reason = c.reason();
      throw;
    }
  };
  auto future = rota::spawn_threadsafe(loop, sleeps);
  const auto body = [&]() -> task<> {
    while (!begun) co_await rota::sleep_for(1ms);
    no_memory = true;
    future.cancel("a reason that does not fit into the object that holds a short string");
    no_memory = false;
    for (int i = 0; i != 100 && future.wait_for(0s) != std::future_status::ready; ++i) co_await rota::sleep_for(1ms);
    REQUIRE(future.wait_for(0s) == std::future_status::ready);
  };
  loop.run(body());
  REQUIRE(reason.empty());
}
