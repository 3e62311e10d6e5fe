// What lies behind the frame of a spawned task: its state, and its outcome.
#pragma once

#include <type_traits>

#include <rota/coro/task.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

template <class T>
struct task_record : task_state {
  explicit task_record(executor& runs_on) noexcept : task_state(&runs_on) {
    if (!std::is_trivially_destructible_v<typename task_outcome<T>::stored>)
      outcome.set_type(&task_outcome<T>::destroyer);
  }
  task_outcome<T> outcome;
};

template <class T>
task_outcome<T>& outcome_of(task_state& task) noexcept {
  return static_cast<task_record<T>&>(task).outcome;
}
inline outcome_base& outcome_of(task_state& task) noexcept { return *task.root().outcome; }

/// The exception with which a spawned task ended; null after success, and when it was cancelled before it began.
inline const std::exception_ptr* error_of(task_state& task) noexcept {
  const outcome_base& outcome = outcome_of(task);
  return outcome.has_exception() ? outcome.type()->error(&outcome) : nullptr;
}

}  // namespace rota::detail
