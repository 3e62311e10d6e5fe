// Measures rota's simulator: an operation of an echo pair on two hosts, an hour of virtual time in which a thousand tasks
// sleep at random, per sleep, and a world of its own for each of 10,000 seeds. There is nobody beside it.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>
#include <rota/testing/simulation.hpp>

using namespace std::chrono_literals;
using rota::testing::simulation;
using rota::testing::simulation_options;

constexpr int round_trips = 25'000;  // four operations each: two reads, two writes
constexpr int sleepers = 1'000;

rota::task<> echo(rota::tcp_stream peer) {
  std::array<std::byte, 64> buffer;
  while (const std::size_t n = co_await peer.read_some(buffer)) co_await peer.write_all(std::span(buffer).first(n));
}

rota::task<> serve_echo() {
  rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
  co_await rota::serve(std::move(listener), echo);
}

rota::task<> ping(rota::address to, int rounds) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  std::array<std::byte, 64> buffer{};
  for (int i = 0; i != rounds; ++i) {
    co_await stream.write_all(buffer);
    for (std::size_t got = 0; got < buffer.size();) {
      const std::size_t n = co_await stream.read_some(std::span(buffer).subspan(got));
      if (n == 0) co_return;
      got += n;
    }
  }
}

void echo_pair(benchmark::State& state) {
  std::uint64_t operations = 0;
  for (auto _ : state) {
    simulation_options options;
    options.keep_trace = false;
    simulation world(options);
    simulation::host& a = world.add_host("a");
    simulation::host& b = world.add_host("b");
    (void)b.spawn(serve_echo);
    const auto client = a.spawn(ping, b.address(7), round_trips);
    world.run_until([&] { return client.done(); });
    operations += a.loop().statistics().submitted + b.loop().statistics().submitted;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(operations));
}

// As tests/testing/explorer_test.cpp has it: all sizes, orders and times go wrong.
void echo_seed(benchmark::State& state) {
  std::uint64_t seed = 0;
  for (auto _ : state) {
    simulation_options options(++seed);
    options.faults = rota::testing::fault_rates::harmless(50);
    options.shuffle = true;
    options.network = rota::testing::link_options(1ms, 2ms);
    options.keep_trace = false;
    simulation world(options);
    simulation::host& a = world.add_host("a");
    simulation::host& b = world.add_host("b");
    (void)b.spawn(serve_echo);
    const auto client = a.spawn(ping, b.address(7), 8);
    world.run_until([&] { return client.done(); });
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["10k_s"] = benchmark::Counter(static_cast<double>(state.iterations()) / 1e4,
                                               benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

rota::task<> sleep_for_an_hour(const simulation* world, rota::detail::random* dice, std::int64_t* sleeps) {
  while (world->elapsed() < 1h) {
    co_await rota::sleep_for(std::chrono::milliseconds(1 + dice->below(10'000)));
    ++*sleeps;
  }
}

void virtual_hour(benchmark::State& state) {
  std::int64_t sleeps = 0;
  for (auto _ : state) {
    simulation_options options;
    options.keep_trace = false;
    simulation world(options);
    simulation::host& host = world.add_host("one");
    rota::detail::random dice(7);
    for (int i = 0; i != sleepers; ++i) (void)host.spawn(sleep_for_an_hour, &world, &dice, &sleeps);
    world.run();
  }
  state.SetItemsProcessed(sleeps);
  state.counters["hour_ms"] = benchmark::Counter(static_cast<double>(state.iterations()) / 1e3,
                                                 benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

BENCHMARK(echo_pair)->Name("simulator/rota/operation");
BENCHMARK(echo_seed)->Name("simulator/rota/seed");
BENCHMARK(virtual_hour)->Name("simulator/rota/sleep");
BENCHMARK_MAIN();
