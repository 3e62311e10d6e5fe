// A value or an exception: how something ended, as an object.
#pragma once

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include <rota/base/report.hpp>

namespace rota {

/// What `co_await` gave or threw. Empty until it is set. Copyable and movable as T is. No thread safety of its own.
template <class T = void>
class outcome {
  // A reference is kept as a pointer; void needs nothing.
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                    std::conditional_t<std::is_void_v<T>, bool, std::remove_cv_t<T>>>;

 public:
  outcome() noexcept {}
  outcome(std::exception_ptr error) noexcept : state_(state::failed) {
    new (&error_) std::exception_ptr(std::move(error));
  }
  outcome(const outcome& other)
    requires std::is_copy_constructible_v<stored>
  {
    assign(other);
  }
  outcome(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) { assign(std::move(other)); }
  outcome& operator=(const outcome& other)
    requires std::is_copy_constructible_v<stored>
  {
    if (this != &other) {
      clear();
      assign(other);
    }
    return *this;
  }
  outcome& operator=(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) {
    if (this != &other) {
      clear();
      assign(std::move(other));
    }
    return *this;
  }
  ~outcome() { clear(); }

  template <class... Args>
  void emplace(Args&&... args) {
    clear();
    if constexpr (std::is_reference_v<T>)
      new (&value_) stored(&(static_cast<Args&&>(args), ...));
    else
      new (&value_) stored(static_cast<Args&&>(args)...);
    state_ = state::succeeded;
  }
  void set_exception(std::exception_ptr error) noexcept {
    clear();
    new (&error_) std::exception_ptr(std::move(error));
    state_ = state::failed;
  }

  bool has_value() const noexcept { return state_ == state::succeeded; }
  explicit operator bool() const noexcept { return has_value(); }
  /// Null when it has a value, and when it is empty.
  std::exception_ptr exception() const noexcept { return state_ == state::failed ? error_ : std::exception_ptr(); }

  /// The value; throws the exception when there is one. Must not be empty.
  std::add_lvalue_reference_t<T> value() & {
    check();
    if constexpr (std::is_reference_v<T>)
      return *value_;
    else if constexpr (!std::is_void_v<T>)
      return value_;
  }
  std::add_lvalue_reference_t<std::add_const_t<T>> value() const& {
    check();
    if constexpr (std::is_reference_v<T>)
      return *value_;
    else if constexpr (!std::is_void_v<T>)
      return value_;
  }
  T value() && {
    check();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return std::move(value_);
  }

 private:
  enum class state : unsigned char { empty, succeeded, failed };

  void check() const {
    if (state_ == state::failed) std::rethrow_exception(error_);
    ROTA_ASSERT(state_ == state::succeeded);
  }
  template <class Other>
  void assign(Other&& other) {
    if (other.state_ == state::succeeded)
      new (&value_) stored(std::forward<Other>(other).value_);
    else if (other.state_ == state::failed)
      new (&error_) std::exception_ptr(other.error_);
    state_ = other.state_;
  }
  void clear() noexcept {
    if (state_ == state::succeeded)
      value_.~stored();
    else if (state_ == state::failed)
      error_.~exception_ptr();
    state_ = state::empty;
  }

  union {
    stored value_;
    std::exception_ptr error_;
  };
  state state_ = state::empty;
};

}  // namespace rota
