// rota::this_task: what the running task may ask about itself. Its stop_token() is in scope/stop_token.hpp.
#pragma once

#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/task_identity.hpp>
#include <rota/scope/timeout.hpp>

namespace rota {

namespace detail {

inline task_state& this_task_state() {
  task_state* task = running_task();
  if (!task) [[unlikely]]
    throw usage_error(usage_error::kind::no_task,
                      "rota::this_task was asked where no task runs: in a callback, or on a thread that runs none");
  return *task;
}
inline task_extras& this_task_extras() {
  task_extras* extras = extras_of(this_task_state());
  if (!extras) throw std::bad_alloc();
  return *extras;
}

}  // namespace detail

/// What every function of a task may ask about it, however deep below the task's first function, plain functions too.
/// Outside of a task all of it throws usage_error (kind no_task).
namespace this_task {

/// What join_handle::set_name() or set_name() gave it; else empty. Until the name changes.
inline std::string_view name() { return detail::name_of(detail::this_task_state()); }
inline void set_name(std::string name) { detail::set_name(detail::this_task_state(), std::move(name)); }

/// Unique among all tasks of the process, and never 0. Numbers are given to those who ask, so they do not tell who was
/// spawned first. From then on reports about a task without a name show it.
inline std::uint64_t id() {
  const std::uint64_t number = detail::id_of(detail::this_task_state());
  if (number == 0) throw std::bad_alloc();
  return number;
}

/// The innermost scope that is open: with_cancel_scope, a timeout, a group, else the task itself. To be asked, not to be
/// kept: it is gone when it ends.
inline const scope_node& scope() { return *detail::this_task_state().current; }

/// Will the next suspension throw rota::cancelled?
inline bool is_cancelled() {
  detail::task_state& task = detail::this_task_state();
  task.exec->hear_others();
  return task.is_cancelled();
}

/// Throws rota::cancelled if the scope is cancelled. For code that computes for long and awaits nothing; it lets nobody
/// else run, as `co_await rota::yield()` does, which throws as well.
inline void checkpoint() {
  detail::task_state& task = detail::this_task_state();
  task.exec->hear_others();
  if (task.is_cancelled()) [[unlikely]]
    detail::throw_cancelled(task);
}

/// When the innermost scope is cancelled at the latest: the earliest deadline among it and those around it, also in the
/// tasks above, up to the first shield. time_point::max(): none; time_point::min(): it is cancelled already. Of tasks above
/// that run on other threads of a pool: as it was when they started this one.
inline time_point deadline() {
  detail::task_state& task = detail::this_task_state();
  if (task.is_cancelled()) return time_point::min();
  return detail::to_time_point(detail::earliest_deadline(*task.current, *task.exec));
}

}  // namespace this_task
}  // namespace rota
