// Structured concurrency in many worlds: random trees of tasks, random cancels. Every child is joined, every frame is
// freed, every cleanup runs, every error comes out exactly once. tests/mutants plants bugs that this has to find.
#include <rota/testing/explorer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
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

// What a tree has done, and what was found wrong with it on the way.
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
  void expect(bool holds, const char* otherwise) {
    if (!holds && broken.empty()) broken = otherwise;
  }

  rota::detail::random dice;
  int started = 0;
  int ended = 0;
  int cleanups = 0;  // asked for
  int cleaned = 0;
  int thrown = 0;    // numbered from 1
  int requests = 0;  // numbered from 1
  std::vector<int> seen;
  std::string broken;
};

// The number of the request for which a task works: an argument says what its task-local value must be.
rota::task_local<int> request_number;

struct life {
  life(tally& t, int request) : all(t), number(request) {
    ++all.started;
    look();
  }
  life(const life&) = delete;
  life& operator=(const life&) = delete;
  ~life() {
    look();
    ++all.ended;
  }
  void look() const { all.expect(request_number.get_or(0) == number, "a task does not know its request"); }
  tally& all;
  int number;
};

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

rota::task<> node(tally& all, int depth, int request);

// ---- leaves

rota::task<> quiet(tally& all, int request) {
  const life here(all, request);
  co_await rota::sleep_for(all.some_time());
}

rota::task<> leaf(tally& all) {
  try {
    co_await rota::sleep_for(all.some_time());
  } catch (const rota::cancelled&) {
    all.maybe_throw(5);  // an error on the way out
    throw;
  }
  all.maybe_throw(40);
}

// Nobody ever connects: only a cancel ends it.
rota::task<> wait_for_nobody(tally& all, int request) {
  const life here(all, request);
  rota::tcp_listener listener = rota::tcp_listener::bind({"127.0.0.1", 0});
  (void)co_await listener.accept();
}

// ---- scopes

rota::task<> shielded(tally& all, int request, bool& finished) {
  const life here(all, request);
  co_await rota::sleep_for(all.some_time());
  finished = true;
}
rota::task<> shield_node(tally& all, int depth, int request) {
  bool finished = false;
  const struct look {
    tally& all;
    bool& finished;
    ~look() { all.expect(finished, "a shield let a cancel through"); }
  } at_end{all, finished};
  co_await rota::shield(1h, shielded(all, request, finished));
  co_await rota::shield(all.some_time(), node(all, depth - 1, request));
}

rota::task<> clean(tally& all, int request) {
  const life here(all, request);
  ++all.cleaned;
  co_await rota::sleep_for(all.some_time());
  all.maybe_throw(20);
}
rota::task<> defer_node(tally& all, int depth, int request) {
  const auto body = [&all, depth, request](rota::cancel_scope& scope) -> rota::task<> {
    for (int i = 0; i != 2; ++i) {
      scope.defer(1h, clean, std::ref(all), request);
      ++all.cleanups;
    }
    if (all.dice.below(4) == 0) scope.cancel("by its body");
    co_await node(all, depth - 1, request);
  };
  (void)co_await rota::with_cancel_scope(body);
}

struct resource {
  resource(tally& t, int number) noexcept : all(&t), request(number) {}
  rota::task<> close() { return clean(*all, request); }
  tally* all;
  int request;
};
rota::task<> with_node(tally& all, int depth, int request) {
  const auto body = [&all, depth, request](resource&) { return node(all, depth - 1, request); };
  ++all.cleanups;
  co_await rota::with(1h, resource(all, request), body);
}

// ---- several at once

rota::task<> service(rota::task_status<int> status, tally& all, int depth, int request) {
  const life here(all, request);
  co_await rota::sleep_for(all.some_time());
  all.maybe_throw(20);
  status.started(request);
  co_await node(all, depth, request);
}

rota::task<> group_node(tally& all, int depth, int request) {
  const auto body = [&all, depth, request](rota::task_group& group) -> rota::task<> {
    if (all.dice.below(3) == 0) {
      group.defer(1h, clean, std::ref(all), request);
      ++all.cleanups;
    }
    const std::uint64_t children = 2 + all.dice.below(3);
    for (std::uint64_t i = 0; i != children; ++i) group.spawn(node, std::ref(all), depth - 1, request);
    if (all.dice.below(3) == 0) {
      const int value = co_await group.start(service, std::ref(all), depth - 1, request);
      all.expect(value == request, "start() gave another value than started()");
    }
    co_await rota::sleep_for(all.some_time());
    if (all.dice.below(6) == 0) group.cancel("by its body");
    all.maybe_throw(20);
  };
  co_await rota::with_task_group(body);
}

// Tasks of nobody, which whoever waits for them only watches.
rota::task<> watch_node(tally& all, int depth, int request) {
  std::vector<rota::join_handle<>> tasks;
  for (int i = 0; i != 2; ++i) tasks.push_back(rota::spawn(node, std::ref(all), depth - 1, request));
  switch (all.dice.below(3)) {
    case 0: co_await rota::gather(std::move(tasks)); break;
    case 1: {
      const auto outcomes = co_await rota::gather(rota::return_exceptions, std::move(tasks));
      for (const auto& outcome : outcomes)
        if (outcome.exception()) collect(outcome.exception(), all.seen);
      break;
    }
    default: {
      auto completions = rota::as_completed(std::move(tasks));
      for (int i = 0; i != 2; ++i) {
        auto ended = co_await completions.next();
        if (const std::exception_ptr error = ended->exception()) collect(error, all.seen);
      }
    }
  }
}

// ---- a tree of all these

constexpr std::size_t kinds = 13;
std::array<std::size_t, kinds> used{};

rota::task<> node(tally& all, int depth, int request) {
  const life here(all, request);
  const std::uint64_t kind = depth == 0 ? 0 : all.dice.below(kinds);
  ++used[kind];
  switch (kind) {
    case 0: co_await leaf(all); break;
    case 1: co_await with_node(all, depth, request); break;
    case 2: co_await group_node(all, depth, request); break;
    case 3: co_await rota::when_all(node(all, depth - 1, request), node(all, depth - 1, request)); break;
    case 4: (void)co_await rota::when_any(quiet(all, request), quiet(all, request)); break;
    case 5: (void)co_await rota::race(node(all, depth - 1, request), node(all, depth - 1, request)); break;
    case 6: (void)co_await rota::move_on_after(all.some_time(), node(all, depth - 1, request)); break;
    case 7: (void)co_await rota::move_on_after(all.some_time(), wait_for_nobody(all, request)); break;
    case 8: co_await rota::timeout(all.some_time(), node(all, depth - 1, request)); break;
    case 9: co_await shield_node(all, depth, request); break;
    case 10: co_await defer_node(all, depth, request); break;
    case 11: {
      const int mine = ++all.requests;
      co_await rota::with_value(request_number, mine, node(all, depth - 1, mine));
      break;
    }
    default: co_await watch_node(all, depth, request);
  }
}

}  // namespace

TEST_CASE("random trees of tasks under random cancels join every child and report every error once") {
  captured_reports reports;
  std::size_t tasks = 0, errors = 0, cancels = 0;
  const auto program = [&](simulation& world) {
    reports.clear();
    tally all(world.options().seed * 977);
    simulation::host& host = world.add_host("one");
    {
      auto root = host.spawn(group_node, std::ref(all), 5, 0);
      auto canceller = host.spawn([&]() -> rota::task<> {
        co_await rota::sleep_for(5 * all.some_time());
        root.cancel("at random");
      });
      world.run();
      if (root.cancelled()) ++cancels;
      if (const std::exception_ptr error = root.exception()) collect(error, all.seen);
    }
    for (int n = 1; n <= all.thrown; ++n)
      for (std::size_t i = reports.count("boom " + std::to_string(n) + ";"); i != 0; --i) all.seen.push_back(n);
    tasks += static_cast<std::size_t>(all.started);
    errors += all.seen.size();
    std::string broken = all.broken;
    if (all.started != all.ended) broken = std::to_string(all.started - all.ended) + " children were not joined";
    if (all.cleanups != all.cleaned) broken = std::to_string(all.cleanups - all.cleaned) + " cleanups were left out";
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
  INFO(tasks << " tasks, " << errors << " errors, " << cancels << " cancelled roots");
  CHECK(tasks > where.seeds * 20);
  CHECK(errors > where.seeds / 2);
  CHECK(cancels > where.seeds / 10);
  for (std::size_t kind = 0; kind != kinds; ++kind) {
    INFO("kind " << kind);
    CHECK(used[kind] > where.seeds / 10);
  }
}
