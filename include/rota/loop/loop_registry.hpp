// The event loops of this process.
#pragma once

#include <atomic>

#include <rota/base/registry.hpp>
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

using loop_registry = registry<registered_loop>;

}  // namespace detail
}  // namespace rota
