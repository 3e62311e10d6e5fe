// How a simulated world is made; with the program, all that a run depends on.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <rota/base/clock.hpp>
#include <rota/base/config.hpp>
#include <rota/testing/faults.hpp>

namespace rota::testing {

/// The way between two hosts, in each direction.
struct link_options {
  link_options() noexcept {}
  link_options(duration how_long, duration at_most_more = {}, std::uint64_t per_second = 0) noexcept
      : latency(how_long), jitter(at_most_more), bytes_per_second(per_second) {}

  duration latency{};                  ///< from sending to arriving
  duration jitter{};                   ///< up to this much more, drawn for each message; a connection stays in order
  std::uint64_t bytes_per_second = 0;  ///< 0: no limit
};

struct simulation_options {
  simulation_options() noexcept {}
  simulation_options(const simulation_options&) = default;
  simulation_options& operator=(const simulation_options&) = default;
  // Out of line: GCC 12 at -O2 takes an empty script for one that was never initialised, and warns.
  ROTA_NOINLINE ~simulation_options() {}
  explicit simulation_options(std::uint64_t s) noexcept : seed(s) {}

  std::uint64_t seed = 1;
  fault_rates faults;  ///< drawn from the seed
  /// In their place: exactly these. Longest durations are the options' below.
  std::optional<std::vector<fault_at>> script;
  /// What simulation::steps() gives at most: its first call, its second, ... Further ones are not limited.
  std::vector<std::size_t> steps;
  duration longest_delay = std::chrono::milliseconds(10);  ///< of fault::delay and fault::late_cancel
  /// What an iteration costs a loop that is alone (ROTA_BACKEND=simulated) and busy: who waits by yielding gets there.
  duration busy_turn = std::chrono::microseconds(1);
  duration longest_stall = std::chrono::milliseconds(100);  ///< of fault::clock_stall
  link_options network{std::chrono::microseconds(250)};     ///< between hosts
  link_options loopback;                                    ///< within one
  /// Hand over completions of one instant in any order, and let hosts take turns in any order. The ready queue is left
  /// alone: its order is promised.
  bool shuffle = false;
  std::size_t receive_buffer = 128 * 1024;  ///< bytes of a new socket; a connection holds both ends' buffers
  std::size_t send_buffer = 128 * 1024;
  std::size_t most_descriptors = 65536;  ///< of each host; then EMFILE
  std::uint16_t first_port = 32768;      ///< the ports that are given out where none was asked for
  std::uint16_t last_port = 60999;
  bool keep_trace = true;  ///< false: only its digest, for long runs
};

}  // namespace rota::testing
