// The seam between an event loop and the rest of the library: what awaiters, spawn(), callbacks, guests and simulations
// need of it. Not for users.
#pragma once

#include <cstddef>
#include <exception>
#include <source_location>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/loop/event_loop_class.hpp>
#include <rota/loop/loop_iteration.hpp>

namespace rota::detail {

// What the awaiters and spawn() need of a loop; not for users.
struct loop_access : runner_access {
  static reactor& kernel(event_loop& loop) noexcept { return *loop.reactor_; }
  static timer_queue& timers(event_loop& loop) noexcept { return loop.timers_; }
  static task_owner& root(event_loop& loop) noexcept { return loop.root_; }
  static nanoseconds now(event_loop& loop) noexcept { return loop.reactor_->now(); }
  /// For reports: f(entry) for what is ready, in order, at most `most` of it. Returns what f returned, when not null.
  template <class F>
  static void* find_ready(event_loop& loop, std::size_t most, F f) {
    for (std::size_t n = 0; n < loop.ready_.size() && n < most; ++n)
      if (void* found = f(loop.ready_.peek(n))) return found;
    return nullptr;
  }
  static bool is_own_thread(const event_loop& loop) noexcept {
    return pthread_equal(pthread_self(), loop.made_on_) != 0;
  }
  /// In debug builds and in debug mode: ends the program when the owner of a descriptor goes on another thread. A forked
  /// child may let its copies go on any.
  static void check_thread(event_loop& loop, int fd) noexcept {
    if (!(ROTA_ASSERTIONS || loop.watch_) || is_own_thread(loop) || loop.reactor_->forked()) [[likely]]
      return;
    description whose;
    whose.add("the loop that has its descriptor, %d", fd);
    trap_wrong_thread("a stream or listener was destroyed", whose);
  }
  /// The same for what can tell nobody by an exception.
  static void check_thread(event_loop& loop, const char* what) noexcept {
    if (!(ROTA_ASSERTIONS || loop.watch_) || is_own_thread(loop)) [[likely]]
      return;
    description whose;
    whose.add("a loop that another thread has made");
    trap_wrong_thread(what, whose);
  }

  static void check_may_block() { event_loop::check_may_block(); }

  /// The loop on which the task runs; throws when it runs on another executor.
  static event_loop& loop_of(task_state& task) {
    if (!task.exec->is_event_loop()) [[unlikely]]
      throw_needs_loop(task);
    return static_cast<event_loop&>(*task.exec);
  }
  static event_loop& current() {
    event_loop* loop = event_loop::current();
    if (!loop) [[unlikely]]
      throw_no_loop();
    return *loop;
  }

  /// The loop or the strand that runs here.
  static task_runner& current_runner() {
    task_state* const task = running_task();
    if (task && task->exec->is_strand() && !event_loop::current()) return of(*task);
    return current();
  }

  [[noreturn]] ROTA_COLD static void throw_no_loop() {
    throw_usage_error(
        usage_error::kind::no_event_loop,
        "no event loop runs on this thread, and one was needed%s: spawn() and I/O objects are for tasks and "
        "callbacks of a loop, within rota::run()",
        by_running_task().c_str());
  }
  static void report_lost(task_state& task, const std::exception_ptr& error) noexcept {
    event_loop::report_lost(task, error);
  }
  static void report_error(event_loop* loop, const std::exception_ptr& error, const description& text,
                           task_state* task = nullptr, std::source_location where = {}) noexcept {
    event_loop::report_error(loop, error, text, task, where);
  }
  static void wait_until_closed(event_loop& loop, closing_wait& wait) noexcept {
    wait.next = std::exchange(loop.closing_, &wait);
  }

  // What callbacks need.
  static void check_caller(const event_loop& loop) { loop.check_caller(); }
  static void check_open(const event_loop& loop) {
    if (loop.shut_down_) [[unlikely]]
      throw usage_error(usage_error::kind::loop_shut_down, "a callback was given to an event loop after its shutdown");
  }
  static bool is_shut_down(const event_loop& loop) noexcept { return loop.shut_down_; }
  /// The next iteration polls: as long as callbacks are at work their order is asyncio's.
  static void poll_next(event_loop& loop) noexcept { loop.steps_left_ = event_loop::must_poll; }
  /// Queues work behind what is ready. Room was reserved.
  static void push(event_loop& loop, posted& work) noexcept {
    poll_next(loop);
    loop.push_posted(work);
  }
  /// Queues work that another thread posted. Needs no room of its own; for posted::run, within a poll.
  static void arrived(event_loop& loop, posted& work) noexcept {
    if (loop.arrivals_.list.empty()) loop.push_posted(loop.arrivals_);
    loop.arrivals_.list.push(work);
  }
  /// In debug mode, the time before a callback and after it.
  static nanoseconds callback_begins(event_loop& loop) noexcept { return loop.watch_ ? loop.reactor_->now() : 0; }
  static void callback_ended(event_loop& loop, nanoseconds began, std::source_location made_at) noexcept {
    if (loop.watch_) [[unlikely]]
      loop.watch_->callback_took(loop.reactor_->now() - began, made_at);
  }
  static void count_post(event_loop& loop) noexcept { ++loop.posts_; }
  /// Runs it when the next poll begins.
  static void before_poll(event_loop& loop, posted& work) noexcept {
    poll_next(loop);
    loop.before_poll_.push(work);
  }
  /// Starts an operation whose waiter is a posted; within before_poll.
  static void submit(event_loop& loop, operation& op) noexcept {
    if (loop.reactor_->submit(op) == reactor::submitted::completed) loop.done_.push(op);
  }
  static owned<loop_part>& fd_watches_of(event_loop& loop) noexcept { return loop.fd_watches_; }
  static owned<loop_part>& remote_tasks_of(event_loop& loop) noexcept { return loop.remote_tasks_; }
  static owned<loop_part>& signal_handlers_of(event_loop& loop) noexcept { return loop.signal_handlers_; }

  /// Room for one more callback, before it exists.
  static void reserve(event_loop& loop) { loop.ready_.reserve(); }
  static void unreserve(event_loop& loop) noexcept { loop.ready_.unreserve(); }
  // ---- a loop inside another one (adapt/guest_loop.hpp)

  /// Polls without waiting and runs what is ready then.
  static void step(event_loop& loop) {
    loop.check_thread();
    bool polled = false;
    loop.run_while([&] {
      if (std::exchange(polled, true)) return false;
      loop.poll(false);
      return !loop.ready_.empty();
    });
    if (loop.error_) std::rethrow_exception(std::exchange(loop.error_, nullptr));
  }
  /// How long a step may wait for its turn. Afterwards the reactor's descriptor tells of completions and posts.
  static nanoseconds time_to_next_step(event_loop& loop) {
    if (!loop.ready_.empty() || !loop.before_poll_.empty() || !loop.done_.empty()) return 0;
    if (!loop.inbox_.fall_asleep() || !loop.reactor_->flush()) return 0;
    const nanoseconds next = loop.timers_.next_deadline();
    if (next == never) return never;
    const nanoseconds time = loop.reactor_->now();
    return next > time ? next - time : 0;
  }
  /// Would a step at this time run something, whatever the reactor has? For who moves the time (testing/simulation.hpp).
  static bool has_work(const event_loop& loop, nanoseconds now) noexcept {
    return !loop.ready_.empty() || !loop.before_poll_.empty() || !loop.done_.empty() || !loop.inbox_.empty() ||
           loop.timers_.next_deadline() <= now;
  }

  static void run_until_finished(event_loop& loop, task_state& task) {
    bool once = true;
    task.set(task_state::ends_run);
    loop.run_while(
        [&] {
          return std::exchange(once, false) ||
                 (!task.has(task_state::finished) && !loop.stopped_.load(std::memory_order_relaxed));
        },
        event_loop::rounds::some);
    loop.stopped_.store(false, std::memory_order_relaxed);
  }
};

}  // namespace rota::detail
