// Who waits for a primitive that belongs to no loop: a fair queue for tasks of any executors, under a lock of its own.
//
// Like wait_list, with one difference: whoever gives something away does so on another thread. It takes the waiter out of
// the queue under the lock, from which moment the waiter has what it was given, and posts to the waiter's executor,
// which resumes it in its turn. A cancel comes on the waiter's own executor; it takes the waiter out, or finds it gone, and
// then does nothing, for the post is on its way (rule R2). So each wait ends once: by the post or by the cancel.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <cstddef>
#include <utility>

#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

class remote_wait_list;

/// A place in the list, part of an awaiter.
class remote_wait : public posted, public custom_wait {
 public:
  remote_wait(const remote_wait&) = delete;
  remote_wait& operator=(const remote_wait&) = delete;
  bool withdrawn() const noexcept { return withdrawn_; }

  std::size_t wants = 1;  // of what the primitive has

 protected:
  remote_wait() noexcept { run = &go_on; }
  ~remote_wait() {
    if (list_) [[unlikely]]
      destroyed_waiting();
  }
  void check() const {
    if (withdrawn_) [[unlikely]]
      throw_cancelled(*task_);
  }
  // For an await that finds its scope cancelled.
  bool withdraw_at_once(task_state& me, void* its_frame) noexcept {
    task_ = &me;
    withdrawn_ = true;
    return me.exec->takes_turns(its_frame);
  }

 private:
  friend remote_wait_list;

  // On its own executor.
  static void go_on(posted& self) noexcept {
    auto& wait = static_cast<remote_wait&>(self);
    wait.list_ = nullptr;
    make_ready(wait.frame);
  }
  static void withdraw(custom_wait& self) noexcept;
  [[noreturn]] void destroyed_waiting() const noexcept;

  task_state* task_ = nullptr;
  remote_wait_list* list_ = nullptr;  // its own executor's: the wait has not ended
  remote_wait* after_ = nullptr;      // under the list's lock
  remote_wait* before_ = nullptr;     // under the list's lock; in the first one the last
  bool is_in_ = false;                // under the list's lock
  bool withdrawn_ = false;
};

class remote_wait_list {
 public:
  /// `what` it is for, in messages; `withdrawn` is called, without the lock, after a cancel has taken a waiter out.
  explicit remote_wait_list(const char* what, void (*withdrawn)(remote_wait_list&) noexcept = nullptr) noexcept
      : what_(what), withdrawn_(withdrawn) {}
  remote_wait_list(const remote_wait_list&) = delete;
  remote_wait_list& operator=(const remote_wait_list&) = delete;
  /// Ends the program if somebody waits: it would wait for ever.
  ~remote_wait_list() {
    if (first_) [[unlikely]]
      trap("an any_thread::%s was destroyed while tasks waited for it", what_);
    pthread_mutex_destroy(&lock_);
  }

  pthread_mutex_t& lock() noexcept { return lock_; }
  const char* what() const noexcept { return what_; }

  // ---- under the lock

  bool empty() const noexcept { return first_ == nullptr; }
  remote_wait* first() const noexcept { return first_; }
  /// At the end. Whoever unlocks may have told the waiter's executor, so nothing of it is touched after that.
  void push(remote_wait& wait, task_state& me, void* its_frame) noexcept {
    wait.task_ = &me;
    wait.frame = its_frame;
    wait.cancel = &remote_wait::withdraw;
    wait.list_ = this;
    wait.is_in_ = true;
    wait.after_ = nullptr;
    if (first_) {
      wait.before_ = first_->before_;
      wait.before_->after_ = &wait;
      first_->before_ = &wait;
    } else {
      first_ = wait.before_ = &wait;
    }
    me.waits_for(static_cast<custom_wait*>(&wait), wait_kind::custom);
  }
  /// It has what it waited for; tell() it without the lock.
  void take_out(remote_wait& wait) noexcept {
    if (wait.after_)
      wait.after_->before_ = wait.before_;
    else
      first_->before_ = wait.before_;
    (first_ == &wait ? first_ : wait.before_->after_) = wait.after_;
    wait.is_in_ = false;
  }

  // ---- without it

  /// On any thread; the waiter may be gone when this returns.
  static void tell(posted& wait) noexcept { static_cast<remote_wait&>(wait).task_->exec->post(wait); }
  static void tell_all(posted_list& waits) noexcept {
    while (posted* wait = waits.pop()) tell(*wait);
  }

 private:
  friend remote_wait;

  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  remote_wait* first_ = nullptr;
  const char* what_;
  void (*withdrawn_)(remote_wait_list&) noexcept;
};

inline void remote_wait::withdraw(custom_wait& self) noexcept {
  auto& wait = static_cast<remote_wait&>(self);
  remote_wait_list& list = *wait.list_;
  {
    const mutex_lock guard(list.lock_);
    if (!wait.is_in_) return;
    list.take_out(wait);
  }
  wait.withdrawn_ = true;
  wait.list_ = nullptr;
  if (list.withdrawn_) list.withdrawn_(list);
  make_ready(wait.frame);  // last: another worker of a pool may resume it at once, and it may destroy the list
}

ROTA_COLD inline void remote_wait::destroyed_waiting() const noexcept {
  trap("%s, was destroyed while it waited for an any_thread::%s; a started task must be joined or cancelled",
       describe(*task_).c_str(), list_->what());
}

}  // namespace rota::detail
