// rota::testing::storm: lets time pass in which hosts crash and links fail, as the seed, or a script, has it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rota/base/random.hpp>
#include <rota/testing/simulation.hpp>

namespace rota::testing {

struct storm_options {
  storm_options() noexcept {}
  explicit storm_options(std::size_t how_often, duration up_to = std::chrono::milliseconds(200)) noexcept
      : rounds(how_often), longest_round(up_to) {}

  std::size_t rounds = 20;                                  ///< at most: simulation::steps() may say less
  duration longest_round = std::chrono::milliseconds(200);  ///< how long each one is, the seed says
  std::vector<simulation::host*> hosts;                     ///< that may be struck; none: all of them
};

}  // namespace rota::testing

namespace rota::detail {

class storm {
 public:
  storm(testing::simulation& world, std::vector<testing::simulation::host*> struck)
      : world_(world), faults_(world.network_.faults), struck_(std::move(struck)) {
    for (const auto& h : world.hosts_) all_.push_back(h.get());
    if (struck_.empty()) struck_ = all_;
  }

  /// What strikes in this round. Each kind has one opportunity, so leaving one out of a script changes no other.
  void blow() {
    using testing::fault;
    between(fault::partition, [this](auto& a, auto& b) { world_.partition(a, b); });
    between(fault::hold, [this](auto& a, auto& b) { world_.hold(a, b); });
    between(fault::heal, [this](auto& a, auto& b) { world_.heal(a, b); });
    at(fault::crash, [this](auto& h) { world_.crash(h); });
    at(fault::restart, [this](auto& h) { world_.restart(h); });
    world_.wait_all_tasks_blocked();  // what was started has begun
  }
  void pass(std::size_t round, duration at_most) {
    random dice(world_.options().seed ^ 0x73746f726du ^ (round * 0x9e3779b97f4a7c15u));
    world_.advance(duration(static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(at_most.count()) + 1))));
  }
  void end() {
    for (std::size_t b = 1; b < all_.size(); ++b)
      for (std::size_t a = 0; a != b; ++a) world_.heal(*all_[a], *all_[b]);
    for (testing::simulation::host* h : struck_)
      if (!h->is_up()) world_.restart(*h);
  }

 private:
  template <class F>
  void at(testing::fault kind, F happen) {
    if (!struck_.empty() && faults_.strikes(kind)) happen(*struck_[faults_.amount(kind, struck_.size())]);
  }
  template <class F>
  void between(testing::fault kind, F happen) {
    if (all_.size() < 2 || !faults_.strikes(kind)) return;
    const std::uint64_t which = faults_.amount(kind, struck_.size() * (all_.size() - 1));
    testing::simulation::host& one = *struck_[which % struck_.size()];
    std::size_t other = which / struck_.size();
    if (all_[other] == &one) other = all_.size() - 1;
    happen(one, *all_[other]);
  }

  testing::simulation& world_;
  fault_plan& faults_;
  std::vector<testing::simulation::host*> all_;
  std::vector<testing::simulation::host*> struck_;
};

}  // namespace rota::detail

namespace rota::testing {

/// Rounds in each of which hosts may crash and links fail, each(round) is called, and a while passes. options().faults
/// of the world say how often: fault::partition, hold, heal, crash and restart. Afterwards all links are open and all
/// hosts up: what holds in a calm world must come to hold again.
///
/// These are faults like others: a script makes them strike again, and explore() makes them fewer. From outside of all
/// tasks. Throws what simulation::advance() throws, and what `each` does.
template <class F>
void storm(simulation& world, const storm_options& options, F each) {
  detail::storm weather(world, options.hosts);
  const std::size_t rounds = world.steps(options.rounds);
  for (std::size_t round = 0; round != rounds; ++round) {
    weather.blow();
    each(round);
    weather.pass(round, options.longest_round);
  }
  weather.end();
}
inline void storm(simulation& world, const storm_options& options = storm_options()) {
  testing::storm(world, options, [](std::size_t) {});
}

}  // namespace rota::testing
