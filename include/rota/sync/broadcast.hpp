// broadcast<T>(capacity): every receiver gets every item. The sender never waits: a receiver that falls more than
// `capacity` behind loses the oldest, and is told how many.
//
//   rota::broadcast_sender<std::string> news = rota::broadcast<std::string>(64);
//   group.spawn(reader, news.subscribe());       // while (auto one = co_await rx.next()) use(one->item, one->missed);
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/sync/channel_core.hpp>
#include <rota/sync/wait_list.hpp>

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
struct broadcast_state {
  explicit broadcast_state(std::size_t capacity) : slots(capacity) {}
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* self, std::size_t size) noexcept { frame_memory::deallocate(self, size); }
  static void drop(broadcast_state* self) noexcept {
    if (--self->references == 0) delete self;
  }
  std::uint64_t oldest() const noexcept { return next > slots.size() ? next - slots.size() : 0; }

  std::vector<std::optional<T>> slots;
  std::uint64_t next = 0;  // the number of the item that is sent next
  std::size_t references = 0;
  std::size_t senders = 0;
  std::size_t receivers = 0;
  wait_list waiters{"broadcast"};
};

template <class T>
class broadcast_await : public cursor_wait {
 public:
  broadcast_await(broadcast_state<T>& s, read_cursor& cursor) noexcept : cursor_wait(cursor), state_(s) {
    ++s.references;
  }
  broadcast_await(const broadcast_await&) = delete;
  broadcast_await& operator=(const broadcast_await&) = delete;
  ~broadcast_await() { broadcast_state<T>::drop(&state_); }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = this->begin_at(handle, where, list());
    if (!me.is_cancelled() && try_now()) return me.exec->takes_turns(handle.address());
    return this->wait_in(list(), me, handle.address());
  }

  // For select.
  bool try_now() {
    this->occupy();
    return this->position() != state_.next || state_.senders == 0;
  }
  wait_list& list() noexcept { return state_.waiters; }
  const void* channel() const noexcept { return &state_; }

 protected:
  // Back in the task: copies the item, and only then goes on to the next.
  std::optional<broadcast_item<T>> take() {
    read_cursor& cursor = this->conclude();
    if (cursor.at == state_.next) return std::nullopt;
    const std::uint64_t at = cursor.at < state_.oldest() ? state_.oldest() : cursor.at;
    T copy(*state_.slots[at % state_.slots.size()]);
    const std::uint64_t missed = at - cursor.at;
    cursor.at = at + 1;
    return broadcast_item<T>(std::move(copy), missed);
  }

 private:
  broadcast_state<T>& state_;
};

template <class T>
class [[nodiscard]] broadcast_next_awaiter : public broadcast_await<T> {
 public:
  using broadcast_await<T>::broadcast_await;
  std::optional<broadcast_item<T>> await_resume() { return this->take(); }
};
template <class T>
class [[nodiscard]] broadcast_receive_awaiter : public broadcast_await<T> {
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
  broadcast_sender(broadcast_sender&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  broadcast_sender& operator=(broadcast_sender&& other) noexcept {
    if (this != &other) {
      close();
      state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
  }
  ~broadcast_sender() { close(); }

  broadcast_sender clone() const { return broadcast_sender(checked()); }
  /// A receiver of what is sent from now on.
  broadcast_receiver<T> subscribe() const;
  /// Returns how many receivers there are; with none the item is gone at once, and that is no error.
  std::size_t send(T item) {
    detail::broadcast_state<T>& state = checked();
    state.waiters.used_here();
    if (state.receivers == 0) return 0;
    std::optional<T>& slot = state.slots[state.next % state.slots.size()];
    // What it does when it is destroyed may come back here. Not assigned: that might throw.
    [[maybe_unused]] const std::optional<T> oldest = std::exchange(slot, std::nullopt);
    slot.emplace(std::move(item));
    ++state.next;
    state.waiters.grant_all();
    return state.receivers;
  }
  std::size_t receivers() const { return checked().receivers; }
  void close() noexcept {
    if (!state_) return;
    if (--state_->senders == 0) state_->waiters.grant_all();
    detail::broadcast_state<T>::drop(std::exchange(state_, nullptr));
  }

 private:
  template <class U>
  friend broadcast_sender<U> broadcast(std::size_t capacity);
  explicit broadcast_sender(detail::broadcast_state<T>& s) noexcept : state_(&s) {
    ++s.references;
    ++s.senders;
  }
  detail::broadcast_state<T>& checked() const {
    if (!state_) [[unlikely]]
      detail::throw_passing(detail::passing::closed);
    return *state_;
  }

  detail::broadcast_state<T>* state_;
};

/// Gets a copy of every item, from its subscription on. An end must outlive the awaits on it, and must not be moved
/// meanwhile. One task at a time waits on it: a second await throws usage_error (busy). Closed meanwhile, the await throws
/// errc::closed.
template <class T>
class broadcast_receiver {
 public:
  broadcast_receiver(broadcast_receiver&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)), cursor_(other.cursor_.at) {}
  broadcast_receiver& operator=(broadcast_receiver&& other) noexcept {
    if (this != &other) {
      close();
      state_ = std::exchange(other.state_, nullptr);
      cursor_.at = other.cursor_.at;
    }
    return *this;
  }
  ~broadcast_receiver() { close(); }

  /// Another one, which gets what this one has not received yet.
  broadcast_receiver clone() const { return broadcast_receiver(checked(), cursor_.at); }
  /// The next item, and how many were missed before it. Throws errc::end_of_stream when every sender is gone and nothing is
  /// left; rota::cancelled, and nothing was taken.
  detail::broadcast_receive_awaiter<T> receive() { return detail::broadcast_receive_awaiter<T>(checked(), cursor_); }
  /// The same, empty at the end.
  detail::broadcast_next_awaiter<T> next() { return detail::broadcast_next_awaiter<T>(checked(), cursor_); }
  /// How many items wait for this receiver, those that are lost already included.
  std::uint64_t behind() const { return checked().next - cursor_.at; }
  void close() noexcept {
    if (!state_) return;
    cursor_.close();
    --state_->receivers;
    detail::broadcast_state<T>::drop(std::exchange(state_, nullptr));
  }

 private:
  friend broadcast_sender<T>;
  broadcast_receiver(detail::broadcast_state<T>& s, std::uint64_t position) noexcept : state_(&s), cursor_(position) {
    ++s.references;
    ++s.receivers;
  }
  detail::broadcast_state<T>& checked() const {
    if (!state_) [[unlikely]]
      detail::throw_passing(detail::passing::closed);
    return *state_;
  }

  detail::broadcast_state<T>* state_;
  detail::read_cursor cursor_;
};

template <class T>
broadcast_receiver<T> broadcast_sender<T>::subscribe() const {
  return broadcast_receiver<T>(checked(), checked().next);
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
