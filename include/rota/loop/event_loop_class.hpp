// What an event loop offers, and what it is made of. Include <rota/loop/event_loop.hpp>: it brings the bodies, too.
#pragma once

#include <pthread.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <source_location>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/callback_layer.hpp>
#include <rota/loop/debug_watch.hpp>
#include <rota/loop/event_loop_options.hpp>
#include <rota/loop/exception_context.hpp>
#include <rota/loop/inbox.hpp>
#include <rota/loop/loop_registry.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/loop/task_record.hpp>
#include <rota/loop/task_runner.hpp>
#include <rota/loop/timer_queue.hpp>
#include <rota/reactor/open_reactor.hpp>

namespace rota {

class event_loop;

namespace detail {

class loop_crew;  // the loops of a loop_group

/// An operation whose `waiter` has this bit set does not resume a frame: the rest is the address of a posted, which runs.
inline constexpr std::uintptr_t posted_waiter_tag = 1;

// Waits until a descriptor that was given up has closed.
struct closing_wait : custom_wait {
  int fd = -1;
};

// The loop that runs on this thread. Never read it from a coroutine in any other way: clang 16 may keep a stale
// thread_local across a suspension.
struct this_thread {
  ROTA_NOINLINE static event_loop*& loop() noexcept {
    static constinit thread_local event_loop* current = nullptr;
    return current;
  }
};
}  // namespace detail

/// A single-threaded executor with its own reactor. All members are for the thread that made it, except post(),
/// call_soon_threadsafe(), stop() and backend(). What an iteration does, and in which order: loop/loop_iteration.hpp.
class event_loop final : public detail::task_runner, public callback_layer {
 public:
  using options = event_loop_options;

  /// Throws std::system_error when the wished backend cannot be had, std::invalid_argument for a misspelt
  /// ROTA_BACKEND.
  explicit event_loop(const options& wishes = options())
      : event_loop(detail::open_reactor(wishes.backend, wishes.is_guest), wishes) {}
  /// A loop on a reactor that was made elsewhere: tests, guests.
  explicit event_loop(detail::owned<detail::reactor> reactor, const options& wishes = options())
      : task_runner(true), options_(wishes), reactor_(std::move(reactor)), timers_(reactor_->now()) {
    stop_post_.loop = this;
    stop_post_.run = wake_post_.run = &stop_request::perform;
    arrivals_.loop = this;
    arrivals_.run = &arrivals::perform;
    ready_.reserve();  // for arrivals_
    if (wishes.debug) {
      ready_.reserve();  // for the watch
      watch_ = detail::owned(new detail::debug_watch(*reactor_, timers_, root_, wishes.slow_step, wishes.cancel_grace));
    }
    detail::loop_registry::add(registered_);
  }
  /// Cancels every task and runs until all have ended, or shutdown_deadline has passed; then names who did not
  /// stop, aborts in debug builds, and otherwise leaks those frames: the kernel may still write to them.
  /// Ends the program on another thread than the one that made it.
  ~event_loop();

  /// The loop that runs on this thread, or null.
  static event_loop* current() noexcept { return detail::this_thread::loop(); }

  /// Runs until the task has ended; its value or exception comes out. Other tasks stay as they are.
  /// Throws usage_error when a loop runs on this thread already, and for the loop of a guest_loop; std::system_error with
  /// errc::loop_stopped when stop() ended the run first (the task is cancelled when the loop is destroyed).
  template <class T>
  T run(task<T> given);
  /// Runs until stop() is called.
  void run();
  /// Lets the current batch finish, then run() returns. Before run(): the next run() does one iteration.
  /// Any thread, and signal handlers.
  void stop() noexcept {
    // On its own thread at once: what the current batch makes ready waits for the next run. The post then only wakes it,
    // if this is a signal handler.
    const bool here = current() == this;
    if (here) ask_to_stop();
    stop_request& request = here ? wake_post_ : stop_post_;
    if (!request.queued.exchange(true, std::memory_order_acq_rel)) post(request);
  }

  /// Cancels every task, runs until all have ended or the deadline has passed; returns how many are left. What is
  /// spawned meanwhile is cancelled at once. What is ready then runs once more; every other callback, watch and signal
  /// handler is dropped, and asking for a new one throws usage_error from now on. The destructor calls it. Throws
  /// usage_error inside the loop's own run, and on another thread.
  std::size_t shutdown();

  /// Runs `work.run` on the loop's thread, in the next poll. Any thread, and signal handlers; never fails. The loop must
  /// be alive when the call begins; the work may end its life, for the destructor waits for a poster that is not back.
  void post(detail::posted& work) noexcept override {
    if (!inbox_.post(work)) return;
    reactor_->wake();
    inbox_.woken();
  }
  /// call_soon_threadsafe(f) without a handle (loop/calls.hpp).
  template <std::invocable F>
  void post(F f, std::source_location where = std::source_location::current());

  rota::backend backend() const noexcept { return reactor_->kind(); }
  bool debug() const noexcept { return watch_.get() != nullptr; }
  time_point now() const noexcept { return detail::to_time_point(reactor_->now()); }

  event_loop_statistics statistics() const noexcept {
    event_loop_statistics s;
    s.tasks = tasks_;
    s.ready = ready_.size();
    s.timers = timers_.size() - (watch_ && watch_->is_armed() ? 1 : 0);
    s.operations = reactor_->in_flight();
    s.descriptors = reactor_->descriptors();
    s.frames = detail::frame_memory::live_on_this_thread();
    s.steps = steps_ + steps_skipped_;
    s.iterations = iterations_ + steps_skipped_;
    s.polls = reactor_->statistics().waits;
    s.posts = posts_;
    s.submitted = reactor_->statistics().submitted;
    return s;
  }

  /// Writes what each task is, where it is and what it waits for: for who looks at a program that hangs
  /// (loop/task_dump.hpp, docs/reference/debugging.md). Throws usage_error on another thread; dump_tasks() is for any.
  void dump(std::FILE* to = stderr);

  // ---- executor: for the library
  inline void cancel_wait(detail::task_state& task) noexcept override;
  inline void* waiting_frame(detail::task_state& task) noexcept override;
  inline void cancel_begins(detail::task_state& task, detail::cancel_record* record) noexcept override;

 private:
  friend detail::loop_access;
  friend detail::loop_crew;

  detail::nanoseconds time() noexcept override { return reactor_->now(); }
  void arm(detail::loop_timer& timer) override { timers_.arm(timer); }
  void disarm(detail::loop_timer& timer) noexcept override {
    if (timer.next) timers_.cancel(timer);
  }
  detail::task_owner& root() noexcept override { return root_; }
  std::source_location line_of_spawn(detail::task_state& spawner) const noexcept override {
    return watch_ ? watch_->line_of_step(spawner) : std::source_location();
  }

  static constexpr std::ptrdiff_t steps_between_polls = 64;
  static constexpr std::ptrdiff_t must_poll = PTRDIFF_MIN / 2;  // in place of the steps that are left
  static constexpr detail::nanoseconds time_between_polls = 10'000;
  static constexpr unsigned most_polls_skipped = 16;  // whatever the clock says

  struct stop_request : detail::posted {
    detail::atomic<bool> queued{false};
    event_loop* loop = nullptr;  // null: nothing is to be done
    static void perform(detail::posted& self) noexcept {
      auto& request = static_cast<stop_request&>(self);
      // Acquire: of whoever called stop() since it was queued, and posted nothing.
      request.queued.exchange(false, std::memory_order_acq_rel);
      if (request.loop) request.loop->ask_to_stop();
    }
  };

  // Owns what nobody else owns.
  struct root_owner final : detail::task_owner {
    void child_ended(detail::task_state& child) noexcept override {
      if (!child.has(detail::task_state::was_cancelled) && child.references_ == 0)
        event_loop::report_lost(child, *detail::error_of(child));
    }
  };

  // What came from other threads in one poll: one entry of the ready queue, so that nothing is allocated for it.
  struct arrivals : detail::posted {
    event_loop* loop = nullptr;
    detail::posted_list list;
    static void perform(detail::posted& self) noexcept { run_list(static_cast<arrivals&>(self).list); }
  };

  // The task may have outlived its loop, in its handle: only a loop that runs here is certain to live.
  ROTA_COLD static void report_lost(detail::task_state& task, const std::exception_ptr& error) noexcept {
    detail::description text;
    text.add("%s ended with an exception that nobody retrieved", detail::describe(task).c_str());
    report_error(task.exec == current() ? current() : nullptr, error, text, &task);
  }
  /// Tells the loop's exception handler; null: the default one.
  static void report_error(event_loop* loop, const std::exception_ptr& error, const detail::description& text,
                           detail::task_state* task = nullptr, std::source_location where = {}) noexcept;

  static void check_not_running() {
    if (current())
      detail::throw_usage_error(usage_error::kind::loop_already_running,
                                "an event loop already runs on this thread, and another one was to be run%s",
                                detail::by_running_task().c_str());
  }
  /// Before a run that somebody asks for; a loop's shutdown may take place anywhere.
  static void check_may_block() {
    check_not_running();
    if (detail::blocking_guard::forbidden())
      throw usage_error(usage_error::kind::blocking_in_loop,
                        "an event loop would block the thread of a pool: let a loop await pool.run() instead");
  }
  // An io_uring belongs to the thread that made it; with epoll it would go well by chance.
  void check_thread() const {
    if (pthread_equal(pthread_self(), made_on_) == 0)
      throw usage_error(usage_error::kind::wrong_thread, "an event loop runs on the thread that made it");
  }
  // For what every thread might try to call: in debug builds, and in debug mode.
  void check_caller() const {
    if ((ROTA_ASSERTIONS || watch_) && pthread_equal(pthread_self(), made_on_) == 0) [[unlikely]]
      throw usage_error(usage_error::kind::wrong_thread,
                        "an event loop was used on another thread than its own; call_soon_threadsafe() may be");
  }
  void check_may_run() const {
    check_may_block();
    check_thread();
    if (options_.is_guest)
      throw usage_error(usage_error::kind::loop_already_running,
                        "the loop of a guest_loop is driven by its host: step() it");
  }
  void ask_to_stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    end_rounds();
  }
  // How many batches may run before the condition is looked at again. Who ends it early calls end_rounds().
  enum class rounds : bool { one, some };
  template <class Condition>
  void run_while(Condition go_on, rounds at_once = rounds::one);
  template <class Condition>
  void run_reporting(Condition go_on) noexcept;
  void close();
  void drop_callbacks() noexcept;
  void take_leave() noexcept;
  void name_who_is_left() noexcept;
  void push_posted(detail::posted& work) noexcept {
    ready_.push(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&work) | posted_tag));
  }
  static void run_list(detail::posted_list& list) noexcept {
    detail::posted_list taken = std::exchange(list, {});
    while (detail::posted* work = taken.pop()) work->run(*work);  // which may destroy it
  }
  void run_round();
  void run_rounds();
  std::size_t begin_batch() noexcept;
  void step(void* entry);
  void run_watched(std::size_t batch);
  void poll(bool may_wait = true);
  bool poll_is_due();
  void expire_timers(detail::nanoseconds now);
  void run_posts(detail::posted* posts);
  void run_entry(std::uintptr_t entry);
  void fire(detail::loop_timer& t) noexcept;

  options options_;
  const pthread_t made_on_ = pthread_self();
  detail::owned<detail::reactor> reactor_;
  detail::timer_queue timers_;
  detail::inbox inbox_;
  detail::completion_list done_;
  root_owner root_;
  unsigned polls_skipped_ = 0;
  detail::nanoseconds last_look_ = 0;  // at the clock, since the last poll
  detail::atomic<bool> stopped_{false};
  detail::nanoseconds shutdown_until_ = 0;  // set by the first shutdown()
  std::exception_ptr error_;                // of the reactor: ends run()
  stop_request stop_post_;
  stop_request wake_post_;
  detail::custom_wait* closing_ = nullptr;  // who waits until a descriptor has closed
  arrivals arrivals_;
  detail::posted_list before_poll_;
  bool shut_down_ = false;
  detail::owned<detail::debug_watch> watch_;  // in debug mode
  detail::registered_loop registered_{*this};
  std::uint64_t steps_ = 0;
  std::uint64_t iterations_ = 0;
  std::uint64_t posts_ = 0;
};

inline event_loop& callback_layer::self() noexcept { return static_cast<event_loop&>(*this); }

}  // namespace rota
