// Measures a hierarchical wheel that rounds up to milliseconds: a million timers of which 95 % are cancelled.
//
// Six levels of 64 slots, as in Tokio and the older Linux kernel. Coarse ticks make it cheap and inexact: deadlines
// within one millisecond fire together, in the order in which they reached the slot.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "workload.hpp"

class wheel_ms {
 public:
  explicit wheel_ms(std::size_t count) : timers_(count) {
    for (auto& level : slots_)
      for (link& slot : level) slot.next = slot.previous = &slot;
  }

  void arm(std::size_t index, std::int64_t deadline) {
    timers_[index].tick = static_cast<std::uint64_t>(deadline + tick_length - 1) / tick_length;
    place(timers_[index]);
  }

  void cancel(std::size_t index) {
    timer& cancelled = timers_[index];
    link* const neighbour = cancelled.next;
    unlink(cancelled);
    if (neighbour->next == neighbour) occupied_[cancelled.level] &= ~(std::uint64_t{1} << cancelled.slot);
  }

  std::size_t expire() { return timers::expire_step_by_step(*this); }

  // When to look again: exact on the lowest level, the start of a slot above it.
  std::int64_t next_deadline() const {
    const position next = first_occupied();
    return next.level == levels ? std::numeric_limits<std::int64_t>::max()
                                : static_cast<std::int64_t>(start_of(next)) * tick_length;
  }

  std::size_t expire_until(std::int64_t now) {
    const std::uint64_t now_tick = static_cast<std::uint64_t>(now) / tick_length;
    std::size_t fired = 0;
    for (position next = first_occupied(); next.level != levels; next = first_occupied()) {
      const std::uint64_t start = start_of(next);
      if (start > now_tick) break;
      elapsed_ = start;
      occupied_[next.level] &= ~(std::uint64_t{1} << next.slot);
      link& slot = slots_[next.level][next.slot];
      while (slot.next != &slot) {
        auto& moved = static_cast<timer&>(*slot.next);
        unlink(moved);
        if (moved.tick <= now_tick)
          ++fired;
        else
          place(moved);
      }
    }
    elapsed_ = now_tick;
    return fired;
  }

 private:
  static constexpr std::int64_t tick_length = 1'000'000;
  static constexpr unsigned levels = 6;

  struct link {
    link* next = nullptr;
    link* previous = nullptr;
  };
  struct timer : link {
    std::uint64_t tick = 0;
    std::uint32_t level = 0;
    std::uint32_t slot = 0;
  };
  struct position {
    unsigned level;
    unsigned slot;
  };

  static void unlink(link& removed) {
    removed.previous->next = removed.next;
    removed.next->previous = removed.previous;
  }

  // The level of the highest 6-bit digit in which the tick differs from now, the slot of that digit.
  void place(timer& added) {
    const std::uint64_t difference = added.tick ^ elapsed_;
    added.level = difference == 0 ? 0 : (63u - static_cast<unsigned>(std::countl_zero(difference))) / 6;
    added.slot = static_cast<unsigned>(added.tick >> (6 * added.level)) & 63u;
    link& slot = slots_[added.level][added.slot];
    added.next = &slot;
    added.previous = slot.previous;
    slot.previous->next = &added;
    slot.previous = &added;
    occupied_[added.level] |= std::uint64_t{1} << added.slot;
  }

  position first_occupied() const {
    for (unsigned level = 0; level < levels; ++level)
      if (occupied_[level] != 0) return {level, static_cast<unsigned>(std::countr_zero(occupied_[level]))};
    return {levels, 0};
  }

  std::uint64_t start_of(position at) const {
    const unsigned shift = 6 * at.level;
    return ((elapsed_ >> (shift + 6)) << (shift + 6)) | (std::uint64_t{at.slot} << shift);
  }

  std::array<std::array<link, 64>, levels> slots_;
  std::array<std::uint64_t, levels> occupied_{};
  std::uint64_t elapsed_ = 0;
  std::vector<timer> timers_;
};

BENCHMARK(timers::run<wheel_ms>)->Name("timers/wheel_ms/1M")->Iterations(1)->UseManualTime();
BENCHMARK_MAIN();
