// Task groups: tasks that live and fail together (asyncio: TaskGroup; Trio: nursery).
#pragma once

#include <concepts>
#include <exception>
#include <source_location>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/coro/outcome.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/scope/cleanup.hpp>
#include <rota/scope/failures.hpp>
#include <rota/scope/task_status.hpp>

namespace rota {

namespace detail {
struct task_group_access;
}  // namespace detail

/// What the body of with_task_group gets. For the loop and thread of the task that opened it; children may use it, too,
/// since it outlives them.
class task_group : detail::failure_collector {
 public:
  /// Starts `f(args...)` as a child, as rota::spawn does: stored, queued, in order. The handle may be dropped. In a
  /// group that is cancelled the child never begins, and its handle says cancelled. Throws usage_error when body and
  /// children have ended (in what defer() runs), std::bad_alloc without having started anything.
  template <class F, class... Args>
  auto spawn(F&& f, Args&&... args) {
    return detail::start_task(checked(), *this, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Starts `f(status, args...)` as a child and waits until it calls `status.started(value)`, which gives that value;
  /// the child then goes on in the group. f's first parameter is a rota::task_status<V>, by value.
  /// Until then the child belongs to the caller: its exception is thrown here and is none of the group's, and a cancel
  /// of the caller cancels it. A child that ends without having started is a usage_error.
  template <class F, class... Args>
  auto start(F&& f, Args&&... args) {
    ROTA_REFUSE_OWNING_CLOSURE(F);
    return start_child<detail::status_value_t<std::decay_t<F>>, std::decay_t<F>, std::decay_t<Args>...>(
        *this, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Cancels the children and, until it has ended, the body. The group then ends without an error of its own.
  /// Idempotent. `reason` is copied.
  void cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) noexcept {
    detail::check_thread(*host, "task_group::cancel() was called");
    if (host->exec->cancels_elsewhere(*host, *this, reason, where)) return;
    detail::scope_tree::cancel(*this, cancel_kind::requested, reason, where);
  }
  /// For children on other threads of a pool, too; what one of them asked for is seen soon.
  bool cancel_requested() const noexcept { return cancel_in_sight(); }
  /// Children that have not ended. As spawn(), not for a child on another thread: usage_error (wrong_thread).
  std::size_t size() const {
    if (host && host->exec->is_strand()) {
      detail::task_runner& runner = detail::runner_access::of(*host);
      if (event_loop::current() != &runner) check_place(runner);
    }
    return children;
  }

  /// When every child has ended, `co_await f(args...)` runs: see cancel_scope::defer.
  template <class Rep, class Period, class F, class... Args>
  void defer(std::chrono::duration<Rep, Period> limit, F&& f, Args&&... args) {
    detail::check_thread(*host, "task_group::defer() was called");
    cleanups_.push(detail::cleanup_limit(limit), std::forward<F>(f), std::forward<Args>(args)...);
  }

 private:
  friend detail::task_group_access;

  explicit task_group(detail::line_mark where) noexcept : failure_collector("a task group", where) {}
#if ROTA_ASSERTIONS
  // Its memory often stays as it is for a while: whoever still has a reference is told.
  ~task_group() override { *const_cast<detail::task_state* volatile*>(&host) = nullptr; }
#endif

  void child_ended(detail::task_state& child) noexcept override {
    if (child.has(detail::task_state::was_cancelled) && is_cancelled() && !cancel_requested() &&
        !child.cancel_requested())
      cut_short_ = true;
    failure_collector::child_ended(child);
  }

  detail::task_runner& checked() {
    if (ROTA_ASSERTIONS && !host) [[unlikely]]
      detail::throw_usage_error(usage_error::kind::invalid_argument,
                                "a task group was used%s after its with_task_group() had ended",
                                detail::by_running_task().c_str());
    detail::task_runner& runner = detail::runner_access::of(*host);
    if (event_loop::current() != &runner) [[unlikely]]
      check_place(runner);
    if (ended_) [[unlikely]]
      detail::throw_usage_error(usage_error::kind::invalid_argument, "the task group of %s was used after it had ended",
                                detail::describe(*host).c_str());
    return runner;
  }
  static void check_place(detail::task_runner& runner) {
    if (runner.is_strand()) {
      detail::task_state* const here = detail::running_task();
      if (!here || here->exec != &runner)
        detail::throw_usage_error(
            usage_error::kind::wrong_thread,
            "a task group of a pool's task was used%s, and is for that task alone: others, its children too, run in "
            "parallel with it; with_task_group() opens one there, too",
            detail::by_running_task().c_str());
    } else if (!detail::loop_access::is_own_thread(static_cast<event_loop&>(runner))) {
      throw usage_error(usage_error::kind::wrong_thread,
                        "a task group was used on another thread than its event loop's: spawn_threadsafe() is for any");
    } else {
      detail::throw_usage_error(usage_error::kind::wrong_loop, "a task group was used%s, outside its own event loop",
                                detail::by_running_task().c_str());
    }
  }

  template <class V, class F, class... Args>
  static task<V> start_child(task_group& group, F f, Args... args) {
    detail::task_runner& runner = group.checked();
    detail::task_state& me = co_await detail::this_state_awaiter();
    detail::pending_start<V> pending(group);
    pending.attach(me);
    const detail::pending_start_base::ending at_end(pending);
    detail::start_task(runner, pending, std::move(f), task_status<V>(pending), std::move(args)...);
    while (pending.children != 0) co_await detail::children_awaiter(pending, 1, false);
    pending.throw_unless_started(me);
    if constexpr (!std::is_void_v<V>) co_return std::move(pending.result).value();
  }

  // After group.cancel(): no error of its own, but a value that the body did not give cannot be made up.
  static std::exception_ptr ended_early(bool has_value) {
    if (!has_value) return nullptr;
    return std::make_exception_ptr(std::system_error(make_error_code(errc::task_cancelled),
                                                     "a task group was cancelled before its body had a value"));
  }

  detail::cleanup_stack cleanups_;
  bool ended_ = false;      // nobody waits for children any more
  bool cut_short_ = false;  // a child was cancelled from outside, neither for itself nor by the group
};

namespace detail {

// Lets the coroutine below into the group, which users only see from inside.
struct task_group_access {
  template <class F>
  static task<body_value_t<F, task_group>> with_task_group(F body, line_mark where) {
    using value = body_value_t<F, task_group>;
    task_group group(where);
    task_state& me = co_await this_state_awaiter();
    outcome<value> result;
    std::exception_ptr error;
    {
      group.enter(me);
      const open_scope::leaving at_end{group};
      try {
        if constexpr (std::is_void_v<value>) {
          co_await detail::invoke(body, group);
          result.emplace();
        } else {
          result.emplace(co_await detail::invoke(body, group));
        }
      } catch (...) {
        result.set_exception(std::current_exception());
      }
      error = result.exception();
      if (error) group.cancel_others(error, me.root().waits_at);
      while (group.children != 0) co_await children_awaiter(group, 1, false);
      group.ended_ = true;
      error = group.conclude(std::move(error));
      if (!group.cleanups_.empty()) error = co_await group.cleanups_.run(std::move(error), where);
      if (error && group.absorbs(error)) error = task_group::ended_early(!std::is_void_v<value>);
    }
    if (error) std::rethrow_exception(error);
    // The group did not happen as a whole, though its body did.
    if (group.cut_short_ && me.is_cancelled()) throw_cancelled(me);
    if constexpr (!std::is_void_v<value>) co_return std::move(result).value();
  }
};

}  // namespace detail

/// Runs `body(group)`, which returns a task, and leaves only when it and every child have ended, also those that were
/// spawned meanwhile. Gives the body's value.
///
/// The first child that fails, or the body if it fails, cancels all others (cancel_kind::sibling). Then everyone is
/// waited for, and what leaves is one exception_group of all their errors; children that ended as cancelled are no
/// errors. A cancel from outside cancels body and children, and leaves as rota::cancelled; errors win over it, and the
/// next suspension throws it again. After group.cancel() a body that was cancelled gives no error (with a value to
/// give: std::system_error, errc::task_cancelled). Errors of what defer() ran: as with_cancel_scope.
///
/// A named body is kept by reference and must live until the await ends; any other is moved into the group's frame.
template <detail::body_for<task_group> F>
task<detail::body_value_t<F, task_group>> with_task_group(F&& body, detail::line_mark where = ROTA_CALLERS_LINE) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  detail::refuse_empty(body, "with_task_group()");
  return detail::task_group_access::with_task_group<F>(std::forward<F>(body), where);
}
template <class F>
task<> with_task_group(F&&, detail::line_mark = ROTA_CALLERS_LINE) {
  return detail::refuse_body<F, task_group>();
}

}  // namespace rota
