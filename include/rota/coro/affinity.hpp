// Rule R4 in debug builds and in debug mode: what belongs to a loop's thread is used there and nowhere else.
#pragma once

#include <pthread.h>

#include <rota/base/config.hpp>
#include <rota/base/debug_mode.hpp>
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

/// Part of a thing that the tasks of one loop share without atomics: on which thread that loop is.
class loop_user {
 public:
  /// `what` is used here. Ends the program on another thread than that of the loop, as long as the loop exists, and in a
  /// pool. Before a loop has used it, it may be prepared anywhere.
  void note([[maybe_unused]] const char* what) noexcept {
#if ROTA_ASSERTIONS
    const unsigned ended = loops_ended.load(std::memory_order_relaxed);
    const bool is_here = pthread_equal(thread_, pthread_self()) != 0;
    if (is_known_ && ended == ended_ && !is_here) [[unlikely]]
      trap_shared(what);
    if (const task_state* task = running_task(); task && task->exec->is_strand()) [[unlikely]]
      trap_shared(what);
    if (!blocking_guard::forbidden()) return;  // no loop's thread
    is_known_ = true;
    thread_ = pthread_self();
    ended_ = ended;
#endif
  }

 private:
#if ROTA_ASSERTIONS
  [[noreturn]] ROTA_COLD static void trap_shared(const char* what) noexcept {
    task_state* const task = running_task();
    trap(
        "%s %s is for tasks of one event loop, and was used on another thread than its loop's, %s; for several threads "
        "there are rota::any_thread::mutex, semaphore, event and oneshot, rota::mpsc_channel and rota::mpmc_channel",
        article_of(what), what, task ? describe(*task).c_str() : "by no task");
  }

  pthread_t thread_{};
  unsigned ended_ = 0;
  bool is_known_ = false;
#endif
};

// Without the thread in the task: its loop knows. A task that has ended may have outlived that.
ROTA_COLD inline void check_loop_thread(task_state& task, const char* what) noexcept {
  if (!task.has(task_state::finished) && task.exec->is_event_loop() && task.exec->on_another_thread())
    trap_wrong_thread(what, describe(task, task.root().waits_at));
}

/// `what` was done to the handle of the task: for what is done once and again, so in debug builds only.
inline void check_thread_often([[maybe_unused]] task_state& task, [[maybe_unused]] const char* what) noexcept {
#if ROTA_ASSERTIONS
  // Not line_of(): its thread may be changing what that looks at.
  if (task.is_bound && !pthread_equal(task.thread, pthread_self())) [[unlikely]]
    trap_wrong_thread(what, describe(task, task.root_line()));
#endif
}
/// The same, in debug mode, too.
inline void check_thread(task_state& task, const char* what) noexcept {
  check_thread_often(task, what);
  if (!ROTA_ASSERTIONS && debug_loops.load(std::memory_order_relaxed) > 0) [[unlikely]]
    check_loop_thread(task, what);
}

}  // namespace rota::detail
