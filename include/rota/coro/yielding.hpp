// What co_yield of both kinds of generator has in common.
#pragma once

#include <type_traits>

#include <rota/base/config.hpp>

namespace rota {

/// `co_yield by_move(object)`, `co_await tx.send(by_move(object))` hand the object itself over: it is moved out. The same as std::move(object),
/// but GCC 12.2, too, can tell it from an object that is made within the statement. Keep it in no variable.
template <class T>
class by_move {
 public:
  explicit by_move(T& object) noexcept : object_(object) {}
  T& object() const noexcept { return object_; }

 private:
  T& object_;
};

/// `co_yield elements_of(range)`: every element of another generator of the same type, which is handed over, or of any
/// range. Refers to the range until the co_yield goes on.
template <class R>
class elements_of {
 public:
  explicit elements_of(R&& range) noexcept : range_(static_cast<R&&>(range)) {}
  std::remove_reference_t<R>& range() const noexcept { return range_; }

 private:
  R&& range_;
};
template <class R>
elements_of(R&&) -> elements_of<R>;

namespace detail {

// R10(b): GCC 12.2 destroys the members of an aggregate that is made in a statement that suspends twice. It cannot be told
// from one that is moved.
template <class T>
inline constexpr bool safe_to_yield_as_rvalue =
    !ROTA_GCC_MISCOMPILES_COROUTINES || !std::is_aggregate_v<T> || std::is_trivially_destructible_v<T>;

}  // namespace detail
}  // namespace rota

#define ROTA_REFUSE_OWNING_AGGREGATE_IN(T, statement, spelling)                                            \
  static_assert(::rota::detail::safe_to_yield_as_rvalue<T>,                                                \
                "this GCC destroys an aggregate that owns something twice when it is made in a " statement \
                " statement: name it first and write " spelling                                            \
                ", or give the type a constructor; see "                                                   \
                "docs/compilers.md")
#define ROTA_REFUSE_OWNING_AGGREGATE(T) ROTA_REFUSE_OWNING_AGGREGATE_IN(T, "co_yield", "co_yield rota::by_move(object)")
