// Shows: a replicated counter, tried in many simulated worlds: a lossy network, partitions, crashes. No kernel, no real time.
// Run:   build/release/examples/simulated_cluster        200 seeds; "every replica agrees" or the smallest run that breaks it
//      simulated_cluster --bug     with a bug planted (a replica keeps its counts in memory), so that there is something to find
#include <rota/rota.hpp>
#include <rota/testing/explorer.hpp>
#include <rota/testing/storm.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>

using namespace std::chrono_literals;
namespace sim = rota::testing;

namespace {

constexpr std::size_t replicas = 3;
bool keeps_counts_in_memory = false;  // the planted bug

// Each replica counts its own increments and knows the others' counts as of the last time it heard of them. Merging
// takes the greater one, so a message may be lost, come twice or come late.
using counts = std::array<std::uint64_t, replicas>;

std::uint64_t total(const counts& c) { return std::accumulate(c.begin(), c.end(), std::uint64_t{0}); }

void merge(counts& mine, const counts& theirs) {
  for (std::size_t i = 0; i != replicas; ++i) mine[i] = std::max(mine[i], theirs[i]);
}

// ---- what a replica does; it does not know that it is simulated

rota::task<> hear(rota::tcp_stream peer, counts& state) {
  counts theirs{};
  const auto bytes = std::as_writable_bytes(std::span(theirs));
  std::size_t got = 0;
  while (got < bytes.size()) {
    const std::size_t n = co_await peer.read_some(bytes.subspan(got));
    if (n == 0) co_return;  // cut off: nothing was merged
    got += n;
  }
  merge(state, theirs);
}

rota::task<> listen_for_peers(counts& state) {
  for (;;) {
    try {
      auto listener = rota::tcp_listener::bind({"0.0.0.0", 7000});
      co_await rota::serve(std::move(listener),
                           [&state](rota::tcp_stream peer) { return hear(std::move(peer), state); });
    } catch (const std::system_error&) {
      // out of descriptors: again, a little later
    }
    co_await rota::sleep_for(10ms);
  }
}

rota::task<> tell(rota::address to, const counts& state) {
  try {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
    const counts now = state;
    co_await stream.write_all(std::as_bytes(std::span(now)));
  } catch (const std::system_error&) {
    // the next round tells it again
  }
}

rota::task<> gossip(rota::address to, counts& state) {
  for (;;) {
    co_await rota::sleep_for(500ms);
    (void)co_await rota::move_on_after(1s, tell(to, state));
  }
}

// ---- the world around them

struct cluster {
  std::array<counts, replicas> state{};  // on disk, so to say: survives a crash
  std::uint64_t acknowledged = 0;        // increments
};

struct outcome {
  std::uint64_t acknowledged = 0;
  std::array<std::uint64_t, replicas> totals{};
};

outcome run_cluster(sim::simulation& world) {
  cluster all;
  std::array<sim::simulation::host*, replicas> hosts{};
  for (std::size_t i = 0; i != replicas; ++i) {
    counts& state = all.state[i];
    hosts[i] = &world.add_host("replica" + std::to_string(i), [&hosts, &state, i]() -> rota::task<> {
      if (keeps_counts_in_memory) state = {};
      const auto body = [&hosts, &state, i](rota::task_group& group) -> rota::task<> {
        group.spawn(listen_for_peers, std::ref(state));
        for (std::size_t other = 0; other != replicas; ++other)
          if (other != i) group.spawn(gossip, hosts[other]->address(7000), std::ref(state));
        co_return;
      };
      co_await rota::with_task_group(body);
    });
  }
  // [storm]
  std::mt19937_64 dice(world.options().seed);  // no std distribution: those differ from library to library
  sim::storm(world, sim::storm_options(20, 500ms), [&](std::size_t) {
    for (std::uint64_t n = dice() % 3; n != 0; --n) {
      const std::size_t where = static_cast<std::size_t>(dice() % replicas);
      if (!hosts[where]->is_up()) continue;
      ++all.state[where][where];
      ++all.acknowledged;
    }
  });
  world.advance(5s);  // the storm is over: given time, all must agree
  // [/storm]
  outcome result;
  result.acknowledged = all.acknowledged;
  for (std::size_t i = 0; i != replicas; ++i) result.totals[i] = total(all.state[i]);
  // The tasks refer to this function's locals.
  for (sim::simulation::host* host : hosts) world.crash(*host);
  return result;
}

std::string all_agree(const outcome& o) {
  for (const std::uint64_t t : o.totals)
    if (t != o.acknowledged) return "a replica says " + std::to_string(t) + ", not " + std::to_string(o.acknowledged);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  keeps_counts_in_memory = argc > 1 && std::string_view(argv[1]) == "--bug";
  rota::set_report_handler([](const char*) noexcept {});  // tasks of crashed hosts end with errors
  sim::simulation_options lossy;
  lossy.faults = sim::fault_rates::all(20).set_hosts(150);  // in a thousand opportunities
  lossy.network = sim::link_options(2ms, 10ms);
  lossy.shuffle = true;
  sim::exploration where(200, lossy);
  where.replay_arguments = keeps_counts_in_memory ? "--bug" : "";
  const auto found = sim::explore(where, run_cluster, all_agree);
  if (found) {
    std::printf("%s", found->to_string().c_str());
    return 1;
  }
  std::printf("every replica agrees, in %llu worlds\n", static_cast<unsigned long long>(where.seeds));
}
