// Generators and pipelines in many worlds, with cancels at random points. The invariant: of each source, the consumer gets
// the items in order, none twice and none left out; all of them unless it was cancelled, left early or got an error; and every
// body that began cleans up exactly once and frees its frame.
#include <rota/testing/explorer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using namespace std::chrono_literals;
using rota::async_generator;
using rota::task;
using rota::testing::exploration;
using rota::testing::explore;
using rota::testing::simulation;
using rota::testing::simulation_options;

namespace {

struct tally {
  explicit tally(std::uint64_t seed) : dice(seed) {}
  tally(const tally&) = delete;
  tally& operator=(const tally&) = delete;

  bool one_in(std::uint64_t sides) { return dice.below(sides) == 0; }
  rota::duration some_time() { return std::chrono::milliseconds(dice.below(20)); }
  void got(int item) { delivered[static_cast<std::size_t>(item / 1000)].push_back(item % 1000); }
  void got(const std::vector<int>& items) {
    for (const int item : items) got(item);
  }

  rota::detail::random dice;
  int begun = 0;
  int cleaned = 0;
  int gone = 0;
  std::vector<int> lengths;                 // of the sources
  std::vector<std::vector<int>> delivered;  // of each
  bool complete = false;                    // the consumer got to the end
};

struct life {
  explicit life(tally& t) : all(t) { ++all.begun; }
  life(const life&) = delete;
  life& operator=(const life&) = delete;
  ~life() { ++all.gone; }
  tally& all;
};

// Every body ends here, however it does.
task<> clean_up(tally& all, std::exception_ptr error) {
  co_await rota::shield(1h, rota::sleep_for(all.some_time()));
  ++all.cleaned;
  if (error) std::rethrow_exception(error);
}
async_generator<int> items_of(tally& all, int source, int length, bool may_fail) {
  const life here(all);
  std::exception_ptr error;
  try {
    for (int i = 0; i != length; ++i) {
      if (!all.one_in(3)) co_await rota::sleep_for(all.some_time());
      if (may_fail && all.one_in(40)) throw std::runtime_error("a source failed");
      co_yield 1000 * source + i;
    }
  } catch (...) {
    error = std::current_exception();
  }
  co_await clean_up(all, error);
}
async_generator<int> nested(tally& all, async_generator<int> inner) {
  const life here(all);
  std::exception_ptr error;
  try {
    co_yield rota::elements_of(std::move(inner));
  } catch (...) {
    error = std::current_exception();
  }
  co_await clean_up(all, error);
}
async_generator<int> source(tally& all) {
  const int length = static_cast<int>(all.dice.below(12));
  all.lengths.push_back(length);
  all.delivered.emplace_back();
  async_generator<int> made = items_of(all, static_cast<int>(all.lengths.size()) - 1, length, all.one_in(3));
  while (all.one_in(3)) made = nested(all, std::move(made));
  return made;
}
std::vector<async_generator<int>> sources(tally& all) {
  std::vector<async_generator<int>> some;
  for (std::uint64_t i = 1 + all.dice.below(4); i != 0; --i) some.push_back(source(all));
  return some;
}

// Asks with a time limit around each step; one that was cancelled is asked again if that can go on.
template <class S>
task<> step_by_step(tally& all, S& from, bool survives_cancels) {
  for (;;) {
    bool timed_out = false;
    try {
      const rota::duration limit = all.one_in(2) ? all.some_time() : rota::duration(24h);
      auto step = co_await rota::move_on_after(limit, from.next());
      if (step && !*step) {
        all.complete = true;
        co_return;
      }
      if (step) all.got(**step);
      if (!step && !survives_cancels) co_return;
    } catch (const std::system_error& error) {
      if (error.code() != rota::errc::timed_out) throw;
      timed_out = true;
    }
    if (timed_out && !survives_cancels) co_return;
    if (all.one_in(40)) co_return;
    if (all.one_in(10)) co_await rota::sleep_for(all.some_time());
  }
}

template <class S>
task<> use(tally& all, S from, bool survives_cancels) {
  if (all.one_in(3)) {
    const auto keep = [&all](const auto& item) -> task<> {
      all.got(item);
      if (all.one_in(5)) co_await rota::sleep_for(all.some_time());
    };
    co_await rota::for_each(std::move(from), keep);
    all.complete = true;
  } else {
    const auto body = [&all, survives_cancels](S& named) { return step_by_step(all, named, survives_cancels); };
    co_await rota::with(1h, std::move(from), body);
  }
}

task<> some_pipeline(tally& all) {
  const auto every = [](int) { return true; };
  const auto same = [](int i) { return i; };
  switch (all.dice.below(9)) {
    case 0: co_await use(all, source(all), false); break;
    case 1: co_await use(all, source(all) | rota::filter(every) | rota::throttle(3ms), false); break;
    case 2: co_await use(all, rota::merge(sources(all)), true); break;
    case 3: co_await use(all, rota::merge(sources(all)) | rota::throttle(all.some_time()), true); break;
    case 4: co_await use(all, rota::merge(sources(all)) | rota::map(same) | rota::chunk(3), true); break;
    case 5: co_await use(all, source(all) | rota::chunk(4, all.some_time()), true); break;
    case 6:
      co_await use(all, rota::merge(rota::merge(source(all), source(all)), source(all) | rota::filter(every)), true);
      break;
    case 7: co_await use(all, rota::merge(sources(all)) | rota::timeout(all.some_time()), true); break;
    default: {
      // The source's own end, and an early one, of which the consumer is not told.
      const std::size_t most = all.dice.below(12);
      co_await use(all, source(all) | rota::take(most), false);
      all.complete = all.complete && all.delivered[0].size() < most;
    }
  }
}

std::string broken_in(const tally& all) {
  for (std::size_t s = 0; s != all.lengths.size(); ++s) {
    const std::vector<int>& got = all.delivered[s];
    for (std::size_t i = 0; i != got.size(); ++i)
      if (got[i] != static_cast<int>(i))
        return "source " + std::to_string(s) + " gave " + std::to_string(got[i]) + " as its item " + std::to_string(i);
    if (all.complete && got.size() != static_cast<std::size_t>(all.lengths[s]))
      return "source " + std::to_string(s) + " lost items: " + std::to_string(got.size()) + " of " +
             std::to_string(all.lengths[s]) + " came";
  }
  if (all.cleaned != all.begun)
    return std::to_string(all.begun) + " bodies began, and there were " + std::to_string(all.cleaned) + " cleanups";
  if (all.gone != all.begun) return std::to_string(all.begun - all.gone) + " bodies are still there";
  return {};
}

}  // namespace

TEST_CASE("random pipelines under random cancels lose no item, repeat none, and close every source once") {
  std::size_t completed = 0, cancelled = 0, failed = 0, items = 0;
  const auto program = [&](simulation& world) {
    tally all(world.options().seed * 7919);
    simulation::host& host = world.add_host("one");
    auto consumer = host.spawn(some_pipeline, std::ref(all));
    auto canceller = host.spawn([&]() -> task<> {
      if (!all.one_in(3)) co_return;
      for (int i = 0; i != 3; ++i) co_await rota::sleep_for(all.some_time());
      consumer.cancel("at random");
    });
    world.run();
    completed += all.complete;
    cancelled += consumer.cancelled();
    if (const std::exception_ptr error = consumer.exception(); error && !consumer.cancelled()) ++failed;
    for (const auto& got : all.delivered) items += got.size();
    std::string broken = broken_in(all);
    if (broken.empty() && !world.quiescent()) broken = "something was left behind";
    return broken;
  };
  exploration where(scaled(10'000, 500, 2'000), simulation_options());
  where.replay_arguments = "random pipelines*";
  const auto found = explore(where, program, [](const std::string& broken) { return broken; });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  INFO(completed << " completed, " << cancelled << " cancelled, " << failed << " failed, " << items << " items");
  CHECK(completed > where.seeds / 10);
  CHECK(cancelled > where.seeds / 20);
  CHECK(failed > where.seeds / 50);
}

namespace {

// What the ticks of an interval should be, by the table of docs/reference/generators.md.
struct expected_ticks {
  expected_ticks(rota::missed_tick p, rota::duration d) : policy(p), period(d) {}

  /// Given at `now`, asked for at `asked`. Says what is wrong with it.
  const char* look_at(rota::time_point tick, rota::time_point asked, rota::time_point now) {
    if (!begun) first = due = asked;
    begun = true;
    if (tick != due) return tick < due ? "a tick came twice, or too early" : "a tick was left out";
    if (now != (asked < due ? due : asked)) return "a tick came at another time than when it was due and asked for";
    switch (policy) {
      case rota::missed_tick::burst: due = tick + period; break;
      case rota::missed_tick::delay: due = now + period; break;
      case rota::missed_tick::skip:
        while (due <= now) due += period;
        break;
    }
    return nullptr;
  }
  void reset(rota::time_point now) {
    first = due = now + period;
    begun = true;
  }

  rota::missed_tick policy;
  rota::duration period;
  rota::time_point first{}, due{};
  bool begun = false;
};

struct ticking {
  ticking(tally& t, rota::event_loop& l, rota::missed_tick p, rota::duration d)
      : all(t), loop(l), every(d, p), expected(p, d) {}
  tally& all;
  rota::event_loop& loop;
  rota::interval every;
  expected_ticks expected;
  int given = 0;
  int withdrawn = 0;
  const char* broken = nullptr;
};

task<> take_ticks(ticking& its) {
  for (int i = 0; i != 12; ++i) {
    const rota::time_point asked = its.loop.now();
    const rota::duration limit = its.all.one_in(2) ? its.all.some_time() : rota::duration(24h);
    const auto tick = co_await rota::move_on_after(limit, its.every.next());
    if (tick) {
      ++its.given;
      const char* const wrong = its.expected.look_at(**tick, asked, its.loop.now());
      if (wrong && !its.broken) its.broken = wrong;
    } else {
      ++its.withdrawn;
    }
    if (its.all.one_in(3)) co_await rota::sleep_for(its.all.some_time());
    if (its.all.one_in(12)) {
      its.every.reset();
      its.expected.reset(its.loop.now());
    }
  }
}

}  // namespace

TEST_CASE("an interval leaves out no tick but by skip, repeats none, and is on time, whichever waits are cancelled") {
  int given = 0, withdrawn = 0, cancelled = 0;
  const auto program = [&](simulation& world) {
    tally all(world.options().seed * 7919);
    const auto policy = static_cast<rota::missed_tick>(all.dice.below(3));
    simulation::host& host = world.add_host("one");
    ticking its(all, host.loop(), policy, std::chrono::milliseconds(1 + all.dice.below(10)));
    // A second task goes on with the interval when the first was cancelled.
    auto both = host.spawn([&]() -> task<> {
      rota::join_handle<> first = rota::spawn(take_ticks, std::ref(its));
      co_await rota::sleep_for(2 * all.some_time());
      if (all.one_in(2)) first.cancel("at random");
      (void)co_await rota::as_result(first);
      cancelled += first.cancelled();
      co_await take_ticks(its);
    });
    world.run();
    (void)both.result();
    given += its.given;
    withdrawn += its.withdrawn;
    std::string broken = its.broken ? its.broken : "";
    if (broken.empty() && !world.quiescent()) broken = "something was left behind";
    return broken;
  };
  exploration where(scaled(10'000, 500, 2'000), simulation_options());
  where.replay_arguments = "an interval leaves out*";
  const auto found = explore(where, program, [](const std::string& broken) { return broken; });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  INFO(given << " ticks, " << withdrawn << " waits withdrawn, " << cancelled << " tasks cancelled");
  const int seeds = static_cast<int>(where.seeds);
  CHECK((found || (given > seeds && withdrawn > seeds / 10 && cancelled > seeds / 20)));
}
