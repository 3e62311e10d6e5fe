// Rule R4 in debug builds: what belongs to a loop's thread is used there and nowhere else. Free with NDEBUG.
#pragma once

#include <pthread.h>

#include <rota/base/config.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

/// Says what happened where, and ends the program: counts and lists without atomics may be broken already.
[[noreturn]] ROTA_COLD inline void trap_wrong_thread(const char* what, const description& whose) noexcept {
  description here;
  if (task_state* task = running_task())
    here.add("in %s", describe(*task).c_str());
  else
    here.add("by no task");
  trap("%s on another thread than its event loop's, %s; it belongs to %s", what, here.c_str(), whose.c_str());
}

/// `what` was done to the handle of the task.
inline void check_thread([[maybe_unused]] task_state& task, [[maybe_unused]] const char* what) noexcept {
#if ROTA_ASSERTIONS
  // Not line_of(): its thread may be changing what that looks at.
  if (task.is_bound && !pthread_equal(task.thread, pthread_self())) [[unlikely]]
    trap_wrong_thread(what, describe(task, task.root().waits_at));
#endif
}

}  // namespace rota::detail
