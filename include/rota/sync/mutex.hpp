// mutex: one task of a loop at a time.
#pragma once

#include <coroutine>
#include <cstddef>
#include <string>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/holder.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

class condition_variable;

namespace detail {
class mutex_awaiter;
class condition_wait;

/// The lock itself: whoever has the guard has the mutex. May be moved, to another task even.
template <class Mutex>
class [[nodiscard("a guard that is dropped unlocks at once")]] mutex_guard {
 public:
  /// Holds nothing.
  mutex_guard() noexcept = default;
  mutex_guard(mutex_guard&& other) noexcept { take_over(other); }
  mutex_guard& operator=(mutex_guard&& other) noexcept {
    if (this != &other) {
      if (mutex_) mutex_->release();
      take_over(other);
    }
    return *this;
  }
  ~mutex_guard() {
    if (mutex_) mutex_->release();
  }

  /// Before the end of the guard's life. Throws usage_error (not_held) when the guard holds nothing.
  void unlock() {
    if (!mutex_) [[unlikely]]
      throw usage_error(usage_error::kind::not_held, "unlock() of a guard that holds no mutex");
    std::exchange(mutex_, nullptr)->release();
  }
  bool owns_lock() const noexcept { return mutex_ != nullptr; }
  explicit operator bool() const noexcept { return owns_lock(); }

 private:
  friend Mutex;
  friend typename Mutex::awaiter;
  friend condition_variable;
  mutex_guard(Mutex& locked, const void* in_frame) noexcept : mutex_(&locked) { locked.guard_is_at(this, in_frame); }

  void take_over(mutex_guard& other) noexcept {
    mutex_ = std::exchange(other.mutex_, nullptr);
    if (mutex_) mutex_->guard_was_moved();
  }

  Mutex* mutex_ = nullptr;
};

}  // namespace detail

/// For what must not be interrupted by other tasks although it awaits in between; code without an await needs no lock.
/// For tasks of one loop. Exact FIFO: an unlock hands the lock to whoever has waited longest. No allocation.
class mutex : public detail::unlocked_by_a_guard {
 public:
  using guard = detail::mutex_guard<mutex>;

  mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  /// Ends the program when the mutex is locked.
  ~mutex() {
    if (is_locked()) [[unlikely]]
      destroyed_locked();
  }

  /// `auto guard = co_await m.lock();`. Throws rota::cancelled, without the lock; usage_error (would_deadlock) when this
  /// task has the lock already. A cancel that comes after the lock was handed over lets the task have it (rule R2).
  [[nodiscard(ROTA_UNAWAITED)]] detail::mutex_awaiter lock() noexcept;
  /// An empty guard when the mutex is locked. Tasks, and callbacks of the loop.
  [[nodiscard]] guard try_lock(detail::line_mark where = ROTA_CALLERS_LINE) noexcept;

  bool is_locked() const noexcept { return !holder_.empty(); }
  /// For people: "task 'importer', last at cache.cpp:50, since cache.cpp:42"; "nobody". When the guard was moved, "somebody".
  std::string holder() const { return holder_.describe().c_str(); }
  /// How many tasks wait for it.
  std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  using awaiter = detail::mutex_awaiter;
  friend guard;
  friend awaiter;
  friend detail::condition_wait;

  void guard_is_at(const void* it, const void* in_frame) noexcept { holder_.guard_is_at(it, in_frame); }
  void guard_was_moved() noexcept {
    waiters_.used_here();
    holder_.was_moved();
  }
  void release() noexcept {
    waiters_.used_here();
    if (waiters_.empty()) [[likely]]
      holder_.clear();
    else
      hand_over();
  }
  ROTA_NOINLINE void hand_over() noexcept {
    if (waiters_.has_shared()) [[unlikely]]
      return hand_over_shared();
    hand_over_to(*waiters_.first());
  }
  ROTA_COLD void hand_over_shared() noexcept {
    if (detail::waiter* const next = waiters_.claim_first())
      hand_over_to(*next);
    else
      holder_.clear();
  }
  void hand_over_to(detail::waiter& next) noexcept {
    now_holds(static_cast<detail::list_wait&>(next));
    waiters_.grant(next);
  }
  void now_holds(detail::list_wait& wait) noexcept {
    holder_.set(wait.task, detail::line_mark_of(detail::promise_of(wait.frame).waits_at));
  }
  // For who waited for something else meanwhile.
  void lock_for(detail::list_wait& wait) {
    if (is_locked()) return waiters_.push(wait);
    now_holds(wait);
    waiters_.finish(wait.granted(wait));
  }
  [[noreturn]] ROTA_COLD void refuse_own(detail::task_state& task) const {
    detail::throw_usage_error(usage_error::kind::would_deadlock,
                              "%s, waits for a mutex that it has locked itself: held by %s",
                              detail::describe(task).c_str(), holder_.describe().c_str());
  }
  [[noreturn]] ROTA_COLD void destroyed_locked() const noexcept {
    detail::trap("a mutex was destroyed while it was held by %s, and %zu waited for it", holder_.describe().c_str(),
                 waiting());
  }

  detail::wait_list waiters_{"mutex"};
  detail::holder holder_;
};

namespace detail {

class [[nodiscard(ROTA_UNAWAITED)]] mutex_awaiter : public list_wait {
 public:
  explicit mutex_awaiter(mutex& m) noexcept : mutex_(m) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, mutex_.waiters_);
    if (!mutex_.is_locked() && !me.is_cancelled()) [[likely]] {
      mutex_.holder_.set(&me, where);
      return me.exec->takes_turns(handle.address());
    }
    return wait(me, handle.address());
  }
  mutex::guard await_resume() {
    check();
    return mutex::guard(mutex_, this);
  }

  // For select.
  bool try_now() {
    if (mutex_.is_locked()) {
      refuse_own(*task);
      return false;
    }
    mutex_.now_holds(*this);
    return true;
  }
  wait_list& list() noexcept { return mutex_.waiters_; }
  const void* channel() const noexcept { return &mutex_; }

 private:
  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    refuse_own(me);
    return wait_in(mutex_.waiters_, me, its_frame);
  }
  void refuse_own(task_state& me) const {
    if (mutex_.is_locked() && mutex_.holder_.is(me)) mutex_.refuse_own(me);
  }

  mutex& mutex_;
};

}  // namespace detail

inline detail::mutex_awaiter mutex::lock() noexcept { return detail::mutex_awaiter(*this); }

inline mutex::guard mutex::try_lock(detail::line_mark where) noexcept {
  waiters_.used_here();
  if (is_locked()) return guard();
  detail::task_state* const task = detail::running_task();
  holder_.set(task, where);
  return guard(*this, task ? task->frame() : nullptr);  // its outermost frame; of the others we do not know
}

}  // namespace rota
