// Any thread: mutex, semaphore and event for tasks of several loops and pools. Within one loop those of rota:: are
// cheaper, and say more when something is wrong.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/mutex.hpp>
#include <rota/sync/remote_wait_list.hpp>
#include <rota/sync/semaphore.hpp>

namespace rota::any_thread {

class mutex;
class semaphore;
class event;

}  // namespace rota::any_thread

namespace rota::detail {
class remote_mutex_awaiter;
class remote_semaphore_awaiter;
class remote_event_awaiter;
}  // namespace rota::detail

namespace rota::any_thread {

/// Any thread. Locked by tasks of any executors, each of which resumes on its own. Exact FIFO among those that wait. Without
/// contention one atomic operation each to lock and to unlock; no allocation.
///
/// What the holder wrote before it unlocked is seen by the next one. Unlike rota::mutex it does not know its holder: a task
/// that locks twice waits for ever.
class mutex {
 public:
  using guard = detail::mutex_guard<mutex>;

  mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  /// Ends the program when the mutex is locked.
  ~mutex() {
    if (is_locked()) [[unlikely]]
      detail::trap("an any_thread::mutex was destroyed while it was locked");
  }

  /// `auto guard = co_await m.lock();`. Throws rota::cancelled, without the lock.
  [[nodiscard]] detail::remote_mutex_awaiter lock() noexcept;
  /// An empty guard when the mutex is locked. Plain threads, too.
  [[nodiscard]] guard try_lock() noexcept;
  /// A moment's view.
  bool is_locked() const noexcept { return state_.load(std::memory_order_relaxed) != free; }

 private:
  using awaiter = detail::remote_mutex_awaiter;
  friend guard;
  friend awaiter;

  // free -> locked -> free without the list's lock. `contended`, somebody waits or has waited, is entered and left under
  // it, so that an unlock that finds it finds the waiters, too; and while there are any, the state is not `free`: nobody
  // can come between.
  enum state : std::uint32_t { free, locked, contended };

  bool try_take() noexcept {
    std::uint32_t expected = free;
    return state_.compare_exchange_strong(expected, locked, std::memory_order_acquire, std::memory_order_relaxed);
  }
  // Under the list's lock. False: the caller has the mutex now.
  bool mark_contended() noexcept {
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    for (;;) {
      if (seen == contended) return true;
      const std::uint32_t next = seen == free ? locked : contended;
      if (state_.compare_exchange_weak(seen, next, std::memory_order_acquire, std::memory_order_relaxed))
        return next == contended;
    }
  }
  void guard_is_at(const void*, const void*) noexcept {}
  void guard_was_moved() noexcept {}
  // Whoever gets it next may destroy it: the last access is the one that sets it free, or that of the list's lock after
  // which the waiter is told.
  void release() noexcept {
    for (;;) {
      std::uint32_t expected = locked;
      if (state_.compare_exchange_strong(expected, free, std::memory_order_release, std::memory_order_relaxed))
          [[likely]]
        return;
      if (hand_over()) return;
    }
  }
  // False: those that waited were cancelled, and the state is `locked` again.
  ROTA_NOINLINE bool hand_over() noexcept {
    detail::remote_wait* next = nullptr;
    {
      const detail::mutex_lock under_lock(waiters_.lock());
      next = waiters_.first();
      if (next)
        waiters_.take_out(*next);
      else
        state_.store(locked, std::memory_order_relaxed);
    }
    if (next) detail::remote_wait_list::tell(*next);
    return next != nullptr;
  }

  detail::remote_wait_list waiters_{"mutex"};
  detail::atomic<std::uint32_t> state_{free};
};

/// Any thread. A stock of permits for tasks of any executors. Exact FIFO, for requests of any size; no allocation.
class semaphore : detail::remote_wait_list {
 public:
  using permits = detail::held_permits<semaphore>;

  explicit semaphore(std::size_t available) noexcept
      : remote_wait_list("semaphore", [](remote_wait_list& self) noexcept { static_cast<semaphore&>(self).serve(0); }),
        available_(available),
        there_are_(available) {}
  // Destroyed while somebody waits, it ends the program. Whoever holds permits must not outlive it.

  /// `auto permits = co_await s.acquire(n);`. Throws rota::cancelled, without permits.
  [[nodiscard]] detail::remote_semaphore_awaiter acquire(std::size_t n = 1) noexcept;
  /// Holds nothing when there are too few or somebody waits. Plain threads, too.
  [[nodiscard]] permits try_acquire(std::size_t n = 1) noexcept {
    const detail::mutex_lock under_lock(lock());
    return try_take(n) ? permits(*this, n) : permits();
  }
  /// Adds permits: those that permits::forget() took out, or new ones. Plain threads, too. Throws usage_error (not_held), and
  /// adds none, when there would be more than SIZE_MAX, in stock and held together.
  void release(std::size_t n = 1) {
    detail::posted_list served;
    {
      const detail::mutex_lock under_lock(lock());
      if (n > SIZE_MAX - there_are_) [[unlikely]]
        throw usage_error(usage_error::kind::not_held, "more permits than an any_thread::semaphore can have");
      there_are_ += n;
      put_back(n, served);
    }
    tell_all(served);
  }
  /// A moment's view.
  std::size_t available() noexcept {
    const detail::mutex_lock under_lock(lock());
    return available_;
  }

 private:
  using awaiter = detail::remote_semaphore_awaiter;
  friend permits;
  friend awaiter;

  // Under the lock.
  bool try_take(std::size_t n) noexcept {
    if (n > available_ || !empty()) return false;
    available_ -= n;
    return true;
  }
  void give_back(std::size_t n) noexcept { serve(n); }
  void forget(std::size_t n) noexcept {
    const detail::mutex_lock under_lock(lock());
    there_are_ -= n;
  }
  void serve(std::size_t more) noexcept {
    detail::posted_list served;
    {
      const detail::mutex_lock under_lock(lock());
      put_back(more, served);
    }
    tell_all(served);
  }
  // Under the lock. From the front, whoever may have what there is.
  void put_back(std::size_t n, detail::posted_list& served) noexcept {
    available_ += n;
    while (!empty() && first()->wants <= available_) {
      detail::remote_wait& next = *first();
      available_ -= next.wants;
      take_out(next);
      served.push(next);
    }
  }

  std::size_t available_;
  std::size_t there_are_;  // available or held
};

/// Any thread. Something has happened; tasks of any executors wait for it. No allocation. What was written before set() is
/// seen by whoever passes, and by whoever sees it set, who may destroy the event at once, though set() has not returned.
class event {
 public:
  event() noexcept = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  // Destroyed while somebody waits, it ends the program.

  /// Does not suspend when the event is set. Throws rota::cancelled.
  [[nodiscard]] detail::remote_event_awaiter wait() noexcept;
  /// Everybody who waits now goes on, even if reset() follows before they run. Plain threads, too.
  void set() noexcept {
    detail::posted_list all;
    {
      const detail::mutex_lock under_lock(waiters_.lock());
      is_set_ = true;
      while (detail::remote_wait* next = waiters_.first()) {
        waiters_.take_out(*next);
        all.push(*next);
      }
    }
    detail::remote_wait_list::tell_all(all);
  }
  void reset() noexcept {
    const detail::mutex_lock under_lock(waiters_.lock());
    is_set_ = false;
  }
  bool is_set() const noexcept {
    const detail::mutex_lock under_lock(waiters_.lock());
    return is_set_;
  }

 private:
  friend detail::remote_event_awaiter;

  mutable detail::remote_wait_list waiters_{"event"};
  bool is_set_ = false;  // under the list's lock, so that who sees it set sees set() done with the event
};

}  // namespace rota::any_thread

namespace rota::detail {

// In all of them await_suspend is out of line, and touches nothing when another thread may have the frame: clang 16 keeps
// locals of an inlined one there.
class [[nodiscard]] remote_mutex_awaiter : public remote_wait {
 public:
  explicit remote_mutex_awaiter(any_thread::mutex& m) noexcept : mutex_(m) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    if (me.is_cancelled()) [[unlikely]]
      return withdraw_at_once(me, handle.address());
    if (mutex_.try_take()) [[likely]]
      return me.exec->takes_turns(handle.address());
    return wait(me, handle.address());
  }
  any_thread::mutex::guard await_resume() {
    check();
    return any_thread::mutex::guard(mutex_, this);
  }

 private:
  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    {
      const mutex_lock under_lock(mutex_.waiters_.lock());
      if (mutex_.mark_contended()) {
        mutex_.waiters_.push(*this, me, its_frame);
        return true;
      }
    }
    return me.exec->takes_turns(its_frame);
  }

  any_thread::mutex& mutex_;
};

class [[nodiscard]] remote_semaphore_awaiter : public remote_wait {
 public:
  explicit remote_semaphore_awaiter(any_thread::semaphore& s, std::size_t n) noexcept : semaphore_(s) { wants = n; }
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    if (me.is_cancelled()) [[unlikely]]
      return withdraw_at_once(me, handle.address());
    return wait(me, handle.address());
  }
  any_thread::semaphore::permits await_resume() {
    check();
    return any_thread::semaphore::permits(semaphore_, wants);
  }

 private:
  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    {
      const mutex_lock under_lock(semaphore_.lock());
      if (!semaphore_.try_take(wants)) {
        semaphore_.push(*this, me, its_frame);
        return true;
      }
    }
    return me.exec->takes_turns(its_frame);
  }

  any_thread::semaphore& semaphore_;
};

class [[nodiscard]] remote_event_awaiter : public remote_wait {
 public:
  explicit remote_event_awaiter(any_thread::event& e) noexcept : event_(e) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    if (me.is_cancelled()) [[unlikely]]
      return withdraw_at_once(me, handle.address());
    return wait(me, handle.address());
  }
  void await_resume() const { check(); }

 private:
  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    {
      const mutex_lock under_lock(event_.waiters_.lock());
      if (!event_.is_set_) {
        event_.waiters_.push(*this, me, its_frame);
        return true;
      }
    }
    return me.exec->takes_turns(its_frame);
  }

  any_thread::event& event_;
};

}  // namespace rota::detail

namespace rota::any_thread {

inline detail::remote_mutex_awaiter mutex::lock() noexcept { return detail::remote_mutex_awaiter(*this); }
inline mutex::guard mutex::try_lock() noexcept { return try_take() ? guard(*this, nullptr) : guard(); }
inline detail::remote_semaphore_awaiter semaphore::acquire(std::size_t n) noexcept {
  return detail::remote_semaphore_awaiter(*this, n);
}
inline detail::remote_event_awaiter event::wait() noexcept { return detail::remote_event_awaiter(*this); }

}  // namespace rota::any_thread
