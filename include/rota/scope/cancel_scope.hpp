// Cancellation for users: a region that can be cancelled, given a deadline, or shielded. Rules R2 and R3; the
// model is Trio's cancel scopes.
#pragma once

#include <functional>
#include <new>
#include <optional>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota {

namespace detail {
enum class when_cancelled : bool;
template <class Source, when_cancelled Policy>
class scope_awaiter;
}  // namespace detail

/// What the body of with_cancel_scope gets. For the task and thread in which the scope is open.
class cancel_scope : detail::open_scope {
 public:
  /// Every suspension in the scope throws rota::cancelled from now on, unless shielded, until the scope ends.
  /// Idempotent. `reason` is copied.
  void cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) noexcept {
    detail::scope_tree::cancel(*this, cancel_kind::requested, reason, where);
  }
  bool cancel_requested() const noexcept { return scope_node::cancel_requested(); }

  /// Cancels the scope when the loop's clock reaches `t`; replaces an earlier deadline. time_point::max(): none.
  void set_deadline(time_point t, std::source_location where = std::source_location::current()) {
    disarm();
    deadline_set_at = where;
    alarm_.deadline = detail::to_nanoseconds(t);
    if (alarm_.deadline == detail::never || !host) return;
    alarm_.target = reinterpret_cast<std::uintptr_t>(static_cast<open_scope*>(this)) | 1;
    detail::loop_access::timers(detail::loop_access::loop_of(*host)).arm(alarm_);
  }
  time_point deadline() const noexcept { return detail::to_time_point(alarm_.deadline); }

 private:
  template <class Source, detail::when_cancelled Policy>
  friend class detail::scope_awaiter;

  explicit cancel_scope(std::uint32_t flags = 0) noexcept : open_scope(flags) {}
  ~cancel_scope() { disarm(); }

  void disarm() noexcept {
    if (alarm_.next) detail::loop_access::timers(static_cast<event_loop&>(*host->exec)).cancel(alarm_);
  }

  detail::loop_timer alarm_;
};

namespace detail {

// What a scope is opened around: an awaitable that exists already ...
template <class A>
class held_awaitable {
 public:
  explicit held_awaitable(A&& a) : inner_(awaiter_of(static_cast<A&&>(a))) {}
  auto& begin(cancel_scope&) noexcept { return inner_; }
  decltype(auto) result() { return inner_.await_resume(); }

  using awaiter = std::remove_reference_t<awaiter_of_t<A>>;
  using value = await_result_t<A>;

 private:
  awaiter_of_t<A> inner_;
};

// ... or a callable that gets the scope and returns a task.
template <class F>
class held_body {
  using made = std::invoke_result_t<F, cancel_scope&>;

 public:
  explicit held_body(F&& f) noexcept : f_(f) {}
  held_body(const held_body&) = delete;
  held_body& operator=(const held_body&) = delete;
  ~held_body() {
    if (begun_) inner_.~awaiter();
  }
  auto& begin(cancel_scope& scope) {
    new (&inner_) awaiter(awaiter_of(std::invoke(static_cast<F&&>(f_), scope)));
    begun_ = true;
    return inner_;
  }
  decltype(auto) result() { return inner_.await_resume(); }

  using awaiter = awaiter_of_t<made>;
  using value = await_result_t<made>;

 private:
  std::remove_reference_t<F>& f_;  // lives to the end of the full expression
  union {
    awaiter inner_;  // an awaiter cannot be moved, so no std::optional
  };
  bool begun_ = false;
};

// An empty answer says that the scope was cancelled.
template <class T>
using maybe = std::conditional_t<std::is_void_v<T>, bool, std::optional<std::remove_cvref_t<T>>>;

enum class when_cancelled : bool { throw_timed_out, give_nothing };

/// Opens a scope around `Source` for the length of one co_await, without a frame of its own.
template <class Source, when_cancelled Policy>
class [[nodiscard]] scope_awaiter {
  using value = typename Source::value;
  using inner_awaiter = typename Source::awaiter;

 public:
  template <class A>
  scope_awaiter(std::uint32_t flags, nanoseconds when, bool is_absolute, A&& a)
      : scope_(flags), source_(static_cast<A&&>(a)), when_(when), is_absolute_(is_absolute) {}
  scope_awaiter(const scope_awaiter&) = delete;
  scope_awaiter& operator=(const scope_awaiter&) = delete;
  ~scope_awaiter() {
    if (open_) leave();
  }

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& task = suspend_at(handle, where);
    try {
      enter(task, where);
      return begin(task, handle, where);
    } catch (...) {
      // Now, not in the destructor: awaiters of one expression are destroyed outermost first.
      leave();
      throw;
    }
  }

  std::conditional_t<Policy == when_cancelled::give_nothing, maybe<value>, value> await_resume() {
    const struct closing {
      scope_awaiter& self;
      ~closing() { self.leave(); }  // here, not with the awaiter: other awaits may follow in the same full expression
    } at_exit{*this};
    try {
      if constexpr (!std::is_void_v<value>) {
        return source_.result();
      } else {
        source_.result();
        if constexpr (Policy == when_cancelled::give_nothing)
          return true;
        else
          return;
      }
    } catch (const cancelled& exception) {
      if (!scope_.absorbs(exception)) throw;
    }
    if constexpr (Policy == when_cancelled::give_nothing)
      return {};
    else
      throw_error(make_error_code(errc::timed_out), "the deadline passed");
  }

 private:
  // Whoever the inner awaiter transfers to is parked, so that nothing can pile up on the stack (rule R5).
  template <class Promise>
  bool begin(task_state& task, std::coroutine_handle<Promise> handle, line_mark where) {
    inner_awaiter& inner = source_.begin(scope_);
    using suspended = decltype(suspend_inner(inner, handle, where));
    if constexpr (std::is_void_v<suspended>) {
      if (inner.await_ready()) return false;
      suspend_inner(inner, handle, where);
      return true;
    } else if constexpr (std::is_same_v<suspended, bool>) {
      return !inner.await_ready() && suspend_inner(inner, handle, where);
    } else {
      if (inner.await_ready()) return false;
      const std::coroutine_handle<> next = suspend_inner(inner, handle, where);
      if (next == handle) return false;
      task.exec->park(next.address());
      return true;
    }
  }

  ROTA_NOINLINE void enter(task_state& task, line_mark where) {
    scope_.enter(task);
    open_ = true;
    if (when_ == never) return;
    event_loop& loop = loop_access::loop_of(task);
    scope_.set_deadline(to_time_point(is_absolute_ ? when_ : deadline_after(loop_access::now(loop), when_)),
                        source_line(where));
  }
  void leave() noexcept {
    open_ = false;
    scope_.disarm();
    scope_.leave();
  }

  cancel_scope scope_;
  Source source_;
  nanoseconds when_;
  bool is_absolute_;
  bool open_ = false;
};

// R10(b): GCC 12.2 destroys an owning closure that is written inside a full expression that awaits twice.
template <class F>
inline constexpr bool safe_in_an_await_expression = !ROTA_GCC_MISCOMPILES_COROUTINES || std::is_lvalue_reference_v<F> ||
                                                    std::is_trivially_destructible_v<std::remove_cvref_t<F>>;

}  // namespace detail

// The refusal of R10(b), for every function that takes a callable which is awaited in the same expression.
#define ROTA_REFUSE_OWNING_CLOSURE(F)                                                                        \
  static_assert(::rota::detail::safe_in_an_await_expression<F>,                                              \
                "this GCC destroys a lambda that owns something twice when it is written inside a co_await " \
                "expression: name it first (auto body = [...] ...; co_await with_...(body);) or capture by " \
                "reference; see docs/compilers.md")

/// Opens a scope around `body(scope)`, which returns a task; the body may cancel the scope, hand it to others of this
/// loop, or give it a deadline. Gives the body's value as std::optional (bool for void): empty (false) when the
/// scope was cancelled and the body ended by that. A cancel from outside passes through.
template <class F>
  requires std::invocable<F, cancel_scope&>
auto with_cancel_scope(F&& body) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  return detail::scope_awaiter<detail::held_body<F>, detail::when_cancelled::give_nothing>(0, detail::never, true,
                                                                                           static_cast<F&&>(body));
}

/// Awaits `a` for at most `d`; then cancels it, waits until it has ended, and throws std::system_error with
/// errc::timed_out. A value that came in spite of the cancel is given (rule R2). Only this deadline is
/// converted: a cancel from outside stays rota::cancelled. Zero or negative: expires at the first suspension that
/// lasts beyond this iteration.
template <class Rep, class Period, awaitable A>
auto timeout(std::chrono::duration<Rep, Period> d, A&& a) {
  return detail::scope_awaiter<detail::held_awaitable<A>, detail::when_cancelled::throw_timed_out>(
      0, detail::saturate(d), false, static_cast<A&&>(a));
}
/// The same with an absolute deadline; time_point::max(): none.
template <awaitable A>
auto timeout_at(time_point t, A&& a) {
  return detail::scope_awaiter<detail::held_awaitable<A>, detail::when_cancelled::throw_timed_out>(
      0, detail::to_nanoseconds(t), true, static_cast<A&&>(a));
}

/// Like timeout, but an expired deadline is no error: gives std::optional (bool for void), empty when it expired.
template <class Rep, class Period, awaitable A>
auto move_on_after(std::chrono::duration<Rep, Period> d, A&& a) {
  return detail::scope_awaiter<detail::held_awaitable<A>, detail::when_cancelled::give_nothing>(
      0, detail::saturate(d), false, static_cast<A&&>(a));
}
template <awaitable A>
auto move_on_at(time_point t, A&& a) {
  return detail::scope_awaiter<detail::held_awaitable<A>, detail::when_cancelled::give_nothing>(
      0, detail::to_nanoseconds(t), true, static_cast<A&&>(a));
}

/// Cleanup that must await: a cancel from outside does not reach `a`, but after `d` it is cancelled all the same and
/// std::system_error with errc::timed_out is thrown. The deadline is mandatory, so that no cleanup hangs for ever.
template <class Rep, class Period, awaitable A>
auto shield(std::chrono::duration<Rep, Period> d, A&& a) {
  return detail::scope_awaiter<detail::held_awaitable<A>, detail::when_cancelled::throw_timed_out>(
      detail::open_scope::shielded, detail::saturate(d), false, static_cast<A&&>(a));
}

}  // namespace rota
