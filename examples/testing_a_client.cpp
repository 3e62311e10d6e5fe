// Shows: tests of a client and its server in a simulated world: virtual time, a partition, a thousand bad days.
// Run:   build/release/examples/testing_a_client        ROTA_TRACE=1 in front of it prints what happened

#include <rota/rota.hpp>
#include <rota/testing/explorer.hpp>
#include <rota/testing/run_simulated.hpp>
#include <rota/testing/storm.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;
using rota::testing::simulation;
using rota::testing::simulation_options;

// ---- the program: a server that tells a word, and a client that asks up to five times

// [program]
rota::task<> tell(rota::tcp_stream peer) { co_await peer.write_all(rota::as_bytes("rota\n")); }

rota::task<> serve_words() {
  auto listener = rota::tcp_listener::bind({"0.0.0.0", 7000});
  co_await rota::serve(std::move(listener), tell);
}

rota::task<std::string> ask_once(rota::address server) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(server);
  std::string word;
  std::array<std::byte, 64> part;
  while (!word.ends_with('\n')) {
    const std::size_t n = co_await stream.read_some(part);
    if (n == 0) throw std::runtime_error("the server closed in the middle of a word");
    word += rota::as_text(std::span(part).first(n));
  }
  co_return word;
}

rota::task<std::optional<std::string>> ask(rota::address server) {
  for (auto pause = 1s; pause <= 16s; pause *= 2) {
    try {
      co_return co_await rota::timeout(1s, ask_once(server));
    } catch (const std::exception&) {  // once more, after a pause
    }
    co_await rota::sleep_for(pause);
  }
  co_return std::nullopt;
}
// [/program]

// ---- its tests

// [time]
bool gives_up_after_half_a_minute() {
  const auto took = rota::testing::run_simulated([]() -> rota::task<rota::duration> {
    rota::event_loop& loop = *rota::event_loop::current();
    const rota::time_point start = loop.now();
    (void)co_await ask({"127.0.0.1", 7000});  // nobody listens
    co_return loop.now() - start;
  });
  return took == 31s;  // to the nanosecond, and at once
}
// [/time]

// [hosts]
bool gets_through_when_a_partition_ends() {
  simulation world;
  simulation::host& server = world.add_host("server", serve_words);  // 10.0.0.1; restart() starts it again
  simulation::host& client = world.add_host("client");               // 10.0.0.2
  world.partition(server, client);
  auto answer = client.spawn(ask, server.address(7000));
  world.advance(4s);
  const bool waited = !answer.done();
  world.heal(server, client);
  world.run_until([&] { return answer.done(); });
  return waited && answer.result() == "rota\n" && world.elapsed() < 7s;
}
// [/hosts]

// [explore]
std::optional<rota::testing::counterexample> look_for_wrong_words(std::uint64_t seeds) {
  simulation_options bad_days;
  bad_days.faults = rota::testing::fault_rates::all(20).set_hosts(100);  // in a thousand opportunities
  bad_days.network = rota::testing::link_options(2ms, 10ms);             // latency, and up to so much more
  bad_days.shuffle = true;

  const auto program = [](simulation& world) {
    std::string wrong;
    const auto keep_asking = [&wrong](rota::address server) -> rota::task<> {
      for (;;) {
        const std::optional<std::string> word = co_await ask(server);
        if (word && *word != "rota\n") wrong = *word;
        co_await rota::sleep_for(100ms);
      }
    };
    simulation::host& server = world.add_host("server", serve_words);
    simulation::host& client = world.add_host("client", [&] { return keep_asking(server.address(7000)); });
    rota::testing::storm(world);  // hosts crash, links fail
    world.crash(client);          // its tasks refer to this function's locals
    return wrong;
  };
  const auto invariant = [](const std::string& wrong) { return wrong.empty() ? "" : "the client believes: " + wrong; };
  return rota::testing::explore(rota::testing::exploration(seeds, bad_days), program, invariant);
}
// [/explore]

}  // namespace

int main() {
  rota::set_report_handler([](const char*) noexcept {});  // hosts that crash end with errors
  const auto found = look_for_wrong_words(1'000);
  const struct {
    const char* name;
    bool good;
  } tests[] = {{"gives up after half a minute", gives_up_after_half_a_minute()},
               {"gets through when a partition ends", gets_through_when_a_partition_ends()},
               {"believes no wrong word on a thousand bad days", !found}};
  bool good = true;
  for (const auto& test : tests) {
    std::printf("%-50s %s\n", test.name, test.good ? "ok" : "WRONG");
    good = good && test.good;
  }
  if (found) std::printf("%s", found->to_string().c_str());
  return good ? 0 : 1;
}
