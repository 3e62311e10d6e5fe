// The event loop: resumes tasks, fires timers, talks to the kernel through a reactor. One thread.
#pragma once

#include <pthread.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/error.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/callback_layer.hpp>
#include <rota/loop/debug_watch.hpp>
#include <rota/loop/event_loop_options.hpp>
#include <rota/loop/exception_context.hpp>
#include <rota/loop/inbox.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/loop/task_record.hpp>
#include <rota/loop/timer_queue.hpp>
#include <rota/reactor/open_reactor.hpp>

namespace rota {

class event_loop;

namespace detail {

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
/// call_soon_threadsafe(), stop() and backend(). One iteration:
///
///   1. poll     when nothing is ready, when callbacks were called or asked for, or after 64 steps that took 10 us or
///               more: submit what was requested, wait for completions until the next timer (not at all when something
///               is ready); posts of other threads, then completions, then due timers join the ready queue;
///   2. run      exactly the tasks and callbacks that were ready when the batch began, in order. What they make ready
///               waits for the next iteration, so nothing starves (rule R6).
class event_loop final : public executor, public callback_layer {
 public:
  using options = event_loop_options;

  /// Throws std::system_error when the wished backend cannot be had, std::invalid_argument for a misspelt
  /// ROTA_BACKEND.
  explicit event_loop(const options& wishes = options())
      : event_loop(detail::open_reactor(wishes.backend, wishes.is_guest), wishes) {}
  /// A loop on a reactor that was made elsewhere: tests, guests.
  explicit event_loop(detail::owned<detail::reactor> reactor, const options& wishes = options())
      : executor(true), options_(wishes), reactor_(std::move(reactor)), timers_(reactor_->now()) {
    stop_post_.loop = this;
    stop_post_.run = wake_post_.run = &stop_request::perform;
    arrivals_.loop = this;
    arrivals_.run = &arrivals::perform;
    ready_.reserve();  // for arrivals_
    if (wishes.debug) {
      ready_.reserve();  // for the watch
      watch_ = detail::owned(new detail::debug_watch(*reactor_, timers_, root_, wishes.slow_step, wishes.cancel_grace));
    }
  }
  /// Cancels every task and runs until all have ended, or shutdown_deadline has passed; then names who did not
  /// stop, aborts in debug builds, and otherwise leaks those frames: the kernel may still write to them.
  ~event_loop();

  /// The loop that runs on this thread, or null.
  static event_loop* current() noexcept { return detail::this_thread::loop(); }

  /// Runs until the task has ended; its value or exception comes out. Other tasks stay as they are.
  /// Throws usage_error when a loop runs on this thread already, and for the loop of a guest_loop; std::system_error with errc::loop_stopped when
  /// stop() ended the run first (the task is cancelled when the loop is destroyed).
  template <class T>
  T run(task<T> given);
  /// Runs until stop() is called.
  void run() {
    check_may_run();
    bool once = true;
    run_while([&] { return std::exchange(once, false) || !stopped_.exchange(false, std::memory_order_relaxed); });
  }
  /// Lets the current batch finish, then run() returns. Before run(): the next run() does one iteration.
  /// Any thread, and signal handlers.
  void stop() noexcept {
    // On its own thread at once: what the current batch makes ready waits for the next run. The post then only wakes it,
    // if this is a signal handler.
    const bool here = current() == this;
    if (here) stopped_.store(true, std::memory_order_relaxed);
    stop_request& request = here ? wake_post_ : stop_post_;
    if (!request.queued.exchange(true, std::memory_order_acq_rel)) post(request);
  }

  /// Cancels every task, runs until all have ended or the deadline has passed; returns how many are left. What is
  /// spawned meanwhile is cancelled at once. What is ready then runs once more; every other callback, watch and signal
  /// handler is dropped, and asking for a new one throws usage_error from now on. The destructor calls it. Throws
  /// usage_error inside the loop's own run.
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
    s.steps = steps_;
    s.iterations = iterations_;
    s.polls = reactor_->statistics().waits;
    s.posts = posts_;
    s.submitted = reactor_->statistics().submitted;
    return s;
  }

  // ---- executor: for the library
  void cancel_wait(detail::task_state& task) noexcept override;
  void* waiting_frame(detail::task_state& task) noexcept override;
  void cancel_begins(detail::task_state& task, detail::cancel_record* record) noexcept override;
  void task_finished(detail::task_state& task) noexcept override;
  void destroy_ended(detail::task_state& task) noexcept override;

 private:
  friend detail::loop_access;

  static constexpr std::size_t steps_between_polls = 64;
  static constexpr std::size_t must_poll = SIZE_MAX / 2;  // in place of the steps since the last poll
  static constexpr detail::nanoseconds time_between_polls = 10'000;
  static constexpr unsigned most_polls_skipped = 16;  // whatever the clock says

  struct stop_request : detail::posted {
    detail::atomic<bool> queued{false};
    event_loop* loop = nullptr;  // null: nothing is to be done
    static void perform(detail::posted& self) noexcept {
      auto& request = static_cast<stop_request&>(self);
      request.queued.store(false, std::memory_order_release);
      if (request.loop) request.loop->stopped_.store(true, std::memory_order_relaxed);
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
      throw usage_error(usage_error::kind::loop_already_running, "an event loop already runs on this thread");
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
    check_not_running();
    check_thread();
    if (options_.is_guest)
      throw usage_error(usage_error::kind::loop_already_running,
                        "the loop of a guest_loop is driven by its host: step() it");
  }
  template <class Condition>
  void run_while(Condition go_on);
  template <class Condition>
  void run_reporting(Condition go_on) noexcept;
  void close();
  void drop_callbacks() noexcept;
  void push_posted(detail::posted& work) noexcept {
    ready_.push(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&work) | posted_tag));
  }
  static void run_list(detail::posted_list& list) noexcept {
    detail::posted_list taken = std::exchange(list, {});
    while (detail::posted* work = taken.pop()) work->run(*work);  // which may destroy it
  }
  void iterate();
  void step(void* entry);
  void run_watched(std::size_t batch);
  void poll(bool may_wait = true);
  bool poll_is_due();
  void expire_timers(detail::nanoseconds now);
  void run_posts(detail::posted* posts);
  void run_entry(std::uintptr_t entry);
  void inherit_locals(const detail::task_state& spawner);
  detail::task_extras* take_inherited() noexcept { return std::exchange(inherited_, inherited_->next); }
  void fire(detail::loop_timer& t) noexcept;
  static void tell_owner(detail::task_state& task, detail::task_owner& owner) noexcept;
  static void wake_joiners(detail::custom_wait* joiner) noexcept;

  options options_;
  const pthread_t made_on_ = pthread_self();
  detail::owned<detail::reactor> reactor_;
  detail::timer_queue timers_;
  detail::inbox inbox_;
  detail::completion_list done_;
  root_owner root_;
  std::size_t steps_since_poll_ = steps_between_polls;
  unsigned polls_skipped_ = 0;
  detail::nanoseconds last_look_ = 0;  // at the clock, since the last poll
  detail::atomic<bool> stopped_{false};
  detail::nanoseconds shutdown_until_ = 0;  // set by the first shutdown()
  std::size_t tasks_ = 0;                   // of all owners
  std::exception_ptr error_;                // of the reactor: ends run()
  stop_request stop_post_;
  stop_request wake_post_;
  detail::custom_wait* closing_ = nullptr;  // who waits until a descriptor has closed
  arrivals arrivals_;
  detail::posted_list before_poll_;
  bool shut_down_ = false;
  detail::task_extras* inherited_ = nullptr;  // for tasks that are about to exist, linked by their `next`
  detail::owned<detail::debug_watch> watch_;  // in debug mode
  std::uint64_t steps_ = 0;
  std::uint64_t iterations_ = 0;
  std::uint64_t posts_ = 0;
};

// ---------------------------------------------------------------------------------------------------------------

inline event_loop& callback_layer::self() noexcept { return static_cast<event_loop&>(*this); }

namespace detail {

// What the awaiters and spawn() need of a loop; not for users.
struct loop_access {
  static reactor& kernel(event_loop& loop) noexcept { return *loop.reactor_; }
  static timer_queue& timers(event_loop& loop) noexcept { return loop.timers_; }
  static task_owner& root(event_loop& loop) noexcept { return loop.root_; }
  static nanoseconds now(event_loop& loop) noexcept { return loop.reactor_->now(); }
  static bool is_own_thread(const event_loop& loop) noexcept {
    return pthread_equal(pthread_self(), loop.made_on_) != 0;
  }
  /// Debug builds: ends the program when the owner of a descriptor goes on another thread. A forked child may let its
  /// copies go on any.
  static void check_thread([[maybe_unused]] event_loop& loop, [[maybe_unused]] int fd) noexcept {
#if ROTA_ASSERTIONS
    if (pthread_equal(pthread_self(), loop.made_on_) || loop.reactor_->forked()) return;
    description whose;
    whose.add("the loop that has its descriptor, %d", fd);
    trap_wrong_thread("a stream or listener was destroyed", whose);
#endif
  }
  /// The same for what can tell nobody by an exception.
  static void check_thread([[maybe_unused]] event_loop& loop, [[maybe_unused]] const char* what) noexcept {
#if ROTA_ASSERTIONS
    if (is_own_thread(loop)) return;
    description whose;
    whose.add("a loop that another thread has made");
    trap_wrong_thread(what, whose);
#endif
  }

  static void check_not_running() { event_loop::check_not_running(); }

  /// The loop on which the task runs; throws when it runs on another executor.
  static event_loop& loop_of(task_state& task) {
    if (!task.exec->is_event_loop()) [[unlikely]]
      throw_usage_error(usage_error::kind::no_event_loop,
                        "%s, used something that needs an event loop, and runs on none", describe(task).c_str());
    return static_cast<event_loop&>(*task.exec);
  }
  static event_loop& current() {
    event_loop* loop = event_loop::current();
    if (!loop) throw usage_error(usage_error::kind::no_event_loop, "no event loop runs on this thread");
    return *loop;
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
  static void poll_next(event_loop& loop) noexcept { loop.steps_since_poll_ = event_loop::must_poll; }
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
  /// Room for one more task, before it exists.
  static void reserve_task(event_loop& loop) {
    loop.ready_.reserve();
    const task_state* spawner = loop.running();
    // A guest may be given a task by a task of another loop, whose values belong to that loop.
    if (spawner && spawner->has_extras() && spawner->exec == &loop) [[unlikely]]
      loop.inherit_locals(*spawner);
  }
  static void unreserve_task(event_loop& loop) noexcept {
    loop.ready_.unreserve();
    if (loop.inherited_) [[unlikely]]
      delete loop.take_inherited();
  }
  static void reserve_tasks(event_loop& loop, std::size_t count) {
    std::size_t reserved = 0;
    try {
      for (; reserved != count; ++reserved) reserve_task(loop);
    } catch (...) {
      for (; reserved != 0; --reserved) unreserve_task(loop);
      throw;
    }
  }
  /// Queues the first step of a task whose state lies behind its root frame. Room was reserved.
  static void start(event_loop& loop, task_owner& owner, task_state& task) noexcept {
    if (loop.inherited_) [[unlikely]]
      task.adopt_extras(loop.take_inherited());
    task.link(owner);
    ++owner.children;
    ++loop.tasks_;
    loop.ready_.push(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&task) | event_loop::first_step_tag));
  }
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
    loop.run_while([&] {
      return std::exchange(once, false) ||
             (!task.has(task_state::finished) && !loop.stopped_.load(std::memory_order_relaxed));
    });
    loop.stopped_.store(false, std::memory_order_relaxed);
  }
};

[[noreturn]] ROTA_COLD inline void throw_not_a_duration(task_state& task) {
  throw_usage_error(usage_error::kind::invalid_argument, "%s, awaited something for a time that is not a number (NaN)",
                    describe(task).c_str());
}

// The state lies in the same block, behind the frame; 0: it does not.
inline std::size_t frame_size_of(task_state& task) noexcept {
  if (task.is_held()) return 0;
  return static_cast<std::size_t>(reinterpret_cast<char*>(&task) - static_cast<char*>(task.frame()));
}
/// A task that has ended, but to whose outcome somebody refers: its arguments go now. A channel's end among them must not
/// stay open for as long as somebody keeps a handle.
inline void end_frame(task_state& task) noexcept {
  if (frame_memory::end_frame(task.frame(), frame_size_of(task))) task.set(task_state::plain_block);
  task.set(task_state::frame_ended);
}

// Ends with the frame: the state lies in the same block.
inline void destroy_task(task_state& task) noexcept {
  free_extras(task);
  outcome_base& outcome = outcome_of(task);
  if (const outcome_type* type = outcome.type()) type->destroy(&outcome);
  void* frame = task.frame();
  if (task.has(task_state::frame_ended)) {
    const bool plain = task.has(task_state::plain_block);
    task.~task_state();
    frame_memory::free_block(frame, plain);
    return;
  }
  const std::size_t frame_size = frame_size_of(task);
  task.~task_state();
  std::coroutine_handle<>::from_address(frame).destroy();
  frame_memory::had_tail(frame, frame_size);
}

}  // namespace detail

// The loop itself.
template <class Condition>
void event_loop::run_while(Condition go_on) {
  check_not_running();
  event_loop*& current = detail::this_thread::loop();
  reactor_->check_not_forked();
  struct leave {
    event_loop*& slot;
    const bool was_forbidden;  // when a loop is destroyed by a task of another one
    ~leave() {
      slot = nullptr;
      detail::blocking_guard::forbidden() = was_forbidden;
    }
  } const on_exit{current, detail::blocking_guard::forbidden()};
  current = this;
  detail::blocking_guard::forbidden() = true;
  const running_here here(*this);
  while (go_on()) {
    iterate();
    if (error_) [[unlikely]]
      std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

// GCC decides anew with every change nearby; out of line, a spawn and its join take 4 % longer.
[[gnu::always_inline]] inline void event_loop::iterate() {
  if (ready_.empty() || (steps_since_poll_ >= steps_between_polls && poll_is_due())) poll();
  std::size_t batch = ready_.size();
  steps_since_poll_ += batch;
  steps_ += batch;
  ++iterations_;
  if (watch_) [[unlikely]]
    return run_watched(batch);
  for (; batch != 0; --batch) step(ready_.pop());
}

[[gnu::always_inline]] inline void event_loop::step(void* entry) {
  const auto bits = reinterpret_cast<std::uintptr_t>(entry);
  if ((bits & (first_step_tag | ended_tag | posted_tag)) == 0)
    run_frame(*detail::promise_of(entry).state, entry);
  else
    run_entry(bits);
}

// The batch of iterate(), in debug mode: one look at the clock after each step.
ROTA_COLD inline void event_loop::run_watched(std::size_t batch) {
  detail::nanoseconds before = reactor_->now();
  for (; batch != 0; --batch) {
    void* entry = ready_.pop();
    const auto bits = reinterpret_cast<std::uintptr_t>(entry);
    if ((bits & posted_tag) == 0) {
      const bool is_task = (bits & (first_step_tag | ended_tag)) != 0;
      auto& task = is_task ? *reinterpret_cast<detail::task_state*>(bits & ~(first_step_tag | ended_tag))
                           : *detail::promise_of(entry).state;
      watch_->step_begins(task, is_task ? task.root().waits_at : detail::promise_of(entry).waits_at);
    }
    step(entry);
    const detail::nanoseconds after = reactor_->now();
    if ((bits & posted_tag) == 0) watch_->step_took(after - before);
    before = after;
  }
}

// The loop is busy and has run 64 short steps: asking the kernel each time would cost more than they did.
ROTA_NOINLINE inline bool event_loop::poll_is_due() {
  if (steps_since_poll_ >= must_poll || !inbox_.empty()) return true;
  const detail::nanoseconds now = reactor_->now();
  const bool first_look = std::exchange(last_look_, last_look_ ? last_look_ : now) == 0;
  if (!first_look && (now - last_look_ >= time_between_polls || ++polls_skipped_ == most_polls_skipped)) return true;
  steps_since_poll_ = 0;
  expire_timers(now);
  return false;
}

inline void event_loop::expire_timers(detail::nanoseconds now) {
  no_task_runs();
  timers_.expire(now, [this](detail::timer& t) { fire(static_cast<detail::loop_timer&>(t)); });
}

inline void event_loop::poll(bool may_wait) {
  no_task_runs();
  steps_since_poll_ = 0;
  polls_skipped_ = 0;
  last_look_ = 0;
  if (!before_poll_.empty()) [[unlikely]]
    run_list(before_poll_);
  const bool wait = may_wait && ready_.empty() && done_.empty() && inbox_.fall_asleep();
  detail::posted* posts = nullptr;
  try {
    reactor_->wait(wait ? timers_.next_deadline() : 0, done_);
  } catch (...) {
    error_ = std::current_exception();
  }
  posts = inbox_.take();
  if (posts) run_posts(posts);
  while (detail::operation* op = done_.pop()) {
    const auto waiter = reinterpret_cast<std::uintptr_t>(op->waiter);
    if ((waiter & detail::posted_waiter_tag) == 0) [[likely]] {
      detail::make_ready(op->waiter);
    } else {
      auto& work = *reinterpret_cast<detail::posted*>(waiter & ~detail::posted_waiter_tag);
      work.run(work);
    }
  }
  for (detail::custom_wait** link = &closing_; *link;) {
    auto& waiter = static_cast<detail::closing_wait&>(**link);
    if (reactor_->is_closed(waiter.fd)) {
      *link = waiter.next;
      detail::make_ready(waiter.frame);
    } else {
      link = &waiter.next;
    }
  }
  if (timers_.size() != 0) expire_timers(reactor_->now());
}

inline void event_loop::run_posts(detail::posted* posts) {
  while (posts) {
    detail::posted& post = *std::exchange(posts, posts->next);  // running it may destroy it
    ++posts_;
    post.run(post);
  }
}

inline void event_loop::run_entry(std::uintptr_t entry) {
  no_task_runs();
  if ((entry & posted_tag) != 0) {
    auto& work = *reinterpret_cast<detail::posted*>(entry & ~posted_tag);
    work.run(work);
    return;
  }
  auto& task = *reinterpret_cast<detail::task_state*>(entry & ~(first_step_tag | ended_tag));
  if ((entry & ended_tag) != 0) {
    destroy_ended(task);
    return;
  }
  if (task.is_cancelled()) [[unlikely]] {
    // Cancelled before it began: the body never runs.
    task.set(detail::task_state::failed);
    task.set(detail::task_state::was_cancelled);
    task_finished(task);
    return;
  }
  task.set(detail::task_state::started);
  run_frame(task, task.frame());
}

// Room for what the next task inherits, before it exists: starting it cannot fail.
ROTA_COLD inline void event_loop::inherit_locals(const detail::task_state& spawner) {
  detail::local_value* const locals = spawner.extras()->locals;
  if (!locals) return;
  auto* extras = new (std::nothrow) detail::task_extras;
  if (!extras) {
    ready_.unreserve();
    throw std::bad_alloc();
  }
  extras->locals = detail::local_value::share(locals);
  extras->next = std::exchange(inherited_, extras);
}

inline void event_loop::destroy_ended(detail::task_state& task) noexcept {
  if (--task.references_ == 0)
    detail::destroy_task(task);
  else
    detail::end_frame(task);
}

inline void event_loop::fire(detail::loop_timer& t) noexcept {
  if ((t.target & (detail::loop_timer::scope_tag | detail::loop_timer::posted_tag)) == 0) {
    detail::make_ready(reinterpret_cast<void*>(t.target));
    return;
  }
  if ((t.target & detail::loop_timer::posted_tag) != 0) {
    push_posted(*reinterpret_cast<detail::posted*>(t.target & ~detail::loop_timer::posted_tag));
    return;
  }
  auto& scope = *reinterpret_cast<detail::open_scope*>(t.target & ~detail::loop_timer::scope_tag);
  detail::scope_tree::cancel(scope, cancel_kind::deadline, "the deadline passed", scope.deadline_set_at);
}

inline void event_loop::cancel_wait(detail::task_state& task) noexcept {
  switch (task.waiting_kind()) {
    case detail::wait_kind::operation: reactor_->cancel(*static_cast<detail::operation*>(task.waiting_for())); return;
    case detail::wait_kind::timer: {
      auto& t = *static_cast<detail::loop_timer*>(task.waiting_for());
      timers_.cancel(t);
      t.deadline = detail::never;  // tells the sleeper that it did not sleep
      detail::make_ready(reinterpret_cast<void*>(t.target));
      return;
    }
    case detail::wait_kind::custom: {
      auto& wait = *static_cast<detail::custom_wait*>(task.waiting_for());
      if (wait.cancel) wait.cancel(wait);
      return;
    }
  }
}

inline void* event_loop::waiting_frame(detail::task_state& task) noexcept {
  void* const what = task.waiting_for();
  if (!what) return nullptr;
  switch (task.waiting_kind()) {
    case detail::wait_kind::operation: return static_cast<detail::operation*>(what)->waiter;
    case detail::wait_kind::timer: return reinterpret_cast<void*>(static_cast<detail::loop_timer*>(what)->target);
    case detail::wait_kind::custom: return static_cast<detail::custom_wait*>(what)->frame;
  }
  return nullptr;
}

inline void event_loop::cancel_begins(detail::task_state& task, detail::cancel_record* record) noexcept {
  if (!watch_) [[likely]]
    return;
  if (on_another_thread()) detail::trap_wrong_thread("a scope was cancelled", detail::describe(task));
  if (record) watch_->cancel_begins(*record);
}

// These two are out of line, for most tasks are joined by nobody and end well.
ROTA_NOINLINE inline void event_loop::tell_owner(detail::task_state& task, detail::task_owner& owner) noexcept {
  if (task.has(detail::task_state::failed)) {
    const std::exception_ptr* error = detail::error_of(task);
    if (error && detail::is_cancellation(*error)) task.set(detail::task_state::was_cancelled);
  }
  owner.child_ended(task);
}
ROTA_NOINLINE inline void event_loop::wake_joiners(detail::custom_wait* joiner) noexcept {
  while (joiner) {
    detail::custom_wait& ended = *std::exchange(joiner, joiner->next);
    if (ended.frame) [[likely]] {
      detail::make_ready(ended.frame);
    } else {
      auto& hook = static_cast<detail::end_hook&>(ended);
      hook.ended(hook);
    }
  }
}

inline void event_loop::task_finished(detail::task_state& task) noexcept {
  ROTA_ASSERT(task.current == &task);
  task.set(detail::task_state::finished);
  detail::task_owner& owner = detail::owner_of(task);
  task.unlink();
  --tasks_;
  ready_.unreserve();
  if (task.has(detail::task_state::failed) || owner.sees_every_end()) tell_owner(task, owner);
  if (task.joiners()) wake_joiners(std::exchange(task.joiners(), nullptr));
  owner.one_less();
  if (task.is_held() && !can_park()) [[unlikely]]
    return;            // its state may be gone by then: its frame goes with it
  ++task.references_;  // destroy_ended() drops it
  if (task.has(detail::task_state::started))
    park_ended(task);  // the stack is still in its frame
  else
    destroy_ended(task);
}

inline void event_loop::report_error(event_loop* loop, const std::exception_ptr& error, const detail::description& text,
                                     detail::task_state* task, std::source_location where) noexcept {
  exception_context context;
  context.message = text.c_str();
  context.exception = error;
  context.where = where;
  if (task) {
    if (task->extras()) context.task_name = task->extras()->name;
    if (where.line() == 0) context.where = detail::line_of(*task);
  }
  if (loop)
    loop->call_exception_handler(context);
  else
    default_exception_handler(context);
}

template <class Condition>
void event_loop::run_reporting(Condition go_on) noexcept {
  for (bool done = false; !done;) {
    try {
      run_while(go_on);
      done = true;
    } catch (...) {
      detail::description text;
      text.add("an exception during the shutdown of an event loop");
      report_error(this, std::current_exception(), text);
    }
  }
}

// Callbacks are dropped from now on, those that wait for something at once.
inline void event_loop::close() {
  shut_down_ = true;
  drop_watches_and_signals();
  run_list(before_poll_);  // watches, which end there
  timers_.for_each([this](detail::timer& t) {
    auto& timer = static_cast<detail::loop_timer&>(t);
    if ((timer.target & detail::loop_timer::posted_tag) == 0) return;
    timers_.cancel(timer);
    fire(timer);
  });
}

// What came after the shutdown.
inline void event_loop::drop_callbacks() noexcept {
  while (detail::posted* posts = inbox_.take()) run_posts(posts);
  while (tasks_ == 0 && !ready_.empty()) run_entry(reinterpret_cast<std::uintptr_t>(ready_.pop()));
}

inline std::size_t event_loop::shutdown() {
  if (reactor_->forked()) return 0;  // the tasks are the parent's
  if (current() == this)
    throw usage_error(usage_error::kind::loop_already_running, "an event loop was shut down from within its own run");
  if (watch_ && shutdown_until_ == 0) watch_->loop_ends();
  event_loop* const outer = std::exchange(detail::this_thread::loop(), nullptr);  // we may be inside another one
  detail::scope_tree::cancel(root_, cancel_kind::shutdown, "the event loop is shutting down", {});
  detail::open_scope late;  // stands for "the deadline has passed"
  detail::loop_timer alarm;
  if (shutdown_until_ == 0)
    shutdown_until_ = detail::deadline_after(reactor_->now(), detail::saturate(options_.shutdown_deadline));
  alarm.deadline = shutdown_until_;
  alarm.target = reinterpret_cast<std::uintptr_t>(&late) | detail::loop_timer::scope_tag;
  timers_.arm(alarm);
  const auto busy = [&] { return tasks_ != 0 && !late.cancel_requested(); };
  do {
    run_reporting(busy);
    bool once_more = !ready_.empty() || !inbox_.empty();  // what was posted, and what the last tasks left to call
    steps_since_poll_ = must_poll;
    run_reporting([&] { return std::exchange(once_more, false); });
  } while (busy());
  close();
  run_reporting(
      [&] { return (tasks_ != 0 || reactor_->in_flight() != 0 || !ready_.empty()) && !late.cancel_requested(); });
  if (alarm.next) timers_.cancel(alarm);
  detail::this_thread::loop() = outer;
  return tasks_;
}

inline event_loop::~event_loop() {
  const std::size_t left = shutdown();
  forget_remote_tasks();  // before the last post: nobody will send a cancel any more
  if (!reactor_->forked()) {
    inbox_.wait_for_posters();
    drop_callbacks();
  }
  drop_watches_and_signals();  // a forked child's are left
  if (left == 0) {
    root_.children = 0;  // a forked child leaves its parent's tasks alone
    if (reactor_->descriptors() != 0 && !reactor_->forked())
      detail::trap("an event loop was destroyed before %zu of its streams or listeners, which would refer to it",
                   reactor_->descriptors());
    return;
  }
  detail::scope_tree::for_each_task(root_, [](detail::task_state& task) {
    report("the event loop was destroyed, but %s did not stop", detail::describe(task).c_str());
  });
  if (ROTA_ASSERTIONS)
    detail::trap("an event loop was destroyed with %zu tasks that ignore their cancellation", tasks_);
  root_.children = 0;
  (void)reactor_.release();  // never free what the kernel may still write to
}

}  // namespace rota
