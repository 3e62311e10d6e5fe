// What resumes tasks: an event loop, a pool, a thread that waits in sync_wait.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string_view>
#include <utility>

#include <rota/base/config.hpp>
#include <rota/base/random.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/ready_queue.hpp>

namespace rota {

class scope_node;

namespace detail {
struct task_state;
struct cancel_record;
struct task_identity;

[[noreturn]] void trap_woken_elsewhere(void* frame) noexcept;  // coro/describe.hpp

/// A piece of work that crosses threads: intrusive, so that posting allocates nothing. Owned by whoever posts it
/// until `run` is called, which may destroy it.
struct posted {
  posted* next = nullptr;
  void (*run)(posted&) noexcept = nullptr;
};

/// Work in the order in which it came, linked by its own `next`.
class posted_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  void push(posted& work) noexcept {
    work.next = nullptr;
    (first_ ? last_->next : first_) = &work;
    last_ = &work;
  }
  /// The oldest; null when the list is empty.
  posted* pop() noexcept {
    posted* work = first_;
    if (work) first_ = work->next;
    return work;
  }

 private:
  posted* first_ = nullptr;
  posted* last_ = nullptr;
};

enum class executor_kind : unsigned char { other, event_loop, strand };

// How many event loops there were once; only with ROTA_ASSERTIONS. While it stays the same, a loop that was seen is still
// there. Relaxed: it carries no other data.
inline constinit std::atomic<unsigned> loops_ended{0};

// Set by loops and pools: a thread that others count on must not block.
struct blocking_guard {
  static bool& forbidden() noexcept {
    static constinit thread_local bool value = false;
    return value;
  }
};

/// The task whose step runs on this thread; null in callbacks, between steps, and where no executor runs. Out of line:
/// clang 16 may keep a stale thread_local across a suspension.
ROTA_NOINLINE inline task_state*& running_task() noexcept {
  static constinit thread_local task_state* current = nullptr;
  return current;
}

/// Where the machine stack is.
[[gnu::always_inline]] inline char* stack_pointer() noexcept {
#if defined(__x86_64__)
  char* sp;
  asm volatile("mov %%rsp, %0" : "=r"(sp));
  return sp;
#elif defined(__aarch64__)
  char* sp;
  asm volatile("mov %0, sp" : "=r"(sp));
  return sp;
#else
  return static_cast<char*>(__builtin_frame_address(0));
#endif
}
}  // namespace detail

/// A task resumes only on the executor it started on (rule R4). Other libraries call the same thing a scheduler
/// or a context.
///
/// How control passes between coroutines, in constant stack and without relying on the compiler's tail calls
/// (rule R5): an awaited task is entered by a plain call from its parent's await_suspend. Mostly it ends before that
/// call returns, and the parent goes on without having suspended. If it suspends, so does the parent; when the child
/// ends later, it leaves the parent in `parked_`, and run_frame(), below them all, resumes it. A call that would
/// make the stack too deep is left in `parked_` instead.
class executor {
 public:
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;

  /// Runs `work.run` on this executor soon. Any thread, and signal handlers. Never fails, never blocks.
  virtual void post(detail::posted& work) noexcept = 0;

  // The rest is for the library, on the executor's own thread.

  /// Queues a suspended frame. Room for one entry per task was reserved when the task was made: cannot fail.
  void resume_later(void* frame) noexcept {
#if ROTA_ASSERTIONS
    if (on_another_thread()) [[unlikely]]
      detail::trap_woken_elsewhere(frame);
#endif
    ready_.push(frame);
  }
  /// The calling thread is not the one on which this executor last ran. False before it ran at all.
  bool on_another_thread() const noexcept { return running_ && running_ != &detail::running_task(); }

  /// `frame` runs next, when the stack has unwound to run_frame().
  void park(void* frame) noexcept {
    if (!parked_) [[likely]]
      parked_ = frame;
    else
      ready_.push(frame);  // only when a coroutine was resumed by hand within another one
  }
  /// Too deep for one more nested call?
  [[gnu::always_inline]] bool stack_is_deep() const noexcept { return detail::stack_pointer() < stack_limit_; }

  /// Lets every frame that is ready go first. False: there is none, and this one would be the next: it may go on at once,
  /// and does so, until it is time to look at something else than the ready queue.
  [[gnu::always_inline]] bool yields(void* frame) noexcept {
    if (ready_.empty() && steps_left_ > 0) {
      --steps_left_;
      ++steps_skipped_;
      return false;
    }
    resume_later(frame);
    return true;
  }

  /// For an await that has its result, or its cancel, at once: must its task suspend all the same, to let the others have
  /// their turn (rule R6)? Then the frame is queued. Also a task that swallows its cancel and awaits again, for ever,
  /// must not hold up the rest.
  bool takes_turns(void* frame) noexcept {
    if (inline_left_ != 0) [[likely]] {
      --inline_left_;
      return false;
    }
    resume_later(frame);
    return true;
  }

  /// A random number, the same in every run: for choices that must be fair.
  std::uint64_t draw() noexcept { return dice_.next(); }

  /// Asks the operation or timer that the task waits for (detail::wait_kind) to end early.
  virtual void cancel_wait(detail::task_state& task) noexcept = 0;
  /// A scope of the task is about to be cancelled, with this record, or with none for lack of memory.
  virtual void cancel_begins(detail::task_state&, detail::cancel_record*) noexcept {}
  /// A scope of the task was cancelled, and everything in it on this executor has been told.
  virtual void cancel_has_spread(detail::task_state&) noexcept {}
  /// cancel() was called on a scope of one of its tasks, on any thread that may know the scope. True: by a thread that
  /// must not do it itself; the scope will be cancelled where its task runs.
  virtual bool cancels_elsewhere(detail::task_state&, scope_node&, std::string_view, std::source_location) noexcept {
    return false;
  }
  /// Within a step: does now what other threads asked for, among it to cancel. For code that computes for long; a loop
  /// does it when the step has ended.
  virtual void hear_others() noexcept {}
  /// The task's body has ended, with task_state::failed if by an exception. Still inside its root frame, which then
  /// destroys its parameters and frees itself: nothing of it may be resumed any more.
  virtual void task_finished(detail::task_state& task) noexcept = 0;
  /// The innermost frame of a task that waits for something, for reports; null where that is not known.
  virtual void* waiting_frame(detail::task_state&) noexcept { return nullptr; }
  /// A pool: what several of its threads know the task by; else null. For a task that has not ended.
  virtual detail::task_identity* identity_of(detail::task_state&) noexcept { return nullptr; }
  /// A pool: the deadline that is around all of the executor's tasks; else detail::never.
  virtual std::int64_t outer_deadline() const noexcept { return INT64_MAX; }
  /// The task whose step runs on this executor's thread, or null.
  detail::task_state* running() const noexcept { return running_ ? *running_ : nullptr; }
  /// True for rota::event_loop.
  bool is_event_loop() const noexcept { return kind_ == detail::executor_kind::event_loop; }
  /// True for what runs tasks of a rota::thread_pool one at a time (pool/strand.hpp): one, and what it spawns on its own.
  bool is_strand() const noexcept { return kind_ == detail::executor_kind::strand; }

 protected:
  explicit executor(detail::executor_kind kind) noexcept : kind_(kind) {}
  explicit executor(bool is_event_loop) noexcept
      : executor(is_event_loop ? detail::executor_kind::event_loop : detail::executor_kind::other) {}
  ~executor() {
#if ROTA_ASSERTIONS
    if (is_event_loop()) detail::loops_ended.fetch_add(1, std::memory_order_relaxed);
#endif
  }

  // While it lives, the executor runs on the calling thread, and its stack begins here. Executors nest: a task may
  // destroy an event loop, which runs that loop's tasks to their end.
  class running_here {
   public:
    explicit running_here(executor& self) noexcept
        : slot_(detail::running_task()), outer_(std::exchange(slot_, nullptr)) {
      self.running_ = &slot_;
      self.stack_limit_ = detail::stack_pointer() - deepest_stack;
    }
    running_here(const running_here&) = delete;
    running_here& operator=(const running_here&) = delete;
    ~running_here() { slot_ = outer_; }

   private:
    detail::task_state*& slot_;
    detail::task_state* const outer_;
  };

  /// Resumes the task's frame and then whoever was parked, until nobody is. Inside the life of a running_here.
  void run_frame(detail::task_state& task, void* frame) {
    *running_ = &task;
    inline_left_ = inline_completions;
    for (;;) {
      std::coroutine_handle<>::from_address(frame).resume();
      frame = parked_;
      if (!frame) [[likely]]
        return;
      parked_ = nullptr;
    }
  }
  /// Before anything runs that belongs to no task. (Not after each step: it would cost a fifth of a yield.)
  void no_task_runs() noexcept { *running_ = nullptr; }
  // Entries of the ready queue are frames, or a task or a detail::posted with its bit set.
  static constexpr std::uintptr_t first_step_tag = 1;
  static constexpr std::uintptr_t posted_tag = 2;

  detail::ready_queue ready_;
  std::ptrdiff_t steps_left_ = 0;  // may run before the executor looks at something else than its ready queue
  std::uint64_t steps_skipped_ = 0;

 private:
  static constexpr std::ptrdiff_t deepest_stack = 64 * 1024;
  static constexpr unsigned inline_completions = 64;  // in one step

  void* parked_ = nullptr;
  char* stack_limit_ = nullptr;
  detail::task_state** running_ = nullptr;  // running_task() of the thread that runs this executor
  unsigned inline_left_ = inline_completions;
  detail::executor_kind kind_;
  detail::random dice_{1};
};

}  // namespace rota
