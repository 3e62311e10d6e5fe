// queue<T>, lifo_queue<T>, priority_queue<T>: asyncio's Queue. One object that tasks share by reference, and that counts
// what was put into it and is not done.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/coro/yielding.hpp>
#include <rota/sync/channel.hpp>
#include <rota/sync/channel_core.hpp>
#include <rota/sync/item_store.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {

template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] get_awaiter : public take_await<Store> {
 public:
  using take_await<Store>::take_await;
  typename Store::value_type await_resume() {
    this->check();
    if (this->how != passing::done) [[unlikely]]
      throw_passing(passing::closed);
    return std::move(*this->got);
  }
};

template <class Queue>
class [[nodiscard(ROTA_UNAWAITED)]] queue_join_awaiter : public list_wait {
 public:
  queue_join_awaiter(const Queue& q, wait_list& in) noexcept : queue_(q), in_(in) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, in_);
    if (!me.is_cancelled() && try_now()) return me.exec->takes_turns(handle.address());
    return wait_in(in_, me, handle.address());
  }
  void await_resume() const { check(); }

  // For select.
  bool try_now() const noexcept { return queue_.unfinished() == 0; }
  wait_list& list() noexcept { return in_; }
  const void* channel() const noexcept { return &in_; }

 private:
  const Queue& queue_;
  wait_list& in_;
};

}  // namespace detail

/// A queue of at most `maxsize` items; 0, as in asyncio: of any number. Whoever takes an item says task_done() when it is
/// dealt with, and join() waits until all are. For tasks of one loop; it must outlive whoever waits on it.
template <class T, class Store = detail::fifo_store<T>>
class queue {
 public:
  using value_type = T;

  explicit queue(std::size_t maxsize) : core_(limit_of(maxsize)) {}
  template <class Compare>
  queue(std::size_t maxsize, Compare compare) : core_(limit_of(maxsize), std::move(compare)) {}
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;

  /// Waits for room, first come, first served. Throws errc::closed after shutdown(), also if that comes while it waits;
  /// rota::cancelled: then `item` was not touched, nor counted. `co_await q.put(...)`, at once.
  detail::send_awaiter<Store> put(T&& item) {
    ROTA_REFUSE_OWNING_AGGREGATE_IN(T, "co_await", "co_await q.put(rota::by_move(object))");
    return detail::send_awaiter<Store>(core_, std::addressof(item));
  }
  /// The same as std::move(item); for aggregates that own something on GCC 12.2.
  template <std::same_as<T> U>
  detail::send_awaiter<Store> put(by_move<U> item) {
    return detail::send_awaiter<Store>(core_, std::addressof(item.object()));
  }
  detail::send_copy_awaiter<Store> put(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return detail::send_copy_awaiter<Store>(core_, item);
  }
  /// asyncio's put_nowait: false, with `item` untouched, when the queue is full.
  bool try_put(T&& item) {
    const detail::passing how = core_.give(std::addressof(item));
    if (how == detail::passing::closed) detail::throw_passing(how);
    return how == detail::passing::done;
  }
  bool try_put(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    return try_put(std::move(copy));
  }

  /// Waits for an item. Throws errc::closed when the queue was shut down and is empty; rota::cancelled: then nothing was
  /// taken.
  detail::get_awaiter<Store> get() { return detail::get_awaiter<Store>(core_); }
  /// The same, empty instead of errc::closed: `while (auto item = co_await q.next())`.
  detail::next_awaiter<Store> next() { return detail::next_awaiter<Store>(core_); }
  /// asyncio's get_nowait: nothing when the queue is empty.
  std::optional<T> try_get() {
    std::optional<T> item;
    (void)core_.take(item);
    return item;
  }

  /// One item that was taken is dealt with. Throws usage_error (not_held) when that was said more often than items were put.
  void task_done() {
    if (unfinished() == 0)
      throw usage_error(usage_error::kind::not_held, "task_done() was called more often than items were put");
    finish(1);
  }
  /// Waits until every item that was put is done; at once when there is none at the moment in which it is
  /// awaited.
  detail::queue_join_awaiter<queue> join() noexcept { return detail::queue_join_awaiter<queue>(*this, joiners_); }

  /// Nothing more can be put, also by those who wait to; what is there can still be taken. `immediate`: it is thrown away,
  /// and counts as done.
  void shutdown(bool immediate = false) noexcept {
    core_.end_giving();
    if (immediate) finish(core_.clear());
  }
  bool is_shut_down() const noexcept { return core_.no_more_given(); }

  std::size_t size() const noexcept { return core_.size(); }
  bool empty() const noexcept { return size() == 0; }
  bool full() const noexcept { return size() >= core_.capacity(); }
  /// Items that were put and are not done.
  std::uint64_t unfinished() const noexcept { return core_.given() - done_; }
  /// `capacity` is SIZE_MAX when there is no limit.
  channel_statistics statistics() const noexcept { return core_.statistics(); }

 private:
  static std::size_t limit_of(std::size_t maxsize) {
    return maxsize == 0 ? SIZE_MAX
                        : detail::checked_capacity(maxsize,
                                                   "a queue's maxsize is negative, or out of all reason: 0 is "
                                                   "without limit");
  }
  void finish(std::uint64_t items) noexcept {
    joiners_.used_here();
    const std::uint64_t left = unfinished();
    done_ += items < left ? items : left;  // after an immediate shutdown there may be more to say than to do
    if (unfinished() == 0) joiners_.grant_all();
  }

  detail::channel_core<Store> core_;
  std::uint64_t done_ = 0;
  detail::wait_list joiners_{"queue's end"};
};

/// The last one put is the first one taken.
template <class T>
using lifo_queue = queue<T, detail::lifo_store<T>>;
/// The smallest first, as Compare says (it must not throw), and of equal ones the one that was put first.
template <class T, class Compare = detail::smaller_first>
using priority_queue = queue<T, detail::priority_store<T, Compare>>;

}  // namespace rota
