// A scope with a deadline, and when a scope is cancelled at the latest.
#pragma once

#include <cstdint>
#include <source_location>

#include <rota/base/clock.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/loop/task_runner.hpp>

namespace rota::detail {

/// A scope of a task that may have a deadline. (open_scope::has_deadline: the scope is one of these.)
class deadline_scope : public open_scope {
 public:
  explicit deadline_scope(std::uint32_t flags = 0) noexcept : open_scope(flags) {}
  ~deadline_scope() { disarm(); }

  /// Replaces an earlier one; needs a loop unless it is `never`.
  void set_deadline(nanoseconds when, std::source_location where) {
    disarm();
    deadline_set_at = where;
    alarm_.deadline = when;
    if (when == never || !host) return;
    set_in_sight(has_deadline);
    alarm_.target = reinterpret_cast<std::uintptr_t>(static_cast<open_scope*>(this)) | 1;
    runner_access::arm(runner_access::of(*host), alarm_);
  }
  nanoseconds deadline() const noexcept { return alarm_.deadline; }
  void disarm() noexcept {
    if (alarm_.target != 0) {
      runner_access::disarm(static_cast<task_runner&>(*host->exec), alarm_);
      alarm_.target = 0;
    }
  }

 private:
  loop_timer alarm_;
};

/// The deadline of this very scope; `never` if it has none.
inline nanoseconds deadline_of(scope_node& node) noexcept {
  if (!scope_tree::is_timed(node)) return never;
  return static_cast<deadline_scope&>(static_cast<open_scope&>(node)).deadline();
}
/// The earliest deadline that reaches the scope, which is one of `on`'s: its own, and those around it up to the first shield.
inline nanoseconds earliest_deadline(scope_node& scope, const executor& on) noexcept {
  nanoseconds earliest = never;
  for (scope_node* node = &scope;; node = node->parent()) {
    const nanoseconds its = deadline_of(*node);
    earliest = its < earliest ? its : earliest;
    if (node->is_shielded()) return earliest;
    if (!node->parent()) break;
  }
  const nanoseconds outer = on.outer_deadline();
  return outer < earliest ? outer : earliest;
}

}  // namespace rota::detail
