// join_handle<T>: how a spawned task is awaited, cancelled and asked for its outcome.
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/coro/task_identity.hpp>
#include <rota/loop/calls.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_cycle.hpp>

namespace rota {

template <class T>
class join_handle;

namespace detail {

// Waits until a task has ended; the typed part is in join_awaiter.
struct join_wait : custom_wait {
  explicit join_wait(task_state& t) noexcept : joined(t) {}

  bool suspend(task_state& waiter, void* its_frame) {
    me = &waiter;
    if (joined.exec != waiter.exec) [[unlikely]]
      throw_usage_error(usage_error::kind::wrong_loop, "%s, awaited a task of another event loop%s",
                        describe(waiter).c_str(),
                        waiter.exec->is_strand() ? ", or of another task of the pool, which has the handle" : "");
    if (waiter.is_cancelled()) {
      withdrawn = true;
      return false;
    }
    if (&joined == &waiter || join_cycle::may_be_stuck(joined)) [[unlikely]]
      refuse_cycle(waiter);
    frame = its_frame;
    joined.add_joiner(*this);  // first come, first resumed or called
    cancel = &withdraw;
    waiter.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    return true;
  }

  /// For reports: whose end is waited for, if it is such a wait; else null.
  static task_state* joined_by(custom_wait& wait) noexcept {
    return wait.cancel == &withdraw ? &static_cast<join_wait&>(wait).joined : nullptr;
  }

  task_state& joined;
  task_state* me = nullptr;
  bool withdrawn = false;  // the waiter was cancelled first

 private:
  static void withdraw(custom_wait& self) noexcept {
    auto& wait = static_cast<join_wait&>(self);
    wait.joined.remove_joiner(wait);
    wait.withdrawn = true;
    make_ready(wait.frame);
  }

  // Out of line, for the joined task mostly runs, or waits for something of its own.
  ROTA_COLD void refuse_cycle(task_state& waiter) {
    if (&joined == &waiter) join_cycle::refuse_itself(waiter);
    const join_cycle cycle(waiter);
    if (join_cycle::has(joined)) cycle.refuse(waiter, joined);
  }
};

[[noreturn]] ROTA_COLD inline void throw_empty_handle() {
  throw_usage_error(usage_error::kind::invalid_task, "an empty or moved-from join_handle was awaited or asked%s",
                    by_running_task().c_str());
}
[[noreturn]] ROTA_COLD inline void throw_not_ended() {
  throw_usage_error(usage_error::kind::invalid_argument, "the outcome of a task that has not ended was asked for%s",
                    by_running_task().c_str());
}
[[noreturn]] ROTA_COLD inline void throw_task_cancelled() {
  throw std::system_error(make_error_code(errc::task_cancelled));
}
// Somebody has seen the outcome; throws when the task was cancelled.
inline void check_retrieved(task_state& task) {
  task.set(task_state::retrieved);
  if (task.has(task_state::was_cancelled)) [[unlikely]]
    throw_task_cancelled();
}
ROTA_COLD inline void release_remote(task_state& task) noexcept {
  auto& wait = *static_cast<remote_place*>(static_cast<custom_wait*>(task.waiting_for()));
  wait.dropped(wait);
}
// Out of line, for most handles go while their task runs or another handle is left.
ROTA_NOINLINE inline void release_last(task_state& task) noexcept {
  if (!task.has(task_state::finished) && !task.has(task_state::is_remote)) [[likely]]
    return;
  if (task.has(task_state::is_remote)) [[unlikely]]
    return release_remote(task);
  if (task.has(task_state::failed) && !task.has(task_state::was_cancelled) && !task.has(task_state::retrieved))
      [[unlikely]]
    loop_access::report_lost(task, *error_of(task));
  destroy_task(task);
}
inline void release_task(task_state& task) noexcept {
  if (--task.references_ == 0) release_last(task);
}

template <class T, bool Take>
class [[nodiscard(ROTA_UNAWAITED)]] join_awaiter {
 public:
  // A reference of its own: the handle may be dropped meanwhile.
  explicit join_awaiter(task_state& joined) noexcept : wait_(joined) { ++joined.references_; }
  join_awaiter(join_awaiter&&) = delete;
  ~join_awaiter() { release_task(wait_.joined); }

  bool await_ready() const noexcept { return wait_.joined.has(task_state::finished); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return wait_.suspend(suspend_at(handle, where), handle.address());
  }
  decltype(auto) await_resume() {
    if (wait_.withdrawn) throw_cancelled(*wait_.me);
    check_retrieved(wait_.joined);
    if constexpr (Take)
      return outcome_of<T>(wait_.joined).take();
    else
      return outcome_of<T>(wait_.joined).get();
  }

 private:
  join_wait wait_;
};

/// A callback for the end of a task.
struct done_call : single_call, end_hook {
  done_call(std::source_location where, task_state& t) noexcept : single_call(where, false), of(t) {
    ended = [](end_hook& self) noexcept {
      auto& call = static_cast<done_call&>(self);
      call.is_joiner = false;
      loop_access::push(*call.loop, call);
    };
  }
  bool withdraw() noexcept override {
    if (is_joiner) of.remove_joiner(*this);
    return std::exchange(is_joiner, false);
  }
  task_state* task() noexcept override { return &of; }

  task_state& of;  // the callable has a handle
  bool is_joiner = false;

 protected:
  ~done_call() = default;
};

}  // namespace detail

/// Shared ownership of a spawned task's outcome. Copies refer to the same task; dropping them all neither cancels
/// the task nor loses its error (an exception that nobody retrieved is reported once, when the task has ended and
/// no handle is left). For the task's own loop and thread only.
///
/// An empty handle, which was default-constructed or moved from, has no task: valid() says so, cancel() finds nothing to
/// cancel, and name() has no text. Whatever else is asked of it is a usage_error, done() too: who waits for it to turn
/// true would wait for ever.
template <class T = void>
class join_handle {
 public:
  join_handle() noexcept = default;
  join_handle(const join_handle& other) noexcept : task_(other.task_) { keep(); }
  join_handle(join_handle&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  join_handle& operator=(join_handle other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~join_handle() { release(); }

  bool valid() const noexcept { return task_ != nullptr; }

  /// Waits until the task has ended. Gives a reference to its result (an lvalue handle may be awaited again and
  /// again) or throws its exception; std::system_error with errc::task_cancelled if it ended as cancelled.
  /// When the waiter is cancelled it stops waiting; the task goes on.
  detail::join_awaiter<T, false> operator co_await() & { return detail::join_awaiter<T, false>(checked()); }
  /// The same, and moves the result out.
  detail::join_awaiter<T, true> operator co_await() && {
    checked();
    return detail::join_awaiter<T, true>(join_handle(std::move(*this)).task());
  }

  /// Cancels the task's scope: its next suspension throws rota::cancelled, and every further one. A task that has
  /// not begun never does. Returns false when it has ended, was cancelled before, or the handle is empty. `reason` is
  /// copied.
  bool cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) noexcept {
    if (!task_) return false;
    detail::check_thread(*task_, "join_handle::cancel() was called");
    if (task_->has(detail::task_state::finished) || task_->cancel_requested()) return false;
    detail::scope_tree::cancel(*task_, cancel_kind::requested, reason, where);
    return true;
  }

  /// The body has ended, one way or another.
  bool done() const { return checked().has(detail::task_state::finished); }
  /// It ended because rota::cancelled left it.
  bool cancelled() const { return done() && task_->has(detail::task_state::was_cancelled); }

  /// The result of a task that is done; throws what the awaiting form throws, and usage_error before the end.
  std::add_lvalue_reference_t<T> result() {
    retrieve();
    return detail::outcome_of<T>(*task_).get();
  }
  /// The exception of a task that is done; null after success, and when it was cancelled before its first step, or from
  /// another thread (task_group::spawn by a child).
  std::exception_ptr exception() {
    if (!done()) detail::throw_not_ended();
    task_->set(detail::task_state::retrieved);
    const std::exception_ptr* error = detail::outcome_of<T>(*task_).error();
    return error ? *error : nullptr;
  }

  /// Calls f(handle), or f(), once the task has ended, also if it has ended already: never within this call, in an
  /// iteration of the loop, in order with other callbacks and with who awaits the handle. f is stored, decayed, and may
  /// cancel, spawn, or add callbacks; its exception goes to the loop's exception handler. Until then the callback keeps
  /// the outcome like a handle; call_handle::cancel() takes it back. Throws std::bad_alloc, and usage_error for an empty
  /// handle, after the loop's shutdown, and, once the task has ended, where its loop does not run.
  template <class F>
  call_handle on_done(F&& f, std::source_location where = std::source_location::current());

  /// For reports and debuggers. Empty until set.
  std::string_view name() const { return task_ ? detail::name_of(*task_) : std::string_view(); }
  /// Throws std::bad_alloc.
  join_handle& set_name(std::string name) {
    detail::set_name(checked(), std::move(name));
    return *this;
  }

  /// The number that rota::this_task::id() gives in the task. Throws std::bad_alloc.
  std::uint64_t id() {
    const std::uint64_t number = detail::id_of(checked());
    if (number == 0) throw std::bad_alloc();
    return number;
  }

  // For the library.
  explicit join_handle(detail::task_state& task) noexcept : task_(&task) { keep(); }
  detail::task_state& task() const noexcept { return *task_; }
  T take() {
    retrieve();
    return detail::outcome_of<T>(*task_).take();
  }

 private:
  detail::task_state& checked() const {
    if (!task_) [[unlikely]]
      detail::throw_empty_handle();
    detail::check_thread_often(*task_, "a join_handle was awaited or asked");
    return *task_;
  }
  void retrieve() {
    if (!done()) detail::throw_not_ended();
    detail::check_retrieved(*task_);
  }
  void keep() noexcept {
    if (!task_) return;
    detail::check_thread_often(*task_, "a join_handle was copied");
    ++task_->references_;
  }
  void release() noexcept {
    if (!task_) return;
    detail::check_thread_often(*task_, "a join_handle was destroyed");
    detail::release_task(*task_);
  }

  detail::task_state* task_ = nullptr;
};

template <class T>
template <class F>
call_handle join_handle<T>::on_done(F&& f, std::source_location where) {
  using function = std::decay_t<F>;
  constexpr bool takes_handle = std::is_invocable_v<function, join_handle>;
  static_assert(takes_handle || std::is_invocable_v<function>, "on_done(f): f takes the join_handle, or nothing");
  detail::refuse_empty(f, "on_done()");
  detail::task_state& of = checked();
  const bool has_ended = of.has(detail::task_state::finished);
  // A handle may outlive its loop, but not the loop a task that has not ended.
  if (has_ended && event_loop::current() != of.exec)
    detail::throw_usage_error(usage_error::kind::wrong_loop,
                              "%s, has ended, and a callback was added where its event loop does not run",
                              detail::describe(of).c_str());
  auto& loop = detail::loop_access::loop_of(of);
  auto& made = detail::make_single<detail::done_call>(
      loop,
      [call = function(std::forward<F>(f)), handle = *this]() mutable {
        if constexpr (takes_handle)
          std::move(call)(join_handle(handle));  // a copy: who reports an exception of f asks the task for its name
        else
          std::move(call)();
      },
      where, of);
  call_handle result(made);
  if (has_ended) {
    detail::loop_access::push(loop, made);
  } else {
    of.add_joiner(made);
    made.is_joiner = true;
  }
  return result;
}

}  // namespace rota
