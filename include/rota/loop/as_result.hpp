// as_result(awaitable): errors as a code instead of an exception.
#pragma once

#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/task_state.hpp>

namespace rota {

namespace detail {

template <class A>
class [[nodiscard(ROTA_UNAWAITED)]] result_awaiter {
 public:
  using value = std::remove_cvref_t<await_result_t<A>>;

  explicit result_awaiter(A&& inner) : inner_(awaiter_of(static_cast<A&&>(inner))) {}
  result_awaiter(result_awaiter&&) = delete;

  bool await_ready() { return inner_.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return suspend_inner(inner_, handle, where);
  }
  result<value> await_resume() {
    try {
      if constexpr (std::is_void_v<value>) {
        inner_.await_resume();
        return result<void>();
      } else {
        return result<value>(inner_.await_resume());
      }
    } catch (const std::system_error& error) {
      return result<value>(error.code());
    }
  }

 private:
  awaiter_of_t<A> inner_;
};

}  // namespace detail

/// `auto n = co_await as_result(stream.read_some(buffer));` gives rota::result<std::size_t>: the value, or the code of
/// the std::system_error that would have been thrown. Every other exception, rota::cancelled among them, passes.
template <awaitable A>
detail::result_awaiter<A> as_result(A&& inner) {
  return detail::result_awaiter<A>(static_cast<A&&>(inner));
}

}  // namespace rota
