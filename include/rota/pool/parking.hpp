// Who sleeps, who searches, whom to wake: the event count of a pool. One atomic word counts the workers that look for
// work without having any (searching) and those that sleep, or are about to (sleeping). All others run something.
//
//   publish   the work, then notify(): when a sleeper is there and nobody searches, one of them is moved from sleeping to
//             searching, and a permit is released for it. So work that comes while somebody searches wakes nobody: no
//             thundering herd, and at most one system call for a burst of work.
//   search    a worker that has run out of work counts as searching. When it has found some and is the last that searched,
//             it notifies: there may be more than it took.
//   sleep     a worker that found nothing moves itself from searching to sleeping, looks once more at everything, and only
//             then waits for a permit. If that look finds something, it moves itself back.
//
// Announce, look again, then wait is how an event count works (as D. Vyukov's in Eigen's ThreadPool, EventCount.h). Who wakes
// whom, a sleeper only if nobody searches, and the last searcher that finds something wakes the next, is the rule of Go's
// scheduler (Vyukov, "Scalable Go Scheduler Design Doc", 2012; runtime/proc.go), and of Lin, Huang and Wong, "An Efficient
// Work-Stealing Scheduler for Task Dependency Graph" (ICPADS 2020). What is ours: one word for both counts, in which a waker
// moves the sleeper, so that sleepers need no list.
//
// No wake-up is lost. Publishing is a seq_cst store or read-modify-write (P1), notify() begins with a seq_cst load of the
// word (P2); a sleeper's move is a seq_cst read-modify-write (W1), its last look seq_cst loads (W2). If P2 does not see the
// sleeper, P2 comes before W1, so P1 before W2: the look finds the work. If P2 sees a searcher and leaves the work to it, that
// one either finds some work, and as the last searcher notifies (for the searchers that are left the argument begins
// anew), or finds none and comes to W1 and W2, after P1.
//
// Sleepers are anonymous: a permit is for any of them. Who wants back while `sleeping` is 0 was moved by a notify(), and its
// permit is there or on its way.
//
// A fork publishes with a release store only, because a seq_cst one would cost as much as the rest of the fork. Its work
// cannot be lost, for the forking worker pops it itself, but a sleeper might miss it for as long as the store needs to get
// out of the processor. Therefore the first sleep is short (Semaphore::acquire_briefly), and one more look follows it.
//
// Model checked by tests/model. Includes nothing but the atomics, which a checker replaces; Semaphore is
//   void release(); void acquire(); bool acquire_briefly();   // false: no permit came for a while
#pragma once

#include <cstdint>

#include <rota/base/atomic.hpp>

namespace rota::detail {

template <class Semaphore>
class parking {
 public:
  /// Work was published. True: a sleeper was woken for it.
  bool notify() noexcept {
    std::uint32_t word = word_.load(std::memory_order_seq_cst);
    while (searching(word) == 0 && sleeping(word) != 0) {
      if (word_.compare_exchange_weak(word, word - one_sleeping + one_searching, std::memory_order_seq_cst,
                                      std::memory_order_seq_cst)) {
        permits_.release();
        return true;
      }
    }
    return false;
  }
  /// The same for who has work of its own, after a release store: one relaxed load when nobody sleeps.
  bool hint() noexcept { return sleeping(word_.load(std::memory_order_relaxed)) != 0 && notify(); }

  /// The caller has nothing to do, and looks for something from now on.
  void begin_search() noexcept { word_.fetch_add(one_searching, std::memory_order_seq_cst); }
  /// It found something.
  void end_search() noexcept {
    if (searching(word_.fetch_sub(one_searching, std::memory_order_seq_cst)) == 1) notify();
  }

  /// It found nothing: sleeps until it is notified, or `look()` says that there is something. It searches again when
  /// this returns. `look` must load with seq_cst what was published so.
  template <class Look>
  bool sleep(Look look) noexcept {
    word_.fetch_add(one_sleeping - one_searching, std::memory_order_seq_cst);
    if (!look()) {
      if (permits_.acquire_briefly()) return true;
      if (!look()) {
        permits_.acquire();
        return true;
      }
    }
    std::uint32_t word = word_.load(std::memory_order_seq_cst);
    while (sleeping(word) != 0) {
      if (word_.compare_exchange_weak(word, word - one_sleeping + one_searching, std::memory_order_seq_cst,
                                      std::memory_order_seq_cst))
        return false;
    }
    permits_.acquire();
    return true;
  }

  /// For the end of the pool: everybody who sleeps searches. What they will see was published before.
  void wake_all() noexcept {
    std::uint32_t word = word_.load(std::memory_order_seq_cst);
    while (sleeping(word) != 0) {
      if (word_.compare_exchange_weak(word, word - one_sleeping + one_searching, std::memory_order_seq_cst,
                                      std::memory_order_seq_cst))
        permits_.release();
    }
  }

  std::uint32_t searching() const noexcept { return searching(word_.load(std::memory_order_relaxed)); }
  std::uint32_t sleeping() const noexcept { return sleeping(word_.load(std::memory_order_relaxed)); }

 private:
  static constexpr std::uint32_t one_searching = 1;
  static constexpr std::uint32_t one_sleeping = 1u << 16;
  static constexpr std::uint32_t searching(std::uint32_t word) noexcept { return word & 0xffff; }
  static constexpr std::uint32_t sleeping(std::uint32_t word) noexcept { return word >> 16; }

  alignas(64) atomic<std::uint32_t> word_{0};
  alignas(64) Semaphore permits_;
};

}  // namespace rota::detail
