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
/// The same of a child that has not failed.
template <class T>
or_monostate<T> take_known_value(held_frame<T>& child) {
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return child.take_value();
}

/// On a loop the children are tasks of one owner; on a strand, if they may leave it, they are forked.
template <class Derived, class Children>
class all_awaiter_base {
 public:
  static constexpr bool may_leave_strand = Children::all_leave;
  all_awaiter_base(const all_awaiter_base&) = delete;
  all_awaiter_base& operator=(const all_awaiter_base&) = delete;
  [[gnu::always_inline]] ~all_awaiter_base() {
    if (how_ == how::on_loop) loop_.~loop_join();
  }

  /// Its arguments may be temporaries of the same expression: write `co_await when_all(...)`, never name it first.
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<Derived> operator co_await() && noexcept { return pinned_awaiter(static_cast<Derived&>(*this)); }
  bool await_ready() const noexcept { return children_.size() == 0; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> handle,
                                            line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    if constexpr (Children::all_leave)
      if (me.exec->is_strand() && static_cast<strand&>(*me.exec).is_main(me))
        return fork_here(me, handle.address(), where);
    start_on_loop(me, handle.address(), where);
    return true;
  }

 protected:
  // The tag: without it, this would take itself for a constructor that moves.
  template <class... Args>
  explicit all_awaiter_base(std::in_place_t, Args&&... args) : children_(static_cast<Args&&>(args)...) {}

  [[gnu::always_inline]] void finish() {
    if (how_ != how::forked || fork_.leave()) [[unlikely]]
      finish_slowly();
  }

  Children children_;

 private:
  enum class how : unsigned char { unknown, on_loop, forked, cancelled };

  ROTA_NOINLINE void start_on_loop(task_state& me, void* frame, line_mark where) {
    new (&loop_) loop_join<failure_collector>("when_all");
    how_ = how::on_loop;
    loop_.start(children_, me, frame, where);
  }
  [[gnu::always_inline]] bool fork_here(task_state& me, void* frame, line_mark where) {
    auto& home = static_cast<strand&>(*me.exec);
    home.hear_others();
    if (me.is_cancelled()) [[unlikely]] {
      how_ = how::cancelled;
      cancelled_ = &me;
      return false;
    }
    children_.make(where);
    if (!fork::reserve(home, children_.size())) [[unlikely]]
      throw std::bad_alloc();
    how_ = how::forked;
    return (new (&fork_) fork(home, frame))->run(children_);
  }
  ROTA_NOINLINE void finish_slowly() {
    if (how_ == how::on_loop) {
      loop_.leave();
      if (const std::exception_ptr error = loop_.owner_.conclude()) std::rethrow_exception(error);
      loop_.throw_if_cancelled("when_all");
    } else if (how_ == how::forked) {
      check_forked();
    } else if (how_ == how::cancelled) {
      throw_cancelled(*cancelled_);
    }
  }
  ROTA_COLD void check_forked() {
    std::vector<exception_group::member> errors;
    bool was_cancelled = false;
    std::size_t number = 0;
    children_.each([&](auto& child) {
      ++number;
      const std::exception_ptr* error = child.error();
      if (error && !is_cancellation(*error))
        errors.emplace_back(*error, "child " + std::to_string(number));
      else if (error || !child.is_done())
        was_cancelled = true;
    });
    if (!errors.empty()) throw exception_group(message_at("when_all", line_mark_of(fork_.where())), std::move(errors));
    if (!was_cancelled) return;
    if (fork_.parent().is_cancelled()) throw_cancelled(fork_.parent());
    throw std::system_error(make_error_code(errc::task_cancelled), "when_all");
  }

  how how_ = how::unknown;
  union {
    loop_join<failure_collector> loop_;
    fork fork_;
    task_state* cancelled_;
  };
};

template <class... As>
class [[nodiscard(ROTA_UNAWAITED)]] all_of_pack : public all_awaiter_base<all_of_pack<As...>, pack_children<As...>> {
 public:
  explicit all_of_pack(As&&... as)
      : all_awaiter_base<all_of_pack, pack_children<As...>>(std::in_place, static_cast<As&&>(as)...) {}

  auto await_resume() {
    this->finish();
    if constexpr ((std::is_void_v<typename held_child<As>::value> && ...))
      return;
    else
      return this->children_.apply([](auto&... children) {
        return std::tuple<or_monostate<typename held_child<As>::value>...>(take_known_value(children)...);
      });
  }
};

template <class R>
class [[nodiscard(ROTA_UNAWAITED)]] all_of_range : public all_awaiter_base<all_of_range<R>, range_children<R>> {
  using value = typename range_children<R>::value;

 public:
  explicit all_of_range(R&& range)
      : all_awaiter_base<all_of_range, range_children<R>>(std::in_place, static_cast<R&&>(range)) {}

  auto await_resume() {
    this->finish();
    if constexpr (!std::is_void_v<value>) {
      std::vector<std::remove_cvref_t<value>> values;
      values.reserve(this->children_.size());
      this->children_.each([&](auto& child) { values.push_back(child.take_value()); });
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
/// nothing for void. Of a range that is an lvalue (of join_handles, say), or a view, the elements are awaited where they
/// are; of const join_handles copies are awaited.
template <class R>
  requires detail::range_of_awaitables<R>
auto when_all(R&& range) {
  if constexpr (detail::are_arguments<detail::element_of<R>>()) return detail::all_of_range<R>(static_cast<R&&>(range));
}

}  // namespace rota
