// Who owns spawned tasks: a scope whose children report their end. The loop's root, a server, a group.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>
#include <utility>

#include <rota/coro/cancellation.hpp>

namespace rota::detail {

/// No child outlives its owner: the owner is destroyed only when `children` is 0.
class task_owner : public open_scope {
 public:
  explicit task_owner(std::uint32_t flags = 0) noexcept : open_scope(is_owner | flags) {}
  virtual ~task_owner() { ROTA_ASSERT(children == 0); }

  /// A child has failed or was cancelled (task_state::was_cancelled, error_of(child)); with the flag sees_success, or
  /// has ended in any way. It has left the tree already, its frame is destroyed later unless somebody refers to it.
  virtual void child_ended(task_state& child) noexcept = 0;

  /// False: one child may end all of it.
  virtual bool needs_all_children() const noexcept { return true; }

  bool sees_every_end() const noexcept { return has(sees_success); }

  /// Hangs the owner into the scopes of a task without making it the task's current scope.
  void attach(task_state& task) noexcept {
    host = &task;
    link(*task.current);
  }
  void detach() noexcept { unlink(); }

  void one_less() noexcept {
    --children;
    if (waiter && children < wake_below) [[unlikely]]
      make_ready(std::exchange(waiter, nullptr)->frame);
  }

  std::size_t children = 0;
  std::size_t wake_below = 0;  // `waiter` goes on when fewer children than this are left
  custom_wait* waiter = nullptr;
};

/// Waits until an owner has fewer than `limit` children. A cancel ends the wait only if `cancellable`.
class [[nodiscard(ROTA_UNAWAITED)]] children_awaiter {
 public:
  children_awaiter(task_owner& owner, std::size_t limit, bool cancellable) noexcept
      : owner_(owner), limit_(limit), cancellable_(cancellable) {}
  children_awaiter(const children_awaiter&) = delete;
  children_awaiter& operator=(const children_awaiter&) = delete;

  bool await_ready() const noexcept { return owner_.children < limit_; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_ = &suspend_at(handle, where);
    if (cancellable_ && task_->is_cancelled()) {
      withdrawn_ = true;
      return false;
    }
    wait_.me = this;
    wait_.frame = handle.address();
    if (cancellable_) wait_.cancel = &withdraw;
    owner_.wake_below = limit_;
    owner_.waiter = &wait_;
    task_->waits_for(static_cast<custom_wait*>(&wait_), wait_kind::custom);
    return true;
  }
  void await_resume() {
    if (withdrawn_) throw_cancelled(*task_);
  }

 private:
  struct wait : custom_wait {
    children_awaiter* me = nullptr;
  };
  static void withdraw(custom_wait& w) noexcept {
    children_awaiter& self = *static_cast<wait&>(w).me;
    self.withdrawn_ = true;
    self.owner_.waiter = nullptr;
    make_ready(w.frame);
  }

  task_owner& owner_;
  std::size_t limit_;
  bool cancellable_;
  bool withdrawn_ = false;
  task_state* task_ = nullptr;
  wait wait_;
};

/// Gives the state of the task that awaits it, without suspending.
class [[nodiscard(ROTA_UNAWAITED)]] this_state_awaiter {
 public:
  this_state_awaiter() noexcept = default;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_ = &suspend_at(handle, where);
    return false;
  }
  task_state& await_resume() const noexcept { return *task_; }

 private:
  task_state* task_ = nullptr;
};

inline task_owner& owner_of(task_state& task) noexcept { return static_cast<task_owner&>(*task.parent()); }

}  // namespace rota::detail
