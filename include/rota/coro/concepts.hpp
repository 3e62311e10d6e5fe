// What can be awaited, and what comes out.
#pragma once

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

#include <rota/base/config.hpp>
#include <rota/coro/line_mark.hpp>

namespace rota {

namespace detail {

template <class A>
concept has_member_co_await = requires(A&& a) { static_cast<A&&>(a).operator co_await(); };
template <class A>
concept has_free_co_await = requires(A&& a) { operator co_await(static_cast<A&&>(a)); };

/// The awaiter of an awaitable: a new object, or the awaitable itself by reference.
template <class A>
decltype(auto) awaiter_of(A&& awaitable) {
  if constexpr (has_member_co_await<A>)
    return static_cast<A&&>(awaitable).operator co_await();
  else if constexpr (has_free_co_await<A>)
    return operator co_await(static_cast<A&&>(awaitable));
  else
    return static_cast<A&&>(awaitable);
}

template <class A>
using awaiter_of_t = decltype(awaiter_of(std::declval<A>()));

}  // namespace detail

/// Has the three functions that co_await calls.
template <class A>
concept awaiter = requires(std::remove_reference_t<A>& a) {
  { a.await_ready() } -> std::convertible_to<bool>;
  a.await_resume();
};

/// Can stand behind co_await in a rota::task.
template <class A>
concept awaitable = detail::has_member_co_await<A> || detail::has_free_co_await<A> || awaiter<A>;

/// The type of `co_await a`.
template <awaitable A>
using await_result_t = decltype(std::declval<std::remove_reference_t<detail::awaiter_of_t<A>>&>().await_resume());

namespace detail {

/// inner.await_suspend(handle), with the user's source line where the awaiter can take it: for awaiters that wrap
/// others.
template <class Awaiter, class Promise>
auto suspend_inner(Awaiter& inner, std::coroutine_handle<Promise> handle, line_mark where) {
  if constexpr (requires { inner.await_suspend(handle, where); })
    return inner.await_suspend(handle, where);
  else
    return inner.await_suspend(handle);
}

/// All of what co_await does with `inner` before it resumes, for an awaiter that wraps it. True: suspended. Whoever the
/// inner awaiter transfers to is parked, so that nothing can pile up on the stack (rule R5).
template <class Awaiter, class Promise>
bool begin_inner(Awaiter& inner, std::coroutine_handle<Promise> handle, line_mark where) {
  if (inner.await_ready()) return false;
  using suspended = decltype(suspend_inner(inner, handle, where));
  if constexpr (std::is_void_v<suspended>) {
    suspend_inner(inner, handle, where);
    return true;
  } else if constexpr (std::is_same_v<suspended, bool>) {
    return suspend_inner(inner, handle, where);
  } else {
    const std::coroutine_handle<> next = suspend_inner(inner, handle, where);
    if (next == handle) return false;
    handle.promise().state->exec->park(next.address());
    return true;
  }
}

// Compilers show it to who names an awaiter first: what it refers to would be gone when it is awaited.
struct await_in_the_expression_that_makes_it;

/// Stands for an awaiter that must not be named before it is awaited: its `operator co_await() &` is deleted, and the one
/// for rvalues gives this. (GCC 12 copies an awaiter that an operator co_await returns by reference.)
template <class Awaiter>
class [[nodiscard(ROTA_UNAWAITED)]] pinned_awaiter {
 public:
  explicit pinned_awaiter(Awaiter& inner) noexcept : inner_(inner) {}
  bool await_ready() { return inner_.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return inner_.await_suspend(handle, where);
  }
  decltype(auto) await_resume() { return inner_.await_resume(); }

 private:
  Awaiter& inner_;
};

/// What comes out of `co_await body(argument)`.
template <class F, class Argument>
using body_value_t = await_result_t<std::invoke_result_t<F&, Argument&>>;

/// What with_cancel_scope and its relatives can run.
template <class F, class Argument>
concept body_for = awaitable<std::invoke_result_t<F&, Argument&>>;
// R10(b): GCC 12.2 destroys an owning closure that is written inside a full expression that awaits twice.
template <class F>
inline constexpr bool safe_in_an_await_expression = !ROTA_GCC_MISCOMPILES_COROUTINES || std::is_lvalue_reference_v<F> ||
                                                    std::is_trivially_destructible_v<std::remove_cvref_t<F>>;

/// On a pool, where combinators run their arguments in parallel: may another task await it? Not what belongs to the task
/// that has it, as a join_handle or a mutex does.
template <class A>
inline constexpr bool may_leave = requires { requires std::remove_cvref_t<A>::may_leave_strand; };

}  // namespace detail
}  // namespace rota

// The refusal of R10(b), for every function that takes a callable which is awaited in the same expression.
#define ROTA_REFUSE_OWNING_CLOSURE(F)                                                                        \
  static_assert(::rota::detail::safe_in_an_await_expression<F>,                                              \
                "this GCC destroys a lambda that owns something twice when it is written inside a co_await " \
                "expression: name it first (auto body = [...] ...; co_await with_...(body);) or capture by " \
                "reference; see docs/compilers.md")
