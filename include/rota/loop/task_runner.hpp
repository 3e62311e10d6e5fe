// An executor of many tasks: what an event loop and a strand of a pool have in common. How tasks are queued, begin, end and
// tell their owners.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <source_location>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/loop/task_record.hpp>
#include <rota/loop/timer_queue.hpp>

namespace rota::detail {

/// A spawned task that has ended, and whose outcome nobody will ask for any more.
inline void destroy_task(task_state& task) noexcept {
  free_extras(task);
  outcome_base& outcome = task.outcome();
  if (const outcome_type* type = outcome.type()) type->destroy(&outcome);
  const std::uint16_t record_class = task.record_class_;
  task.~task_state();
  frame_memory::deallocate_record(&task, record_class);
}

struct runner_access;

class task_runner : public executor {
 public:
  inline void task_finished(task_state& task) noexcept override;
  inline void cancel_wait(task_state& task) noexcept override;
  inline void* waiting_frame(task_state& task) noexcept override;

 protected:
  using executor::executor;
  ~task_runner() {
    while (inherited_) delete take_inherited();
  }

  /// What the executor's clock says.
  virtual nanoseconds time() noexcept = 0;
  /// Its deadline is set; when that has come, its target is told, on this executor. May throw.
  virtual void arm(loop_timer& timer) = 0;
  /// Also one that is not armed any more.
  virtual void disarm(loop_timer& timer) noexcept = 0;
  /// Owns what nobody else owns. May throw std::bad_alloc.
  virtual task_owner& root() = 0;
  /// For reports, in debug mode.
  virtual std::source_location line_of_spawn(task_state&) const noexcept { return {}; }
  /// A pool: true when the task, which was queued by nobody so far, runs elsewhere.
  virtual bool sends_away(task_state&) noexcept { return false; }

  void run_first_step(task_state& task) {
    if (task.is_cancelled()) [[unlikely]] {
      // Cancelled before it began: the body never runs.
      no_task_runs();
      const auto frame = std::coroutine_handle<>::from_address(task.frame());
      task.set(task_state::failed);
      task.set(task_state::was_cancelled);
      task_finished(task);
      frame.destroy();
      return;
    }
    task.set(task_state::started);
    run_frame(task, task.frame());
  }
  /// A task that was sent away: its frame has ended. Another one may be running here.
  void ended_elsewhere(task_state& task) noexcept {
    leave_owner(task);
    if (task.references_ == 0) destroy_task(task);
  }
  static void fire(loop_timer& t) noexcept {
    if ((t.target & loop_timer::scope_tag) == 0) {
      make_ready(reinterpret_cast<void*>(t.target));
      return;
    }
    auto& scope = *reinterpret_cast<open_scope*>(t.target & ~loop_timer::scope_tag);
    scope_tree::cancel(scope, cancel_kind::deadline, "the deadline passed", scope.deadline_set_at);
  }
  /// The current batch is the last one before a run looks whether it is to go on.
  void end_rounds() noexcept { steps_left_ = steps_left_ < 0 ? steps_left_ : 0; }

  std::size_t tasks_ = 0;  // of all owners

 private:
  friend runner_access;

  static void tell_owner(task_state& task, task_owner& owner) noexcept;
  static void wake_joiners(task_state& task) noexcept;
  void leave_owner(task_state& task) noexcept;
  void inherit_locals(task_state& spawner);
  task_extras* take_inherited() noexcept { return std::exchange(inherited_, inherited_->next); }

  task_extras* inherited_ = nullptr;  // for tasks that are about to exist, linked by their `next`
};

// What awaiters and spawn() need of it; not for users.
struct runner_access {
  /// On which the task runs; throws when it is on a thread that only waits for it.
  static task_runner& of(task_state& task) {
    if (!task.exec->is_event_loop() && !task.exec->is_strand()) [[unlikely]]
      throw_needs_loop(task);
    return static_cast<task_runner&>(*task.exec);
  }
  [[noreturn]] ROTA_COLD static void throw_needs_loop(task_state& task) {
    throw_usage_error(usage_error::kind::no_event_loop, "%s, used something that needs an event loop, and runs on none",
                      describe(task).c_str());
  }
  static nanoseconds now(task_runner& runner) noexcept { return runner.time(); }
  static void arm(task_runner& runner, loop_timer& timer) { runner.arm(timer); }
  static void disarm(task_runner& runner, loop_timer& timer) noexcept { runner.disarm(timer); }
  static task_owner& root(task_runner& runner) { return runner.root(); }

  /// Room for one more task, before it exists.
  static void reserve_task(task_runner& runner) {
    runner.ready_.reserve();
    task_state* const spawner = runner.running();
    // A guest may be given a task by a task of another loop, whose values belong to that loop.
    if (spawner && spawner->has_extras() && spawner->exec == &runner) [[unlikely]]
      runner.inherit_locals(*spawner);
  }
  static void unreserve_task(task_runner& runner) noexcept {
    runner.ready_.unreserve();
    if (runner.inherited_) [[unlikely]]
      delete runner.take_inherited();
  }
  static void reserve_tasks(task_runner& runner, std::size_t count) {
    std::size_t reserved = 0;
    try {
      for (; reserved != count; ++reserved) reserve_task(runner);
    } catch (...) {
      for (; reserved != 0; --reserved) unreserve_task(runner);
      throw;
    }
  }
  /// Queues the first step of a task. Room was reserved. On a pool, one that leaves runs on a strand of its own.
  static void start(task_runner& runner, task_owner& owner, task_state& task, bool leaves = true) noexcept {
    if (runner.inherited_) [[unlikely]]
      task.adopt_extras(runner.take_inherited());
    begin(runner, owner, task, leaves);
  }
  /// The same for one that another strand has made; throws std::bad_alloc.
  static void start_arrived(task_runner& runner, task_owner& owner, task_state& task, bool leaves) {
    runner.ready_.reserve();
    begin(runner, owner, task, leaves);
  }
  static void wake_joiners(task_state& task) noexcept { task_runner::wake_joiners(task); }

 private:
  [[gnu::always_inline]] static void begin(task_runner& runner, task_owner& owner, task_state& task,
                                           bool leaves) noexcept {
    task.link(owner);
    ++owner.children;
    ++runner.tasks_;
    if (leaves && runner.is_strand() && runner.sends_away(task)) return;
    runner.ready_.push(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&task) | task_runner::first_step_tag));
  }
};

// Room for what the next task inherits, before it exists: starting it cannot fail.
ROTA_COLD inline void task_runner::inherit_locals(task_state& spawner) {
  local_value* const locals = spawner.extras()->locals;
  const std::source_location spawned_at = line_of_spawn(spawner);
  if (!locals && spawned_at.line() == 0) return;
  auto* extras = new (std::nothrow) task_extras;
  if (!extras) {
    ready_.unreserve();
    throw std::bad_alloc();
  }
  extras->locals = local_value::share(locals);
  extras->spawned_at = spawned_at;
  extras->next = std::exchange(inherited_, extras);
}

// These two are out of line, for most tasks are joined by nobody and end well.
ROTA_NOINLINE inline void task_runner::tell_owner(task_state& task, task_owner& owner) noexcept {
  if (task.has(task_state::failed)) {
    const std::exception_ptr* error = error_of(task);
    if (error && is_cancellation(*error)) task.set(task_state::was_cancelled);
  }
  if (task.has(task_state::failed) || owner.sees_every_end()) owner.child_ended(task);
  if (task.has(task_state::ends_run)) static_cast<task_runner&>(*task.exec).end_rounds();
}
ROTA_NOINLINE inline void task_runner::wake_joiners(task_state& task) noexcept {
  for (custom_wait* joiner = std::exchange(task.joiners(), nullptr); joiner;) {
    custom_wait& ended = *std::exchange(joiner, joiner->next);
    if (ended.frame) [[likely]] {
      make_ready(ended.frame);
    } else {
      auto& hook = static_cast<end_hook&>(ended);
      hook.ended(hook);
    }
  }
}

[[gnu::always_inline]] inline void task_runner::leave_owner(task_state& task) noexcept {
  task_owner& owner = owner_of(task);
  task.unlink();
  --tasks_;
  ready_.unreserve();
  if (task.has(task_state::failed) || task.has(task_state::ends_run) || owner.sees_every_end()) [[unlikely]]
    tell_owner(task, owner);
  if (task.has_joiners_or_extras()) wake_joiners(task);
  owner.one_less();
}

// A sleep or anything else that has no operation in the kernel; an event loop has those, too (loop/loop_tasks.hpp).
inline void task_runner::cancel_wait(task_state& task) noexcept {
  if (task.waiting_kind() == wait_kind::timer) {
    auto& t = *static_cast<loop_timer*>(task.waiting_for());
    disarm(t);
    t.deadline = never;  // tells the sleeper that it did not sleep
    make_ready(reinterpret_cast<void*>(t.target));
    return;
  }
  auto& wait = *static_cast<custom_wait*>(task.waiting_for());
  if (wait.cancel) wait.cancel(wait);
}
inline void* task_runner::waiting_frame(task_state& task) noexcept {
  if (task.wait == 0) return nullptr;
  if (task.waiting_kind() == wait_kind::timer)
    return reinterpret_cast<void*>(static_cast<loop_timer*>(task.waiting_for())->target);
  return static_cast<custom_wait*>(task.waiting_for())->frame;
}

inline void task_runner::task_finished(task_state& task) noexcept {
  ROTA_ASSERT(task.current == &task);
  task.end();
  no_task_runs();  // before siblings are cancelled, and their callbacks ask for this_task
  leave_owner(task);
  if (task.references_ == 0) destroy_task(task);
}

[[noreturn]] ROTA_COLD inline void throw_not_a_duration(task_state& task) {
  throw_usage_error(usage_error::kind::invalid_argument, "%s, awaited something for a time that is not a number (NaN)",
                    describe(task).c_str());
}

}  // namespace rota::detail
