// Time limits and shields around an await: timeout, move_on_after, shield. Rules R2 and R3; the model is Trio's cancel
// scopes.
#pragma once

#include <new>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/base/error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/loop/deadline_scope.hpp>
#include <rota/loop/task_runner.hpp>

namespace rota {
namespace detail {

// An empty answer says that the scope was cancelled.
template <class T>
using maybe = std::conditional_t<std::is_void_v<T>, bool, std::optional<std::remove_cvref_t<T>>>;

enum class when_cancelled : bool { throw_timed_out, give_nothing };

/// Opens a scope around an awaitable for the length of one co_await, without a frame of its own.
template <class A, when_cancelled Policy>
class [[nodiscard(ROTA_UNAWAITED)]] scope_awaiter {
  using value = await_result_t<A>;
  using result = std::conditional_t<Policy == when_cancelled::give_nothing, maybe<value>, value>;

 public:
  static constexpr bool may_leave_strand = may_leave<A>;
  scope_awaiter(std::uint32_t flags, nanoseconds when, bool is_absolute, A&& a)
      : scope_(flags), inner_(awaiter_of(static_cast<A&&>(a))), when_(when), is_absolute_(is_absolute) {}
  scope_awaiter(const scope_awaiter&) = delete;
  scope_awaiter& operator=(const scope_awaiter&) = delete;
  ~scope_awaiter() {
    if (open_) leave();
  }

  /// What it is around may be a temporary of the same expression: write `co_await timeout(...)`, never name it first.
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<scope_awaiter> operator co_await() && noexcept { return pinned_awaiter(*this); }
  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& task = suspend_at(handle, where);
    try {
      enter(task, where);
      return begin_inner(inner_, handle, where);
    } catch (...) {
      // Now, not in the destructor: awaiters of one expression are destroyed outermost first.
      leave();
      throw;
    }
  }

  result await_resume() {
    if constexpr (requires { inner_.withdrawn(); }) {
      // How a time limit around a read or a sleep mostly ends: throwing would take ten times as long as all the rest.
      if (inner_.withdrawn() && scope_.absorbs_cancel()) {
        leave();
        return expired();
      }
    }
    const struct closing {
      scope_awaiter& self;
      ~closing() { self.leave(); }  // here, not with the awaiter: other awaits may follow in the same full expression
    } at_exit{*this};
    try {
      if constexpr (!std::is_void_v<value>) {
        return inner_.await_resume();
      } else {
        inner_.await_resume();
        if constexpr (Policy == when_cancelled::give_nothing)
          return true;
        else
          return;
      }
    } catch (const cancelled& exception) {
      if (!scope_.absorbs(exception)) throw;
    }
    return expired();
  }

 private:
  static result expired() {
    if constexpr (Policy == when_cancelled::give_nothing)
      return {};
    else
      throw_error(make_error_code(errc::timed_out), "the deadline passed");
  }
  ROTA_NOINLINE void enter(task_state& task, line_mark where) {
    scope_.enter(task);
    open_ = true;
    if (when_ == never) return;
    if (when_ == not_a_duration && !is_absolute_) throw_not_a_duration(task);
    scope_.set_deadline(is_absolute_ ? when_ : deadline_after(runner_access::now(runner_access::of(task)), when_),
                        source_line(where));
  }
  void leave() noexcept {
    open_ = false;
    scope_.disarm();
    scope_.leave();
  }

  deadline_scope scope_;
  awaiter_of_t<A> inner_;
  nanoseconds when_;
  bool is_absolute_;
  bool open_ = false;
};

template <class T>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

template <class D, class A>
task<> refuse_limit() {
  static_assert(is_duration<std::remove_cvref_t<D>>,
                "first how long, a std::chrono duration with its unit (5s, 20ms), then what is awaited");
  static_assert(
      !is_duration<std::remove_cvref_t<D>> || awaitable<A>,
      "what a time limit is around must be something to await: of a function, its call, f(x), not f or a lambda");
  return {};
}

}  // namespace detail

/// Awaits `a` for at most `d`; then cancels it, waits until it has ended, and throws std::system_error with
/// errc::timed_out. A value that came in spite of the cancel is given (rule R2). Only this deadline is
/// converted: a cancel from outside stays rota::cancelled. Zero or negative: expires at the first suspension that
/// lasts beyond this iteration.
template <class Rep, class Period, awaitable A>
auto timeout(std::chrono::duration<Rep, Period> d, A&& a) {
  return detail::scope_awaiter<A, detail::when_cancelled::throw_timed_out>(0, detail::saturate(d), false,
                                                                           static_cast<A&&>(a));
}
/// The same with an absolute deadline; time_point::max(): none.
template <awaitable A>
auto timeout_at(time_point t, A&& a) {
  return detail::scope_awaiter<A, detail::when_cancelled::throw_timed_out>(0, detail::to_nanoseconds(t), true,
                                                                           static_cast<A&&>(a));
}

/// Like timeout, but an expired deadline is no error: gives std::optional (bool for void), empty when it expired.
template <class Rep, class Period, awaitable A>
auto move_on_after(std::chrono::duration<Rep, Period> d, A&& a) {
  return detail::scope_awaiter<A, detail::when_cancelled::give_nothing>(0, detail::saturate(d), false,
                                                                        static_cast<A&&>(a));
}
template <awaitable A>
auto move_on_at(time_point t, A&& a) {
  return detail::scope_awaiter<A, detail::when_cancelled::give_nothing>(0, detail::to_nanoseconds(t), true,
                                                                        static_cast<A&&>(a));
}

// Say in one line what is wrong with the arguments.
template <class D, class A>
task<> timeout(D&&, A&&) {
  return detail::refuse_limit<D, A>();
}
template <class D, class A>
task<> move_on_after(D&&, A&&) {
  return detail::refuse_limit<D, A>();
}

/// Cleanup that must await: a cancel from outside does not reach `a`, but after `d` it is cancelled all the same and
/// std::system_error with errc::timed_out is thrown. The deadline is mandatory, so that no cleanup hangs for ever.
template <class Rep, class Period, awaitable A>
auto shield(std::chrono::duration<Rep, Period> d, A&& a) {
  return detail::scope_awaiter<A, detail::when_cancelled::throw_timed_out>(
      detail::open_scope::shielded, detail::saturate(d), false, static_cast<A&&>(a));
}
template <class D, class A>
task<> shield(D&&, A&&) {
  return detail::refuse_limit<D, A>();
}

}  // namespace rota
