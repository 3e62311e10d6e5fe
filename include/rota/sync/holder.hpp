// Who has a lock or a token, and since which line: for messages.
#pragma once

#include <source_location>
#include <type_traits>

#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

/// For who writes m.unlock(), or gives m to a std::lock_guard, which would: says in one line what to write instead.
class unlocked_by_a_guard {
 public:
  template <class Never = void>
  void unlock() {
    static_assert(
        !std::is_void_v<Never>,
        "rota's mutexes are locked by an await, and unlocked by the guard that it gives: auto guard = co_await "
        "m.lock(); what std::lock_guard and std::unique_lock take is a rota::sync_mutex");
  }
  template <class Never = void>
  void unlock_shared() {
    static_assert(
        !std::is_void_v<Never>,
        "rota's mutexes are locked by an await, and unlocked by the guard that it gives: auto guard = co_await "
        "m.lock_shared()");
  }
};

/// What stands between a task and the thing that it has, a guard, may be moved, to another task even; then only the line is
/// known. The same holds for one that lies in no frame of the task, which would destroy it at its end: of
/// new guard(m.try_lock()), where nothing is moved, nobody knows whose it is later, and a new task may lie where the old one
/// was.
class holder {
 public:
  bool empty() const noexcept { return since_ == nullptr; }
  bool is(const task_state& task) const noexcept { return task_ == &task; }
  void set(task_state* task, line_mark since) noexcept {
    task_ = task;
    since_ = since;
  }
  /// The guard was made at this address; `in_frame` lies in the frame that it should be in.
  void guard_is_at(const void* guard, const void* in_frame) noexcept {
    if (!frame_memory::may_be_near(guard, in_frame)) [[unlikely]]
      was_moved();
  }
  void was_moved() noexcept { task_ = nullptr; }
  void clear() noexcept { since_ = nullptr; }

  /// "task 'importer', last at cache.cpp:50, since cache.cpp:42", "somebody, since cache.cpp:42", "nobody".
  ROTA_COLD description describe() const noexcept {
    description text;
    if (empty()) {
      text.add("nobody");
      return text;
    }
    task_state* const task = living_task();
    const std::source_location since = source_line(since_);
    text.add("%s, since %s:%u", task ? detail::describe(*task).c_str() : "somebody", since.file_name(),
             static_cast<unsigned>(since.line()));
    return text;
  }

 private:
  // A task that has ended may have left what it had to something that outlives it. To know of that would cost every
  // lock something; to look through all tasks costs only the message.
  task_state* living_task() const noexcept {
    task_state* const here = running_task();
    if (!here || !task_) return nullptr;
    scope_node* root = here;
    while (root->parent()) root = root->parent();
    task_state* found = nullptr;
    scope_tree::for_each_task(*root, [&](task_state& task) {
      if (&task == task_) found = &task;
    });
    return found;
  }

  task_state* task_ = nullptr;
  line_mark since_ = nullptr;
};

}  // namespace rota::detail
