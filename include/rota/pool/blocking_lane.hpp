// blocking_lane: threads that come and go, for calls that block. to_thread(f, args...) uses the common one.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <coroutine>
#include <cstddef>
#include <new>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/base/sys.hpp>
#include <rota/pool/pool_call.hpp>

namespace rota {

struct blocking_lane_options {
  blocking_lane_options() noexcept {}

  /// At most so many calls at once; what is above waits its turn.
  unsigned max_threads = 64;
  /// A thread without work ends after this time.
  duration idle_time = std::chrono::seconds(10);
  /// How long the destructor waits for calls that run; then it names them, and leaves their threads alone.
  duration shutdown_deadline = std::chrono::seconds(10);
};

struct blocking_lane_statistics {
  std::size_t threads = 0;
  std::size_t idle = 0;     ///< of them
  std::size_t running = 0;  ///< calls
  std::size_t queued = 0;
};

namespace detail {

/// A call, in the frame of who awaits it.
struct lane_job {
  void (*run)(lane_job& self) noexcept = nullptr;   // may end the job's life
  void (*drop)(lane_job& self) noexcept = nullptr;  // the same; instead of run
  void (*stop)(lane_job& self) noexcept = nullptr;  // while it runs; null: it cannot be asked to
  std::source_location where;
  lane_job* next = nullptr;  // in the queue, or among those that run; under the mutex
  lane_job* previous = nullptr;
  bool queued = false;
  bool stop_asked = false;
  bool is_being_stopped = false;  // the job must not end its life
};

class lane_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  lane_job* first() const noexcept { return first_; }
  std::size_t size() const noexcept { return size_; }
  void push(lane_job& job) noexcept {
    job.next = nullptr;
    job.previous = last_;
    (last_ ? last_->next : first_) = &job;
    last_ = &job;
    ++size_;
  }
  void remove(lane_job& job) noexcept {
    (job.previous ? job.previous->next : first_) = job.next;
    (job.next ? job.next->previous : last_) = job.previous;
    --size_;
  }

 private:
  lane_job* first_ = nullptr;
  lane_job* last_ = nullptr;
  std::size_t size_ = 0;
};

struct lane_access;

/// Outlives its lane when calls do not come back.
class lane_state {
 public:
  explicit lane_state(const blocking_lane_options& options) noexcept : options_(options) {}

  /// Throws std::system_error when there is no thread, and none can be made.
  void submit(lane_job& job) {
    int error = 0;
    {
      const mutex_lock guard(mutex_);
      if (!closing_) {
        queue_.push(job);
        job.queued = true;
        if (idle_ >= queue_.size()) {
          pthread_cond_signal(&work_);
        } else if (threads_ < options_.max_threads) {
          error = add_thread();
          if (error != 0 && threads_ == 0) take_back(job);
        }
        if (error == 0 || threads_ != 0) return;
      }
    }
    if (error != 0) throw std::system_error(error, std::generic_category(), "to_thread: pthread_create");
    job.drop(job);
  }
  bool remove(lane_job& job) noexcept {
    const mutex_lock guard(mutex_);
    if (!job.queued) return false;
    take_back(job);
    return true;
  }
  blocking_lane_statistics statistics() const noexcept {
    const mutex_lock guard(mutex_);
    blocking_lane_statistics s;
    s.threads = threads_;
    s.idle = idle_;
    s.running = running_.size();
    s.queued = queue_.size();
    return s;
  }

  /// Drops what is queued, asks what runs to stop, and waits for it. Destroys the state, now or when the last thread comes back.
  void close() noexcept {
    pthread_mutex_lock(&mutex_);
    closing_ = true;
    pthread_cond_broadcast(&work_);
    while (lane_job* job = queue_.first()) {
      take_back(*job);
      pthread_mutex_unlock(&mutex_);
      job->drop(*job);
      pthread_mutex_lock(&mutex_);
    }
    while (lane_job* job = next_to_stop()) {
      job->stop_asked = job->is_being_stopped = true;
      pthread_mutex_unlock(&mutex_);
      job->stop(*job);  // the program's callbacks run
      pthread_mutex_lock(&mutex_);
      job->is_being_stopped = false;
      pthread_cond_broadcast(&left_);
    }
    const timespec until = deadline(options_.shutdown_deadline);
    while (threads_ != 0)
      if (pthread_cond_clockwait(&left_, &mutex_, CLOCK_MONOTONIC, &until) != 0) break;
    for (lane_job* job = running_.first(); job; job = job->next)
      report(
          "a blocking call, awaited at %s:%u, has not come back when its blocking_lane was destroyed; its thread is "
          "left",
          job->where.file_name(), static_cast<unsigned>(job->where.line()));
    orphaned_ = true;
    const bool last = threads_ == 0;
    pthread_mutex_unlock(&mutex_);
    if (last) delete this;
  }

 private:
  ~lane_state() {
    pthread_cond_destroy(&work_);
    pthread_cond_destroy(&left_);
    pthread_mutex_destroy(&mutex_);
  }

  static timespec deadline(duration from_now) noexcept {
    const nanoseconds at = deadline_after(sys::now(), from_now.count());
    timespec t{};
    t.tv_sec = static_cast<time_t>(at / 1'000'000'000);
    t.tv_nsec = static_cast<long>(at % 1'000'000'000);
    return t;
  }
  lane_job* next_to_stop() const noexcept {
    lane_job* job = running_.first();
    while (job && (!job->stop || job->stop_asked)) job = job->next;
    return job;
  }
  void take_back(lane_job& job) noexcept {
    queue_.remove(job);
    job.queued = false;
  }
  int add_thread() noexcept {
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const int error = pthread_create(&thread, &attributes, &thread_main, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (error == 0) {
      ++threads_;
      pthread_setname_np(thread, "rota-blocking");
    }
    return error;
  }
  static void* thread_main(void* self) noexcept {
    static_cast<lane_state*>(self)->work();
    return nullptr;
  }
  void work() noexcept {
    pthread_mutex_lock(&mutex_);
    while (wait_for_job()) {
      lane_job& job = *queue_.first();
      take_back(job);
      running_.push(job);
      pthread_mutex_unlock(&mutex_);
      job.run(job);
      pthread_mutex_lock(&mutex_);
    }
    --threads_;
    const bool last = threads_ == 0 && orphaned_;
    pthread_cond_broadcast(&left_);
    pthread_mutex_unlock(&mutex_);
    if (last) delete this;
  }
  // False: this thread ends.
  bool wait_for_job() noexcept {
    const timespec until = deadline(options_.idle_time);
    while (queue_.empty()) {
      if (closing_) return false;
      ++idle_;
      const int error = pthread_cond_clockwait(&work_, &mutex_, CLOCK_MONOTONIC, &until);
      --idle_;
      if (error != 0 && queue_.empty()) return false;
    }
    return true;
  }

 public:
  /// By the job, before it tells its waiter.
  void has_run(lane_job& job) noexcept {
    const mutex_lock guard(mutex_);
    while (job.is_being_stopped) pthread_cond_wait(&left_, &mutex_);
    running_.remove(job);
  }

 private:
  const blocking_lane_options options_;
  mutable pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t work_ = PTHREAD_COND_INITIALIZER;
  pthread_cond_t left_ = PTHREAD_COND_INITIALIZER;
  lane_list queue_;
  lane_list running_;
  std::size_t threads_ = 0;
  std::size_t idle_ = 0;
  bool closing_ = false;
  bool orphaned_ = false;
};

/// The await of a blocking call.
template <class F, class... Args>
class [[nodiscard(ROTA_UNAWAITED)]] lane_call : lane_job {
  using stored = stored_call<F, Args...>;
  using value = typename stored::value;
  static_assert(!stored::result::is_coroutine,
                "to_thread() is for plain functions that block; a function that returns a task runs with pool.run() or "
                "spawn()");

 public:
  template <class G, class... As>
  explicit lane_call(lane_state& lane, G&& f, As&&... args)
      : lane_(lane), call_(static_cast<G&&>(f), static_cast<As&&>(args)...) {
    run = [](lane_job& self) noexcept {
      auto& me = static_cast<lane_call&>(self);
      me.call_.call_plain();
      me.lane_.has_run(me);
      me.waiter_.wake();
    };
    drop = [](lane_job& self) noexcept { static_cast<lane_call&>(self).waiter_.wake(); };
    if constexpr (requires { call_.function().request_stop(); })
      stop = [](lane_job& self) noexcept { static_cast<lane_call&>(self).call_.function().request_stop(); };
  }
  lane_call(const lane_call&) = delete;
  lane_call& operator=(const lane_call&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark line = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, line), handle.address(), line);
  }
  value await_resume() {
    task_state& me = *waiter_.me;
    if (withdrawn_) throw_cancelled(me);
    if (call_.was_cancelled()) [[unlikely]] {
      if (me.is_cancelled()) throw_cancelled(me);
      throw std::system_error(make_error_code(errc::task_cancelled), "to_thread");
    }
    return call_.outcome.take();
  }

 private:
  bool start(task_state& me, void* frame, line_mark line) {
    waiter_.me = &me;
    if (me.is_cancelled()) {
      withdrawn_ = true;
      return false;
    }
    where = source_line(line);
    waiter_.begin(me, frame, this, [](custom_wait& wait) noexcept {
      auto& self = *static_cast<lane_call*>(static_cast<remote_waiter::cancellable&>(wait).owner);
      if (self.lane_.remove(self)) {
        self.withdrawn_ = true;
        make_ready(wait.frame);
      } else if (self.stop) {
        self.stop(self);
      }
    });
    try {
      lane_.submit(*this);
    } catch (...) {
      me.wait = 0;
      throw;
    }
    return true;
  }

  lane_state& lane_;
  stored call_;
  remote_waiter waiter_;
  bool withdrawn_ = false;
};

}  // namespace detail

/// A class of blocking calls with a limit of its own: slow name servers must not keep files from being read. Calls from
/// loops, pools and, with sync_wait, plain threads. All members: any thread.
class blocking_lane {
 public:
  explicit blocking_lane(const blocking_lane_options& options = blocking_lane_options())
      : state_(*new detail::lane_state(options)) {}
  blocking_lane(const blocking_lane&) = delete;
  blocking_lane& operator=(const blocking_lane&) = delete;
  /// Drops calls that have not begun (who awaits them gets errc::task_cancelled), requests stop of those that take a
  /// std::stop_token, waits for those that run until the deadline, then names those that did not come back.
  ~blocking_lane() { state_.close(); }

  /// `co_await lane.run(f, args...)`: calls f, which may block, on a thread of the lane, and comes back to the caller's
  /// executor with its value or exception. f and args are stored, decayed. A cancel drops a call that has not begun; one that
  /// runs is waited for, and its result is given. If f takes a std::stop_token as its first parameter a cancel requests stop
  /// there (include rota/pool/lane_stop.hpp). Throws std::system_error when no thread can be made.
  template <class F, class... Args>
    requires std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>
  detail::lane_call<std::decay_t<F>, std::decay_t<Args>...> run(F&& f, Args&&... args) {
    ROTA_REFUSE_OWNING_CLOSURE(F);
    return call(std::forward<F>(f), std::forward<Args>(args)...);
  }

  blocking_lane_statistics statistics() const noexcept { return state_.statistics(); }

 private:
  friend struct detail::lane_access;
  template <class F, class... Args>
  detail::lane_call<std::decay_t<F>, std::decay_t<Args>...> call(F&& f, Args&&... args) {
    detail::refuse_empty(f, "to_thread()");
    return detail::lane_call<std::decay_t<F>, std::decay_t<Args>...>(state_, std::forward<F>(f),
                                                                     std::forward<Args>(args)...);
  }

  detail::lane_state& state_;
};

/// The lanes of the process; they end with it. For calls of the user; of files; of names.
inline blocking_lane& user_lane() {
  static blocking_lane lane;
  return lane;
}
inline blocking_lane& file_lane() {
  static blocking_lane lane;
  return lane;
}
inline blocking_lane& name_lane() {
  static blocking_lane lane;
  return lane;
}

/// user_lane().run(f, args...): a call that blocks, without blocking the loop.
template <class F, class... Args>
  requires std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>
auto to_thread(F&& f, Args&&... args) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  return user_lane().run(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace rota
