// Things of this process of which there are several, for who asks all of them for something: a signal handler, a debugger.
//
// Slots instead of a list: a signal handler may look while one is made or goes, on any thread. One that goes waits until
// nobody looks.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdio>

#include <rota/base/sys.hpp>

namespace rota::detail {

template <class Entry>
class registry {
 public:
  /// The first 64 that live at a time are known.
  static void add(Entry& entry) noexcept {
    for (std::atomic<Entry*>& slot : slots) {
      Entry* free = nullptr;
      if (slot.compare_exchange_strong(free, &entry)) return;
    }
  }
  static void remove(Entry& entry) noexcept {
    for (std::atomic<Entry*>& slot : slots) {
      Entry* mine = &entry;
      if (!slot.compare_exchange_strong(mine, nullptr)) continue;
      wait_briefly([] { return visits.load() == 0; });
      return;
    }
  }
  /// f(Entry&). Any thread, and signal handlers; the entries live while f runs.
  template <class F>
  static void for_each(F f) noexcept {
    visits.fetch_add(1);
    for (std::atomic<Entry*>& slot : slots)
      if (Entry* entry = slot.load()) f(*entry);
    visits.fetch_sub(1);
  }

 private:
  static inline constinit std::atomic<Entry*> slots[64] = {};
  static inline constinit std::atomic<int> visits{0};
};

/// A pool, for those who know no pools. It is asked for its dump; whoever of its threads, or of the event loops that were
/// asked as well, comes by first writes it.
struct registered_pool {
  void* of = nullptr;
  void (*wake)(registered_pool&) noexcept = nullptr;  // one of its threads, if all sleep. Signal handlers
  // `to` null: with report(), and no lock is held meanwhile. To a FILE: no lock is waited for.
  void (*write)(registered_pool&, std::FILE* to) noexcept = nullptr;
  std::atomic<bool> is_asked{false};
  const pid_t process = ::getpid();

  /// After fork(): its threads are the parent's, and may have held its locks.
  bool is_parents() const noexcept { return ::getpid() != process; }
  void ask() noexcept {
    is_asked.store(true, std::memory_order_seq_cst);
    wake(*this);
  }
  void answer() noexcept {
    if (!is_parents() && is_asked.exchange(false, std::memory_order_acq_rel)) write(*this, nullptr);
  }
};

}  // namespace rota::detail
