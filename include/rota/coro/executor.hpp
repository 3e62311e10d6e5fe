// What resumes tasks: an event loop, a pool, a thread that waits in sync_wait.
#pragma once

#include <exception>

#include <rota/base/config.hpp>

namespace rota {

namespace detail {
struct task_state;

/// A piece of work that crosses threads: intrusive, so that posting allocates nothing. Owned by whoever posts it
/// until `run` is called, which may destroy it.
struct posted {
  posted* next = nullptr;
  void (*run)(posted&) noexcept = nullptr;
};

// Set by loops and pools: a thread that others count on must not block.
struct blocking_guard {
  static bool& forbidden() noexcept {
    static constinit thread_local bool value = false;
    return value;
  }
};
}  // namespace detail

/// A task resumes only on the executor it started on (rule R4). Other libraries call the same thing a scheduler
/// or a context.
class executor {
 public:
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;

  /// Runs `work.run` on this executor soon. Any thread, and signal handlers. Never fails, never blocks.
  virtual void post(detail::posted& work) noexcept = 0;

  // For the library, on the executor's own thread.

  /// Queues a suspended frame. Room for one entry per task was reserved when the task was made: cannot fail.
  virtual void resume_later(void* frame) noexcept = 0;
  /// Asks the operation or timer that the task waits for (detail::wait_kind) to end early.
  virtual void cancel_wait(detail::task_state& task) noexcept = 0;
  /// The task's body ended with `error`; task_finished follows.
  virtual void task_failed(detail::task_state& task, const std::exception_ptr& error) noexcept = 0;
  /// The task's body has ended and its frame is suspended for good; still inside the frame's final suspension.
  virtual void task_finished(detail::task_state& task) noexcept = 0;
  /// True for rota::event_loop.
  virtual bool is_event_loop() const noexcept { return false; }

 protected:
  executor() noexcept = default;
  ~executor() = default;
};

}  // namespace rota
