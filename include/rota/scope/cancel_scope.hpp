// A region of a task that can be cancelled as a whole, given a deadline, and cleaned up after. Rules R2 and R3; the
// model is Trio's cancel scopes.
#pragma once

#include <exception>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/clock.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/scope/cleanup.hpp>
#include <rota/scope/timeout.hpp>

namespace rota {

namespace detail {
struct cancel_scope_access;
}  // namespace detail

/// What the body of with_cancel_scope gets. For the task and thread in which the scope is open.
class cancel_scope : detail::deadline_scope {
 public:
  /// Every suspension in the scope throws rota::cancelled from now on, unless shielded, until the scope ends.
  /// Idempotent. `reason` is copied. A child that a thread_pool runs on another thread may call it: the scope is
  /// cancelled soon, at the latest when the child has ended.
  void cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) noexcept {
    detail::check_thread(*host, "cancel_scope::cancel() was called");
    if (host->exec->cancels_elsewhere(*host, *this, reason, where)) return;
    detail::scope_tree::cancel(*this, cancel_kind::requested, reason, where);
  }
  /// For children on other threads of a pool, too; what one of them asked for is seen soon.
  bool cancel_requested() const noexcept { return cancel_in_sight(); }

  /// Cancels the scope when the loop's clock reaches `t`; replaces an earlier deadline. time_point::max(): none.
  void set_deadline(time_point t, std::source_location where = std::source_location::current()) {
    detail::check_thread(*host, "cancel_scope::set_deadline() was called");
    deadline_scope::set_deadline(detail::to_nanoseconds(t), where);
  }
  time_point deadline() const noexcept { return detail::to_time_point(deadline_scope::deadline()); }

  /// When the body has ended, however it did, `co_await f(args...)` runs, the last one deferred first. A cancel does not
  /// reach it, but after `limit` it is cancelled all the same, which counts as its failure (errc::timed_out): no
  /// cleanup hangs for ever. f and args are stored, decayed. Throws std::bad_alloc, and usage_error for NaN. An exception
  /// of a cleanup does not keep the others from running; see with_cancel_scope.
  template <class Rep, class Period, class F, class... Args>
  void defer(std::chrono::duration<Rep, Period> limit, F&& f, Args&&... args) {
    detail::check_thread(*host, "cancel_scope::defer() was called");
    cleanups_.push(detail::cleanup_limit(limit), std::forward<F>(f), std::forward<Args>(args)...);
  }

 private:
  friend detail::cancel_scope_access;

  cancel_scope() noexcept = default;

  detail::cleanup_stack cleanups_;
};

namespace detail {

// Lets the coroutine below into the scope, which users only see from inside.
struct cancel_scope_access {
  template <class F>
  static task<maybe<body_value_t<F, cancel_scope>>> with_cancel_scope(F body, line_mark where) {
    using value = body_value_t<F, cancel_scope>;
    cancel_scope scope;
    task_state& me = co_await this_state_awaiter();
    scope.enter(me);
    const detail::open_scope::leaving at_end{scope};
    outcome<value> result;
    try {
      if constexpr (std::is_void_v<value>) {
        co_await body(scope);
        result.emplace();
      } else {
        result.emplace(co_await body(scope));
      }
    } catch (...) {
      result.set_exception(std::current_exception());
    }
    scope.disarm();
    std::exception_ptr error = result.exception();
    if (!scope.cleanups_.empty()) error = co_await scope.cleanups_.run(std::move(error), where);
    if (error) {
      if (!scope.absorbs(error)) std::rethrow_exception(error);
      co_return {};
    }
    if constexpr (std::is_void_v<value>)
      co_return true;
    else
      co_return std::move(result).value();
  }
};

}  // namespace detail

/// Opens a scope around `body(scope)`, which returns a task; the body may cancel the scope, hand it to others of this
/// loop, give it a deadline, or defer cleanup to its end. Gives the body's value as std::optional (bool for void): empty
/// (false) when the scope was cancelled and the body ended by that. A cancel from outside passes through.
///
/// What a deferred cleanup throws is thrown here; several errors, the body's among them, are one exception_group. Such
/// an error wins over a cancel, which the next suspension throws again.
///
/// A named body is kept by reference and must live until the await ends; any other is moved into the scope.
template <detail::body_for<cancel_scope> F>
task<detail::maybe<detail::body_value_t<F, cancel_scope>>> with_cancel_scope(
    F&& body, detail::line_mark where = ROTA_CALLERS_LINE) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  detail::refuse_empty(body, "with_cancel_scope()");
  return detail::cancel_scope_access::with_cancel_scope<F>(std::forward<F>(body), where);
}
template <class F>
task<> with_cancel_scope(F&&, detail::line_mark = ROTA_CALLERS_LINE) {
  return detail::refuse_body<F, cancel_scope>();
}

}  // namespace rota
