// Operating errors: rota's own codes beside errno, and result<T> for those who prefer a code to an exception.
#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/config.hpp>

namespace rota {

/// Errors that the kernel has no number for. Everything else that leaves rota is errno in std::generic_category().
enum class errc {
  busy = 1,          ///< a second reader or a second writer on one descriptor
  closed,            ///< the object was closed by its own program while, or before, the operation ran
  timed_out,         ///< a rota::timeout expired
  end_of_stream,     ///< the peer ended the stream before the operation had what it needed
  not_supported,     ///< this backend cannot do the operation; the text of the exception says what can
  name_not_numeric,  ///< a host name where an address was needed
  task_cancelled,    ///< the task that was joined ended as cancelled
  loop_stopped,      ///< stop() ended the run before its task had ended
  broken_promise,    ///< a promise, or every copy of a callback, was destroyed without having been used
  broken_barrier,    ///< a barrier was aborted or reset while, or before, a task waited at it
};

namespace detail {
class error_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "rota"; }
  std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
      case errc::busy: return "another operation of this direction is already waiting on this descriptor";
      case errc::closed: return "closed";
      case errc::timed_out: return "timed out";
      case errc::end_of_stream: return "end of stream";
      case errc::not_supported: return "not supported by this backend";
      case errc::name_not_numeric: return "the host is not a numeric address";
      case errc::task_cancelled: return "the joined task was cancelled";
      case errc::loop_stopped: return "the event loop was stopped before the task had ended";
      case errc::broken_promise: return "the promise or callback was destroyed without having been used";
      case errc::broken_barrier: return "the barrier was aborted or reset";
    }
    return "unknown error";
  }
  std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<errc>(value)) {
      case errc::busy: return std::errc::device_or_resource_busy;
      case errc::closed: return std::errc::bad_file_descriptor;
      case errc::timed_out: return std::errc::timed_out;
      case errc::not_supported: return std::errc::operation_not_supported;
      default: return {value, *this};
    }
  }
};
}  // namespace detail

inline const std::error_category& error_category() noexcept {
  static const detail::error_category_type category;
  return category;
}

inline std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), error_category()}; }

/// The other end of a connection closed or reset it: what peers do, and mostly not worth a report.
inline bool peer_has_gone(const std::error_code& code) noexcept {
  return code == std::errc::connection_reset || code == std::errc::broken_pipe;
}

namespace detail {
/// `result` is what a kernel request returned: negative errno.
ROTA_COLD inline std::error_code error_of(std::int64_t result) noexcept {
  return {static_cast<int>(-result), std::generic_category()};
}
[[noreturn]] ROTA_COLD inline void throw_error(std::error_code code, const char* what) {
  throw std::system_error(code, what);
}
[[noreturn]] ROTA_COLD inline void throw_errno(int number, const char* what) {
  throw std::system_error(number, std::generic_category(), what);
}
}  // namespace detail

/// A value or an error code: what `co_await rota::as_result(awaitable)` gives. Small on purpose; std::expected is C++23.
template <class T = void>
class [[nodiscard]] result {
  struct nothing {};
  using stored = std::conditional_t<std::is_void_v<T>, nothing, T>;

 public:
  result()
    requires std::is_void_v<T>
      : value_(nothing()) {}
  result(stored value) : value_(std::move(value)) {}
  result(std::error_code error) : error_(error) {}

  bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }

  /// Success: a default error_code.
  std::error_code error() const noexcept { return error_; }

  /// The value; throws std::system_error when there is none.
  stored& value() & {
    if (!has_value()) throw std::system_error(error());
    return *value_;
  }
  const stored& value() const& { return const_cast<result&>(*this).value(); }
  stored&& value() && { return std::move(value()); }

  stored& operator*() & noexcept { return *value_; }
  stored&& operator*() && noexcept { return std::move(*value_); }
  const stored& operator*() const& noexcept { return *value_; }
  stored* operator->() noexcept { return &*value_; }
  const stored* operator->() const noexcept { return &*value_; }

 private:
  std::optional<stored> value_;
  std::error_code error_;
};

}  // namespace rota

template <>
struct std::is_error_code_enum<rota::errc> : std::true_type {};
