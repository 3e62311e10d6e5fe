// rota::testing::explore: runs a program in many simulated worlds, and makes the first failure small.
#pragma once

#include <errno.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rota/coro/describe.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/testing/simulation.hpp>

namespace rota::testing {

/// Which worlds to look at.
struct exploration {
  exploration() noexcept {}
  /// `worlds` with everything but the seed.
  exploration(std::uint64_t how_many, simulation_options worlds_like)
      : seeds(how_many), worlds(std::move(worlds_like)) {}

  std::uint64_t first_seed = 1;
  std::uint64_t seeds = 1'000;
  simulation_options worlds;
  unsigned shrinking_runs = 400;  ///< at most, to make a failure smaller
  std::string replay_arguments;   ///< of the command that is printed: the name of the test case, say
};

/// A run that broke its invariant, made smaller.
struct counterexample {
  std::uint64_t seed = 0;
  std::vector<fault_at> faults;   ///< enough to break it
  std::size_t faults_before = 0;  ///< that struck before it was made smaller
  std::string what;               ///< what is broken
  std::string trace;
  std::string replay;  ///< the command that makes this run again, and prints its trace

  std::string to_string() const {
    return what + "\nseed " + std::to_string(seed) + ", " + std::to_string(faults.size()) + " of " +
           std::to_string(faults_before) + " faults are enough: " + (faults.empty() ? "none" : to_script(faults)) +
           "\nreplay: " + replay + "\ntrace:\n" + trace;
  }
};

}  // namespace rota::testing

namespace rota::detail {

struct explored_run {
  std::string broken;  // empty: the invariant held
  std::vector<testing::fault_at> struck;
  std::string trace;
};

template <class Program, class Invariant>
explored_run run_once(const testing::simulation_options& options, Program& program, Invariant& invariant) {
  explored_run run;
  const std::int64_t frames = frame_memory::live_on_this_thread();
  {
    testing::simulation world(options);
    try {
      const auto outcome = program(world);
      run.broken = invariant(outcome);
    } catch (...) {
      run.broken = describe(std::current_exception()).c_str();
    }
    run.struck = world.faults();
    run.trace = world.trace().text();
  }
  const std::int64_t left = frame_memory::live_on_this_thread() - frames;
  if (left != 0 && run.broken.empty()) run.broken = std::to_string(left) + " coroutine frames were not freed";
  return run;
}

/// Leaves out of `script` what the failure does not need: halves first, then ever smaller parts.
template <class Fails>
std::vector<testing::fault_at> shrink(std::vector<testing::fault_at> script, unsigned most_runs, Fails fails) {
  for (std::size_t part = (script.size() + 1) / 2; part != 0 && !script.empty();) {
    bool smaller = false;
    for (std::size_t at = 0; at < script.size() && most_runs != 0;) {
      std::vector<testing::fault_at> without;
      for (std::size_t i = 0; i != script.size(); ++i)
        if (i < at || i >= at + part) without.push_back(script[i]);
      --most_runs;
      if (fails(without)) {
        script = std::move(without);
        smaller = true;
      } else {
        at += part;
      }
    }
    if (most_runs == 0) break;
    if (part == 1 && !smaller) break;
    part = part == 1 ? 1 : part / 2;
  }
  return script;
}

}  // namespace rota::detail

namespace rota::testing {

/// Calls `program(simulation&)` in one world for each seed, and `invariant(outcome)` on what it returns. The invariant
/// says what is broken, or returns an empty string. An exception of either, a deadlock, and a coroutine frame that is
/// not freed break it too. Returns the first failure, made smaller; nothing when there is none.
///
/// The environment replays one run: ROTA_SEED=7 takes this seed only, ROTA_FAULTS=short_read@3 these faults in place of
/// the drawn ones; the trace goes to stderr.
template <class Program, class Invariant>
std::optional<counterexample> explore(const exploration& where, Program program, Invariant invariant) {
  std::uint64_t first = where.first_seed;
  std::uint64_t count = where.seeds;
  simulation_options options = where.worlds;
  const char* const only_seed = std::getenv("ROTA_SEED");
  if (only_seed) {
    first = std::strtoull(only_seed, nullptr, 10);
    count = 1;
    if (const char* const faults = std::getenv("ROTA_FAULTS")) options.script = fault_script(faults);
  }
  options.keep_trace = only_seed != nullptr;
  for (std::uint64_t seed = first; seed != first + count; ++seed) {
    options.seed = seed;
    const detail::explored_run found = detail::run_once(options, program, invariant);
    if (only_seed) std::fputs(found.trace.c_str(), stderr);
    if (found.broken.empty()) continue;
    const auto run_with = [&](const std::vector<fault_at>& script) {
      options.script = script;
      return detail::run_once(options, program, invariant);
    };
    counterexample example;
    example.seed = seed;
    example.faults_before = found.struck.size();
    example.faults = detail::shrink(found.struck, where.shrinking_runs, [&](const std::vector<fault_at>& script) {
      return !run_with(script).broken.empty();
    });
    options.keep_trace = true;
    const detail::explored_run smallest = run_with(example.faults);
    example.what = smallest.broken;
    example.trace = smallest.trace;
    example.replay = "ROTA_SEED=" + std::to_string(seed) + " ROTA_FAULTS=" + to_script(example.faults) + " " +
                     program_invocation_name;
    if (!where.replay_arguments.empty()) example.replay += " '" + where.replay_arguments + "'";
    return example;
  }
  return std::nullopt;
}

}  // namespace rota::testing
