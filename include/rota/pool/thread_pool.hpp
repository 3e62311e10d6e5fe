// thread_pool: threads that run tasks and functions, in parallel. docs/reference/pool.md, docs/design/0012-the-pool.md.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <cstddef>
#include <cstdio>
#include <new>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/clock.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/task.hpp>
#include <rota/pool/cpu_count.hpp>
#include <rota/pool/pool_dump.hpp>
#include <rota/pool/pool_root.hpp>
#include <rota/pool/pool_worker.hpp>

namespace rota {

template <class T>
class pool_handle;

namespace detail {
template <class F, class... Args>
class pool_call;
struct pool_access;
}  // namespace detail

struct thread_pool_options {
  thread_pool_options() noexcept {}

  /// 0: as many as the process may use CPUs, by its affinity mask and the quota of its control groups.
  unsigned threads = 0;
  /// Worker i stays on the i-th CPU of the affinity mask.
  bool pin = false;
  /// How long the destructor waits for cancelled tasks before it names those that do not stop; it waits on all the same.
  duration shutdown_deadline = std::chrono::seconds(10);
};

/// A moment's view; see thread_pool::statistics().
struct thread_pool_statistics {
  std::size_t queued = 0;     ///< functions and tasks that wait in the common queue
  std::size_t sleeping = 0;   ///< workers
  std::size_t searching = 0;  ///< workers that look for work
  std::vector<pool_worker_statistics> workers;
};

/// Runs tasks and plain functions on threads of its own. What runs there is an ordinary rota::task: it awaits, is
/// cancelled, sleeps and fails as on a loop. Children run in parallel where other workers have time: when_all() forks, groups
/// and when_any() give each child to whoever is idle. A task may move to another thread whenever it suspends. There is no
/// I/O on a pool: what needs an event loop throws usage_error (no_event_loop). Blocking waits (sync_wait, run) are refused
/// on its threads.
///
/// All members may be called on any thread.
class thread_pool {
 public:
  /// Throws std::system_error when the threads cannot be made.
  explicit thread_pool(unsigned threads)
      : thread_pool([threads] {
          thread_pool_options o;
          o.threads = threads;
          return o;
        }()) {}
  explicit thread_pool(const thread_pool_options& options = thread_pool_options()) : options_(options) { start(); }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  /// Cancels all tasks, drops functions that have not begun (who awaits them gets errc::task_cancelled), waits for the rest
  /// and joins the threads. Not to be called on one of its own threads. Nothing new may be given to it meanwhile by threads
  /// that it does not know of; its own tasks may, and see it cancelled.
  ~thread_pool() {
    detail::registry<detail::registered_pool>::remove(core_.registered);
    stop();
    for (detail::pool_worker* worker : workers_) delete worker;
    pthread_mutex_destroy(&stopping_);
  }
  /// Does what the destructor does without blocking the thread of who awaits it: for a pool whose tasks wait for a loop,
  /// on that loop. From the await on, run() and spawn() give errc::task_cancelled where nothing had been begun. Throws
  /// usage_error in a task of this pool, which would wait for itself. Several may await it; again, later, it does nothing.
  /// A cancel of the wait does not open the pool again: the destructor does the rest. (pool/pool_close.hpp)
  template <int = 0>
  task<> close();

  std::size_t threads() const noexcept { return workers_.size(); }

  /// `co_await pool.run(f, args...)`: calls f on the pool and gives what comes out of it, value or exception, on the
  /// caller's own executor. f returns a task, which then runs on the pool, or is a plain function. f and args are stored,
  /// decayed, until it has ended.
  ///
  /// When the caller is cancelled, a plain function that has not begun is dropped; one that runs is waited for, and its
  /// result is given. A task is cancelled at its next suspension, fork or this_task::checkpoint().
  /// A plain thread writes sync_wait(pool.run(f, args...)).
  template <class F, class... Args>
  auto run(F&& f, Args&&... args);

  /// Starts f(args...), which returns a task, or is a plain function, without waiting. f and args are stored, decayed, until it
  /// has ended, however long the handle stays. The handle may be awaited on any
  /// executor; dropping it leaves the task running, and an error that nobody retrieved is reported. Throws std::bad_alloc.
  template <class F, class... Args>
  [[nodiscard("a dropped handle leaves the task running; cast to void to say that this is meant")]] auto spawn(
      F&& f, Args&&... args);

  thread_pool_statistics statistics() const {
    thread_pool_statistics s;
    s.queued = core_.queued();
    s.sleeping = core_.parking.sleeping();
    s.searching = core_.parking.searching();
    for (const detail::pool_worker* worker : workers_) s.workers.push_back(worker->statistics());
    return s;
  }

 private:
  friend detail::pool_access;

  void start() {
    const unsigned count = options_.threads != 0 ? options_.threads : usable_cpus();
    if (count > 0xffff)
      throw usage_error(usage_error::kind::invalid_argument, "a thread_pool has 65535 threads at most");
    try {
      for (unsigned i = 0; i != count; ++i) {
        workers_.push_back(nullptr);
        workers_.back() = new detail::pool_worker(core_, i);
      }
      core_.workers = count;
      threads_.reserve(count);
      core_.registered.of = this;
      core_.registered.wake = [](detail::registered_pool& r) noexcept {
        static_cast<thread_pool*>(r.of)->core_.parking.notify();
      };
      core_.registered.write = [](detail::registered_pool& r, std::FILE* to) noexcept {
        thread_pool& self = *static_cast<thread_pool*>(r.of);
        detail::pool_dump(&self, self.core_, self.roots_, self.workers_, to).write();
      };
      for (unsigned i = 0; i != count; ++i) start_thread(i);
      detail::registry<detail::registered_pool>::add(core_.registered);
    } catch (...) {
      join();
      for (detail::pool_worker* worker : workers_) delete worker;
      throw;
    }
  }
  void start_thread(unsigned i) {
    threads_.push_back({this, i, {}});
    // Signals are for the threads of the program.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pool_thread& its = threads_.back();  // it stays where it is: room was reserved
    const int error = pthread_create(&its.thread, nullptr, &thread_main, &its);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) {
      threads_.pop_back();
      throw std::system_error(error, std::generic_category(), "thread_pool: pthread_create");
    }
    char name[16];
    std::snprintf(name, sizeof name, "rota-pool-%u", i % 100000);
    pthread_setname_np(its.thread, name);
    if (options_.pin) detail::pin_to_cpu(its.thread, i);
  }
  static void* thread_main(void* argument) noexcept {
    const auto& mine = *static_cast<pool_thread*>(argument);
    thread_pool& pool = *mine.pool;
    detail::blocking_guard::forbidden() = true;
    pool.workers_[mine.index]->work(pool.workers_.data(), pool.workers_.size(), pool.stop_);
    return nullptr;
  }
  void stop() noexcept {
    const detail::mutex_lock one_at_a_time(stopping_);
    if (threads_.empty()) return;  // closed before
    for (const pool_thread& one : threads_)
      if (pthread_equal(one.thread, pthread_self())) [[unlikely]]
        detail::trap("a thread_pool was destroyed on one of its own threads, which would wait for itself");
    take_no_more();
    drop_queued();
    roots_.wait_until_empty(detail::saturate(options_.shutdown_deadline));
    join();
    detail::wait_briefly([this] { return !core_.has_posters(); });
  }
  // A function that another thread gives meanwhile is refused, or is in the queue already, and dropped.
  void take_no_more() noexcept {
    roots_.close();
    core_.close();
  }
  void drop_queued() noexcept {
    detail::pool_job* must_run = nullptr;
    while (detail::pool_job* job = core_.take()) {
      if (job->drop) {
        job->drop(*job);
      } else {
        job->next = must_run;
        must_run = job;
      }
    }
    while (must_run) core_.submit(*std::exchange(must_run, must_run->next));
  }
  void join() noexcept {
    core_.timers.stop();
    stop_.store(true, std::memory_order_seq_cst);
    core_.parking.wake_all();
    for (const pool_thread& one : threads_) pthread_join(one.thread, nullptr);
    threads_.clear();
  }

  struct pool_thread {
    thread_pool* pool;
    unsigned index;
    pthread_t thread;
  };

  thread_pool_options options_;
  detail::pool_core core_;
  detail::root_list roots_;
  std::vector<detail::pool_worker*> workers_;
  std::vector<pool_thread> threads_;
  pthread_mutex_t stopping_ = PTHREAD_MUTEX_INITIALIZER;  // several may close it
  detail::atomic<bool> stop_{false};
};

namespace detail {
struct pool_access {
  static pool_core& core(thread_pool& pool) noexcept { return pool.core_; }
  static root_list& roots(thread_pool& pool) noexcept { return pool.roots_; }
};
}  // namespace detail
}  // namespace rota
