// One simulated host and several: time, signals, traces. The network between them is in simulated_network_test.cpp.
#include <rota/testing/run_simulated.hpp>

#include <signal.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/simulated_hosts.hpp"

using namespace rota_test;

// ---- time

TEST_CASE("hours of sleep take no time, and exact instants come out") {
  const frame_balance nothing_left;
  const rota::duration slept = rota::testing::run_simulated([]() -> rota::task<rota::duration> {
    rota::event_loop& loop = *rota::event_loop::current();
    const rota::time_point start = loop.now();
    co_await rota::sleep_for(72h);
    co_await rota::sleep_for(1ns);
    co_return loop.now() - start;
  });
  CHECK(slept == 72h + 1ns);
}

TEST_CASE("advance lets exactly so much time pass") {
  simulation world;
  simulation::host& h = world.add_host("one");
  std::vector<rota::duration> ticks;
  auto handle = h.spawn([&]() -> rota::task<> {
    for (int i = 0; i != 5; ++i) {
      co_await rota::sleep_for(10s);
      ticks.push_back(world.elapsed());
    }
  });
  world.advance(25s);
  CHECK(ticks == std::vector<rota::duration>{10s, 20s});
  CHECK(world.elapsed() == 25s);
  world.advance(5s);  // the instant itself belongs to it
  CHECK(ticks.size() == 3);
  world.run();
  CHECK(world.elapsed() == 50s);
  CHECK(handle.done());
}

TEST_CASE("wait_all_tasks_blocked runs everything that needs no time") {
  simulation world;
  simulation::host& h = world.add_host("one");
  int steps = 0;
  auto handle = h.spawn([&]() -> rota::task<> {
    for (; steps != 100; ++steps) co_await rota::yield();
    co_await rota::sleep_for(1ms);
    ++steps;
  });
  world.wait_all_tasks_blocked();
  CHECK(steps == 100);
  CHECK(world.elapsed() == 0s);
  CHECK_FALSE(handle.done());
  world.run();
  CHECK(steps == 101);
}

TEST_CASE("a thread outside that is announced stops the time until its post has come") {
  simulation world;
  simulation::host& h = world.add_host("one");
  bool posted = false;
  gate done;
  std::thread worker;
  rota::duration at = -1ns;
  auto handle = h.spawn([&]() -> rota::task<> {
    worker = std::thread([&, work = std::make_unique<rota::testing::outside_work>(world)] {
      h.loop().post([&] {
        posted = true;
        done.open();
      });
    });
    co_await done;
    at = world.elapsed();
  });
  auto sleeper = h.spawn([&]() -> rota::task<> { co_await rota::sleep_for(1h); });
  world.run();
  worker.join();
  CHECK(posted);
  CHECK(at == 0s);
  CHECK(world.elapsed() == 1h);
}

TEST_CASE("a program that can never go on is a deadlock that names its tasks") {
  const frame_balance nothing_left;
  simulation world;
  simulation::host& h = world.add_host("lonely");
  auto handle = h.spawn([]() -> rota::task<> {
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 80});
    (void)co_await listener.accept();
  });
  std::string text;
  try {
    world.run();
  } catch (const rota::testing::deadlock& e) {
    text = e.what();
  }
  INFO(text);
  CHECK(text.find("lonely: ") != std::string::npos);
  CHECK(text.find("simulation_test.cpp") != std::string::npos);
}

TEST_CASE("an exception of a host's main leaves run") {
  simulation world;
  world.add_host("one", []() -> rota::task<> {
    co_await rota::sleep_for(1s);
    throw std::runtime_error("as told");
  });
  CHECK_THROWS_WITH(world.run(), "as told");
}

// ---- signals

TEST_CASE("each host has signals of its own, and a handler is called in the host's loop") {
  simulation world;
  std::string log;
  simulation::host& a = world.add_host("a");
  simulation::host& b = world.add_host("b");
  for (simulation::host* host : {&a, &b}) {
    auto handle = host->spawn([&, host]() -> rota::task<> {
      rota::event_loop::current()->add_signal_handler(SIGTERM, [&, host] {
        log += host->name();
        CHECK(rota::event_loop::current() == &host->loop());
      });
      co_return;
    });
  }
  world.wait_all_tasks_blocked();
  world.raise(b, SIGTERM);
  world.raise(b, SIGTERM);  // two before the loop looked are one
  world.raise(a, SIGWINCH);
  CHECK(log.empty());
  world.wait_all_tasks_blocked();
  CHECK(log == "b");
  world.raise(a, SIGTERM);
  world.wait_all_tasks_blocked();
  CHECK(log == "ba");
  CHECK(a.loop().remove_signal_handler(SIGTERM));
  CHECK_FALSE(a.loop().remove_signal_handler(SIGTERM));
  CHECK(usage_error_of([&] { world.raise(a, SIGKILL); }) == rota::usage_error::kind::invalid_argument);
  world.raise(a, SIGTERM);  // nobody handles it now, and there is no main to cancel
  CHECK_FALSE(a.is_up());
  CHECK(b.is_up());
}

TEST_CASE("SIGINT cancels a host's main, and a second one ends the host") {
  for (const bool twice : {false, true}) {
    std::string why;
    simulation world;
    simulation::host& h = world.add_host("h", [&]() -> rota::task<> {
      bool cancelled = false;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        CHECK(c.kind() == rota::cancel_kind::interrupt);
        why = c.reason();
        cancelled = true;
      }
      if (cancelled) co_await rota::shield(10s, rota::sleep_for(5s));
    });
    world.advance(1s);
    world.raise(h, SIGINT);
    world.advance(1s);
    CHECK(why == "SIGINT");
    CHECK(h.is_up());
    if (twice) world.raise(h, SIGTERM);
    CHECK(h.is_up() != twice);
    world.run();
    CHECK(world.elapsed() == (twice ? 2s : 6s));
  }
}

// ---- equal runs

TEST_CASE("the same seed makes the same trace, another seed another one") {
  const auto run = [](std::uint64_t seed) {
    simulation_options options(seed);
    options.faults = rota::testing::fault_rates::harmless(100);
    options.shuffle = true;
    options.network = link_options(1ms, 5ms, 1'000'000);
    echo_hosts w(options);
    std::vector<rota::join_handle<std::string>> clients;
    for (int i = 0; i != 5; ++i) clients.push_back(w.a.spawn(ask, w.b.address(7), std::string(5'000, 'x')));
    w.world.run_until([&] {
      for (const auto& c : clients)
        if (!c.done()) return false;
      return true;
    });
    for (auto& c : clients) REQUIRE(c.result() == std::string(5'000, 'x'));
    return w.world.trace().text();
  };
  const std::string first = run(1);
  CHECK(first == run(1));
  CHECK(first != run(2));
  CHECK(first.find("connect #0 = 0") != std::string::npos);
}

TEST_CASE("timers leave a trace, and so does whose turn it is when several hosts could go on") {
  const auto run = [](rota::duration first) {
    two_hosts w;
    (void)w.a.spawn(
        [](rota::duration d) -> rota::task<> {
          co_await rota::sleep_for(d);
          co_await rota::sleep_for(1s);
        },
        first);
    (void)w.b.spawn([]() -> rota::task<> {
      const auto forever = []() -> rota::task<> { co_await rota::sleep_for(1h); };
      (void)co_await rota::move_on_after(2s, forever());
    });
    w.world.run();
    return w.world.trace().text();
  };
  CHECK(run(1s) ==
        "0.000000000 a turn\n"
        "0.000000000 b turn\n"
        "1.000000000 a timer\n"
        "2.000000000 a turn\n"
        "2.000000000 a timer\n"
        "2.000000000 b turn\n"
        "2.000000000 b timer\n");
  CHECK(run(1s) != run(1s + 1ns));
}

TEST_CASE("the trace of a run_simulated goes to stderr where the environment wants it, also of a run that fails") {
  const auto sleep_and_fail = []() -> rota::task<> {
    co_await rota::sleep_for(3s);
    throw std::runtime_error("as told");
  };
  for (const char* wanted : {"1", "0"}) {
    const child_outcome child = run_in_child([&] {
      ::setenv("ROTA_TRACE", wanted, 1);
      rota::testing::run_simulated(sleep_and_fail);
      return 0;
    });
    INFO(child.output);
    CHECK(child.says("as told"));
    CHECK(child.says("3.000000000 host timer\n") == (*wanted == '1'));
  }
}
