// What a pool's workers share: the queue of what comes from outside, and who sleeps.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

#include <rota/base/atomic.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/registry.hpp>
#include <rota/pool/futex_semaphore.hpp>
#include <rota/pool/parking.hpp>
#include <rota/pool/pool_timers.hpp>

namespace rota::detail {

class pool_worker;

/// Something that a worker can run: a plain function, or a strand that has something to do. Intrusive: submitting needs no
/// memory.
struct pool_job {
  void (*run)(pool_job& self, pool_worker& here) noexcept = nullptr;  // may end the job's life
  void (*drop)(pool_job& self) noexcept = nullptr;  // instead of run, when the pool goes down; null: it must run
  // In the queue, under its mutex.
  pool_job* next = nullptr;
  pool_job* previous = nullptr;
  bool queued = false;
};

class pool_core {
 public:
  pool_core() noexcept = default;
  pool_core(const pool_core&) = delete;
  pool_core& operator=(const pool_core&) = delete;
  ~pool_core() { pthread_mutex_destroy(&mutex_); }

  /// Any thread. The pool must live when the call begins; the job may end its life. False: the pool is closed, and the job,
  /// which has a `drop`, is still the caller's.
  bool submit(pool_job& job) noexcept {
    posters_.fetch_add(1, std::memory_order_relaxed);
    const bool taken = push(job);
    if (taken) parking.notify();
    posters_.fetch_sub(1, std::memory_order_release);
    return taken;
  }
  /// From now on only what must run is taken.
  void close() noexcept {
    const mutex_lock guard(mutex_);
    closed_ = true;
  }
  /// Takes a job out of the queue again. False: it is not there, or no more.
  bool remove(pool_job& job) noexcept {
    const mutex_lock guard(mutex_);
    if (!job.queued) return false;
    unlink(job);
    return true;
  }
  /// The oldest job, or null.
  pool_job* take() noexcept {
    if (!has_jobs()) return nullptr;
    const mutex_lock guard(mutex_);
    pool_job* job = first_;
    if (job) unlink(*job);
    return job;
  }
  /// A moment ago. seq_cst: the last look of a worker that goes to sleep (parking.hpp).
  bool has_jobs() const noexcept { return queued_.load(std::memory_order_seq_cst) != 0; }
  std::uint32_t queued() const noexcept { return queued_.load(std::memory_order_relaxed); }

  /// Before the pool goes.
  bool has_posters() const noexcept { return posters_.load(std::memory_order_acquire) != 0; }

  detail::parking<futex_semaphore> parking;
  registered_pool registered;
  pool_timers timers{*this};
  std::size_t workers = 0;
  bool keeps_children = false;  // on their parents' strands: tests

 private:
  bool push(pool_job& job) noexcept {
    const mutex_lock guard(mutex_);
    if (closed_ && job.drop) return false;
    job.next = nullptr;
    job.previous = last_;
    (last_ ? last_->next : first_) = &job;
    last_ = &job;
    job.queued = true;
    queued_.store(queued_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    return true;
  }
  void unlink(pool_job& job) noexcept {
    (job.previous ? job.previous->next : first_) = job.next;
    (job.next ? job.next->previous : last_) = job.previous;
    job.queued = false;
    queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }

  alignas(64) atomic<std::uint32_t> queued_{0};  // written under the mutex
  alignas(64) pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pool_job* first_ = nullptr;
  pool_job* last_ = nullptr;
  bool closed_ = false;               // under the mutex
  atomic<std::uint32_t> posters_{0};  // within submit()
};

// The queue first: what is taken from it keeps a worker awake until it is done.
inline bool is_idle(const pool_core& pool) noexcept {
  return !pool.has_jobs() && pool.parking.sleeping() == pool.workers;
}

}  // namespace rota::detail
