// What a spawned task has besides its frame: its state, and its outcome.
#pragma once

#include <type_traits>

#include <rota/coro/task.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

template <class T>
struct task_record : task_state {
  task_record(executor& runs_on, void* root_frame) noexcept : task_state(&runs_on, root_frame) {
    record_class_ = frame_memory::record_class<sizeof(task_record)>;
    if (!std::is_trivially_destructible_v<typename task_outcome<T>::stored>)
      outcome.set_type(&task_outcome<T>::destroyer);
  }
  task_outcome<T> outcome;
};

template <class T>
task_outcome<T>& outcome_of(task_state& task) noexcept {
  return static_cast<task_record<T>&>(task).outcome;
}
/// The exception with which a task ended; null after success, and when it was cancelled before it began.
inline const std::exception_ptr* error_of(task_state& task) noexcept {
  const outcome_base& outcome = task.outcome();
  return outcome.has_exception() ? outcome.type()->error(&outcome) : nullptr;
}

}  // namespace rota::detail
