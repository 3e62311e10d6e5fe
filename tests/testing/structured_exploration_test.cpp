// Structured concurrency in many worlds: random trees of tasks, random cancels. Every child is joined, every frame is
// freed, every error comes out exactly once.
#include <rota/testing/explorer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::testing::exploration;
using rota::testing::explore;
using rota::testing::fault_rates;
using rota::testing::simulation;
using rota::testing::simulation_options;

namespace {

class boom : public std::exception {
 public:
  explicit boom(int number) : number_(number), text_("boom " + std::to_string(number) + ";") {}
  const char* what() const noexcept override { return text_.c_str(); }
  int number() const noexcept { return number_; }

 private:
  int number_;
  std::string text_;
};

struct tally {
  explicit tally(std::uint64_t seed) : dice(seed) {}
  tally(const tally&) = delete;
  tally& operator=(const tally&) = delete;

  rota::duration some_time() { return std::chrono::milliseconds(1 + dice.below(40)); }
  /// Throws on one of `sides`.
  void maybe_throw(std::uint64_t sides) {
    if (dice.below(sides) != 0) return;
    ++thrown;
    throw boom(thrown);
  }

  rota::detail::random dice;
  int started = 0;
  int ended = 0;
  int thrown = 0;  // numbered from 1
  std::vector<int> seen;
};

struct life {
  explicit life(tally& t) : all(t) { ++all.started; }
  life(const life&) = delete;
  life& operator=(const life&) = delete;
  ~life() { ++all.ended; }
  tally& all;
};

rota::task<> quiet(tally& all) {
  const life here(all);
  co_await rota::sleep_for(all.some_time());
}

// Nobody ever connects: only a cancel ends it.
rota::task<> wait_for_nobody(tally& all) {
  const life here(all);
  rota::tcp_listener listener = rota::tcp_listener::bind({"127.0.0.1", 0});
  (void)co_await listener.accept();
}

rota::task<> node(tally& all, int depth);

rota::task<> group_node(tally& all, int depth) {
  const auto body = [&all, depth](rota::task_group& group) -> rota::task<> {
    const std::uint64_t children = 1 + all.dice.below(3);
    for (std::uint64_t i = 0; i != children; ++i) group.spawn(node, std::ref(all), depth - 1);
    co_await rota::sleep_for(all.some_time());
    if (all.dice.below(6) == 0) group.cancel("by its body");
    all.maybe_throw(8);
  };
  co_await rota::with_task_group(body);
}

rota::task<> leaf(tally& all) {
  try {
    co_await rota::sleep_for(all.some_time());
  } catch (const rota::cancelled&) {
    all.maybe_throw(5);  // an error on the way out
    throw;
  }
  all.maybe_throw(6);
}

rota::task<> node(tally& all, int depth) {
  const life here(all);
  switch (depth == 0 ? 0 : all.dice.below(7)) {
    case 0:
    case 1: co_await leaf(all); break;
    case 2: co_await group_node(all, depth); break;
    case 3: co_await rota::when_all(node(all, depth - 1), node(all, depth - 1)); break;
    case 4: (void)co_await rota::when_any(quiet(all), quiet(all)); break;
    case 5: (void)co_await rota::move_on_after(all.some_time(), node(all, depth - 1)); break;
    default: (void)co_await rota::move_on_after(all.some_time(), wait_for_nobody(all)); break;
  }
}

void collect(const std::exception_ptr& error, std::vector<int>& seen) {
  try {
    std::rethrow_exception(error);
  } catch (const boom& b) {
    seen.push_back(b.number());
  } catch (const rota::exception_group& group) {
    for (const std::exception_ptr& member : group.flatten()) collect(member, seen);
  } catch (...) {
  }
}

}  // namespace

TEST_CASE("random trees of tasks under random cancels join every child and report every error once") {
  captured_reports reports;
  std::size_t errors = 0, cancels = 0;
  const auto program = [&](simulation& world) {
    reports.clear();
    tally all(world.options().seed * 977);
    simulation::host& host = world.add_host("one");
    {
      auto root = host.spawn(group_node, std::ref(all), 5);
      auto canceller = host.spawn([&]() -> rota::task<> {
        co_await rota::sleep_for(2 * all.some_time());
        root.cancel("at random");
      });
      world.run();
      if (root.cancelled()) ++cancels;
      if (const std::exception_ptr error = root.exception()) collect(error, all.seen);
    }
    for (int n = 1; n <= all.thrown; ++n)
      for (std::size_t i = reports.count("boom " + std::to_string(n) + ";"); i != 0; --i) all.seen.push_back(n);
    std::sort(all.seen.begin(), all.seen.end());
    errors += all.seen.size();
    std::string broken;
    if (all.started != all.ended) broken = std::to_string(all.started - all.ended) + " children were not joined";
    for (int n = 1; n <= all.thrown && broken.empty(); ++n) {
      const auto times = std::count(all.seen.begin(), all.seen.end(), n);
      if (times != 1) broken = "error " + std::to_string(n) + " came out " + std::to_string(times) + " times";
    }
    if (broken.empty() && !world.quiescent()) broken = "something was left behind";
    return broken;
  };
  simulation_options options;
  options.faults = fault_rates::harmless(100);
  exploration where(scaled(5'000, 300, 1'000), options);
  where.replay_arguments = "random trees*";
  const auto found = explore(where, program, [](const std::string& broken) { return broken; });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  INFO(errors << " errors, " << cancels << " cancelled roots");
  CHECK(errors > where.seeds / 10);
  CHECK(cancels > where.seeds / 10);
}
