// The event loops of this process, for who asks all of them for something: a signal handler, a debugger.
//
// Slots instead of a list: a signal handler may look while a loop is made or goes, on any thread. A loop that goes waits
// until nobody looks.
#pragma once

#include <atomic>
#include <cstddef>

#include <rota/base/sys.hpp>
#include <rota/coro/executor.hpp>

namespace rota {

class event_loop;

namespace detail {

/// A loop's place in the registry. As a posted it runs `asked_for` on the loop's thread.
struct registered_loop : posted {
  explicit registered_loop(event_loop& l) noexcept : loop(l) {
    run = [](posted& self) noexcept {
      auto& me = static_cast<registered_loop&>(self);
      me.is_asked.exchange(false, std::memory_order_acq_rel);  // acquire: also of who asked since, and posted nothing
      me.asked_for.load(std::memory_order_relaxed)(me.loop);
    };
  }
  event_loop& loop;
  std::atomic<void (*)(event_loop&) noexcept> asked_for{nullptr};
  std::atomic<bool> is_asked{false};  // and posted
};

class loop_registry {
 public:
  /// The first 64 loops that live at a time are known.
  static void add(registered_loop& loop) noexcept {
    for (std::atomic<registered_loop*>& slot : slots) {
      registered_loop* free = nullptr;
      if (slot.compare_exchange_strong(free, &loop)) return;
    }
  }
  static void remove(registered_loop& loop) noexcept {
    for (std::atomic<registered_loop*>& slot : slots) {
      registered_loop* mine = &loop;
      if (!slot.compare_exchange_strong(mine, nullptr)) continue;
      wait_briefly([] { return visits.load() == 0; });
      return;
    }
  }
  /// f(registered_loop&). Any thread, and signal handlers; the loops live while f runs.
  template <class F>
  static void for_each(F f) noexcept {
    visits.fetch_add(1);
    for (std::atomic<registered_loop*>& slot : slots)
      if (registered_loop* loop = slot.load()) f(*loop);
    visits.fetch_sub(1);
  }

 private:
  static inline constinit std::atomic<registered_loop*> slots[64] = {};
  static inline constinit std::atomic<int> visits{0};
};

}  // namespace detail
}  // namespace rota
