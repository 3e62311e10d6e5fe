// The timers of a pool's strands: one wheel under a mutex, and a thread that sleeps until the next deadline. Both come with
// the first timer: a program that only computes pays for neither.
//
// A timer is in the wheel until its deadline has passed, then in the list of its strand, which a post tells to look there.
// In both places only the mutex protects it, so a strand that takes it back has it back when disarm() returns: no message
// about it is left on its way, and its frame may go.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <system_error>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/sys.hpp>
#include <rota/coro/executor.hpp>
#include <rota/loop/timer_queue.hpp>

namespace rota::detail {

/// What each strand keeps: its timers that are due. Everything under the pool's mutex.
struct due_timers {
  struct news : posted {
    executor* strand = nullptr;
  };

  due_timers() noexcept { head.next = head.previous = &head; }
  due_timers(const due_timers&) = delete;
  due_timers& operator=(const due_timers&) = delete;

  bool empty() const noexcept { return head.next == &head; }
  void push(timer& t) noexcept {
    t.next = &head;
    t.previous = std::exchange(head.previous, &t);
    t.previous->next = &t;
  }
  bool remove(timer& t) noexcept {
    timer* one = head.next;
    while (one != &t && one != &head) one = one->next;
    if (one == &head) return false;
    t.previous->next = t.next;
    t.next->previous = t.previous;
    t.next = t.previous = nullptr;
    return true;
  }

  timer head;            // of a circle
  bool is_told = false;  // `message` is on its way
  news message;
};

/// Of the strand whose timer it is (strand.hpp).
due_timers& due_timers_for(loop_timer& t) noexcept;

class pool_core;
/// Nothing runs on the pool, or is about to (pool_core.hpp).
bool is_idle(const pool_core& pool) noexcept;

class pool_timers {
 public:
  explicit pool_timers(const pool_core& pool) noexcept : pool_(pool) {}
  pool_timers(const pool_timers&) = delete;
  pool_timers& operator=(const pool_timers&) = delete;
  ~pool_timers() {
    stop();
    pthread_cond_destroy(&earlier_);
    pthread_mutex_destroy(&mutex_);
  }

  /// Time stands still while the pool is busy, and jumps to the next deadline when it is not: tests. Before anything runs.
  void use_virtual_time() noexcept { virtual_now_.store(sys::now(), std::memory_order_relaxed); }
  void move_virtual_time(nanoseconds by) noexcept {
    const mutex_lock guard(mutex_);
    virtual_now_.store(now() + by, std::memory_order_relaxed);
  }
  nanoseconds now() const noexcept {
    const nanoseconds time = virtual_now_.load(std::memory_order_relaxed);
    return time == 0 ? sys::now() : time;
  }
  /// Throws std::bad_alloc or std::system_error, if it is the first one.
  void arm(loop_timer& t) {
    const mutex_lock guard(mutex_);
    if (!wheel_) start();
    wheel_->arm(t);
    if (t.deadline < wakes_at_) pthread_cond_signal(&earlier_);
  }
  /// A timer of the strand that has `due`; also one that is not armed any more.
  void disarm(loop_timer& t, due_timers& due) noexcept {
    const mutex_lock guard(mutex_);
    if (t.next && !due.remove(t)) wheel_->cancel(t);
  }
  /// The next that is due, not armed any more; null: none is, until `message` comes again.
  loop_timer* take(due_timers& due) noexcept {
    const mutex_lock guard(mutex_);
    timer* const first = due.head.next;
    if (due.remove(*first)) return static_cast<loop_timer*>(first);
    due.is_told = false;
    return nullptr;
  }
  /// Ends the thread. Nothing is armed, or will be.
  void stop() noexcept {
    {
      const mutex_lock guard(mutex_);
      if (!wheel_) return;
      stopping_ = true;
      pthread_cond_signal(&earlier_);
    }
    pthread_join(thread_, nullptr);
    wheel_ = owned<timer_queue>();
  }

 private:
  void start() {
    owned<timer_queue> wheel(new timer_queue(now()));
    sigset_t all, before;  // signals are for the threads of the program
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread_, nullptr, &thread_main, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) throw std::system_error(error, std::generic_category(), "the timers of a thread_pool");
    pthread_setname_np(thread_, "rota-pool-timer");
    wheel_ = std::move(wheel);
  }
  static void* thread_main(void* self) noexcept {
    static_cast<pool_timers*>(self)->run();
    return nullptr;
  }
  void run() noexcept {
    const mutex_lock guard(mutex_);
    while (!stopping_) {
      wakes_at_ = wheel_->next_deadline();
      if (wakes_at_ == never)
        pthread_cond_wait(&earlier_, &mutex_);
      else if (virtual_now_.load(std::memory_order_relaxed) != 0)
        jump();
      else if (wakes_at_ > sys::now())
        sleep();
      else
        expire();
    }
  }
  void sleep() noexcept {
    timespec at{};
    at.tv_sec = static_cast<time_t>(wakes_at_ / 1'000'000'000);
    at.tv_nsec = static_cast<long>(wakes_at_ % 1'000'000'000);
    pthread_cond_clockwait(&earlier_, &mutex_, CLOCK_MONOTONIC, &at);
  }
  void expire() noexcept {
    wheel_->expire(now(), [](timer& t) {
      due_timers& due = due_timers_for(static_cast<loop_timer&>(t));
      due.push(t);
      if (!std::exchange(due.is_told, true)) due.message.strand->post(due.message);
    });
  }
  void jump() noexcept {
    // What is due comes after what is ready; but a task may yield until it has come.
    const nanoseconds patience = wakes_at_ > now() ? never : sys::now() + 2'000'000;
    pthread_mutex_unlock(&mutex_);
    while (!is_idle(pool_) && sys::now() < patience) sys::yield_core();
    pthread_mutex_lock(&mutex_);
    // An earlier one may have been armed since, or this one disarmed.
    const nanoseconds next = wheel_->next_deadline();
    if (next == never) return;
    if (next > now()) {
      if (!is_idle(pool_)) return;
      virtual_now_.store(next, std::memory_order_relaxed);
    }
    expire();
  }

  const pool_core& pool_;
  atomic<nanoseconds> virtual_now_{0};  // 0: real time
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t earlier_ = PTHREAD_COND_INITIALIZER;
  // Under the mutex.
  owned<timer_queue> wheel_;
  nanoseconds wakes_at_ = 0;  // the thread looks at the wheel then at the latest
  bool stopping_ = false;
  pthread_t thread_ = {};
};

}  // namespace rota::detail
