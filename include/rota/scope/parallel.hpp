// parallel_for, parallel_transform, parallel_reduce, parallel_invoke: plain functions that are called in parallel on a pool.
// For parallel_sort include <rota/scope/parallel_sort.hpp>.
//
// What they have in common:
//  - In a task of a thread_pool they run in parallel; in a task of a loop one part after the other.
//  - A function is taken by value, and is one object for all threads. Nothing is allocated but a frame per part.
//  - `grain`: how many elements are a part at most; 0: an eighth of what a worker would get, and less where
//    others have nothing to do; for parallel_reduce a sixteenth, the same parts each time.
//  - The first exception of a function is thrown, as it is, when all parts that have begun have ended; no further ones begin.
//  - A cancel is heard between parts. An exception of a function wins over it.
//  - A range has random access and outlives the await: it has a name, or is a view such as std::span.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <rota/base/callable.hpp>
#include <rota/base/config.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/scope/parallel_parts.hpp>

namespace rota {

namespace detail {

/// Calls visit(first, last), a loop, for each part.
template <class Index, class Visit>
class parallel_loop : public parallel_indices<Index> {
 public:
  using value = std::monostate;
  using result = void;
  using piece = typename parallel_indices<Index>::piece;

  parallel_loop(Index first, Index last, Index grain, Visit visit)
      : parallel_indices<Index>(first, last, grain), visit_(std::move(visit)) {}

  auto all(parallel_failure& failure, std::size_t workers) {
    this->choose_grain(workers, 8, 4);
    return divide_all(*this, failure, this->all_);
  }
  // Out of line: in a coroutine clang keeps what the loop uses in the frame, and does not vectorise it.
  ROTA_NOINLINE value part(const piece& p) {
    visit_(p.first, p.last);
    return {};
  }
  static value join(value, value) noexcept { return {}; }

 private:
  Visit visit_;
};

template <class Index, class F>
struct visit_indices {
  void operator()(Index first, Index last) {
    for (Index i = first; i != last; ++i) detail::invoke(f, i);
  }
  F f;
};
// The iterators are copied, so that the compiler knows that no element is one of them.
template <class It, class F>
struct visit_elements {
  void operator()(std::ptrdiff_t first, std::ptrdiff_t last) {
    const It from = begin;
    for (std::ptrdiff_t i = first; i != last; ++i) detail::invoke(f, from[static_cast<std::iter_difference_t<It>>(i)]);
  }
  It begin;
  F f;
};
template <class It, class Out, class F>
struct transform_elements {
  void operator()(std::ptrdiff_t first, std::ptrdiff_t last) {
    const It from = begin;
    const Out to = out;
    for (std::ptrdiff_t i = first; i != last; ++i)
      to[static_cast<std::iter_difference_t<Out>>(i)] =
          detail::invoke(f, from[static_cast<std::iter_difference_t<It>>(i)]);
  }
  It begin;
  Out out;
  F f;
};

template <class Index, class T, class Get, class Combine>
class parallel_sum : public parallel_indices<Index> {
 public:
  using value = T;
  using result = T;
  using piece = typename parallel_indices<Index>::piece;

  parallel_sum(Index first, Index last, Index grain, T identity, Get get, Combine combine)
      : parallel_indices<Index>(first, last, grain),
        identity_(std::move(identity)),
        get_(std::move(get)),
        combine_(std::move(combine)) {}

  auto all(parallel_failure& failure, std::size_t workers) {
    this->choose_grain(workers, 16, 1);  // the same groups each time
    return divide_all(*this, failure, this->all_);
  }
  ROTA_NOINLINE value part(const piece& p) {  // as above
    T sum = std::as_const(identity_);
    for (Index i = p.first; i != p.last; ++i) sum = detail::invoke(combine_, std::move(sum), detail::invoke(get_, i));
    return sum;
  }
  value join(T a, T b) { return detail::invoke(combine_, std::move(a), std::move(b)); }

 private:
  T identity_;
  Get get_;
  Combine combine_;
};

template <class It, class Map>
struct map_element {
  decltype(auto) operator()(std::ptrdiff_t i) {
    return detail::invoke(map, begin[static_cast<std::iter_difference_t<It>>(i)]);
  }
  It begin;
  Map map;
};

/// Different functions, one part each.
template <class... Fs>
class parallel_calls {
  template <class F>
  using value_of = or_monostate<std::decay_t<std::invoke_result_t<F&>>>;
  static constexpr bool gives_nothing = (std::is_void_v<std::invoke_result_t<Fs&>> && ...);
  using values = std::tuple<value_of<Fs>...>;

 public:
  using result = std::conditional_t<gives_nothing, void, values>;

  explicit parallel_calls(Fs... functions) : functions_(std::move(functions)...) {}

  task<std::optional<values>> all(parallel_failure& failure, std::size_t) {
    auto parts = co_await start(failure, std::index_sequence_for<Fs...>());
    if (failure.is_set()) co_return std::nullopt;
    co_return std::apply([](auto&... part) { return values(*std::move(part)...); }, parts);
  }

 private:
  template <std::size_t... I>
  auto start(parallel_failure& failure, std::index_sequence<I...>) {
    return when_all(call(std::get<I>(functions_), failure)...);
  }
  template <class F>
  static task<std::optional<value_of<F>>> call(F& f, parallel_failure& failure) {
    std::optional<value_of<F>> value;
    try {
      if (failure.is_set()) co_return value;
      if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
        detail::invoke(f);
        value.emplace();
      } else {
        value.emplace(detail::invoke(f));
      }
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      failure.set(std::current_exception());
    }
    co_return value;
  }

  std::tuple<Fs...> functions_;
};

template <class R>
std::ptrdiff_t size_of(R& range) {
  return static_cast<std::ptrdiff_t>(std::ranges::size(range));
}
template <class Out>
void refuse_short_output(Out& out, std::size_t size) {
  if (static_cast<std::size_t>(std::ranges::size(out)) < size) [[unlikely]]
    throw_usage_error(usage_error::kind::invalid_argument,
                      "parallel_transform: %zu results do not fit into %zu elements", size,
                      static_cast<std::size_t>(std::ranges::size(out)));
}

}  // namespace detail

/// Calls body(i) for every i from `first` up to, not including, `last`, in no particular order.
template <std::integral Index, class F>
  requires std::invocable<std::decay_t<F>&, Index>
task<> parallel_for(Index first, std::type_identity_t<Index> last, F&& body, std::type_identity_t<Index> grain = 0) {
  detail::refuse_unless_plain<F, Index>();
  using visit = detail::visit_indices<Index, std::decay_t<F>>;
  return detail::in_parallel(detail::parallel_loop<Index, visit>(first, last, grain, visit{static_cast<F&&>(body)}));
}

/// Calls body(element) for every element of the range, in no particular order.
template <detail::parallel_range R, class F>
  requires std::invocable<std::decay_t<F>&, std::ranges::range_reference_t<R>>
task<> parallel_for(R&& range, F&& body, std::ptrdiff_t grain = 0) {
  detail::refuse_temporary_range<R>();
  detail::refuse_unless_plain<F, std::ranges::range_reference_t<R>>();
  using visit = detail::visit_elements<std::ranges::iterator_t<R>, std::decay_t<F>>;
  return detail::in_parallel(detail::parallel_loop<std::ptrdiff_t, visit>(
      0, detail::size_of(range), grain, visit{std::ranges::begin(range), static_cast<F&&>(body)}));
}

/// out[k] = f(range[k]) for every element of the range; `out` has room for as many, or usage_error (invalid_argument) is
/// thrown. It may be the same range.
template <detail::parallel_range R, detail::parallel_range Out, class F>
  requires std::invocable<std::decay_t<F>&, std::ranges::range_reference_t<R>>
task<> parallel_transform(R&& range, Out&& out, F&& f, std::ptrdiff_t grain = 0) {
  detail::refuse_temporary_range<R>();
  detail::refuse_temporary_range<Out>();
  detail::refuse_shared_words<std::ranges::range_reference_t<Out>>();
  detail::refuse_unless_plain<F, std::ranges::range_reference_t<R>>();
  const std::ptrdiff_t size = detail::size_of(range);
  detail::refuse_short_output(out, static_cast<std::size_t>(size));
  using visit = detail::transform_elements<std::ranges::iterator_t<R>, std::ranges::iterator_t<Out>, std::decay_t<F>>;
  return detail::in_parallel(detail::parallel_loop<std::ptrdiff_t, visit>(
      0, size, grain, visit{std::ranges::begin(range), std::ranges::begin(out), static_cast<F&&>(f)}));
}

/// identity + map(first) + ... + map(last - 1), where + is combine(a, b): associative, and called in the order of the
/// elements, but grouped as the parts come. `identity` is copied for each part.
template <std::integral Index, class T, class Map, class Combine>
  requires std::invocable<std::decay_t<Map>&, Index>
task<T> parallel_reduce(Index first, std::type_identity_t<Index> last, T identity, Map&& map, Combine&& combine,
                        std::type_identity_t<Index> grain = 0) {
  detail::refuse_unless_plain<Map, Index>();
  ROTA_REFUSE_OWNING_CLOSURE(Combine);
  return detail::in_parallel(detail::parallel_sum<Index, T, std::decay_t<Map>, std::decay_t<Combine>>(
      first, last, grain, std::move(identity), static_cast<Map&&>(map), static_cast<Combine&&>(combine)));
}

/// The same for the elements of a range.
template <detail::parallel_range R, class T, class Map, class Combine>
  requires std::invocable<std::decay_t<Map>&, std::ranges::range_reference_t<R>>
task<T> parallel_reduce(R&& range, T identity, Map&& map, Combine&& combine, std::ptrdiff_t grain = 0) {
  detail::refuse_temporary_range<R>();
  detail::refuse_unless_plain<Map, std::ranges::range_reference_t<R>>();
  ROTA_REFUSE_OWNING_CLOSURE(Combine);
  using get = detail::map_element<std::ranges::iterator_t<R>, std::decay_t<Map>>;
  return detail::in_parallel(detail::parallel_sum<std::ptrdiff_t, T, get, std::decay_t<Combine>>(
      0, detail::size_of(range), grain, std::move(identity), get{std::ranges::begin(range), static_cast<Map&&>(map)},
      static_cast<Combine&&>(combine)));
}

/// Calls all of the functions and gives their values in the order of the arguments: a std::tuple, std::monostate for void;
/// nothing when all return void.
template <class... Fs>
  requires(sizeof...(Fs) != 0 && (std::invocable<std::decay_t<Fs>&> && ...))
auto parallel_invoke(Fs&&... functions) {
  (detail::refuse_unless_plain<Fs>(), ...);
  return detail::in_parallel(detail::parallel_calls<std::decay_t<Fs>...>(static_cast<Fs&&>(functions)...));
}

}  // namespace rota
