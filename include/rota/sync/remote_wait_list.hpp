// Who waits for something that belongs to no loop: a fair queue for tasks of any executors and for plain threads, under a
// lock of its own. Under all of any_thread.hpp and thread_channel.hpp.
//
// Like wait_list, with one difference: whoever gives something away does so on another thread. It takes the waiter out of
// the queue under the lock, from which moment the waiter has what it was given, and tells it without the lock: a task by a
// post to its executor, which resumes it in its turn, a thread by waking it. A cancel comes on the waiter's own executor; it
// takes the waiter out, or finds it gone, and then does nothing, for the post is on its way (rule R2). So each wait ends
// once: by the post or by the cancel.
//
// Some waiters are cases of a select (select_decision.hpp). So a giver claims a waiter before it gives it anything; one
// that has lost is taken out, and whoever does that serves the next one.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/base/thread_parker.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/select_decision.hpp>

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

  // Under the lock of the list in which it stands, or is about to.

  /// True: it can still be given something, which must follow.
  bool claim() noexcept { return select_decision::claim(decision_, case_); }
  static bool claim_both(remote_wait& a, remote_wait& b) noexcept {
    return select_decision::claim_both(a.decision_, a.case_, b.decision_, b.case_);
  }
  bool has_lost() noexcept { return decision_ && decision_->is_made(); }

  // For select, on its executor.

  select_decision& decision() const noexcept { return *decision_; }
  /// Out of the list, if it is still in one: which is then to be told that it was withdrawn, by who holds no lock.
  remote_wait_list* leave() noexcept;
  /// The wait is over, and the list may be gone.
  void has_ended() noexcept { list_ = nullptr; }

 protected:
  ~remote_wait() {
    if (list_) [[unlikely]]
      destroyed_waiting();
  }
  void check() const {
    if (withdrawn_) [[unlikely]]
      throw_cancelled(*task_);
  }
  void becomes_case(task_state& me, select_decision& decision, std::uint32_t index,
                    void (*granted)(posted&) noexcept) noexcept {
    task_ = &me;
    decision_ = &decision;
    case_ = index;
    run = granted;
  }
  template <class Get>
  bool claim_if(Get get) {
    return decision_->claim_if(case_, get);
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

  task_state* task_ = nullptr;           // null: a plain thread
  thread_parker* thread_ = nullptr;      // which sleeps here
  remote_wait_list* list_ = nullptr;     // its own executor's: the wait has not ended
  select_decision* decision_ = nullptr;  // set before it is in a list
  std::uint32_t case_ = 0;
  remote_wait* after_ = nullptr;   // under the list's lock
  remote_wait* before_ = nullptr;  // under the list's lock; in the first one the last
  bool is_in_ = false;             // under the list's lock
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
  /// The same for a case of a select, which waits by itself.
  void push(remote_wait& wait) noexcept {
    wait.list_ = this;
    append(wait);
  }
  /// The same for a plain thread, which then sleeps there, without the lock.
  void push(remote_wait& wait, thread_parker& sleeps) noexcept {
    wait.thread_ = &sleeps;
    append(wait);
  }
  /// The first one that can still be given something, which must follow. Null: nobody is left.
  remote_wait* claim_first() noexcept {
    while (first_ && !claim(*first_)) {
    }
    return first_;
  }
  /// The same for one who is in the list. False: it has something else, and is out.
  bool claim(remote_wait& wait) noexcept {
    const bool is_ours = wait.claim();
    if (!is_ours) take_out(wait);
    return is_ours;
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

  /// A cancel, or a select, has taken a waiter out.
  void tell_withdrawn() noexcept {
    if (withdrawn_) withdrawn_(*this);
  }
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
  /// It was claimed.
  void grant(remote_wait_list& from, remote_wait& wait) noexcept {
    from.take_out(wait);
    told_.push(wait);
  }

 private:
  pthread_mutex_t& lock_;
  posted_list told_;
};

/// The base of an awaiter. Wait is a remote_wait; Self has list() and, under the list's lock, get(telling): true when it
/// need not wait; and may have get_at_once(), without the lock, and what else select wants in its own way.
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

  // For select.

  remote_wait_list& place() noexcept { return static_cast<Self&>(*this).list(); }
  /// False: it would have to wait. What can be done at once is done.
  bool try_now() { return static_cast<Self&>(*this).get_now(); }
  /// Stands in the list from here on; `granted` is posted when this case has won. False: it need not, the select has
  /// decided, for this case or another one.
  ROTA_NOINLINE bool stand(task_state& me, select_decision& decision, std::uint32_t index,
                           void (*granted)(posted&) noexcept) {
    Self& self = static_cast<Self&>(*this);
    remote_telling telling(self.list());
    this->becomes_case(me, decision, index, granted);
    if (self.get_as_case(telling)) return false;
    self.list().push(self);
    return true;
  }

 protected:
  bool get_at_once() noexcept { return false; }
  bool get_now() {
    Self& self = static_cast<Self&>(*this);
    remote_telling telling(self.list());
    return self.get(telling);
  }
  bool get_as_case(remote_telling& telling) {
    return this->claim_if([&] { return static_cast<Self&>(*this).get(telling); });
  }

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

inline remote_wait_list* remote_wait::leave() noexcept {
  if (!list_) return nullptr;
  const mutex_lock guard(list_->lock());
  if (!is_in_) return nullptr;
  list_->take_out(*this);
  return std::exchange(list_, nullptr);
}

inline void remote_wait::withdraw(custom_wait& self) noexcept {
  auto& wait = static_cast<remote_wait&>(self);
  remote_wait_list* const left = wait.leave();
  if (!left) return;
  wait.withdrawn_ = true;
  left->tell_withdrawn();
  make_ready(wait.frame);  // last: another worker of a pool may resume it at once, and it may destroy the list
}

ROTA_COLD inline void remote_wait::destroyed_waiting() const noexcept {
  trap("%s, was destroyed while it waited for an %s; a started task must be joined or cancelled",
       describe(*task_).c_str(), list_->what());
}

}  // namespace rota::detail
