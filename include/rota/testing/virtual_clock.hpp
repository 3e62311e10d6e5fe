// Virtual time: a clock that moves only when it is told to, and what is to happen at which of its instants.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rota/base/clock.hpp>
#include <rota/base/report.hpp>

namespace rota::detail {

/// One for all hosts of a simulation. Begins at 1000 s, so that "in the past" can be spelled.
class virtual_clock {
 public:
  static constexpr nanoseconds start_time = 1'000'000'000'000;

  nanoseconds now() const noexcept { return now_; }
  void move_to(nanoseconds t) noexcept {
    ROTA_ASSERT(t >= now_ && t != never);
    now_ = t;
  }

 private:
  nanoseconds now_ = start_time;
};

/// Events in the order of their times; equal times in the order in which they were added.
template <class Event>
class event_queue {
 public:
  void add(nanoseconds at, Event event) {
    entries_.push_back(entry{at, ++added_, std::move(event)});
    std::push_heap(entries_.begin(), entries_.end(), later);
  }
  nanoseconds next_time() const noexcept { return entries_.empty() ? never : entries_.front().at; }
  /// The first event, which must exist.
  Event pop() {
    std::pop_heap(entries_.begin(), entries_.end(), later);
    Event event = std::move(entries_.back().event);
    entries_.pop_back();
    return event;
  }
  std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct entry {
    nanoseconds at;
    std::uint64_t sequence;
    Event event;
  };
  static bool later(const entry& a, const entry& b) noexcept {
    return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
  }

  std::vector<entry> entries_;
  std::uint64_t added_ = 0;
};

}  // namespace rota::detail
