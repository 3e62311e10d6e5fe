// What lies behind the frame of a spawned task: its state, and its outcome.
#pragma once

#include <type_traits>

#include <rota/coro/task.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

template <class T>
struct task_record : task_state {
  explicit task_record(executor& runs_on) noexcept : task_state(runs_on) {
    outcome.destroy_result =
        std::is_trivially_destructible_v<typename task_outcome<T>::stored> ? nullptr : &task_outcome<T>::destroy;
  }
  task_outcome<T> outcome;
};

template <class T>
task_outcome<T>& outcome_of(task_state& task) noexcept {
  return static_cast<task_record<T>&>(task).outcome;
}
// The same place for every T: alignof(task_record<T>) is at most 16, and so is what task_state ends at.
inline outcome_base& outcome_of(task_state& task) noexcept {
  static_assert(sizeof(task_state) % 16 == 0);
  return *reinterpret_cast<outcome_base*>(reinterpret_cast<char*>(&task) + sizeof(task_state));
}

}  // namespace rota::detail
