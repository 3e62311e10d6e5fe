// parallel_sort: sorts a range where it is, in parallel on a pool. Not in rota.hpp, for <algorithm> is dear.
//
// Quicksort whose two halves fork. A part of few elements, and one that bad pivots have led too deep, is left to std::sort,
// whose own limit keeps all of it in O(n log n) comparisons: D. R. Musser, "Introspective Sorting and Selection Algorithms",
// Software: Practice and Experience 27 (1997). The partition is Hoare's, which stops at equal elements, so that many of
// them are split evenly; the pivot is the pseudo-median of nine: J. L. Bentley and M. D. McIlroy, "Engineering a Sort
// Function", Software: Practice and Experience 23 (1993).
//
// Elements are swapped and moved only, and no buffer is needed. What it costs: the first partition is one thread's work,
// so with w workers it takes about n log2(n) / w + 2 n steps, and more than log2(n) / 2 workers are of little use.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>
#include <iterator>
#include <type_traits>
#include <utility>
#include <variant>

#include <rota/scope/parallel_parts.hpp>

namespace rota {

namespace detail {

template <class It, class Compare, class Projection>
class parallel_sorting {
 public:
  using value = std::monostate;
  using result = void;
  struct piece {
    piece(It f, It l, int c) : first(std::move(f)), last(std::move(l)), cuts_left(c) {}
    It first, last;
    int cuts_left;
  };

  parallel_sorting(It first, It last, std::ptrdiff_t grain, Compare compare, Projection projection)
      : all_(first, last, 2 * static_cast<int>(std::bit_width(static_cast<std::size_t>(last - first)))),
        grain_(grain > 0 ? grain : least_grain),
        compare_(std::move(compare)),
        projection_(std::move(projection)) {}

  auto all(parallel_failure& failure, std::size_t) { return divide_all(*this, failure, all_); }
  bool is_small(const piece& p, bool) const noexcept {
    return p.last - p.first <= grain_ || p.last - p.first < fewest_to_cut || p.cuts_left == 0;
  }
  value part(const piece& p) {
    std::ranges::sort(p.first, p.last, std::ref(compare_), std::ref(projection_));
    return {};
  }
  static value join(value, value) noexcept { return {}; }
  // The pivot stays where it is, between them.
  piece cut(piece& p) {
    --p.cuts_left;
    const It pivot = partition(p.first, p.last);
    return piece(std::next(pivot), std::exchange(p.last, pivot), p.cuts_left);
  }

 private:
  static constexpr std::ptrdiff_t least_grain = 2048;  // some 50 us
  static constexpr std::ptrdiff_t fewest_to_cut = 16;  // nine candidates for the pivot

  bool less(It a, It b) { return std::invoke(compare_, std::invoke(projection_, *a), std::invoke(projection_, *b)); }
  It median(It a, It b, It c) {
    if (less(a, b)) return less(b, c) ? b : less(a, c) ? c : a;
    return less(a, c) ? a : less(b, c) ? c : b;
  }
  It choose_pivot(It first, It last) {
    const It middle = first + (last - first) / 2;
    const auto step = (last - first) / 8;
    const It low = median(first, first + step, first + 2 * step);
    const It high = median(last - 1 - 2 * step, last - 1 - step, last - 1);
    return median(low, median(middle - step, middle, middle + step), high);
  }
  // What is before the place that it gives is not greater than the element there, what is after is not less.
  It partition(It first, It last) {
    std::ranges::iter_swap(first, choose_pivot(first, last));
    It up = first, down = last;
    for (;;) {
      do ++up;
      while (up != last && less(up, first));
      do --down;
      while (less(first, down));  // stops at the pivot itself
      if (!(up < down)) break;
      std::ranges::iter_swap(up, down);
    }
    std::ranges::iter_swap(first, down);
    return down;
  }

  piece all_;
  std::ptrdiff_t grain_;
  Compare compare_;
  Projection projection_;
};

}  // namespace detail

/// Sorts the range so that compare(projection(a), projection(b)) is false for every b that stands before an a: in
/// ascending order, if nothing else is said. Not stable. The range has random access and a name, or is a view. Elements need
/// be movable only. compare and projection are one object for all threads. `grain`: parts of at most so many elements are
/// not cut any more; 0: 2048.
///
/// When compare, projection or a move throws, that exception comes out when all parts that have begun have ended; the elements
/// are valid then, as after std::sort, in an order of no meaning. A cancel is heard between parts.
template <std::ranges::random_access_range R, class Compare = std::ranges::less, class Projection = std::identity>
  requires std::ranges::sized_range<R> &&
           std::sortable<std::ranges::iterator_t<R>, std::decay_t<Compare>, std::decay_t<Projection>>
task<> parallel_sort(R&& range, Compare&& compare = {}, Projection&& projection = {}, std::ptrdiff_t grain = 0) {
  detail::refuse_temporary_range<R>();
  detail::refuse_shared_words<std::ranges::range_reference_t<R>>();
  ROTA_REFUSE_OWNING_CLOSURE(Compare);
  ROTA_REFUSE_OWNING_CLOSURE(Projection);
  const auto first = std::ranges::begin(range);
  const auto last = first + static_cast<std::ranges::range_difference_t<R>>(std::ranges::size(range));
  return detail::in_parallel(
      detail::parallel_sorting<std::ranges::iterator_t<R>, std::decay_t<Compare>, std::decay_t<Projection>>(
          first, last, grain, static_cast<Compare&&>(compare), static_cast<Projection&&>(projection)));
}

}  // namespace rota
