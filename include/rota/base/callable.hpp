// Calling what can be called, and keeping it. (<functional> costs more to compile than both backends do.)
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <rota/base/owned.hpp>
#include <rota/base/usage_error.hpp>

namespace rota::detail {

[[noreturn]] ROTA_COLD inline void throw_empty(const char* what) {
  throw_usage_error(usage_error::kind::invalid_argument,
                    "%s was given nothing to call: a null pointer, or an empty std::function", what);
}

/// std::invoke, for what std::invoke_result accepts, except pointers to data members.
template <class F, class... Args>
constexpr decltype(auto) invoke(F&& f, Args&&... args) {
  return static_cast<F&&>(f)(static_cast<Args&&>(args)...);
}
template <class C, class Signature, class Object, class... Args>
  requires std::is_function_v<Signature>
constexpr decltype(auto) invoke(Signature C::* member, Object&& object, Args&&... args) {
  if constexpr (std::is_base_of_v<C, std::remove_cvref_t<Object>>)
    return (static_cast<Object&&>(object).*member)(static_cast<Args&&>(args)...);
  else if constexpr (requires { *object; })
    return ((*static_cast<Object&&>(object)).*member)(static_cast<Args&&>(args)...);
  else
    return (object.get().*member)(static_cast<Args&&>(args)...);  // std::ref
}

/// Could there be nothing to call in it: in a function pointer, a std::function?
template <class F>
concept can_be_empty = !std::is_function_v<std::remove_reference_t<F>> && std::is_constructible_v<F, std::nullptr_t> &&
                       requires(const F& f) { f == nullptr; };
/// Throws usage_error while who gives it is there to be told.
template <class F>
void refuse_empty(const F& f, const char* what) {
  if constexpr (can_be_empty<F>) {
    if (f == nullptr) [[unlikely]]
      throw_empty(what);
  }
}

/// What std::function is: a copyable callable of any type, or nothing.
template <class Signature>
class callable;
template <class R, class... Args>
class callable<R(Args...)> {
 public:
  callable() noexcept = default;
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, callable> && std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
  callable(F&& f) : held_(new held<std::decay_t<F>>(static_cast<F&&>(f))) {}
  callable(const callable& other) : held_(other.held_ ? other.held_->copy() : nullptr) {}
  callable(callable&&) noexcept = default;
  callable& operator=(callable other) noexcept {
    held_ = std::move(other.held_);
    return *this;
  }

  explicit operator bool() const noexcept { return bool(held_); }
  /// Must not be empty.
  R operator()(Args... args) const { return held_->call(static_cast<Args&&>(args)...); }

 private:
  struct any {
    virtual ~any() = default;
    virtual R call(Args&&... args) = 0;
    virtual any* copy() const = 0;
  };
  template <class F>
  struct held final : any {
    explicit held(const F& f) : f_(f) {}
    explicit held(F&& f) : f_(std::move(f)) {}
    R call(Args&&... args) override { return static_cast<R>(detail::invoke(f_, static_cast<Args&&>(args)...)); }
    any* copy() const override { return new held(f_); }
    F f_;
  };

  owned<any> held_;
};

}  // namespace rota::detail
