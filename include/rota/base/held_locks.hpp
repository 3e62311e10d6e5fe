// The sync_mutexes that this thread holds: a task that awaits with one is told so in debug builds (coro/task_state.hpp).
#pragma once

#include <rota/base/config.hpp>

namespace rota::detail {

struct held_locks {
  unsigned count = 0;
  const void* last_at = nullptr;  // a line_mark: where the last one was locked

  /// Out of line: clang 16 may keep a stale thread_local across a suspension.
  ROTA_NOINLINE static held_locks& here() noexcept {
    static constinit thread_local held_locks of_this_thread;
    return of_this_thread;
  }
};

}  // namespace rota::detail
