// condition_variable: tasks of one loop wait, under a mutex, until a condition may have come true.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/mutex.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
class condition_wait;
template <class Pred>
task<> wait_until_true(condition_variable& condition, mutex::guard& guard, Pred pred, line_mark where);
}  // namespace detail

/// For tasks of one loop; no allocation. Who waits first is notified first. A notification that comes while nobody waits
/// is lost: look at the condition first, which wait(guard, pred) does.
class condition_variable {
 public:
  condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;
  // Destroyed while somebody waits, it ends the program.

  /// Unlocks, waits for a notification, and locks again, behind those who wait for the mutex already. The guard holds the
  /// mutex again however the wait ends: a cancelled one throws when it has the lock, and has taken nobody's notification.
  /// Whoever was notified before the cancel returns (rule R2). Without a lock: usage_error (not_held).
  [[nodiscard(ROTA_UNAWAITED)]] detail::condition_wait wait(mutex::guard& guard,
                                                            detail::line_mark where = ROTA_CALLERS_LINE);
  /// Until pred(), which is called under the lock, says true; at once when it does so now. A named callable is kept by
  /// reference and must live until the wait ends.
  template <std::predicate Pred>
  task<> wait(mutex::guard& guard, Pred&& pred, detail::line_mark where = ROTA_CALLERS_LINE) {
    ROTA_REFUSE_OWNING_CLOSURE(Pred);
    detail::refuse_empty(pred, "condition_variable::wait()");
    return detail::wait_until_true<Pred>(*this, guard, std::forward<Pred>(pred), where);
  }

  /// Tasks, and callbacks of the loop; with the mutex locked or not.
  void notify_one() noexcept {
    waiters_.used_here();
    if (detail::waiter* next = waiters_.claim_first()) waiters_.grant(*next);
  }
  void notify_all() noexcept {
    waiters_.used_here();
    waiters_.grant_all();
  }

  /// How many tasks wait for a notification.
  std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  friend detail::condition_wait;

  detail::wait_list waiters_{"condition variable"};
};

namespace detail {

// It waits in the list of the condition, then in that of the mutex.
class [[nodiscard(ROTA_UNAWAITED)]] condition_wait : public list_wait {
 public:
  explicit condition_wait(wait_list& list, mutex& m, line_mark called_at) noexcept
      : list_wait(&notified, &cancelled_early), list_(list), mutex_(m), called_at_(called_at) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    const bool suspends = wait_in(list_, begin_at(handle, called_at_, list_), handle.address());
    if (!withdrawn()) mutex_.release();
    return suspends;
  }
  void await_resume() const { check(); }

  // For select.
  bool try_now() noexcept { return false; }
  wait_list& list() noexcept { return list_; }
  const void* channel() const noexcept { return &list_; }
  const void* lets_go_of() const noexcept { return &mutex_; }
  void let_go() noexcept {
    has_let_go_ = true;
    mutex_.release();
  }
  bool has_let_go() const noexcept { return has_let_go_; }
  /// `locked` is called when the mutex is held again, perhaps before this returns.
  void lock_again(grant_function locked) noexcept {
    has_let_go_ = false;
    granted = locked;
    mutex_.lock_for(*this);
  }

 private:
  static rest_of_grant* notified(waiter& self) noexcept {
    static_cast<condition_wait&>(self).lock();
    return nullptr;
  }
  static void cancelled_early(custom_wait& self) noexcept {
    auto& wait = static_cast<condition_wait&>(self);
    wait.list_.remove(wait);
    wait.withdrawn_ = true;
    wait.lock();
  }
  void lock() noexcept {
    cancel = nullptr;  // from here on only the lock counts
    granted = &go_on;
    mutex_.lock_for(*this);
  }

  wait_list& list_;
  mutex& mutex_;
  line_mark called_at_;  // the user's line, also when wait_until_true() awaits
  bool has_let_go_ = false;
};

template <class Pred>
task<> wait_until_true(condition_variable& condition, mutex::guard& guard, Pred pred, line_mark where) {
  bool is_true = pred();
  while (!is_true) {
    co_await condition.wait(guard, where);
    is_true = pred();
  }
}

}  // namespace detail

inline detail::condition_wait condition_variable::wait(mutex::guard& guard, detail::line_mark where) {
  if (!guard) [[unlikely]]
    throw usage_error(usage_error::kind::not_held,
                      "a condition variable was waited for with a guard that holds no mutex");
  return detail::condition_wait(waiters_, *guard.mutex_, where);
}

}  // namespace rota
