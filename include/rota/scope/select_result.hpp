// What comes out of a select.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>

namespace rota {

namespace detail {

template <bool Biased, class... As>
class select_awaiter;

template <class V>
struct selected_value {
  using type = std::optional<std::remove_cvref_t<V>>;
};
template <>
struct selected_value<void> {
  using type = bool;
};

}  // namespace detail

/// What a select has done: one case, index(), and its value. A case that was run by a child may have succeeded before the
/// cancel reached it, although it lost; then it has a value, too. If nobody looks at that, it is reported.
template <class... Vs>
class [[nodiscard]] select_result {
 public:
  select_result(select_result&& other) noexcept
      : values_(std::move(other.values_)), index_(other.index_), late_(std::exchange(other.late_, 0)) {}
  select_result& operator=(select_result&&) = delete;
  ~select_result() {
    if (late_ != 0) [[unlikely]]
      report_late();
  }

  /// Of the case that was first, as they were written.
  std::size_t index() const noexcept { return index_; }
  /// The case has happened. At most one but for index(), and only among those that a child runs.
  template <std::size_t I>
  bool has() const noexcept {
    if constexpr (std::is_same_v<std::tuple_element_t<I, decltype(values_)>, bool>) late_ &= ~bit(I);
    return static_cast<bool>(std::get<I>(values_));
  }
  /// Its value. Throws usage_error (no_value) when it has not happened.
  template <std::size_t I>
  auto& get() {
    if (!has<I>()) throw usage_error(usage_error::kind::no_value, "this case of the select has not happened");
    late_ &= ~bit(I);
    return *std::get<I>(values_);
  }

 private:
  template <bool Biased, class... As>
  friend class detail::select_awaiter;
  select_result() noexcept = default;

  static constexpr std::uint64_t bit(std::size_t i) noexcept { return std::uint64_t{1} << i; }
  ROTA_COLD void report_late() const noexcept {
    for (std::size_t i = 0; i != sizeof...(Vs); ++i)
      if ((late_ & bit(i)) != 0)
        report("case %zu of a select had succeeded although case %zu was first, and nobody asked", i, index_);
  }

  std::tuple<typename detail::selected_value<Vs>::type...> values_{};
  std::size_t index_ = 0;
  mutable std::uint64_t late_ = 0;  // by case: it has a value that nobody has looked at, and was not the first
};

}  // namespace rota
