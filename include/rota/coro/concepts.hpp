// What can be awaited, and what comes out.
#pragma once

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

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

}  // namespace detail
}  // namespace rota
