#include <rota/testing/explorer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::testing::counterexample;
using rota::testing::exploration;
using rota::testing::explore;
using rota::testing::fault;
using rota::testing::fault_rates;
using rota::testing::link_options;
using rota::testing::simulation;
using rota::testing::simulation_options;

namespace {

/// Every kind of fault, any legal order, jitter.
simulation_options bad_days(fault_rates faults) {
  simulation_options options;
  options.faults = faults;
  options.shuffle = true;
  options.network = link_options(1ms, 2ms);
  options.receive_buffer = options.send_buffer = 1'024;  // back-pressure, too
  return options;
}

// ---- the echo pair

struct echo_outcome {
  std::size_t rounds = 8;  // of 500 bytes
  std::string sent;
  std::string received;
  bool server_saw_all = false;
  bool failed = false;  // an error came, as it may
  bool quiescent = false;
};

char letter(std::size_t i) { return static_cast<char>('a' + (i * 7 + i / 26) % 26); }

rota::task<> echo_some(rota::tcp_stream peer) {
  std::array<std::byte, 700> buffer;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

rota::task<> serve_one(echo_outcome& outcome) {
  try {
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
    rota::tcp_stream peer = co_await listener.accept();
    co_await echo_some(std::move(peer));
    outcome.server_saw_all = true;
  } catch (const std::system_error&) {
    outcome.failed = true;
  }
}

rota::task<> send_letters(rota::tcp_stream& stream, std::size_t rounds, std::string& sent) {
  std::size_t n = 0;
  for (std::size_t round = 0; round != rounds; ++round) {
    std::string text;
    for (int i = 0; i != 500; ++i) text += letter(n++);
    co_await stream.write_all(rota::as_bytes(text));
    sent += text;
  }
  stream.shutdown();
}

rota::task<> talk(rota::address to, echo_outcome& outcome) {
  try {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
    auto reading = [](rota::tcp_stream& from, std::string& received) -> rota::task<> {
      std::string part(300, '\0');
      for (;;) {
        const std::size_t n = co_await from.read_some(std::as_writable_bytes(std::span(part)));
        if (n == 0) break;
        received.append(part, 0, n);
      }
    };
    co_await rota::when_all(send_letters(stream, outcome.rounds, outcome.sent), reading(stream, outcome.received));
  } catch (const std::exception&) {
    outcome.failed = true;
  }
}

echo_outcome echo_pair(simulation& world) {
  echo_outcome outcome;
  outcome.rounds = world.steps(outcome.rounds);
  simulation::host& a = world.add_host("a");
  simulation::host& b = world.add_host("b");
  {
    auto server = b.spawn(serve_one, std::ref(outcome));
    auto client = a.spawn(talk, b.address(7), std::ref(outcome));
    world.run_until([&] { return client.done(); });
    server.cancel();  // it may wait for a client that never came
    world.run();
  }
  world.advance(1h);
  outcome.quiescent = world.quiescent();
  return outcome;
}

std::string every_byte_once_in_order(const echo_outcome& o) {
  std::string expected;
  for (std::size_t i = 0; i != o.rounds * 500; ++i) expected += letter(i);
  if (expected.compare(0, o.received.size(), o.received) != 0) return "bytes were lost, duplicated or reordered";
  if (!o.failed && o.received.size() != expected.size()) return "bytes are missing, and nobody said so";
  if (!o.quiescent) return "something was left behind";
  return {};
}

}  // namespace

TEST_CASE("an echo pair loses, duplicates and reorders no byte under all faults") {
  fault_rates rates = fault_rates::harmless(50);
  for (const fault error : {fault::connection_reset, fault::no_buffers, fault::no_memory, fault::too_many_files})
    rates.set(error, 3);
  exploration where(scaled(10'000, 300, 1'000), bad_days(rates));
  where.replay_arguments = "an echo pair loses*";
  std::size_t complete = 0, failed = 0;
  const auto found = explore(where, echo_pair, [&](const echo_outcome& o) {
    ++(o.failed ? failed : complete);
    return every_byte_once_in_order(o);
  });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  INFO(complete << " complete, " << failed << " failed");
  CHECK(complete > where.seeds / 10);
  CHECK(failed > where.seeds / 10);
}

TEST_CASE("an echo pair gets everything through when only sizes, orders and times go wrong") {
  exploration where(scaled(500, 50, 100), bad_days(fault_rates::harmless(200)));
  const auto found = explore(where, echo_pair, [](const echo_outcome& o) -> std::string {
    if (o.failed) return "an error came out of nothing";
    return every_byte_once_in_order(o);
  });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
}

// ---- the explorer itself

TEST_CASE("a planted bug is found, made small, and replayed") {
  // Believes that a read fills its buffer.
  const auto careless = [](simulation& world) {
    const std::size_t rounds = world.steps(10);
    simulation::host& a = world.add_host("a");
    simulation::host& b = world.add_host("b");
    std::string got;
    auto server = b.spawn([&]() -> rota::task<> {
      rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
      rota::tcp_stream peer = co_await listener.accept();
      for (std::size_t i = 0; i != rounds; ++i) {
        const std::string text = co_await read_text(peer, 100);
        got += text;
      }
    });
    auto client = a.spawn([&]() -> rota::task<> {
      rota::tcp_stream stream = co_await rota::tcp_stream::connect(b.address(7));
      const std::string block(100, 'x');
      for (std::size_t i = 0; i != rounds; ++i) {
        co_await stream.write_all(rota::as_bytes(block));
        co_await rota::sleep_for(1s);
      }
    });
    world.run();
    return rounds * 100 - got.size();
  };
  const auto invariant = [](std::size_t n) { return n == 0 ? std::string() : std::to_string(n) + " are missing"; };
  exploration where(1'000, simulation_options());
  where.worlds.faults = fault_rates::harmless(30);
  const auto found = explore(where, careless, invariant);
  REQUIRE(found);
  INFO(found->to_string());
  CHECK(found->faults_before > 0);
  REQUIRE(found->faults.size() == 1);
  CHECK(found->faults[0].nth == 1);
  CHECK(found->steps == std::vector<std::size_t>{1});
  CHECK(std::count(found->trace.begin(), found->trace.end(), '\n') <= 20);
  const fault kind = found->faults[0].kind;
  CHECK((kind == fault::short_read || kind == fault::short_write));
  CHECK(found->replay.find("ROTA_SEED=" + std::to_string(found->seed)) == 0);

  REQUIRE(::setenv("ROTA_SEED", std::to_string(found->seed).c_str(), 1) == 0);
  REQUIRE(::setenv("ROTA_FAULTS", to_script(found->faults).c_str(), 1) == 0);
  REQUIRE(::setenv("ROTA_STEPS", "1", 1) == 0);
  const auto again = explore(where, careless, invariant);
  ::unsetenv("ROTA_SEED");
  ::unsetenv("ROTA_FAULTS");
  ::unsetenv("ROTA_STEPS");
  REQUIRE(again);
  CHECK(again->trace == found->trace);
  CHECK(again->what == found->what);
}

TEST_CASE("a failure is not made so small that it is another one") {
  const auto rounds = [](simulation& world) { return world.steps(9); };
  const auto found = explore(exploration(1, simulation_options()), rounds, [](std::size_t n) -> std::string {
    if (n < 3) return "the check itself needs 3 rounds";
    return n > 4 ? "broken in round " + std::to_string(n) : std::string();
  });
  REQUIRE(found);
  CHECK(found->what == "broken in round 5");
  CHECK(found->steps == std::vector<std::size_t>{5});
}

TEST_CASE("a program that hangs is a failure that says where") {
  exploration where(1, simulation_options());
  const auto found = explore(
      where,
      [](simulation& world) {
        auto handle = world.add_host("a").spawn([]() -> rota::task<> {
          rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
          (void)co_await listener.accept();
        });
        world.run();
        return 0;
      },
      [](int) { return std::string(); });
  REQUIRE(found);
  CHECK(found->what.find("blocked for ever") != std::string::npos);
}

TEST_CASE("a script of faults is read as it is written, and a wrong one is named") {
  using rota::testing::fault_script;
  const auto faults = fault_script("short_read@3,clock_stall@17");
  CHECK(to_script(faults) == "short_read@3,clock_stall@17");
  CHECK(fault_script("").empty());
  for (const char* text : {"short_read", "short_read@", "short_read@0", "no_such@1", "delay@1x", "@1"})
    CHECK_THROWS_WITH(fault_script(text), Catch::Matchers::ContainsSubstring(text));
}
