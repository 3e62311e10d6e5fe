// Who waits for something that belongs to no loop: a fair queue for tasks of any executors and for plain threads, under a
// lock of its own. Under all of any_thread.hpp and thread_channel.hpp.
//
// Like wait_list, with one difference: whoever gives something away does so on another thread. It takes the waiter out of
// the queue under the lock, from which moment the waiter has what it was given, and tells it without the lock: a task by a
// post to its executor, which resumes it in its turn, a thread by waking it. A cancel comes on the waiter's own executor; it
// takes the waiter out, or finds it gone, and then does nothing, for the post is on its way (rule R2). So each wait ends
// once: by the post or by the cancel.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <cstddef>
#include <utility>

#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/base/thread_parker.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

class remote_wait_list;

/// A place in the list, part of an awaiter or on a thread's stack.
class remote_wait : public posted, public custom_wait {
 public:
  remote_wait() noexcept { run = &go_on; }
  remote_wait(const remote_wait&) = delete;
  remote_wait& operator=(const remote_wait&) = delete;
  bool withdrawn() const noexcept { return withdrawn_; }

  std::size_t wants = 1;  // of what the primitive has

 protected:
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

  task_state* task_ = nullptr;        // null: a plain thread
  thread_parker* thread_ = nullptr;   // which sleeps here
  remote_wait_list* list_ = nullptr;  // its own executor's: the wait has not ended
  remote_wait* after_ = nullptr;      // under the list's lock
  remote_wait* before_ = nullptr;     // under the list's lock; in the first one the last
  bool is_in_ = false;                // under the list's lock
  bool withdrawn_ = false;
};

class remote_wait_list {
 public:
  /// `what` it is for, in messages: "any_thread::mutex"; `withdrawn` is called, without the lock, after a cancel has taken a
  /// waiter out.
  explicit remote_wait_list(const char* what, void (*withdrawn)(remote_wait_list&) noexcept = nullptr) noexcept
      : what_(what), withdrawn_(withdrawn) {}
  /// Under the other one's lock.
  remote_wait_list(const char* what, remote_wait_list& other, void (*withdrawn)(remote_wait_list&) noexcept) noexcept
      : lock_(&other.own_lock_), what_(what), withdrawn_(withdrawn) {}
  remote_wait_list(const remote_wait_list&) = delete;
  remote_wait_list& operator=(const remote_wait_list&) = delete;
  /// Ends the program if somebody waits: it would wait for ever.
  ~remote_wait_list() {
    if (first_) [[unlikely]]
      trap("an %s was destroyed while tasks waited for it", what_);
    pthread_mutex_destroy(&own_lock_);
  }

  pthread_mutex_t& lock() noexcept { return *lock_; }
  const char* what() const noexcept { return what_; }

  // ---- under the lock

  bool empty() const noexcept { return first_ == nullptr; }
  remote_wait* first() const noexcept { return first_; }
  std::size_t size() const noexcept {
    std::size_t n = 0;
    for (const remote_wait* wait = first_; wait; wait = wait->after_) ++n;
    return n;
  }
  /// At the end. Whoever unlocks may have told the waiter's executor, so nothing of it is touched after that.
  void push(remote_wait& wait, task_state& me, void* its_frame) noexcept {
    wait.task_ = &me;
    wait.frame = its_frame;
    wait.cancel = &remote_wait::withdraw;
    wait.list_ = this;
    append(wait);
    me.waits_for(static_cast<custom_wait*>(&wait), wait_kind::custom);
  }
  /// The same for a plain thread, which then sleeps there, without the lock.
  void push(remote_wait& wait, thread_parker& sleeps) noexcept {
    wait.thread_ = &sleeps;
    append(wait);
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
  static void tell(posted& told) noexcept {
    auto& wait = static_cast<remote_wait&>(told);
    if (wait.task_)
      wait.task_->exec->post(wait);
    else
      wait.thread_->wake();
  }

 private:
  friend remote_wait;

  void append(remote_wait& wait) noexcept {
    wait.is_in_ = true;
    wait.after_ = nullptr;
    if (first_) {
      wait.before_ = first_->before_;
      wait.before_->after_ = &wait;
      first_->before_ = &wait;
    } else {
      first_ = wait.before_ = &wait;
    }
  }

  pthread_mutex_t own_lock_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_t* const lock_ = &own_lock_;
  remote_wait* first_ = nullptr;
  const char* what_;
  void (*withdrawn_)(remote_wait_list&) noexcept;
};

/// Holds the lock, and then tells those that were taken out meanwhile, who may be gone, and what they waited for with them, as
/// soon as they were told.
class remote_telling {
 public:
  explicit remote_telling(remote_wait_list& of) noexcept : lock_(of.lock()) { pthread_mutex_lock(&lock_); }
  remote_telling(const remote_telling&) = delete;
  remote_telling& operator=(const remote_telling&) = delete;
  ~remote_telling() {
    pthread_mutex_unlock(&lock_);
    while (posted* one = told_.pop()) remote_wait_list::tell(*one);
  }
  void grant(remote_wait_list& from, remote_wait& wait) noexcept {
    from.take_out(wait);
    told_.push(wait);
  }

 private:
  pthread_mutex_t& lock_;
  posted_list told_;
};

/// The base of an awaiter. Wait is a remote_wait; Self has list() and, under the list's lock, get(telling): true when it
/// need not wait; and may have get_at_once(), without the lock.
template <class Self, class Wait = remote_wait>
class remote_await : public Wait {
 public:
  using Wait::Wait;

  bool await_ready() const noexcept { return false; }
  // Out of line, and nothing is touched when another thread may have the frame: clang 16 keeps locals of an inlined one there.
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    if (me.is_cancelled()) [[unlikely]]
      return this->withdraw_at_once(me, handle.address());
    if (static_cast<Self&>(*this).get_at_once()) [[likely]]
      return me.exec->takes_turns(handle.address());
    return wait(me, handle.address());
  }

 protected:
  bool get_at_once() noexcept { return false; }

 private:
  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    {
      Self& self = static_cast<Self&>(*this);
      remote_telling telling(self.list());
      if (!self.get(telling)) {
        self.list().push(self, me, its_frame);
        return true;
      }
    }
    return me.exec->takes_turns(its_frame);
  }
};

inline void remote_wait::withdraw(custom_wait& self) noexcept {
  auto& wait = static_cast<remote_wait&>(self);
  remote_wait_list& list = *wait.list_;
  {
    const mutex_lock guard(list.lock());
    if (!wait.is_in_) return;
    list.take_out(wait);
  }
  wait.withdrawn_ = true;
  wait.list_ = nullptr;
  if (list.withdrawn_) list.withdrawn_(list);
  make_ready(wait.frame);  // last: another worker of a pool may resume it at once, and it may destroy the list
}

ROTA_COLD inline void remote_wait::destroyed_waiting() const noexcept {
  trap("%s, was destroyed while it waited for an %s; a started task must be joined or cancelled",
       describe(*task_).c_str(), list_->what());
}

}  // namespace rota::detail
