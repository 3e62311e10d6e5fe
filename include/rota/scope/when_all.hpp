// when_all: several awaitables at once, all of their values.
#pragma once

#include <coroutine>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <rota/scope/together.hpp>

namespace rota {

namespace detail {

template <class T>
using or_monostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
or_monostate<T> take_value(held_frame<T>& child) {
  if constexpr (std::is_void_v<T>) {
    child.take();
    return {};
  } else {
    return child.take();
  }
}

template <class Derived, class Children>
class all_awaiter_base : public together<Derived, failure_collector, Children> {
 protected:
  // The tag: without it, this would take itself for a constructor that moves.
  template <class... Args>
  explicit all_awaiter_base(std::in_place_t, Args&&... args)
      : together<Derived, failure_collector, Children>("when_all", static_cast<Args&&>(args)...) {}

  void finish() {
    this->leave();
    if (const std::exception_ptr error = this->owner_.conclude()) std::rethrow_exception(error);
    this->throw_if_cancelled("when_all");
  }
};

template <class... As>
class [[nodiscard]] all_of_pack : public all_awaiter_base<all_of_pack<As...>, pack_children<As...>> {
 public:
  explicit all_of_pack(As&&... as)
      : all_awaiter_base<all_of_pack, pack_children<As...>>(std::in_place, static_cast<As&&>(as)...) {}

  auto await_resume() {
    this->finish();
    if constexpr ((std::is_void_v<typename held_child<As>::value> && ...))
      return;
    else
      return this->children_.apply([](auto&... children) {
        return std::tuple<or_monostate<typename held_child<As>::value>...>(take_value(children)...);
      });
  }
};

template <class R>
class [[nodiscard]] all_of_range : public all_awaiter_base<all_of_range<R>, range_children<R>> {
  using value = typename range_children<R>::value;

 public:
  explicit all_of_range(R&& range)
      : all_awaiter_base<all_of_range, range_children<R>>(std::in_place, static_cast<R&&>(range)) {}

  auto await_resume() {
    this->finish();
    if constexpr (!std::is_void_v<value>) {
      std::vector<std::remove_cvref_t<value>> values;
      values.reserve(this->children_.size());
      this->children_.each([&](auto& child) { values.push_back(child.take()); });
      return values;
    }
  }
};

}  // namespace detail

/// Runs all of them at once and gives their values in the order of the arguments: a std::tuple, std::monostate for void;
/// nothing when all are void. An argument is a task, anything else that can be awaited, or a function that returns one of
/// these. They may refer to the caller's locals: all have ended before the await goes on.
///
/// The first failure cancels the others; when all have ended their errors are thrown as one exception_group. A cancel of
/// the caller cancels all of them; a value that came in spite of it counts, so the await throws rota::cancelled only if one
/// of them was cancelled.
template <class... As>
  requires(!(sizeof...(As) == 1 && (detail::range_of_awaitables<As> && ...)))
auto when_all(As&&... as) {
  if constexpr (detail::are_arguments<As...>()) return detail::all_of_pack<As...>(static_cast<As&&>(as)...);
}

/// The same for the elements of a range, such as std::vector<task<T>>, which is handed over: a std::vector of the values,
/// nothing for void. Of a range that is an lvalue (of join_handles, say) the elements are awaited where they are.
template <class R>
  requires detail::range_of_awaitables<R>
auto when_all(R&& range) {
  if constexpr (detail::are_arguments<detail::element_of<R>>()) return detail::all_of_range<R>(static_cast<R&&>(range));
}

}  // namespace rota
