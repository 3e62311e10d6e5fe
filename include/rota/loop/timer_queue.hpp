// Deadlines: a hierarchical timing wheel of nanoseconds (Varghese and Lauck, SOSP 1987; scheme 7).
//
// Level L has 64 slots of 64^L ns. A timer sits on the level of the highest 6-bit digit in which its deadline
// differs from `elapsed_`, in the slot of that digit; so the earliest timer is in the first occupied slot of the
// lowest occupied level. When elapsed_ reaches a slot, its timers move down, or expire. Arming and cancelling touch
// one list. Equal deadlines always share a slot, and slots are FIFO, so they fire in the order in which they were
// armed. The benchmark `timers` compares it with a 4-ary heap and others.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/base/report.hpp>

namespace rota::detail {

/// Owned by whoever waits, in its frame; must not be destroyed while armed.
struct timer {
  timer* next = nullptr;  // null: not armed
  timer* previous = nullptr;
  nanoseconds deadline = never;
};

/// A timer of an event loop: resumes a frame, cancels a scope, or lets a callback run.
struct loop_timer : timer {
  static constexpr std::uintptr_t scope_tag = 1;
  static constexpr std::uintptr_t posted_tag = 2;
  std::uintptr_t target = 0;  // a frame; or an open_scope or a posted, with its tag
};

class timer_queue {
 public:
  explicit timer_queue(nanoseconds now) noexcept : elapsed_(now) {
    for (auto& level : slots_)
      for (list& slot : level) slot.clear();
    due_.clear();
  }
  timer_queue(const timer_queue&) = delete;
  timer_queue& operator=(const timer_queue&) = delete;

  std::size_t size() const noexcept { return size_; }

  /// `t.deadline` is set; a deadline that has passed fires at the next expire().
  void arm(timer& t) noexcept {
    ++size_;
    place(t);
  }

  void cancel(timer& t) noexcept {
    --size_;
    timer* const next = t.next;
    unlink(t);
    if (next->next == next) vacated(next);
  }

  /// Calls visit(timer&) for every armed timer, in no particular order; visit may cancel that timer and no other.
  template <class Visit>
  void for_each(Visit visit) {
    const auto walk = [&](list& timers) {
      for (timer* t = timers.head.next; t != &timers.head;) visit(*std::exchange(t, t->next));
    };
    walk(due_);
    for (auto& level : slots_)
      for (list& slot : level) walk(slot);
  }

  /// When to look again: exact, or a bit early where many timers share the first slot.
  nanoseconds next_deadline() const noexcept {
    if (!due_.empty()) return elapsed_;
    if (levels_in_use_ == 0) return never;
    const unsigned level = static_cast<unsigned>(std::countr_zero(levels_in_use_));
    const unsigned slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
    const list& candidates = slots_[level][slot];
    nanoseconds earliest = never;
    int looked_at = 0;
    for (const timer* t = candidates.head.next; t != &candidates.head; t = t->next) {
      if (++looked_at > 16) return slot_start(level, slot);
      if (t->deadline < earliest) earliest = t->deadline;
    }
    return earliest;
  }

  /// Calls fire(timer&) for every timer whose deadline is at or before `now`, in the order of their deadlines.
  /// The timers are unarmed before the first call; fire may arm and destroy timers.
  template <class Fire>
  void expire(nanoseconds now, Fire fire) {
    if (size_ == 0) {
      elapsed_ = now > elapsed_ ? now : elapsed_;
      return;
    }
    list expired;
    expired.clear();
    expired.splice_back(due_);
    while (levels_in_use_ != 0) {
      const unsigned level = static_cast<unsigned>(std::countr_zero(levels_in_use_));
      const unsigned slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
      const nanoseconds start = slot_start(level, slot);
      if (start > now) break;
      list moved;
      moved.clear();
      moved.splice_back(slots_[level][slot]);
      clear_bit(level, slot);
      elapsed_ = start;
      while (!moved.empty()) {
        timer& t = *moved.head.next;
        unlink(t);
        if (t.deadline <= now)
          expired.push_back(t);
        else
          place(t);
      }
    }
    if (now > elapsed_) elapsed_ = now;
    expired.sort_by_deadline();
    while (!expired.empty()) {
      timer& t = *expired.head.next;
      unlink(t);
      --size_;
      fire(t);
    }
  }

 private:
  static constexpr unsigned digit_bits = 6;
  static constexpr unsigned slots_per_level = 1u << digit_bits;
  static constexpr unsigned levels = 11;  // 66 bits

  // Circular, with a sentinel: a timer leaves its list without knowing which one it is.
  struct list {
    timer head;

    void clear() noexcept { head.next = head.previous = &head; }
    bool empty() const noexcept { return head.next == &head; }
    void push_back(timer& t) noexcept {
      t.next = &head;
      t.previous = head.previous;
      head.previous->next = &t;
      head.previous = &t;
    }
    void splice_back(list& other) noexcept {
      if (other.empty()) return;
      other.head.next->previous = head.previous;
      head.previous->next = other.head.next;
      other.head.previous->next = &head;
      head.previous = other.head.previous;
      other.clear();
    }
    // Stable merge sort in place; usually one or a few timers, or many that are in order already.
    void sort_by_deadline() noexcept {
      bool sorted = true;
      for (timer* t = head.next; sorted && t->next != &head && t != &head; t = t->next)
        sorted = t->deadline <= t->next->deadline;
      if (sorted) return;
      list bins[48];  // bins[i] holds 2^i sorted timers
      for (list& bin : bins) bin.clear();
      while (!empty()) {
        list carry;
        carry.clear();
        timer& t = *head.next;
        unlink(t);
        carry.push_back(t);
        list* bin = bins;
        for (; !bin->empty(); ++bin) {
          bin->merge(carry);
          carry.splice_back(*bin);
        }
        bin->splice_back(carry);
      }
      for (list& bin : bins) {
        bin.merge(*this);  // later bins hold earlier timers
        splice_back(bin);
      }
    }
    // `later` was armed after this list wherever deadlines are equal.
    void merge(list& later) noexcept {
      list merged;
      merged.clear();
      while (!empty() && !later.empty()) {
        timer& t = later.head.next->deadline < head.next->deadline ? *later.head.next : *head.next;
        unlink(t);
        merged.push_back(t);
      }
      merged.splice_back(*this);
      merged.splice_back(later);
      splice_back(merged);
    }
  };

  static void unlink(timer& t) noexcept {
    t.previous->next = t.next;
    t.next->previous = t.previous;
    t.next = t.previous = nullptr;
  }

  void place(timer& t) noexcept {
    if (t.deadline <= elapsed_) {
      due_.push_back(t);
      return;
    }
    const auto difference = static_cast<std::uint64_t>(t.deadline) ^ static_cast<std::uint64_t>(elapsed_);
    const unsigned level = (63u - static_cast<unsigned>(std::countl_zero(difference))) / digit_bits;
    const unsigned slot = static_cast<unsigned>(t.deadline >> (level * digit_bits)) & (slots_per_level - 1);
    slots_[level][slot].push_back(t);
    occupied_[level] |= std::uint64_t{1} << slot;
    levels_in_use_ |= 1u << level;
  }

  // `sentinel` heads a list that has become empty: one of the wheel's slots, due_, or the list of expire().
  void vacated(timer* sentinel) noexcept {
    const auto offset = reinterpret_cast<std::uintptr_t>(sentinel) - reinterpret_cast<std::uintptr_t>(&slots_);
    if (offset >= sizeof slots_) return;
    const std::size_t index = offset / sizeof(list);
    clear_bit(static_cast<unsigned>(index / slots_per_level), static_cast<unsigned>(index % slots_per_level));
  }
  void clear_bit(unsigned level, unsigned slot) noexcept {
    occupied_[level] &= ~(std::uint64_t{1} << slot);
    if (occupied_[level] == 0) levels_in_use_ &= ~(1u << level);
  }

  nanoseconds slot_start(unsigned level, unsigned slot) const noexcept {
    const unsigned shift = level * digit_bits;
    const auto now = static_cast<std::uint64_t>(elapsed_);
    // The top level has fewer than six bits: shifting by 64 or more is not defined.
    const std::uint64_t above = shift + digit_bits >= 64 ? 0 : (now >> (shift + digit_bits)) << (shift + digit_bits);
    return static_cast<nanoseconds>(above | (std::uint64_t{slot} << shift));
  }

  list slots_[levels][slots_per_level];
  list due_;  // deadlines at or before elapsed_
  std::uint64_t occupied_[levels] = {};
  std::uint32_t levels_in_use_ = 0;
  nanoseconds elapsed_;
  std::size_t size_ = 0;
};

}  // namespace rota::detail
