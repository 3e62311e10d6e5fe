// Room for a value, an error code or an exception, whichever comes: what a future or a callback delivers.
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/config.hpp>

namespace rota::detail {

/// Empty until one of emplace(), set_code(), set_exception() is called, once. T may be void, a value or a reference.
template <class T>
class result_storage {
 public:
  // A reference is kept as a pointer; void needs nothing.
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                    std::conditional_t<std::is_void_v<T>, bool, T>>;
  /// What take() and get() give for a T.
  using lent = std::conditional_t<std::is_reference_v<T>, T, std::add_lvalue_reference_t<const T>>;

  result_storage() noexcept {}
  result_storage(const result_storage&) = delete;
  result_storage& operator=(const result_storage&) = delete;
  ~result_storage() {
    if (kind_ == kind::value) value_.~stored();
    if (kind_ == kind::exception) exception_.~exception_ptr();
  }

  bool empty() const noexcept { return kind_ == kind::none; }
  bool has_exception() const noexcept { return kind_ == kind::exception; }
  const std::exception_ptr& exception() const noexcept { return exception_; }
  bool has_code() const noexcept { return kind_ == kind::code; }
  std::error_code code() const noexcept { return code_; }

  /// A constructor of T that throws leaves the storage empty.
  template <class... Args>
  void emplace(Args&&... args) noexcept(std::is_nothrow_constructible_v<stored, Args...>) {
    if constexpr (std::is_reference_v<T>)
      new (static_cast<void*>(&value_)) stored(std::addressof(args)...);
    else
      new (static_cast<void*>(&value_)) stored(static_cast<Args&&>(args)...);
    kind_ = kind::value;
  }
  void set_code(std::error_code code) noexcept {
    new (&code_) std::error_code(code);
    kind_ = kind::code;
  }
  void set_exception(std::exception_ptr exception) noexcept {
    new (&exception_) std::exception_ptr(std::move(exception));
    kind_ = kind::exception;
  }

  /// Moves the value out, or throws: a code as std::system_error.
  T take() {
    throw_if_failed();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return std::move(value_);
  }
  lent get() const {
    throw_if_failed();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return value_;
  }

 private:
  enum class kind : std::uint8_t { none, value, code, exception };

  void throw_if_failed() const {
    if (kind_ != kind::value) [[unlikely]]
      throw_failed();
  }
  [[noreturn]] ROTA_COLD void throw_failed() const {
    if (kind_ == kind::exception) std::rethrow_exception(exception_);
    throw std::system_error(code_);
  }

  union {
    stored value_;
    std::error_code code_;
    std::exception_ptr exception_;
  };
  kind kind_ = kind::none;
};

}  // namespace rota::detail
