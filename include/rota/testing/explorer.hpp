// rota::testing::explore: runs a program in many simulated worlds, and makes the first failure small.
#pragma once

#include <errno.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
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
  std::vector<fault_at> faults;    ///< enough to break it
  std::size_t faults_before = 0;   ///< that struck before it was made smaller
  std::vector<std::size_t> steps;  ///< what simulation::steps() gave: enough to break it
  std::vector<std::size_t> steps_before;
  std::string what;  ///< what is broken
  std::string trace;
  std::string replay;  ///< the command that makes this run again, and prints its trace

  std::string to_string() const {
    std::string text = what + "\nseed " + std::to_string(seed) + ", " + std::to_string(faults.size()) + " of " +
                       std::to_string(faults_before) +
                       " faults are enough: " + (faults.empty() ? "none" : to_script(faults));
    if (!steps.empty()) text += "\nsteps: " + to_list(steps) + " of " + to_list(steps_before);
    return text + "\nreplay: " + replay + "\ntrace:\n" + trace;
  }

  /// "3,1"
  static std::string to_list(const std::vector<std::size_t>& numbers) {
    std::string text;
    for (const std::size_t n : numbers) text += (text.empty() ? "" : ",") + std::to_string(n);
    return text;
  }
};

}  // namespace rota::testing

namespace rota::detail {

struct explored_run {
  std::string broken;  // empty: the invariant held
  std::vector<testing::fault_at> struck;
  std::vector<std::size_t> steps;
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
    run.steps = world.steps_given();
    run.trace = world.trace().text();
  }
  const std::int64_t left = frame_memory::live_on_this_thread() - frames;
  if (left != 0 && run.broken.empty()) run.broken = std::to_string(left) + " coroutine frames were not freed";
  return run;
}

/// What tells one failure from another: its first line without digits, which count and name what may be fewer.
inline std::string kind_of_failure(std::string_view broken) {
  std::string kind(broken.substr(0, broken.find('\n')));
  kind.erase(std::remove_if(kind.begin(), kind.end(), [](char c) { return c >= '0' && c <= '9'; }), kind.end());
  return kind;
}

/// Makes a failure smaller, as long as it still fails: fewer faults, fewer steps, faults that strike earlier.
template <class Fails>
class shrinker {
 public:
  shrinker(std::vector<testing::fault_at> script, std::vector<std::size_t> steps, unsigned most_runs, Fails fails)
      : faults_(std::move(script)), steps_(std::move(steps)), runs_left_(most_runs), fails_(std::move(fails)) {}

  void run() {
    for (bool smaller = true; smaller && runs_left_ != 0;) {
      smaller = leave_out_faults();
      for (std::size_t i = 0; i != steps_.size(); ++i) smaller = lower(steps_[i], std::size_t{0}) || smaller;
      for (std::size_t i = 0; i != faults_.size(); ++i) smaller = lower(faults_[i].nth, std::uint64_t{1}) || smaller;
    }
  }
  const std::vector<testing::fault_at>& faults() const noexcept { return faults_; }
  const std::vector<std::size_t>& steps() const noexcept { return steps_; }

 private:
  bool still_fails() {
    if (runs_left_ == 0) return false;
    --runs_left_;
    return fails_(faults_, steps_);
  }

  // Halves first, then ever smaller parts.
  bool leave_out_faults() {
    bool any = false;
    for (std::size_t part = (faults_.size() + 1) / 2; part != 0 && !faults_.empty(); part /= 2) {
      for (std::size_t at = 0; at < faults_.size();) {
        const std::vector<testing::fault_at> all = faults_;
        const auto first = faults_.begin() + static_cast<std::ptrdiff_t>(at);
        faults_.erase(first, first + static_cast<std::ptrdiff_t>(std::min(part, faults_.size() - at)));
        if (still_fails()) {
          any = true;
        } else {
          faults_ = all;
          at += part;
        }
      }
    }
    return any;
  }

  // As far as it goes by powers of two, the greatest first.
  template <class Number>
  bool lower(Number& number, Number least) {
    const Number before = number;
    for (Number by = number - least; by != 0; by /= 2) {
      while (number - least >= by) {
        const Number last = std::exchange(number, number - by);
        if (still_fails()) continue;
        number = last;
        break;
      }
    }
    return number != before;
  }

  std::vector<testing::fault_at> faults_;
  std::vector<std::size_t> steps_;
  unsigned runs_left_;
  Fails fails_;
};

inline std::vector<std::size_t> to_numbers(std::string_view list) {
  std::vector<std::size_t> numbers;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    numbers.push_back(static_cast<std::size_t>(std::strtoull(std::string(list.substr(0, comma)).c_str(), nullptr, 10)));
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
  }
  return numbers;
}

}  // namespace rota::detail

namespace rota::testing {

/// Calls `program(simulation&)` in one world for each seed, and `invariant(outcome)` on what it returns. The invariant
/// says what is broken, or returns an empty string. An exception of either, a deadlock, and a coroutine frame that is
/// not freed break it too. Returns the first failure, made smaller as long as the first line of what is broken stays the
/// same, digits aside; nothing when there is none.
///
/// The environment replays one run: ROTA_SEED=7 takes this seed only, ROTA_FAULTS=short_read@3 these faults in place of
/// the drawn ones, ROTA_STEPS=2,1 limits what simulation::steps() gives; the trace goes to stderr.
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
    if (const char* const steps = std::getenv("ROTA_STEPS")) options.steps = detail::to_numbers(steps);
  }
  options.keep_trace = only_seed != nullptr;
  for (std::uint64_t seed = first; seed != first + count; ++seed) {
    options.seed = seed;
    const detail::explored_run found = detail::run_once(options, program, invariant);
    if (only_seed) std::fputs(found.trace.c_str(), stderr);
    if (found.broken.empty()) continue;
    const auto run_with = [&](const std::vector<fault_at>& script, const std::vector<std::size_t>& steps) {
      options.script = script;
      options.steps = steps;
      return detail::run_once(options, program, invariant);
    };
    const std::string kind = detail::kind_of_failure(found.broken);
    const auto fails = [&](const std::vector<fault_at>& script, const std::vector<std::size_t>& steps) {
      const std::string broken = run_with(script, steps).broken;
      return !broken.empty() && detail::kind_of_failure(broken) == kind;  // another failure may hide this one
    };
    detail::shrinker smaller(found.struck, found.steps, where.shrinking_runs, fails);
    smaller.run();
    counterexample example;
    example.seed = seed;
    example.faults_before = found.struck.size();
    example.faults = smaller.faults();
    example.steps_before = found.steps;
    example.steps = smaller.steps();
    options.keep_trace = true;
    const detail::explored_run smallest = run_with(example.faults, example.steps);
    example.what = smallest.broken;
    example.trace = smallest.trace;
    example.replay = "ROTA_SEED=" + std::to_string(seed) + " ROTA_FAULTS=" + to_script(example.faults) + " ";
    if (!example.steps.empty()) example.replay += "ROTA_STEPS=" + counterexample::to_list(example.steps) + " ";
    example.replay += program_invocation_name;
    if (!where.replay_arguments.empty()) example.replay += " '" + where.replay_arguments + "'";
    return example;
  }
  return std::nullopt;
}

}  // namespace rota::testing
