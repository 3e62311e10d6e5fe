// Any thread: mutex, semaphore and event for tasks of several loops and pools. Within one loop those of rota:: are
// cheaper, and say more when something is wrong.
#pragma once

#include <cstddef>
#include <cstdint>

#include <rota/base/atomic.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
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
class mutex : public detail::unlocked_by_a_guard {
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
  [[nodiscard(ROTA_UNAWAITED)]] detail::remote_mutex_awaiter lock() noexcept;
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
    detail::remote_telling telling(waiters_);
    detail::remote_wait* const next = waiters_.claim_first();
    if (next)
      telling.grant(waiters_, *next);
    else
      state_.store(locked, std::memory_order_relaxed);
    return next != nullptr;
  }

  detail::remote_wait_list waiters_{"any_thread::mutex"};
  detail::atomic<std::uint32_t> state_{free};
};

/// Any thread. A stock of permits for tasks of any executors. Exact FIFO, for requests of any size; no allocation.
class semaphore : detail::remote_wait_list {
 public:
  using permits = detail::held_permits<semaphore>;

  explicit semaphore(std::size_t available) noexcept
      : remote_wait_list("any_thread::semaphore",
                         [](remote_wait_list& self) noexcept { static_cast<semaphore&>(self).give_back(0); }),
        available_(available),
        there_are_(available) {}
  // Destroyed while somebody waits, it ends the program. Whoever holds permits must not outlive it.

  /// `auto permits = co_await s.acquire(n);`. Throws rota::cancelled, without permits.
  [[nodiscard(ROTA_UNAWAITED)]] detail::remote_semaphore_awaiter acquire(std::size_t n = 1) noexcept;
  /// Holds nothing when there are too few or somebody waits. Plain threads, too.
  [[nodiscard]] permits try_acquire(std::size_t n = 1) noexcept {
    const detail::mutex_lock under_lock(lock());
    return try_take(n) ? permits(*this, n) : permits();
  }
  /// Adds permits: those that permits::forget() took out, or new ones. Plain threads, too. Throws usage_error (not_held), and
  /// adds none, when there would be more than SIZE_MAX, in stock and held together.
  void release(std::size_t n = 1) {
    detail::remote_telling telling(*this);
    if (n > SIZE_MAX - there_are_) [[unlikely]]
      throw usage_error(usage_error::kind::not_held, "more permits than an any_thread::semaphore can have");
    there_are_ += n;
    put_back(n, telling);
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
  void give_back(std::size_t n) noexcept {
    detail::remote_telling telling(*this);
    put_back(n, telling);
  }
  void forget(std::size_t n) noexcept {
    const detail::mutex_lock under_lock(lock());
    there_are_ -= n;
  }
  // Under the lock. From the front, whoever may have what there is.
  void put_back(std::size_t n, detail::remote_telling& telling) noexcept {
    available_ += n;
    while (!empty() && first()->wants <= available_) {
      detail::remote_wait& next = *first();
      if (!claim(next)) continue;
      available_ -= next.wants;
      telling.grant(*this, next);
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
  [[nodiscard(ROTA_UNAWAITED)]] detail::remote_event_awaiter wait() noexcept;
  /// Everybody who waits now goes on, even if reset() follows before they run. Plain threads, too.
  void set() noexcept {
    detail::remote_telling telling(waiters_);
    is_set_ = true;
    while (detail::remote_wait* next = waiters_.claim_first()) telling.grant(waiters_, *next);
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

  mutable detail::remote_wait_list waiters_{"any_thread::event"};
  bool is_set_ = false;  // under the list's lock, so that who sees it set sees set() done with the event
};

}  // namespace rota::any_thread

namespace rota::detail {

class [[nodiscard(ROTA_UNAWAITED)]] remote_mutex_awaiter : public remote_await<remote_mutex_awaiter> {
 public:
  explicit remote_mutex_awaiter(any_thread::mutex& m) noexcept : mutex_(m) {}
  any_thread::mutex::guard await_resume() {
    check();
    return any_thread::mutex::guard(mutex_, this);
  }

 private:
  friend remote_await;
  remote_wait_list& list() noexcept { return mutex_.waiters_; }
  bool get_at_once() noexcept { return mutex_.try_take(); }
  bool get_now() noexcept { return get_at_once(); }
  bool get(remote_telling&) noexcept { return !mutex_.mark_contended(); }

  any_thread::mutex& mutex_;
};

class [[nodiscard(ROTA_UNAWAITED)]] remote_semaphore_awaiter : public remote_await<remote_semaphore_awaiter> {
 public:
  explicit remote_semaphore_awaiter(any_thread::semaphore& s, std::size_t n) noexcept : semaphore_(s) { wants = n; }
  any_thread::semaphore::permits await_resume() {
    check();
    return any_thread::semaphore::permits(semaphore_, wants);
  }

 private:
  friend remote_await;
  remote_wait_list& list() noexcept { return semaphore_; }
  bool get(remote_telling&) noexcept { return semaphore_.try_take(wants); }

  any_thread::semaphore& semaphore_;
};

class [[nodiscard(ROTA_UNAWAITED)]] remote_event_awaiter : public remote_await<remote_event_awaiter> {
 public:
  explicit remote_event_awaiter(any_thread::event& e) noexcept : event_(e) {}
  void await_resume() const { check(); }

 private:
  friend remote_await;
  remote_wait_list& list() noexcept { return event_.waiters_; }
  bool get(remote_telling&) noexcept { return event_.is_set_; }

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
