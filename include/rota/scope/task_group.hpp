// Task groups: tasks that live and fail together (asyncio: TaskGroup; Trio: nursery).
#pragma once

#include <atomic>
#include <concepts>
#include <coroutine>
#include <exception>
#include <source_location>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/callable.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/coro/outcome.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/scope/cleanup.hpp>
#include <rota/scope/end_watch.hpp>
#include <rota/scope/failures.hpp>
#include <rota/scope/spawn_above.hpp>
#include <rota/scope/task_status.hpp>

namespace rota {

namespace detail {
struct task_group_access;
}  // namespace detail

/// What the body of with_task_group gets. For the loop and thread of the task that opened it; children may use it, too,
/// since it outlives them, also those that a thread_pool runs on other threads.
class task_group : detail::failure_collector {
 public:
  /// Starts `f(args...)` as a child, as rota::spawn does: stored, queued, in order. The handle may be dropped. In a
  /// group that is cancelled the child never begins, and its handle says cancelled. Throws usage_error when body and
  /// children have ended (in what defer() runs), std::bad_alloc without having started anything.
  /// A child on another thread of a pool: the new one belongs to the group soon, at the latest when the spawner has ended;
  /// the handle is the spawner's, and one that outlives it keeps who waits for it waiting until the new one has ended.
  template <class F, class... Args>
  auto spawn(F&& f, Args&&... args) {
    detail::task_runner& runner = checked();
    if (detail::strand* const spawner = caller_below(runner)) [[unlikely]]
      return spawn_above(*spawner, static_cast<detail::strand&>(runner), std::forward<F>(f),
                         std::forward<Args>(args)...);
    return detail::start_task(runner, *this, std::forward<F>(f), std::forward<Args>(args)...);
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
  /// Children that have not ended. Not for a child on another thread: usage_error (wrong_thread).
  std::size_t size() const {
    refuse_callers_below();
    return children;
  }

  /// When every child has ended, `co_await f(args...)` runs: see cancel_scope::defer. As size().
  template <class Rep, class Period, class F, class... Args>
  void defer(std::chrono::duration<Rep, Period> limit, F&& f, Args&&... args) {
    detail::check_thread(*host, "task_group::defer() was called");
    refuse_callers_below();
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
    if ((on_their_way_.load(std::memory_order_relaxed) & ended) != 0) [[unlikely]]
      refuse_late_callers();
    return runner;
  }
  [[noreturn]] ROTA_COLD void refuse_late_callers() const {
    if (caller_below(detail::runner_access::of(*host)))  // whose thread does not look at the host
      throw usage_error(usage_error::kind::invalid_argument,
                        "the task group of a task above was used after it had ended");
    detail::throw_usage_error(usage_error::kind::invalid_argument, "the task group of %s was used after it had ended",
                              detail::describe(*host).c_str());
  }
  /// On which strand the caller is, if on another one than the group; else null.
  static detail::strand* caller_below(detail::task_runner& runner) noexcept {
    if (!runner.is_strand()) return nullptr;
    executor& here = *detail::running_task()->exec;
    return &here == &runner ? nullptr : static_cast<detail::strand*>(&here);
  }
  void refuse_callers_below() const {
    if (!host || !host->exec->is_strand()) return;
    detail::task_runner& runner = detail::runner_access::of(*host);
    check_place(runner);
    if (caller_below(runner))
      throw usage_error(
          usage_error::kind::wrong_thread,
          "a child on another thread asked its task group for its size, or deferred something to its end");
  }
  static void check_place(detail::task_runner& runner) {
    if (runner.is_strand()) {
      detail::task_state* const here = detail::running_task();
      if (!here || (here->exec != &runner &&
                    !(here->exec->is_strand() && static_cast<detail::strand&>(*here->exec).is_below(runner))))
        detail::throw_usage_error(usage_error::kind::wrong_thread,
                                  "a task group of a pool's task was used%s, which is not below that task: nothing "
                                  "keeps the group open meanwhile",
                                  detail::by_running_task().c_str());
    } else if (!detail::loop_access::is_own_thread(static_cast<event_loop&>(runner))) {
      throw usage_error(usage_error::kind::wrong_thread,
                        "a task group was used on another thread than its event loop's: spawn_threadsafe() is for any");
    } else {
      detail::throw_usage_error(usage_error::kind::wrong_loop, "a task group was used%s, outside its own event loop",
                                detail::by_running_task().c_str());
    }
  }

  // A child that another strand has made, and that the group does not count yet. It keeps the group open.
  class arrival {
   public:
    explicit arrival(task_group& group) : group_(&group) {
      if ((group.on_their_way_.fetch_add(1, std::memory_order_relaxed) & ended) != 0) [[unlikely]]
        group.refuse_late_callers();
    }
    arrival(arrival&& other) noexcept : group_(std::exchange(other.group_, nullptr)) {}
    arrival& operator=(arrival&&) = delete;
    ~arrival() {
      if (group_) group_->on_their_way_.fetch_sub(1, std::memory_order_release);
    }

    task_group& group() const noexcept { return *group_; }
    /// Who brings it counts it off.
    void is_sent() noexcept { group_ = nullptr; }

   private:
    task_group* group_;
  };

  // Out of line: spawn() itself stays short.
  template <class F, class... Args>
  ROTA_NOINLINE auto spawn_above(detail::strand& spawner, detail::strand& home, F&& f, Args&&... args) {
    arrival on_its_way(*this);
    const detail::start_above place(spawner, home, this, &on_their_way_);
    auto handle = detail::start_task_at(place, std::forward<F>(f), std::forward<Args>(args)...);
    on_its_way.is_sent();
    return handle;
  }

  template <class V, class F, class... Args>
  static task<V> start_child(task_group& group, F f, Args... args) {
    detail::task_runner& runner = group.checked();
    detail::task_state& me = co_await detail::this_state_awaiter();
    if (caller_below(runner)) {
      auto there = start_child_above<V, F, Args...>(me, runner, arrival(group), std::move(f), std::move(args)...);
      co_return co_await std::move(there);
    }
    detail::pending_start<V> pending(group);
    pending.attach(me);
    const detail::pending_start_base::ending at_end(pending);
    detail::start_task(runner, pending, std::move(f), task_status<V>(pending), std::move(args)...);
    while (pending.children != 0) co_await detail::children_awaiter(pending, 1, false);
    pending.throw_unless_started(me);
    if constexpr (!std::is_void_v<V>) co_return std::move(pending.result).value();
  }

  // The start of a child takes place where the group is, as a task there. A cancel of the caller cancels that task.
  template <class V, class F, class... Args>
  static task<V> start_child_above(detail::task_state& me, detail::task_runner& runner, arrival on_its_way, F f,
                                   Args... args) {
    const detail::start_above place(static_cast<detail::strand&>(*me.exec), static_cast<detail::strand&>(runner));
    detail::end_watch end(1);
    join_handle<V> start = detail::start_task_at(place, &start_arrived_child<V, F, Args...>, std::move(on_its_way),
                                                 std::move(f), std::move(args)...);
    end.add(start.task());
    try {
      co_await detail::end_watch::awaiter(end, detail::end_watch::goal::all,
                                          detail::end_watch::awaiter::on_cancel::cancel_them);
    } catch (const cancelled&) {
      // Its outcome says so, too, or that it was too late.
    }
    if (start.cancelled()) {
      if (me.is_cancelled()) detail::throw_cancelled(me);
      throw std::system_error(make_error_code(errc::task_cancelled), "start");
    }
    co_return start.take();
  }

  template <class V, class F, class... Args>
  static task<V> start_arrived_child(arrival has_come, F f, Args... args) {
    auto start = start_child<V, F, Args...>(has_come.group(), std::move(f), std::move(args)...);
    co_return co_await std::move(start);
  }

  // After group.cancel(): no error of its own, but a value that the body did not give cannot be made up.
  static std::exception_ptr ended_early(bool has_value) {
    if (!has_value) return nullptr;
    return std::make_exception_ptr(std::system_error(make_error_code(errc::task_cancelled),
                                                     "a task group was cancelled before its body had a value"));
  }

  /// Nobody waits for children any more. False: a child is on its way from another strand.
  bool ends() noexcept {
    if (host->exec->is_strand()) {
      unsigned nobody = 0;
      return on_their_way_.compare_exchange_strong(nobody, ended, std::memory_order_acquire, std::memory_order_relaxed);
    }
    on_their_way_.store(ended, std::memory_order_relaxed);
    return true;
  }
  // While it waits for such a one, which is about to be posted, or to begin here.
  struct turn {
    turn() noexcept {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle, detail::line_mark where = ROTA_CALLERS_LINE) noexcept {
      detail::suspend_at(handle, where).exec->resume_later(handle.address());
    }
    void await_resume() const noexcept {}
  };

  detail::cleanup_stack cleanups_;
  // Children that come from other strands; or `ended`, after which none does. One word: a group does not end while one comes.
  static constexpr unsigned ended = 1u << 31;
  detail::atomic<unsigned> on_their_way_{0};
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
      for (;;) {
        while (group.children != 0) co_await children_awaiter(group, 1, false);
        if (group.ends()) break;
        co_await task_group::turn();
      }
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
