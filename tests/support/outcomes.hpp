// How awaitables and tasks end, as values that a test can look at.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/rota.hpp>

#include "support/rota_test.hpp"

namespace rota_test {

/// The exception with which the awaitable ends, rota::cancelled too; null when it ends without one.
template <class A>
rota::task<std::exception_ptr> exception_of(A&& awaitable) {
  try {
    (void)co_await static_cast<A&&>(awaitable);
  } catch (...) {
    co_return std::current_exception();
  }
  co_return nullptr;
}

/// A copy of the exception as an E. Fails the test when it is none.
template <class E>
E caught(const std::exception_ptr& error) {
  if (!error) FAIL("nothing was thrown");
  try {
    std::rethrow_exception(error);
  } catch (const E& e) {
    return e;
  } catch (...) {
    FAIL("another exception: " << rota::detail::describe(error).c_str());
  }
  std::abort();
}

/// What the exception says.
inline std::string text_of(const std::exception_ptr& error) {
  try {
    if (!error) return "nothing";
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return rota::detail::describe(error).c_str();
  }
}

/// What every error in the group says, depth first.
inline std::vector<std::string> texts(const rota::exception_group& group) {
  std::vector<std::string> all;
  for (const std::exception_ptr& error : group.flatten()) all.push_back(text_of(error));
  return all;
}
/// The same for an exception that must be a group.
inline std::vector<std::string> texts(const std::exception_ptr& error) {
  return texts(caught<rota::exception_group>(error));
}

inline bool is_cancelled(const std::exception_ptr& error) { return error && rota::detail::is_cancellation(error); }

/// The error code of an exception that must be a std::system_error.
inline std::error_code code_of(const std::exception_ptr& error) { return caught<std::system_error>(error).code(); }

/// Which usage_error it is. Fails the test when it is none.
inline rota::usage_error::kind kind_of(const std::exception_ptr& error) {
  return caught<rota::usage_error>(error).which();
}

using strings = std::vector<std::string>;

/// Counts its living copies: who holds what, and whether it is gone.
struct tracked {
  explicit tracked(int& count) noexcept : alive(&count) { ++*alive; }
  tracked(const tracked& other) noexcept : alive(other.alive) { ++*alive; }
  tracked& operator=(const tracked&) = delete;
  ~tracked() { --*alive; }

  int* alive;
};

// Tasks to be waited for: each with an end of its own.

inline rota::task<int> number_after(rota::duration d, int n) {
  co_await rota::sleep_for(d);
  co_return n;
}
inline rota::task<int> fail_at(rota::duration d, std::string text) {
  co_await rota::sleep_for(d);
  throw std::runtime_error(text);
}
/// Goes on until it is cancelled, and fails by that.
inline rota::task<int> fail_in_cleanup(std::string text) {
  (void)co_await exception_of(rota::sleep_for(std::chrono::hours(1)));
  throw std::runtime_error(text);
}
/// Suspends until it is cancelled; counts that, and lets it pass.
inline rota::task<> until_cancelled(int& cancels) {
  try {
    for (;;) co_await rota::sleep_for(std::chrono::hours(1));
  } catch (const rota::cancelled&) {
    ++cancels;
    throw;
  }
}

}  // namespace rota_test
