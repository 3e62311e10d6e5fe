// when_any and race: several awaitables at once, the value of the first one.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

#include <rota/loop/join_cycle.hpp>
#include <rota/scope/together.hpp>
#include <rota/scope/when_all.hpp>

namespace rota {

/// Who was first, and with what. For arguments of different types T is a std::variant of them, references copied.
template <class T>
struct first_result {
  first_result(std::size_t i, T&& v) : index(i), value(static_cast<T&&>(v)) {}
  std::size_t index;
  T value;
};
template <>
struct first_result<void> {
  explicit first_result(std::size_t i) noexcept : index(i) {}
  std::size_t index;
};

namespace detail {

/// Lets one child win and cancels the others.
class winner_owner final : public failure_collector {
 public:
  explicit winner_owner(const char* what) noexcept : failure_collector(what, nullptr, sees_success) {}

  /// race: also an error wins. when_any: only a value does.
  void let_errors_win() noexcept { errors_win_ = true; }
  task_state* winner() const noexcept { return winner_; }
  const std::exception_ptr& circle() const noexcept { return circle_; }
  bool needs_all_children() const noexcept override { return false; }

  void child_ended(task_state& child) noexcept override {
    const bool ended_by_cancel = child.has(task_state::was_cancelled);
    const bool failed = child.has(task_state::failed) && !ended_by_cancel;
    if (winner_) {
      // A loser that fails while it is cancelled: nobody will see that error.
      if (failed) loop_access::report_lost(child, *error_of(child));
    } else if (ended_by_cancel || (failed && !errors_win_)) {
      if (failed)
        keep(child);
      else
        child_was_cancelled_ = true;
      if (children > 1 && !is_cancelled()) end_if_stuck();
    } else {
      winner_ = &child;
      scope_tree::cancel(*this, cancel_kind::sibling, "another one was first", child.root_line());
    }
  }

 private:
  // Those that are left may all wait for the task that waits here: nobody would ever win.
  ROTA_COLD void end_if_stuck() noexcept {
    const join_cycle circle(*host);
    task_state* one = nullptr;
    const auto is_stuck = [&](task_state& child) { return join_cycle::has(*(one = &child)); };
    if (!scope_tree::all_children(*this, is_stuck)) return;
    try {
      circle.refuse(*host, *one);
    } catch (...) {
      circle_ = std::current_exception();
    }
    cancel_others(circle_, host->root().waits_at);
  }

  task_state* winner_ = nullptr;
  bool errors_win_ = false;
  std::exception_ptr circle_;
};

template <class T, class... Ts>
inline constexpr bool all_same = (std::is_same_v<T, Ts> && ...);
template <class... Ts>
struct first_value {
  using type = std::variant<or_monostate<std::remove_cvref_t<Ts>>...>;
};
template <class T, class... Ts>
  requires all_same<T, Ts...>
struct first_value<T, Ts...> {
  using type = T;
};

template <class Derived, class Children>
class first_awaiter_base : public together<Derived, winner_owner, Children> {
 public:
  static constexpr bool may_leave_strand = Children::all_leave;

 protected:
  template <class... Args>
  explicit first_awaiter_base(bool errors_win, Args&&... args)
      : together<Derived, winner_owner, Children>(errors_win ? "race" : "when_any", static_cast<Args&&>(args)...) {
    if (errors_win) this->owner_.let_errors_win();
  }

  task_state& finish() {
    this->leave();
    task_state* winner = this->owner_.winner();
    if (winner) return *winner;
    if (const std::exception_ptr error = this->owner_.conclude(this->owner_.circle(), "the wait"))
      std::rethrow_exception(error);
    this->throw_if_cancelled("every one of them was cancelled");
    __builtin_unreachable();
  }
};

template <class... As>
class [[nodiscard(ROTA_UNAWAITED)]] first_of_pack
    : public first_awaiter_base<first_of_pack<As...>, pack_children<As...>> {
  using value = typename first_value<typename held_child<As>::value...>::type;
  using result = first_result<value>;

 public:
  explicit first_of_pack(bool errors_win, As&&... as)
      : first_awaiter_base<first_of_pack, pack_children<As...>>(errors_win, static_cast<As&&>(as)...) {}

  result await_resume() {
    task_state& winner = this->finish();
    return this->children_.apply([&](auto&... children) { return pick<0>(winner, children...); });
  }

 private:
  template <std::size_t I, class Child, class... Children>
  static result pick(task_state& winner, Child& child, Children&... others) {
    if constexpr (sizeof...(Children) != 0) {
      if (!child.is(&winner)) return pick<I + 1>(winner, others...);
    }
    if constexpr (std::is_void_v<value>) {
      child.take();
      return result(I);
    } else if constexpr (all_same<typename held_child<As>::value...>) {
      return result(I, child.take());
    } else {
      return result(I, value(std::in_place_index<I>, take_value(child)));
    }
  }
};

template <class R>
class [[nodiscard(ROTA_UNAWAITED)]] first_of_range : public first_awaiter_base<first_of_range<R>, range_children<R>> {
  using value = typename range_children<R>::value;
  using stored = std::conditional_t<std::is_void_v<value>, void, std::remove_cvref_t<value>>;

 public:
  explicit first_of_range(bool errors_win, R&& range)
      : first_awaiter_base<first_of_range, range_children<R>>(errors_win, static_cast<R&&>(range)) {
    if (this->children_.size() == 0)
      throw_usage_error(usage_error::kind::invalid_argument,
                        "when_any and race need at least one awaitable, and were called with none%s",
                        by_running_task().c_str());
  }

  first_result<stored> await_resume() {
    task_state& winner = this->finish();
    std::size_t index = 0, i = 0;
    typename range_children<R>::child_type* first = nullptr;
    this->children_.each([&](auto& child) {
      if (child.is(&winner)) {
        index = i;
        first = &child;
      }
      ++i;
    });
    if constexpr (std::is_void_v<value>) {
      first->take();
      return first_result<void>(index);
    } else {
      return first_result<stored>(index, stored(first->take()));
    }
  }
};

}  // namespace detail

/// Runs all of them at once; the first that gives a value wins. The others are cancelled, and have ended before the
/// winner's index and value are seen. If all fail, their errors are thrown as one exception_group; errors before there
/// was a winner are dropped, those of losers that were cancelled are reported. (JavaScript: Promise.any; Boost.Asio: ||.)
/// Arguments and cancel: as when_all. A loser's value that came too late is destroyed: what it owns is released.
template <class... As>
  requires(sizeof...(As) != 0 && !(sizeof...(As) == 1 && (detail::range_of_awaitables<As> && ...)))
auto when_any(As&&... as) {
  if constexpr (detail::are_arguments<As...>()) return detail::first_of_pack<As...>(false, static_cast<As&&>(as)...);
}
/// The same for the elements of a range; throws usage_error when it is empty.
template <class R>
  requires detail::range_of_awaitables<R>
auto when_any(R&& range) {
  if constexpr (detail::are_arguments<detail::element_of<R>>())
    return detail::first_of_range<R>(false, static_cast<R&&>(range));
}

/// Like when_any, but the first that ends decides, with a value or with its exception, which is thrown as it is.
/// (JavaScript: Promise.race.)
template <class... As>
  requires(sizeof...(As) != 0 && !(sizeof...(As) == 1 && (detail::range_of_awaitables<As> && ...)))
auto race(As&&... as) {
  if constexpr (detail::are_arguments<As...>()) return detail::first_of_pack<As...>(true, static_cast<As&&>(as)...);
}
template <class R>
  requires detail::range_of_awaitables<R>
auto race(R&& range) {
  if constexpr (detail::are_arguments<detail::element_of<R>>())
    return detail::first_of_range<R>(true, static_cast<R&&>(range));
}

}  // namespace rota
