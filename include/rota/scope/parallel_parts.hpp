// What the parallel algorithms have in common. Each is a `work`, which says how to cut a piece in two, what to do with one that
// is small enough, and how two results become one; divide() makes a tree of it, whose branches fork on a strand and are
// taken in order on a loop. The rules about errors and cancels are here and nowhere else.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>  // brings the concepts of ranges and std::begin; <iterator> and <ranges> are dear
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/base/cancelled.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/pool/strand.hpp>
#include <rota/scope/when_all.hpp>

namespace rota::detail {

/// The first error of a parallel algorithm. Parts that have not begun look at it, and do not begin.
class parallel_failure {
 public:
  bool is_set() const noexcept { return is_set_.load(std::memory_order_relaxed); }
  void set(std::exception_ptr error) noexcept {
    if (!is_set_.exchange(true, std::memory_order_relaxed)) error_ = std::move(error);
  }
  /// When all parts have been joined.
  void rethrow_if_set() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> is_set_{false};
  std::exception_ptr error_;
};

/// Has this worker nothing left that others could take?
inline bool is_bare(task_state& me) noexcept {
  return me.exec->is_strand() && static_cast<strand&>(*me.exec).worker().deque.size() == 0;
}

/// The same tree on a loop, in order, one part in each turn of the loop: a frame for each level, none for what is to come.
template <class Work>
task<std::optional<typename Work::value>> divide_in_turn(Work& work, parallel_failure& failure,
                                                         typename Work::piece piece) {
  std::optional<typename Work::value> result;
  try {
    if (failure.is_set()) co_return result;
    if (work.is_small(piece, false)) {
      co_await yield_awaiter();  // others go first; a cancel is thrown here
      if (!failure.is_set()) result.emplace(work.part(piece));
    } else {
      typename Work::piece rest = work.cut(piece);
      std::optional<typename Work::value> a = co_await subject(divide_in_turn(work, failure, piece));
      std::optional<typename Work::value> b = co_await subject(divide_in_turn(work, failure, rest));
      if (a && b) result.emplace(work.join(*std::move(a), *std::move(b)));
    }
  } catch (const cancelled&) {
    throw;
  } catch (...) {
    failure.set(std::current_exception());
  }
  co_return result;
}

/// One node of the tree, on a strand. No value: it failed, or something before it did.
template <class Work>
task<std::optional<typename Work::value>> divide(Work& work, parallel_failure& failure, typename Work::piece piece) {
  std::optional<typename Work::value> result;
  task_state& me = co_await this_state_awaiter();
  try {
    if (failure.is_set()) co_return result;
    if (work.is_small(piece, is_bare(me))) {
      result.emplace(work.part(piece));
    } else {
      typename Work::piece rest = work.cut(piece);
      auto both = co_await when_all(divide(work, failure, piece), divide(work, failure, rest));
      auto& [a, b] = both;
      if (a && b) result.emplace(work.join(*std::move(a), *std::move(b)));
    }
  } catch (const cancelled&) {
    throw;
  } catch (...) {
    failure.set(std::current_exception());
  }
  co_return result;
}

template <class Work>
auto divide_all(Work& work, parallel_failure& failure, typename Work::piece all) {
  return running_task()->exec->is_strand() ? divide(work, failure, all) : divide_in_turn(work, failure, all);
}

/// The whole of a work. `Work::all(failure, workers)` makes the tree.
template <class Work>
task<typename Work::result> in_parallel(Work work) {
  task_state& me = co_await this_state_awaiter();
  const std::size_t workers = me.exec->is_strand() ? static_cast<strand&>(*me.exec).pool().workers : 1;
  parallel_failure failure;
  try {
    auto result = co_await work.all(failure, workers);
    failure.rethrow_if_set();
    if constexpr (!std::is_void_v<typename Work::result>) co_return *std::move(result);
  } catch (...) {
    failure.rethrow_if_set();  // an error wins over a cancel
    throw;
  }
}

/// The pieces of works on indices, or on offsets into a range: halved until one has `grain` elements at most.
template <class Index>
class parallel_indices {
 public:
  struct piece {
    piece(Index f, Index l) noexcept : first(f), last(l) {}
    // Modulo 2^64: the distance of two ints need not fit into an int.
    std::size_t size() const noexcept { return static_cast<std::size_t>(last) - static_cast<std::size_t>(first); }
    Index first, last;
  };

  /// `bare`: somebody who has nothing to do would find nothing to steal here.
  bool is_small(const piece& p, bool bare) const noexcept { return p.size() <= (bare ? finest_ : grain_); }
  /// Takes the second half away.
  piece cut(piece& p) const noexcept {
    const auto middle = static_cast<Index>(p.first + static_cast<Index>(p.size() / 2));
    return piece(middle, std::exchange(p.last, middle));
  }

 protected:
  parallel_indices(Index first, Index last, Index grain) noexcept
      : all_(first, first < last ? last : first), grain_(grain > 0 ? static_cast<std::size_t>(grain) : 0) {}

  // If nothing was asked for: `parts` for each worker, and `finer` times as many where others have run out of work, as they do
  // towards the end: nobody waits long for the last part.
  void choose_grain(std::size_t workers, std::size_t parts, std::size_t finer) noexcept {
    finest_ = grain_;
    if (grain_ != 0) return;
    grain_ = at_least_one(all_.size() / (workers * parts));
    finest_ = workers == 1 ? grain_ : at_least_one(grain_ / finer);
  }

  static std::size_t at_least_one(std::size_t n) noexcept { return n != 0 ? n : 1; }

  piece all_;
  std::size_t grain_;
  std::size_t finest_ = 1;
};

template <class F, class... Args>
constexpr void refuse_unless_plain() {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  static_assert(!awaitable<std::invoke_result_t<std::decay_t<F>&, Args...>>,
                "the parallel algorithms call plain functions: nobody would await what this one returns. Write "
                "when_all(f(), g()) for tasks");
}

template <class R>
concept parallel_range = std::ranges::random_access_range<R> && std::ranges::sized_range<R>;
template <class R>
constexpr void refuse_temporary_range() {
  static_assert(std::ranges::borrowed_range<R>, "the range would be gone when its elements are visited: name it first");
}
/// Elements that lie beside each other may be written by two threads. Those of vector<bool> share words.
template <class Reference>
constexpr void refuse_shared_words() {
  static_assert(
      std::is_lvalue_reference_v<Reference>,
      "the elements are no objects of their own, like those of std::vector<bool>: two threads cannot write them");
}

}  // namespace rota::detail
