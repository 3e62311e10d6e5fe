// broadcast<T>(capacity): every receiver gets every item. The sender never waits: a receiver that falls more than
// `capacity` behind loses the oldest, and is told how many.
//
//   rota::broadcast_sender<std::string> news = rota::broadcast<std::string>(64);
//   group.spawn(reader, news.subscribe());       // while (auto one = co_await rx.next()) use(one->item, one->missed);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/usage_error.hpp>
#include <rota/sync/channel_core.hpp>
#include <rota/sync/read_by_all.hpp>

namespace rota {

template <class T>
class broadcast_sender;
template <class T>
class broadcast_receiver;

/// What a receiver gets.
template <class T>
struct broadcast_item {
  broadcast_item(T&& i, std::uint64_t m) noexcept : item(std::move(i)), missed(m) {}
  T item;
  std::uint64_t missed;  ///< how many items before this one came too fast for this receiver, and are lost to it
};

namespace detail {

template <class T>
struct broadcast_state : read_by_all {
  explicit broadcast_state(std::size_t capacity) : read_by_all("broadcast"), slots(capacity) {}
  std::uint64_t oldest() const noexcept { return latest > slots.size() ? latest - slots.size() : 0; }
  std::optional<T>& slot(std::uint64_t number) noexcept { return slots[number % slots.size()]; }

  std::vector<std::optional<T>> slots;  // `latest` is the number of the item that is sent next
};

template <class T>
class broadcast_await : public news_await<broadcast_state<T>> {
 public:
  using news_await<broadcast_state<T>>::news_await;

 protected:
  // Back in the task: copies the item, and only then goes on to the next.
  std::optional<broadcast_item<T>> take() {
    broadcast_state<T>& state = this->state();
    read_cursor& cursor = this->conclude();
    if (cursor.at == state.latest) return std::nullopt;
    const std::uint64_t at = cursor.at < state.oldest() ? state.oldest() : cursor.at;
    T copy(*state.slot(at));
    const std::uint64_t missed = at - cursor.at;
    cursor.at = at + 1;
    return broadcast_item<T>(std::move(copy), missed);
  }
};

template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] broadcast_next_awaiter : public broadcast_await<T> {
 public:
  using broadcast_await<T>::broadcast_await;
  std::optional<broadcast_item<T>> await_resume() { return this->take(); }
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] broadcast_receive_awaiter : public broadcast_await<T> {
 public:
  using broadcast_await<T>::broadcast_await;
  broadcast_item<T> await_resume() {
    std::optional<broadcast_item<T>> got = this->take();
    if (!got) throw_passing(passing::no_sender);
    return std::move(*got);
  }
};

}  // namespace detail

/// The end that sends. Many may be open (clone()); when the last is gone, receivers get what is left and then the end.
template <class T>
class broadcast_sender {
 public:
  broadcast_sender clone() const { return broadcast_sender(*link_); }
  /// A receiver of what is sent from now on.
  broadcast_receiver<T> subscribe() const;
  /// Returns how many receivers there are; with none the item is gone at once, and that is no error.
  std::size_t send(T item) {
    detail::broadcast_state<T>& state = *link_;
    state.waiters.used_here();
    if (state.receivers == 0) return 0;
    std::optional<T>& slot = state.slot(state.latest);
    // What it does when it is destroyed may come back here. Not assigned: that might throw.
    [[maybe_unused]] const std::optional<T> oldest = std::exchange(slot, std::nullopt);
    slot.emplace(std::move(item));
    state.has_news();
    return state.receivers;
  }
  std::size_t receivers() const { return link_->receivers; }
  void close() noexcept { link_.close(); }

 private:
  template <class U>
  friend broadcast_sender<U> broadcast(std::size_t capacity);
  explicit broadcast_sender(detail::broadcast_state<T>& s) noexcept : link_(s) {}

  detail::sending_end<detail::broadcast_state<T>> link_;
};

/// Gets a copy of every item, from its subscription on. An end must outlive the awaits on it, and must not be moved
/// meanwhile. One task at a time waits on it: a second await throws usage_error (busy). Closed meanwhile, the await throws
/// errc::closed.
template <class T>
class broadcast_receiver {
 public:
  /// Another one, which gets what this one has not received yet.
  broadcast_receiver clone() const { return broadcast_receiver(*end_, end_.position()); }
  /// The next item, and how many were missed before it. Throws errc::end_of_stream when every sender is gone and nothing is
  /// left; rota::cancelled, and nothing was taken.
  detail::broadcast_receive_awaiter<T> receive() { return detail::broadcast_receive_awaiter<T>(end_); }
  /// The same, empty at the end.
  detail::broadcast_next_awaiter<T> next() { return detail::broadcast_next_awaiter<T>(end_); }
  /// How many items wait for this receiver, those that are lost already included.
  std::uint64_t behind() const { return end_->latest - end_.position(); }
  void close() noexcept { end_.close(); }

 private:
  friend broadcast_sender<T>;
  broadcast_receiver(detail::broadcast_state<T>& s, std::uint64_t position) noexcept : end_(s, position) {}

  detail::reading_end<detail::broadcast_state<T>> end_;
};

template <class T>
broadcast_receiver<T> broadcast_sender<T>::subscribe() const {
  return broadcast_receiver<T>(*link_, link_->latest);
}

/// The sending end of a new broadcast that keeps the last `capacity` items (1 or more) for those who are slow. Its room is
/// made at once; an item stays in it until `capacity` others came. For tasks of one loop.
template <class T>
broadcast_sender<T> broadcast(std::size_t capacity) {
  static_assert(std::is_copy_constructible_v<T> && std::is_nothrow_move_constructible_v<T>,
                "every receiver of a broadcast gets a copy of the item; its move constructor must be noexcept");
  if (capacity == 0 || capacity > SIZE_MAX / 2)
    throw usage_error(usage_error::kind::invalid_argument,
                      "a broadcast keeps at least one item, and not all of memory");
  return broadcast_sender<T>(*new detail::broadcast_state<T>(capacity));
}

}  // namespace rota
