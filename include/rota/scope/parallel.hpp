// parallel_for, parallel_reduce: loops whose parts run in parallel on a pool.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include <rota/base/cancelled.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/pool/strand.hpp>
#include <rota/scope/when_all.hpp>

namespace rota {

namespace detail {

/// The first error of a parallel loop, which stops the parts that have not begun.
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

// Eight parts for each worker: enough to even out parts of different lengths.
template <class Index>
Index grain_for(task_state& task, Index count) noexcept {
  const std::size_t workers = task.exec->is_strand() ? static_cast<strand&>(*task.exec).pool().workers : 1;
  const auto grain = static_cast<Index>(static_cast<std::size_t>(count) / (workers * 8));
  return grain < 1 ? Index(1) : grain;
}

template <class Index, class F>
struct parallel_loop {
  explicit parallel_loop(F f) : body(std::move(f)) {}

  task<> run(Index first, Index last) {
    if (failure.is_set()) co_return;
    if (last - first > grain) {
      const Index middle = static_cast<Index>(first + (last - first) / 2);
      co_await when_all(run(first, middle), run(middle, last));
      co_return;
    }
    try {
      for (Index i = first; i != last; ++i) body(i);
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      failure.set(std::current_exception());
    }
  }

  F body;
  Index grain = 1;
  parallel_failure failure;
};

template <class Index, class T, class Map, class Combine>
struct parallel_sum {
  parallel_sum(T i, Map m, Combine c) : identity(std::move(i)), map(std::move(m)), combine(std::move(c)) {}

  task<T> run(Index first, Index last) {
    if (failure.is_set()) co_return identity;
    if (last - first > grain) {
      const Index middle = static_cast<Index>(first + (last - first) / 2);
      auto both = co_await when_all(run(first, middle), run(middle, last));
      co_return combine(std::move(std::get<0>(both)), std::move(std::get<1>(both)));
    }
    T sum = identity;
    try {
      for (Index i = first; i != last; ++i) sum = combine(std::move(sum), map(i));
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      failure.set(std::current_exception());
    }
    co_return sum;
  }

  const T identity;
  Map map;
  Combine combine;
  Index grain = 1;
  parallel_failure failure;
};

}  // namespace detail

/// Calls body(i) for every i from `first` up to, not including, `last`: in parallel, and in no particular order, in a task
/// of a thread_pool; one after the other elsewhere. The range is halved until a part has at most `grain` elements; 0: an
/// eighth of what a worker would get. The body is one object for all threads. Nothing is allocated but a frame per part.
///
/// The first exception of the body is thrown when all parts that have begun have ended; no further ones begin. A cancel is
/// heard between parts; an exception of the body wins over it.
template <std::integral Index, class F>
  requires std::invocable<F&, Index>
task<> parallel_for(Index first, std::type_identity_t<Index> last, F body, std::type_identity_t<Index> grain = 0) {
  if (first >= last) co_return;
  detail::parallel_loop<Index, F> loop(std::move(body));
  detail::task_state& me = co_await detail::this_state_awaiter();
  loop.grain = grain > 0 ? grain : detail::grain_for(me, static_cast<Index>(last - first));
  try {
    co_await loop.run(first, last);
  } catch (...) {
    loop.failure.rethrow_if_set();  // an error wins over a cancel
    throw;
  }
  loop.failure.rethrow_if_set();
}

/// identity + map(first) + ... + map(last - 1), where + is combine(a, b): associative, and called in the order of the
/// elements, but grouped as the parts come. `identity` is copied for each part. The rest is as in parallel_for.
template <std::integral Index, class T, class Map, class Combine>
  requires std::invocable<Map&, Index>
task<T> parallel_reduce(Index first, std::type_identity_t<Index> last, T identity, Map map, Combine combine,
                        std::type_identity_t<Index> grain = 0) {
  if (first >= last) co_return identity;
  detail::parallel_sum<Index, T, Map, Combine> sum(std::move(identity), std::move(map), std::move(combine));
  detail::task_state& me = co_await detail::this_state_awaiter();
  sum.grain = grain > 0 ? grain : detail::grain_for(me, static_cast<Index>(last - first));
  try {
    T result = co_await sum.run(first, last);
    sum.failure.rethrow_if_set();
    co_return result;
  } catch (...) {
    sum.failure.rethrow_if_set();  // an error wins over a cancel
    throw;
  }
}

}  // namespace rota
