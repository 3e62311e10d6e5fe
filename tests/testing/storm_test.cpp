// Programs in worlds whose hosts crash and whose links fail, as the seed has it.
#include <rota/testing/storm.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rota/testing/explorer.hpp>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::testing::exploration;
using rota::testing::explore;
using rota::testing::fault;
using rota::testing::fault_rates;
using rota::testing::fault_script;
using rota::testing::link_options;
using rota::testing::simulation;
using rota::testing::simulation_options;
using rota::testing::storm;
using rota::testing::storm_options;

// ---- the storm itself

namespace {

struct watched_life {
  std::vector<int> began{0, 0, 0};
};

// Three hosts; each counts its starts.
void add_three(simulation& world, watched_life& lives) {
  for (std::size_t i = 0; i != 3; ++i) {
    world.add_host(std::string(1, static_cast<char>('a' + i)), [&lives, i]() -> rota::task<> {
      ++lives.began[i];
      co_await rota::sleep_for(24h);
    });
  }
}

}  // namespace

TEST_CASE("a storm strikes hosts and links at the rates that were asked for, and ends with all of them in order") {
  simulation_options options(7);
  options.faults.set_hosts(200);
  watched_life lives;
  simulation world(options);
  add_three(world, lives);
  std::size_t rounds = 0;
  storm(world, storm_options(200, 100ms), [&](std::size_t round) { CHECK(round == rounds++); });
  CHECK(rounds == 200);
  CHECK(world.elapsed() > 5s);
  CHECK(world.elapsed() < 15s);
  for (const fault kind : {fault::partition, fault::hold, fault::heal, fault::crash, fault::restart}) {
    const auto struck = std::count_if(world.faults().begin(), world.faults().end(),
                                      [kind](const rota::testing::fault_at& f) { return f.kind == kind; });
    INFO(to_string(kind) << " struck " << struck << " times");
    CHECK(struck > 20);
    CHECK(struck < 60);
  }
  CHECK(world.tasks() == 3);  // all hosts are up
  for (const int began : lives.began) CHECK(began > 1);
}

TEST_CASE("a storm of a script makes the same run, and one without some of its faults leaves the others alone") {
  const auto run = [](const std::optional<std::string>& script) {
    simulation_options options(3);
    options.faults.set_hosts(300);
    if (script) options.script = fault_script(*script);
    watched_life lives;
    simulation world(options);
    add_three(world, lives);
    storm(world, storm_options(10, 1s));
    return std::pair(to_script(world.faults()), world.trace().text());
  };
  const auto [script, trace] = run(std::nullopt);
  REQUIRE(script.find("crash@") != std::string::npos);
  CHECK(run(script) == std::pair(script, trace));
  const auto [one, short_trace] = run("crash@4");
  CHECK(one == "crash@4");
  CHECK(short_trace.find(" crash\n") != std::string::npos);
  CHECK(run("").second.find(" crash\n") == std::string::npos);
}

TEST_CASE("a storm strikes the hosts that it was given") {
  simulation_options options(5);
  options.faults.set(fault::crash, 500).set(fault::partition, 500);
  watched_life lives;
  simulation world(options);
  add_three(world, lives);
  simulation::host& spared = world.add_host("spared");
  auto kept = spared.spawn([]() -> rota::task<> { co_await rota::sleep_for(1h); });
  simulation::host& victim = world.add_host("victim", []() -> rota::task<> { co_await rota::sleep_for(24h); });
  storm_options only(30);
  only.hosts = {&victim};
  storm(world, only);
  CHECK(lives.began == std::vector<int>{1, 1, 1});
  CHECK(victim.is_up());
  CHECK_FALSE(kept.done());
  const std::string& text = world.trace().text();
  CHECK(text.find(" victim crash\n") != std::string::npos);
  CHECK(text.find(" victim partition spared\n") != std::string::npos);
  CHECK(text.find(" a partition") == std::string::npos);
}

// ---- an echo pair

namespace {

constexpr std::size_t letters = 2'000;

char letter(std::size_t i) { return static_cast<char>('a' + (i * 7 + i / 26) % 26); }

rota::task<> echo_until_silence(rota::tcp_stream peer) {
  std::array<std::byte, 700> buffer;
  for (;;) {
    // A peer that crashed says nothing.
    const std::size_t n = co_await rota::timeout(2min, peer.read_some(buffer));
    if (n == 0) break;
    co_await rota::timeout(2min, peer.write_all(std::span(buffer).first(n)));
  }
}

rota::task<> serve_echo() {
  rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
  co_await rota::serve(std::move(listener), echo_until_silence);
}

/// Of the client; survives its crashes.
struct notes {
  std::size_t wanted = 0;  // conversations that got everything through
  std::size_t complete = 0;
  std::size_t failed = 0;
  bool wrong = false;
};

rota::task<> converse(rota::address to, notes& seen) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  std::string sent;
  for (std::size_t i = 0; i != letters; ++i) sent += letter(i);
  auto writing = [](rota::tcp_stream& out, std::string_view text) -> rota::task<> {
    co_await out.write_all(rota::as_bytes(text));
    out.shutdown();
  };
  auto reading = [](rota::tcp_stream& in, std::string_view text, notes& all) -> rota::task<> {
    std::string part(300, '\0');
    std::size_t got = 0;
    for (;;) {
      const std::size_t n = co_await in.read_some(std::as_writable_bytes(std::span(part)));
      if (n == 0) break;
      all.wrong |= text.substr(got, n) != std::string_view(part).substr(0, n);
      got += n;
    }
    all.wrong |= got != text.size();  // an end that is no error came too early
  };
  co_await rota::when_all(writing(stream, sent), reading(stream, sent, seen));
  ++seen.complete;
}

rota::task<> keep_talking(rota::address to, notes& seen) {
  while (seen.complete != seen.wanted) {
    try {
      co_await rota::timeout(5s, converse(to, seen));
    } catch (const std::exception&) {
      ++seen.failed;
    }
    co_await rota::sleep_for(300ms);
  }
}

struct echo_outcome {
  notes client;
  bool left = false;
};

echo_outcome echo_in_a_storm(simulation& world) {
  echo_outcome outcome;
  outcome.client.wanted = 40;
  simulation::host& server = world.add_host("server", serve_echo);
  simulation::host& client = world.add_host("client", [&] { return keep_talking(server.address(7), outcome.client); });
  storm(world, storm_options(20, 2s));
  world.advance(10min);  // time enough, once all is calm
  world.raise(server, SIGTERM);
  world.advance(10min);
  outcome.left = !world.quiescent();
  for (simulation::host* host : {&server, &client}) world.crash(*host);  // their tasks refer to this function's locals
  return outcome;
}

simulation_options stormy() {
  simulation_options options;
  options.faults = fault_rates::harmless(20).set_hosts(150);
  options.shuffle = true;
  options.network = link_options(2ms, 5ms);
  options.receive_buffer = options.send_buffer = 1'024;
  return options;
}

}  // namespace

TEST_CASE(
    "an echo pair in a storm loses, duplicates and reorders no byte, goes on when it is over, and leaves nothing") {
  captured_reports of_crashed_hosts;
  exploration where(scaled(1'000, 50, 150), stormy());
  where.replay_arguments = "an echo pair in a storm*";
  std::size_t failed = 0;
  const auto found = explore(where, echo_in_a_storm, [&](const echo_outcome& o) -> std::string {
    failed += o.client.failed;
    if (o.client.wrong) return "bytes were lost, duplicated or reordered";
    if (o.client.complete != o.client.wanted) return "the client did not get through when the storm was over";
    if (o.left) return "something was left behind";
    return {};
  });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  INFO(failed << " conversations failed");
  CHECK(failed > where.seeds / 2);  // the storms were felt
}

// ---- a planted bug that only a crash can show

TEST_CASE("a server that forgets what it acknowledged is found, and one restart is enough to show it") {
  const auto forgetful = [](simulation& world) {
    std::size_t acknowledged = 0;
    std::size_t known = 0;
    simulation::host& server = world.add_host("server", [&]() -> rota::task<> {
      std::size_t in_memory = 0;
      rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
      for (;;) {
        rota::tcp_stream peer = co_await listener.accept();
        known = ++in_memory;
        co_await peer.close();
      }
    });
    simulation::host& client = world.add_host("client");
    storm_options at_the_server(30);
    at_the_server.hosts = {&server};
    storm(world, at_the_server, [&](std::size_t) {
      (void)client.spawn([&]() -> rota::task<> {
        try {
          rota::tcp_stream stream = co_await rota::tcp_stream::connect(server.address(7));
          const std::string end = co_await read_to_end(stream);
          if (end.empty()) ++acknowledged;
        } catch (const std::system_error&) {
        }
      });
    });
    world.advance(5min);
    world.crash(server);
    world.crash(client);
    return std::pair(acknowledged, known);
  };
  captured_reports of_crashed_hosts;
  simulation_options options;
  options.faults.set_hosts(100);
  const auto found = explore(exploration(100, options), forgetful, [](const std::pair<std::size_t, std::size_t>& o) {
    return o.second < o.first ? std::to_string(o.first) + " were acknowledged, " + std::to_string(o.second) + " known"
                              : std::string();
  });
  REQUIRE(found);
  INFO(found->to_string());
  CHECK(found->faults_before > 1);
  REQUIRE(found->faults.size() == 1);
  CHECK((found->faults[0].kind == fault::crash || found->faults[0].kind == fault::restart));
  CHECK(found->faults[0].nth <= 3);
  REQUIRE(found->steps.size() == 1);
  CHECK(found->steps[0] <= 4);
}
