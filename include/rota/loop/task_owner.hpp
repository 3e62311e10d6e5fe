// Who owns spawned tasks: a scope whose children report their end. The loop's root, a server, a group.
#pragma once

#include <cstddef>
#include <exception>

#include <rota/coro/cancellation.hpp>

namespace rota::detail {

/// No child outlives its owner: the owner is destroyed only when `children` is 0.
class task_owner : public open_scope {
 public:
  task_owner() noexcept : open_scope(is_owner) {}
  virtual ~task_owner() { ROTA_ASSERT(children == 0); }

  /// A child's body ended with `error`, which may be rota::cancelled. On the executor's thread.
  virtual void child_failed(task_state& child, const std::exception_ptr& error) noexcept = 0;

  /// The last child has ended: whoever waits for that goes on.
  void child_ended() noexcept {
    if (--children == 0 && waiting_for_children) make_ready(waiting_for_children->frame);
  }

  std::size_t children = 0;
  custom_wait* waiting_for_children = nullptr;
};

inline task_owner& owner_of(task_state& task) noexcept { return *static_cast<task_owner*>(task.parent()); }

}  // namespace rota::detail
