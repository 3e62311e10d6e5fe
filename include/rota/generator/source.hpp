// Sources: everything that gives items one by one. for_each and collect use one up.
#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/callable.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/task.hpp>
#include <rota/scope/cleanup.hpp>

namespace rota {

namespace detail {
template <class S>
using next_result_t = await_result_t<decltype(std::declval<S&>().next())>;
}  // namespace detail

/// `co_await source.next()` gives a std::optional, or a pointer: the next item, or nothing at the end.
/// async_generator, channels, callback_stream, interval, as_completed(), and pipelines of them.
template <class S>
concept async_source = requires(S& source) {
  { source.next() } -> awaitable;
} && requires(detail::next_result_t<S> item) {
  static_cast<bool>(item);
  *item;
  detail::next_result_t<S>();
};

/// The type of its items.
template <async_source S>
using source_item_t = std::remove_cvref_t<decltype(*std::declval<detail::next_result_t<S>&>())>;

namespace detail {

/// What is passed on to a function: T&& out of an optional, T& of a pointer.
template <class S>
using handed_item_t = decltype(*std::declval<next_result_t<S>>());

/// Somebody else's source, who closes it.
template <class S>
class borrowed_source {
 public:
  explicit borrowed_source(S& source) noexcept : source_(&source) {}
  auto next() { return source_->next(); }

 private:
  S* source_;
};

/// A source that was handed over is kept, a named one is borrowed.
template <class S>
using held_source_t =
    std::conditional_t<std::is_lvalue_reference_v<S>, borrowed_source<std::remove_reference_t<S>>, std::remove_cv_t<S>>;

template <class S, class F>
task<> consume(S source, F f, line_mark where) {
  std::exception_ptr error;
  try {
    while (auto item = co_await source.next()) {
      if constexpr (awaitable<std::invoke_result_t<F&, handed_item_t<S>>>)
        co_await detail::invoke(f, *std::move(item));
      else
        detail::invoke(f, *std::move(item));
    }
  } catch (...) {
    error = std::current_exception();
  }
  if constexpr (closes_awaitably<S>) {
    cleanup_errors errors(std::move(error), where);
    std::exception_ptr close_error;
    try {
      co_await source.close();
    } catch (...) {
      close_error = std::current_exception();
    }
    if (close_error) errors.add(std::move(close_error));
    error = errors.combined();
  }
  if (error) std::rethrow_exception(error);
}

template <class S>
task<std::vector<source_item_t<S>>> collect_all(S source, line_mark where) {
  std::vector<source_item_t<S>> items;
  auto keep = [&items](handed_item_t<S> item) { items.push_back(static_cast<handed_item_t<S>>(item)); };
  co_await consume<S, decltype(keep)&>(std::move(source), keep, where);
  co_return items;
}

}  // namespace detail

/// Calls `f(item)` for every item, in order; if that gives something to await, awaits it before the next item. A source
/// that is handed over is closed on every way out, and destroyed; a named one is only borrowed. An error of source or f
/// ends it and is thrown; with an error of the close, too, as an exception_group of both.
template <class S, class F>
  requires async_source<std::remove_reference_t<S>> &&
           std::invocable<F&, detail::handed_item_t<std::remove_reference_t<S>>>
task<> for_each(S&& source, F&& f, detail::line_mark where = ROTA_CALLERS_LINE) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  using held = detail::held_source_t<S>;
  return detail::consume<held, F>(held(std::forward<S>(source)), std::forward<F>(f), where);
}

/// All items in a std::vector. As for_each; what was collected before an error is lost with it.
template <class S>
  requires async_source<std::remove_reference_t<S>>
auto collect(S&& source, detail::line_mark where = ROTA_CALLERS_LINE)
    -> task<std::vector<source_item_t<std::remove_reference_t<S>>>> {
  using held = detail::held_source_t<S>;
  return detail::collect_all<held>(held(std::forward<S>(source)), where);
}

}  // namespace rota
