// Races of tasks in many simulated worlds: each has a few tasks that visit something they share, again and again, with
// random pauses, time limits and cancels. A model of it notes the first promise that is broken.
#pragma once

#include <rota/testing/explorer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"

namespace rota_test {

/// In how many worlds a race runs.
inline std::uint64_t race_seeds() { return scaled(10'000, 500, 1'000); }

/// One race: its random numbers, what is broken, what happened.
class race {
 public:
  explicit race(std::uint64_t seed) noexcept : dice_(seed * 7919) {}
  race(const race&) = delete;
  race& operator=(const race&) = delete;

  std::size_t below(std::size_t bound) noexcept { return static_cast<std::size_t>(dice_.below(bound)); }
  bool one_in(std::size_t sides) noexcept { return below(sides) == 0; }
  rota::duration some_time() { return std::chrono::microseconds(1 + below(3'000)); }

  /// Nothing, some turns, or some time.
  rota::task<> pause() {
    switch (below(4)) {
      case 0: break;
      case 1: co_await rota::sleep_for(some_time()); break;
      default:
        for (std::size_t turns = 1 + below(3); turns != 0; --turns) co_await rota::yield();
    }
  }

  void expect(bool holds, const char* promise) {
    if (!holds && broken_.empty()) broken_ = std::string("not true: ") + promise;
  }
  const std::string& broken() const noexcept { return broken_; }

  std::size_t finished = 0;   // visits that ended well
  std::size_t cancelled = 0;  // by a time limit, or with their task

 private:
  rota::detail::random dice_;
  std::string broken_;
};

/// The order in which tasks came for something, and got it.
class arrivals {
 public:
  explicit arrivals(race& r) noexcept : race_(r) {}

  class place {
   public:
    explicit place(arrivals& all, std::size_t wants = 1) : all_(all), wants_(wants) { all_.places_.push_back(this); }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place() { std::erase(all_.places_, this); }

    /// It has got it, and so many tasks wait now: they must have come later. (Those that came before have got it, too, or
    /// were cancelled, and need not have run yet.)
    void enter(std::size_t waiting) {
      std::size_t later = 0;
      while (all_.places_.rbegin()[static_cast<std::ptrdiff_t>(later)] != this) ++later;
      all_.race_.expect(waiting <= later, "whoever came first is served first");
      std::erase(all_.places_, this);
    }

   private:
    friend arrivals;
    arrivals& all_;
    std::size_t wants_;
  };

  bool empty() const noexcept { return places_.empty(); }
  /// What the first one wants; exact when every task that can run has run.
  std::size_t first_wants() const noexcept { return places_.front()->wants_; }

 private:
  race& race_;
  std::deque<place*> places_;
};

/// Counts up while it lives.
class counted_in {
 public:
  explicit counted_in(int& count) noexcept : count_(count) { ++count_; }
  counted_in(const counted_in&) = delete;
  counted_in& operator=(const counted_in&) = delete;
  ~counted_in() { --count_; }

 private:
  int& count_;
};

template <class Model>
rota::task<> visit(Model& model, race& r) {
  ++r.cancelled;  // until it has ended well
  co_await model.visit();
  --r.cancelled;
  ++r.finished;
}

template <class Model>
rota::task<> visit_often(Model& model, race& r) {
  for (std::size_t left = 1 + r.below(4); left != 0; --left) {
    co_await r.pause();
    if (r.one_in(3))
      (void)co_await rota::move_on_after(r.some_time(), visit(model, r));
    else
      co_await visit(model, r);
  }
}

/// A Model is made of a race&, and has `task<> visit()`, which one task does once; `void finish()`, called when nothing
/// happens any more, again and again until all visits have ended; and `void look()`, called after that.
template <class Model>
void explore_races(std::uint64_t seeds) {
  std::size_t finished = 0, cancelled = 0;
  const auto program = [&](rota::testing::simulation& world) {
    race r(world.options().seed);
    Model model(r);
    rota::testing::simulation::host& host = world.add_host("one");
    std::vector<rota::join_handle<>> tasks;
    for (std::size_t left = 2 + r.below(5); left != 0; --left)
      tasks.push_back(host.spawn(visit_often<Model>, std::ref(model), std::ref(r)));
    auto cancels = host.spawn(
        [](race& its, std::vector<rota::join_handle<>>& victims) -> rota::task<> {
          for (std::size_t left = its.below(4); left != 0; --left) {
            co_await its.pause();
            victims[its.below(victims.size())].cancel("at random");
          }
        },
        std::ref(r), std::ref(tasks));
    auto finishes = host.spawn(
        [](Model& its, std::vector<rota::join_handle<>>& others) -> rota::task<> {
          const auto left = [&others] {
            return std::erase_if(others, [](auto& t) { return t.done(); }), !others.empty();
          };
          co_await rota::sleep_for(std::chrono::seconds(10));
          for (int times = 0; times != 100 && left(); ++times) {  // whoever is left then is blocked for ever
            its.finish();
            co_await rota::sleep_for(std::chrono::seconds(1));
          }
        },
        std::ref(model), std::ref(tasks));
    world.run();
    model.look();
    finished += r.finished;
    cancelled += r.cancelled;
    return r.broken();
  };
  rota::testing::simulation_options options;
  rota::testing::exploration where(seeds, options);
  where.replay_arguments = Catch::getResultCapture().getCurrentTestName();
  const auto found = rota::testing::explore(where, program, [](const std::string& broken) { return broken; });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  if (std::getenv("ROTA_SEED")) return;
  INFO(finished << " visits finished, " << cancelled << " were cancelled");
  CHECK(finished > seeds);
  CHECK(cancelled > seeds / 10);
}

}  // namespace rota_test
