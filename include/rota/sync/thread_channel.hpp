// Any thread: mpsc_channel<T>(capacity), mpmc_channel<T>(capacity), any_thread::oneshot<T>(): items between tasks of any
// loops and pools, and plain threads.
//
//   auto [tx, rx] = rota::mpsc_channel<job>(64);
//   std::thread worker([tx = std::move(tx)]() mutable { tx.blocking_send(job{}); });
//   while (auto one = co_await rx.next()) ...
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/yielding.hpp>
#include <rota/sync/channel.hpp>
#include <rota/sync/thread_channel_core.hpp>

namespace rota {

namespace any_thread {
template <class T>
class oneshot_receiver;
}

namespace detail {

/// An open end. Each belongs to one thread at a time; two ends may be used at the same time.
template <class T, channel_side Side>
class thread_channel_link {
 public:
  explicit thread_channel_link(thread_channel<T>& channel) noexcept : channel_(&channel) {
    if constexpr (Side == channel_side::sends)
      channel.add_sender();
    else
      channel.add_receiver();
  }
  struct counted_already {};
  thread_channel_link(thread_channel<T>& channel, counted_already) noexcept : channel_(&channel) {}
  thread_channel_link(thread_channel_link&& other) noexcept : channel_(std::exchange(other.channel_, nullptr)) {}
  thread_channel_link& operator=(thread_channel_link&& other) noexcept {
    if (this != &other) {
      close();
      channel_ = std::exchange(other.channel_, nullptr);
    }
    return *this;
  }
  ~thread_channel_link() { close(); }

  explicit operator bool() const noexcept { return channel_ != nullptr; }
  thread_channel<T>& operator*() const {
    if (!channel_) [[unlikely]]
      throw_passing(passing::closed);
    return *channel_;
  }
  thread_channel_link clone() const { return thread_channel_link(**this); }
  void close() noexcept {
    thread_channel<T>* const channel = std::exchange(channel_, nullptr);
    if (!channel) return;
    if constexpr (Side == channel_side::sends)
      channel->drop_sender();
    else
      channel->drop_receiver();
    channel->let_go();
  }

 private:
  thread_channel<T>* channel_;
};

template <class T>
using thread_sending_link = thread_channel_link<T, channel_side::sends>;

template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_send_awaiter : public thread_give_await<thread_send_awaiter<T>, T> {
  using base = thread_give_await<thread_send_awaiter, T>;

 public:
  using base::base;
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<thread_send_awaiter> operator co_await() && noexcept { return pinned_awaiter(*this); }
  void await_resume() const {
    this->check();
    require_passed(*this);
  }
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_send_copy_awaiter
    : public thread_give_await<thread_send_copy_awaiter<T>, T> {
  using base = thread_give_await<thread_send_copy_awaiter, T>;

 public:
  thread_send_copy_awaiter(thread_channel<T>& channel, const T& gives)
      : base(channel, std::addressof(copy_)), copy_(gives) {}
  void await_resume() const {
    this->check();
    require_passed(*this);
  }

 private:
  T copy_;
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_reserve_awaiter : public thread_give_await<thread_reserve_awaiter<T>, T> {
  using base = thread_give_await<thread_reserve_awaiter, T>;

 public:
  explicit thread_reserve_awaiter(thread_channel<T>& channel) : base(channel, static_cast<T*>(nullptr)) {
    this->hold();
  }
  held_room<T, thread_sending_link<T>> await_resume() {
    this->check();
    require_passed(*this);
    if (!this->channel().add_sender_if_open()) [[unlikely]] {
      this->channel().release_reserved();
      throw_passing(passing::closed);
    }
    using link = thread_sending_link<T>;
    return held_room<T, link>(link(this->channel(), typename link::counted_already()));
  }
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_receive_awaiter : public thread_take_await<thread_receive_awaiter<T>, T> {
  using base = thread_take_await<thread_receive_awaiter, T>;

 public:
  using base::base;
  T await_resume() {
    this->check();
    return received(*this);
  }
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_next_awaiter : public thread_take_await<thread_next_awaiter<T>, T> {
  using base = thread_take_await<thread_next_awaiter, T>;

 public:
  using base::base;
  std::optional<T> await_resume() {
    this->check();
    return received_or_end(*this);
  }
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_receive_many_awaiter
    : public thread_take_await<thread_receive_many_awaiter<T>, T> {
  using base = thread_take_await<thread_receive_many_awaiter, T>;

 public:
  thread_receive_many_awaiter(thread_channel<T>& channel, std::vector<T>& into, std::size_t limit)
      : base(channel), into_(into), limit_(limit) {
    begin_to_receive_many(into, limit);
    this->hold();
  }
  std::size_t await_resume() {
    this->check();
    return received_many(*this, this->channel(), into_, limit_);
  }

 private:
  std::vector<T>& into_;
  const std::size_t limit_;
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] thread_oneshot_awaiter : public thread_take_await<thread_oneshot_awaiter<T>, T> {
  using base = thread_take_await<thread_oneshot_awaiter, T>;

 public:
  using base::base;
  T await_resume() {
    this->check();
    return received_of_oneshot(*this);
  }
};

}  // namespace detail

/// What reserve() gives: room for one item. Counts as a sender.
template <class T>
using thread_permit = detail::held_room<T, detail::thread_sending_link<T>>;

/// The sending end of an mpsc_channel or mpmc_channel. Any thread; one end is used by one thread at a time.
template <class T>
class thread_sender {
 public:
  using value_type = T;

  thread_sender(thread_sender&&) noexcept = default;
  thread_sender& operator=(thread_sender&&) noexcept = default;

  thread_sender clone() const { return thread_sender(link_.clone()); }
  /// For tasks: as sender::send.
  detail::thread_send_awaiter<T> send(T&& item) {
    ROTA_REFUSE_OWNING_AGGREGATE_IN(T, "co_await", "co_await tx.send(rota::by_move(object))");
    return detail::thread_send_awaiter<T>(*link_, std::addressof(item));
  }
  /// The same as std::move(item); for aggregates that own something on GCC 12.2.
  template <std::same_as<T> U>
  detail::thread_send_awaiter<T> send(by_move<U> item) {
    return detail::thread_send_awaiter<T>(*link_, std::addressof(item.object()));
  }
  detail::thread_send_copy_awaiter<T> send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return detail::thread_send_copy_awaiter<T>(*link_, item);
  }
  /// False, with `item` untouched, when it would have to wait. Throws std::errc::broken_pipe when every receiver is gone.
  bool try_send(T&& item) { return try_give(std::addressof(item)); }
  bool try_send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    return try_send(std::move(copy));
  }
  /// For threads that run no tasks: blocks until the item was accepted. Throws as send(), and usage_error (blocking_in_loop)
  /// on the thread of an event loop or a pool.
  void blocking_send(T&& item) {
    detail::remote_give<T> place(std::addressof(item));
    (*link_).block(place);
    detail::require_passed(place);
  }
  void blocking_send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    blocking_send(std::move(copy));
  }

  /// As sender::reserve: room for one item, which may be sent on another thread than the one that waited for it.
  detail::thread_reserve_awaiter<T> reserve() {
    detail::require_room_to_reserve(*link_);
    return detail::thread_reserve_awaiter<T>(*link_);
  }
  std::optional<thread_permit<T>> try_reserve() {
    detail::require_room_to_reserve(*link_);
    if (!try_give(nullptr)) return std::nullopt;
    return thread_permit<T>(link_.clone());
  }

  void close() noexcept { link_.close(); }
  bool is_open() const noexcept { return static_cast<bool>(link_); }
  bool has_receiver() const noexcept { return link_ && (*link_).has_receiver(); }
  channel_statistics statistics() const { return (*link_).statistics(); }

 private:
  friend detail::channel_access;
  using link = detail::thread_sending_link<T>;
  explicit thread_sender(link&& l) noexcept : link_(std::move(l)) {}
  bool try_give(T* item) {
    detail::remote_give<T> place(item);
    if (!(*link_).try_pass(place)) return false;
    detail::require_passed(place);
    return true;
  }

  link link_;
};

/// The receiving end of an mpsc_channel (the only one) or an mpmc_channel (clone()). Any thread; one end is used by one thread
/// at a time.
template <class T, bool Many>
class thread_receiver {
 public:
  using value_type = T;

  thread_receiver(thread_receiver&&) noexcept = default;
  thread_receiver& operator=(thread_receiver&&) noexcept = default;

  thread_receiver clone() const
    requires Many
  {
    return thread_receiver(link_.clone());
  }
  /// For tasks: as receiver::receive and next.
  detail::thread_receive_awaiter<T> receive() { return detail::thread_receive_awaiter<T>(*link_); }
  detail::thread_next_awaiter<T> next() { return detail::thread_next_awaiter<T>(*link_); }
  /// As receiver::receive_many; the lock is taken once or twice, not for each item.
  detail::thread_receive_many_awaiter<T> receive_many(std::vector<T>& into, std::size_t limit) {
    return detail::thread_receive_many_awaiter<T>(*link_, into, limit);
  }
  /// Nothing when it would have to wait, and at the end of the stream.
  std::optional<T> try_receive() {
    detail::remote_take<T> place;
    (void)(*link_).try_pass(place);
    return std::move(place.got);
  }
  /// For threads that run no tasks: blocks until there is an item; empty at the end of the stream. Throws usage_error
  /// (blocking_in_loop) on the thread of an event loop or a pool.
  std::optional<T> blocking_next() {
    detail::remote_take<T> place;
    (*link_).block(place);
    return detail::received_or_end(place);
  }
  /// The same, but the end of the stream is errc::end_of_stream.
  T blocking_receive() {
    detail::remote_take<T> place;
    (*link_).block(place);
    return detail::received(place);
  }
  /// As receiver::receive_many, for threads that run no tasks.
  std::size_t blocking_receive_many(std::vector<T>& into, std::size_t limit) {
    detail::begin_to_receive_many(into, limit);
    detail::remote_take<T> place;
    (*link_).block(place);
    return detail::received_many(place, *link_, into, limit);
  }

  void close() noexcept { link_.close(); }
  bool is_open() const noexcept { return static_cast<bool>(link_); }
  channel_statistics statistics() const { return (*link_).statistics(); }

 private:
  friend detail::channel_access;
  friend any_thread::oneshot_receiver<T>;
  using link = detail::thread_channel_link<T, detail::channel_side::receives>;
  explicit thread_receiver(link&& l) noexcept : link_(std::move(l)) {}

  link link_;
};

namespace detail {
template <class T, bool Many>
channel_ends<thread_sender<T>, thread_receiver<T, Many>> make_thread_channel(std::size_t capacity) {
  auto& channel = *new thread_channel<T>(checked_capacity(capacity), !Many);
  return channel_access::ends_of<thread_sender<T>, thread_receiver<T, Many>, thread_sending_link<T>,
                                 thread_channel_link<T, channel_side::receives>>(channel);
}
}  // namespace detail

template <class T>
using mpsc_ends = channel_ends<thread_sender<T>, thread_receiver<T, false>>;
template <class T>
using mpmc_ends = channel_ends<thread_sender<T>, thread_receiver<T, true>>;

/// Many senders, one receiver, on any threads: `auto [tx, rx] = rota::mpsc_channel<int>(64);`. At most `capacity` items; 0 is a
/// rendezvous. First come, first served. A task is resumed on its own executor.
template <class T>
mpsc_ends<T> mpsc_channel(std::size_t capacity) {
  return detail::make_thread_channel<T, false>(capacity);
}
/// Many senders and many receivers, on any threads; each item goes to one receiver, to whoever waited longest.
template <class T>
mpmc_ends<T> mpmc_channel(std::size_t capacity) {
  return detail::make_thread_channel<T, true>(capacity);
}

namespace any_thread {

/// Sends once. Destroyed unused, it tells the receiver that nothing will come. Any thread.
template <class T>
class oneshot_sender {
 public:
  oneshot_sender(oneshot_sender&&) noexcept = default;
  oneshot_sender& operator=(oneshot_sender&&) noexcept = default;

  /// Never waits. Throws usage_error (already_set) when it has sent before, std::errc::broken_pipe when the receiver is gone:
  /// then `value` was not touched.
  void send(T&& value) {
    if (!sender_.is_open()) throw usage_error(usage_error::kind::already_set, "a oneshot was sent twice");
    (void)sender_.try_send(std::move(value));  // there is room: it is the first
    sender_.close();
  }
  void send(const T& value)
    requires std::is_copy_constructible_v<T>
  {
    T copy(value);
    send(std::move(copy));
  }
  bool has_receiver() const noexcept { return sender_.has_receiver(); }

 private:
  template <class U>
  friend auto oneshot();
  explicit oneshot_sender(thread_sender<T>&& s) noexcept : sender_(std::move(s)) {}
  thread_sender<T> sender_;
};

/// Receives once: `co_await rx.receive()` in a task, rx.blocking_receive() on a plain thread. Both throw errc::broken_promise
/// when the sender has gone without sending, and after the value was taken.
template <class T>
class oneshot_receiver {
 public:
  oneshot_receiver(oneshot_receiver&&) noexcept = default;
  oneshot_receiver& operator=(oneshot_receiver&&) noexcept = default;

  detail::thread_oneshot_awaiter<T> receive() { return detail::thread_oneshot_awaiter<T>(*receiver_.link_); }
  T blocking_receive() {
    detail::remote_take<T> place;
    (*receiver_.link_).block(place);
    return detail::received_of_oneshot(place);
  }
  std::optional<T> try_receive() { return receiver_.try_receive(); }
  void close() noexcept { receiver_.close(); }

 private:
  template <class U>
  friend auto oneshot();
  explicit oneshot_receiver(thread_receiver<T, false>&& r) noexcept : receiver_(std::move(r)) {}
  thread_receiver<T, false> receiver_;
};

/// One value, from one thread to another: `auto [tx, rx] = rota::any_thread::oneshot<int>();`.
template <class T>
auto oneshot() {
  mpsc_ends<T> ends = mpsc_channel<T>(1);
  return channel_ends<oneshot_sender<T>, oneshot_receiver<T>>(oneshot_sender<T>(std::move(ends.tx)),
                                                              oneshot_receiver<T>(std::move(ends.rx)));
}

}  // namespace any_thread
}  // namespace rota
