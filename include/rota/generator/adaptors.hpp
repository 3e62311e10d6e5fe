// Adaptors: `source | map(f) | filter(p) | take(n)`. Each keeps its source and is one itself.
//
// They are objects, not coroutines that hold their source: what an adaptor knows outlives a cancelled next(), so a time limit
// around one step of a pipeline neither ends it nor loses an item.
#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/callable.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/task.hpp>
#include <rota/generator/merge.hpp>
#include <rota/generator/source.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/scope/timeout.hpp>

namespace rota {

namespace detail {

/// What stands to the right of |.
struct adaptor {};

/// Keeps the source of an adaptor, and closes it with the adaptor.
template <class S>
class stage {
 public:
  auto close()
    requires closes_awaitably<S>
  {
    return source_.close();
  }

 protected:
  explicit stage(S source) : source_(std::move(source)) {}
  S source_;
};

template <class S, class F>
class [[nodiscard(ROTA_UNASKED)]] mapped : public stage<S> {
  using result = std::invoke_result_t<F&, handed_item_t<S>>;
  static constexpr auto value_of() {
    if constexpr (awaitable<result>)
      return std::type_identity<std::remove_cvref_t<await_result_t<result>>>();
    else
      return std::type_identity<std::remove_cvref_t<result>>();
  }

 public:
  using value_type = typename decltype(value_of())::type;
  static_assert(!std::is_void_v<value_type>, "map(f): f gives nothing; for_each() is for that");

  mapped(S source, F f) : stage<S>(std::move(source)), f_(std::move(f)) {}

  task<std::optional<value_type>> next() {
    auto item = co_await this->source_.next();
    if (!item) co_return std::nullopt;
    if constexpr (awaitable<result>)
      co_return co_await detail::invoke(f_, *std::move(item));
    else
      co_return detail::invoke(f_, *std::move(item));
  }

 private:
  F f_;
};

template <class S, class P>
class [[nodiscard(ROTA_UNASKED)]] filtered : public stage<S> {
  static constexpr bool awaits = awaitable<std::invoke_result_t<P&, const source_item_t<S>&>>;
  struct nothing {};

 public:
  using value_type = source_item_t<S>;

  filtered(S source, P predicate) : stage<S>(std::move(source)), predicate_(std::move(predicate)) {}

  task<next_result_t<S>> next() {
    for (;;) {
      if constexpr (awaits) {
        if (!held_) held_ = co_await this->source_.next();
        if (!held_) co_return next_result_t<S>();
        bool keep = false;
        try {
          keep = static_cast<bool>(co_await detail::invoke(predicate_, std::as_const(*held_)));
        } catch (const cancelled&) {
          throw;
        } catch (...) {
          held_ = next_result_t<S>();
          throw;
        }
        next_result_t<S> item = std::exchange(held_, next_result_t<S>());
        if (keep) co_return item;
      } else {
        auto item = co_await this->source_.next();
        if (!item) co_return next_result_t<S>();
        if (detail::invoke(predicate_, std::as_const(*item))) co_return item;
      }
    }
  }

 private:
  P predicate_;
  // The item that a predicate looks at which awaits: here, so that a cancel does not lose it.
  [[no_unique_address]] std::conditional_t<awaits, next_result_t<S>, nothing> held_{};
};

template <class S>
class [[nodiscard(ROTA_UNASKED)]] limited : public stage<S> {
 public:
  using value_type = source_item_t<S>;

  limited(S source, std::size_t most) : stage<S>(std::move(source)), left_(most) {}

  task<next_result_t<S>> next() {
    if (left_ == 0) {
      if constexpr (closes_awaitably<S>) co_await this->source_.close();
      co_return next_result_t<S>();
    }
    auto item = co_await this->source_.next();
    left_ = item ? left_ - 1 : 0;
    co_return item;
  }

 private:
  std::size_t left_;
};

// A chunk that is not full yet, and the error that came after it, are kept from one next() to the next.
template <class S>
class [[nodiscard(ROTA_UNASKED)]] chunked : public stage<S> {
 public:
  using value_type = std::vector<source_item_t<S>>;

  chunked(S source, std::size_t size, nanoseconds limit) : stage<S>(std::move(source)), size_(size), limit_(limit) {}

  task<std::optional<value_type>> next() {
    bool goes_on = true;
    while (goes_on && chunk_.size() < size_ && !error_) {
      try {
        goes_on = co_await one_more();
      } catch (const cancelled&) {
        throw;
      } catch (...) {
        error_ = std::current_exception();
      }
    }
    if (!chunk_.empty()) co_return std::exchange(chunk_, value_type());
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    co_return std::nullopt;
  }

 private:
  // False: the chunk is complete as it is.
  task<bool> one_more() {
    if (limit_ == never || chunk_.empty()) {
      auto item = co_await this->source_.next();
      if (!item) co_return false;
      chunk_.push_back(*std::move(item));
      if (limit_ != never && chunk_.size() == 1)
        due_ = deadline_after(runner_access::now(loop_access::current_runner()), limit_);
    } else {
      auto in_time = co_await move_on_at(to_time_point(due_), this->source_.next());
      if (!in_time || !*in_time) co_return false;
      chunk_.push_back(**std::move(in_time));
    }
    co_return true;
  }

  std::size_t size_;
  nanoseconds limit_;
  nanoseconds due_ = 0;
  value_type chunk_;
  std::exception_ptr error_;
};

template <class S>
class [[nodiscard(ROTA_UNASKED)]] throttled : public stage<S> {
 public:
  using value_type = source_item_t<S>;

  throttled(S source, nanoseconds gap) : stage<S>(std::move(source)), gap_(gap) {}

  task<next_result_t<S>> next() {
    if (!held_) held_ = co_await this->source_.next();
    if (held_) {
      task_runner& runner = loop_access::current_runner();
      if (runner_access::now(runner) < due_) co_await sleep_until(to_time_point(due_));
      due_ = deadline_after(runner_access::now(runner), gap_);
    }
    co_return std::exchange(held_, next_result_t<S>());
  }

 private:
  nanoseconds gap_;
  next_result_t<S> held_{};  // here, so that a cancel of the wait does not lose it
  nanoseconds due_ = INT64_MIN;
};

template <class S>
class [[nodiscard(ROTA_UNASKED)]] timed : public stage<S> {
 public:
  using value_type = source_item_t<S>;

  timed(S source, nanoseconds limit) : stage<S>(std::move(source)), limit_(limit) {}

  task<next_result_t<S>> next() { co_return co_await rota::timeout(duration(limit_), this->source_.next()); }

 private:
  nanoseconds limit_;
};

template <class F>
struct map_adaptor : adaptor {
  explicit map_adaptor(F g) : f(std::move(g)) {}
  template <class S>
  auto apply(S source) && {
    static_assert(std::is_invocable_v<F&, handed_item_t<S>>, "map(f): f cannot be called with an item of the source");
    return mapped<S, F>(std::move(source), std::move(f));
  }
  F f;
};
template <class P>
struct filter_adaptor : adaptor {
  explicit filter_adaptor(P p) : predicate(std::move(p)) {}
  template <class S>
  auto apply(S source) && {
    static_assert(std::is_invocable_v<P&, const source_item_t<S>&>,
                  "filter(p): p cannot be called with a const item of the source");
    return filtered<S, P>(std::move(source), std::move(predicate));
  }
  P predicate;
};
struct take_adaptor : adaptor {
  explicit take_adaptor(std::size_t n) noexcept : most(n) {}
  template <class S>
  auto apply(S source) && {
    return limited<S>(std::move(source), most);
  }
  std::size_t most;
};
struct chunk_adaptor : adaptor {
  explicit chunk_adaptor(std::size_t n) : size(n) {
    if (size == 0) throw usage_error(usage_error::kind::invalid_argument, "chunk() needs a size of 1 or more");
  }
  template <class S>
  auto apply(S source) && {
    return chunked<S>(std::move(source), size, never);
  }
  std::size_t size;
};
struct timed_chunk_adaptor : chunk_adaptor {
  timed_chunk_adaptor(std::size_t n, nanoseconds l) : chunk_adaptor(n), limit(l) {}
  template <class S>
  auto apply(S source) && {
    auto pumped = merge(std::move(source));  // whose next() can be cancelled when the time is over
    return chunked<decltype(pumped)>(std::move(pumped), size, limit);
  }
  nanoseconds limit;
};
struct throttle_adaptor : adaptor {
  explicit throttle_adaptor(nanoseconds g) noexcept : gap(g) {}
  template <class S>
  auto apply(S source) && {
    return throttled<S>(std::move(source), gap);
  }
  nanoseconds gap;
};
struct timeout_adaptor : adaptor {
  explicit timeout_adaptor(nanoseconds l) noexcept : limit(l) {}
  template <class S>
  auto apply(S source) && {
    return timed<S>(std::move(source), limit);
  }
  nanoseconds limit;
};

template <class Rep, class Period>
nanoseconds adaptor_time(std::chrono::duration<Rep, Period> d, const char* what) {
  const nanoseconds checked = saturate(d);
  if (checked == not_a_duration) throw usage_error(usage_error::kind::invalid_argument, what);
  return checked;
}

}  // namespace detail

/// `source | adaptor`: a new source. A source that is handed over is kept in it, and closed with it; a named one is borrowed,
/// must outlive it, and is not closed. All of a pipeline is for one task at a time.
template <class S, std::derived_from<detail::adaptor> A>
  requires async_source<std::remove_reference_t<S>>
auto operator|(S&& source, A adaptor) {
  using held = detail::held_source_t<S>;
  return std::move(adaptor).apply(held(std::forward<S>(source)));
}

/// Gives `f(item)`; if that can be awaited, what comes out of it. f is stored, decayed. What it throws is thrown by next(),
/// and the pipeline can go on with the next item. A cancel of an f that awaits loses the item: f has it.
template <class F>
auto map(F&& f) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  return detail::map_adaptor<std::decay_t<F>>(std::forward<F>(f));
}

/// Gives the items for which `predicate(item)`, or what comes out of awaiting it, is true. What the predicate throws is
/// thrown by next(), and the item is gone; after a cancel of a predicate that awaits, the next next() asks it once more.
template <class P>
auto filter(P&& predicate) {
  ROTA_REFUSE_OWNING_CLOSURE(P);
  return detail::filter_adaptor<std::decay_t<P>>(std::forward<P>(predicate));
}

/// The first `n` items. When it is asked for one more, it closes a source that it owns.
inline auto take(std::size_t n) noexcept { return detail::take_adaptor(n); }

/// Vectors of `n` items; the last one may be shorter, and also one before an error, which is thrown by the next next(). A
/// cancel loses none of a vector that is not full yet. Throws usage_error when n is 0.
inline auto chunk(std::size_t n) { return detail::chunk_adaptor(n); }

/// The same, but a vector is given when `d` has passed since its first item, too. The source runs as a child meanwhile, as
/// in merge(), which says what that means.
template <class Rep, class Period>
auto chunk(std::size_t n, std::chrono::duration<Rep, Period> d) {
  return detail::timed_chunk_adaptor(n, detail::adaptor_time(d, "chunk() got a time limit that is not a number (NaN)"));
}

/// Holds an item back until `d` has passed since the one before was given.
template <class Rep, class Period>
auto throttle(std::chrono::duration<Rep, Period> d) {
  return detail::throttle_adaptor(detail::adaptor_time(d, "throttle() got a time that is not a number (NaN)"));
}

/// When the next item does not come within `d`, the wait for it is cancelled and next() throws std::system_error with
/// errc::timed_out. An async_generator has ended then; `merge(generator) | timeout(d)` lets it go on.
template <class Rep, class Period>
auto timeout(std::chrono::duration<Rep, Period> d) {
  return detail::timeout_adaptor(detail::adaptor_time(d, "timeout() got a time that is not a number (NaN)"));
}

}  // namespace rota
