// The name and the number of a task, which every thread that knows it gives alike.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <rota/base/mutex_lock.hpp>
#include <rota/coro/cancellation.hpp>

namespace rota::detail {

/// Name and number of a task of a pool, which has a task_state on each strand that knows it, and goes by the same ones on all.
struct task_identity {
  task_identity() noexcept = default;
  task_identity(const task_identity&) = delete;
  task_identity& operator=(const task_identity&) = delete;
  ~task_identity() { delete name_.load(std::memory_order_relaxed); }

  static std::uint64_t new_number() noexcept {
    static constinit std::atomic<std::uint64_t> last{0};  // relaxed: nothing but uniqueness is wanted
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  /// The same for all who ask.
  std::uint64_t number() noexcept {
    std::uint64_t given = number_.load(std::memory_order_relaxed);
    if (given != 0) return given;
    const std::uint64_t made = new_number();
    return number_.compare_exchange_strong(given, made, std::memory_order_relaxed) ? made : given;
  }
  /// Throws std::bad_alloc.
  void set_name(const std::string& name) {
    auto* made = new std::string(name);
    const mutex_lock guard(names());
    delete name_.exchange(made, std::memory_order_relaxed);
  }
  /// What the others have said since: to what this one knows of the task.
  void tell(task_extras& extras) const {
    if (!name_.load(std::memory_order_relaxed)) return;  // as mostly
    const mutex_lock guard(names());
    if (const std::string* name = name_.load(std::memory_order_relaxed); name && *name != extras.name)
      extras.name = *name;
  }
  /// f(name, number): "" and 0 when nobody has given or asked for one.
  template <class F>
  void show(F f) const {
    const mutex_lock guard(names());
    const std::string* const name = name_.load(std::memory_order_relaxed);
    f(name ? name->c_str() : "", number_.load(std::memory_order_relaxed));
  }
  /// At the end of the task, for who keeps its outcome.
  void tell_last(task_state& task) noexcept {
    const std::uint64_t number = number_.load(std::memory_order_relaxed);
    if (number == 0 && !name_.load(std::memory_order_relaxed)) return;
    task_extras* const extras = extras_of(task);
    if (!extras) return;
    extras->id = number;
    try {
      tell(*extras);                   // whoever spawned it from below may name it still
    } catch (const std::bad_alloc&) {  // then reports show the number
    }
  }

 private:
  static pthread_mutex_t& names() noexcept {
    static constinit pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    return mutex;
  }

  std::atomic<std::uint64_t> number_{0};
  std::atomic<std::string*> name_{nullptr};  // what it leads to is under the mutex
};
/// Null for a task that one thread knows.
inline task_identity* shared_identity(task_state& task) noexcept {
  return task.has(task_state::finished) || !task.exec->is_strand() ? nullptr : task.exec->identity_of(task);
}

/// Unique in the process, given when somebody asks first, so that the others cost nothing. 0 without memory.
inline std::uint64_t id_of(task_state& task) noexcept {
  task_extras* extras = extras_of(task);
  if (!extras) return 0;
  if (extras->id == 0) {
    task_identity* const shared = shared_identity(task);
    extras->id = shared ? shared->number() : task_identity::new_number();
  }
  return extras->id;
}
/// Throws std::bad_alloc.
inline void set_name(task_state& task, std::string name) {
  task_extras* const extras = extras_of(task);
  if (!extras) throw std::bad_alloc();
  extras->name = std::move(name);
  if (task_identity* const shared = shared_identity(task)) shared->set_name(extras->name);
}
inline std::string_view name_of(task_state& task) {
  if (task_identity* const shared = shared_identity(task)) {
    task_extras* const extras = extras_of(task);
    if (extras) shared->tell(*extras);
  }
  const task_extras* const extras = task.extras();
  return extras ? std::string_view(extras->name) : std::string_view();
}

}  // namespace rota::detail
