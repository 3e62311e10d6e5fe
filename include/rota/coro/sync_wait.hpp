// sync_wait: a plain thread waits for a task.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <exception>
#include <utility>

#include <rota/base/mutex_lock.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/task.hpp>

namespace rota {

namespace detail {

/// Runs tasks on the thread that waits; sleeps when all of them wait for other threads.
class waiting_thread final : public executor {
 public:
  waiting_thread() : executor(false) { ready_.reserve(); }

  void post(posted& work) noexcept override {
    const mutex_lock guard(mutex_);
    posted_work_.push(work);
    pthread_cond_signal(&posted_);
  }
  void cancel_wait(task_state& task) noexcept override {
    auto& wait = *static_cast<custom_wait*>(task.waiting_for());
    if (wait.cancel) wait.cancel(wait);
  }
  void task_finished(task_state& task) noexcept override {
    task.end();
    no_task_runs();
    finished_ = true;
  }

  void run(task_state& task, void* frame) {
    const running_here here(*this);
    run_frame(task, frame);
    while (!finished_) {
      if (!ready_.empty()) {
        run_frame(task, ready_.pop());
      } else {
        posted* work = wait_for_post();
        no_task_runs();
        work->run(*work);
      }
    }
  }

 private:
  posted* wait_for_post() noexcept {
    const mutex_lock guard(mutex_);
    while (posted_work_.empty()) pthread_cond_wait(&posted_, &mutex_);
    return posted_work_.pop();
  }

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t posted_ = PTHREAD_COND_INITIALIZER;
  posted_list posted_work_;  // guarded by mutex_
  bool finished_ = false;
};

}  // namespace detail

/// Runs the task on the calling thread until it has ended; gives its value or throws its exception. The task may
/// await other tasks and whatever completes through post(); what needs an event loop throws usage_error: for that
/// there is rota::run. Refused (usage_error) on the thread of an event loop or a pool.
template <class T>
T sync_wait(task<T> given) {
  detail::taken_task<T> taken(std::move(given));
  if (detail::blocking_guard::forbidden())
    detail::throw_usage_error(usage_error::kind::blocking_in_loop,
                              "sync_wait was called%s on the thread of an event loop or a pool, which it would block: "
                              "co_await the task instead",
                              detail::by_running_task().c_str());
  task<T> t = taken.take();
  const auto frame = detail::task_access::release(t);
  detail::waiting_thread thread;
  detail::task_state state(&thread, frame.address());
  detail::task_outcome<T> outcome;
  frame.promise().state = &state;
  frame.promise().outcome = &outcome;
  thread.run(state, frame.address());
  detail::free_extras(state);
  return outcome.take();
}

namespace detail {
template <class A>
task<await_result_t<A>> await_here(std::remove_reference_t<A>& a) {
  co_return co_await static_cast<A&&>(a);
}
}  // namespace detail

/// The same for anything else that can be awaited on a plain thread: sync_wait(pool.run(f, args...)).
template <awaitable A>
  requires(!detail::is_task<std::remove_cvref_t<A>>)
await_result_t<A> sync_wait(A&& a) {
  return sync_wait(detail::await_here<A>(a));
}

}  // namespace rota
