// channel<T>(capacity), unbounded_channel<T>(), priority_channel<T>(capacity): items from tasks to tasks of one loop.
//
//   auto [tx, rx] = rota::channel<job>(16);
//   group.spawn(producer, std::move(tx));                                    // co_await tx.send(std::move(one));
//   while (auto one = co_await rx.next()) ...                                // ends when every sender is gone
//
// Ends are moved, or cloned by name: a copy that nobody remembers would keep the stream open for ever.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/yielding.hpp>
#include <rota/sync/channel_core.hpp>

namespace rota {

template <class T, class Store = detail::fifo_store<T>>
class sender;
template <class T, class Store = detail::fifo_store<T>>
class receiver;
template <class T>
class unbounded_sender;

namespace detail {

struct channel_access;
enum class channel_side : std::uint8_t { sends, receives };

template <class Store>
struct shared_channel : channel_core<Store> {
  using channel_core<Store>::channel_core;
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* channel, std::size_t size) noexcept { frame_memory::deallocate(channel, size); }

  channel_statistics statistics() const noexcept {
    channel_statistics s = channel_core<Store>::statistics();
    s.senders = ends[0];
    s.receivers = ends[1];
    return s;
  }

  std::size_t ends[2] = {0, 0};  // open ones, by channel_side
  std::size_t references = 0;
};

/// Keeps the channel, and is no end of it.
template <class Store>
class channel_reference {
 public:
  explicit channel_reference(shared_channel<Store>& channel) noexcept : channel_(channel) { ++channel.references; }
  channel_reference(const channel_reference&) = delete;
  channel_reference& operator=(const channel_reference&) = delete;
  ~channel_reference() {
    if (--channel_.references == 0) delete &channel_;
  }
  shared_channel<Store>& operator*() const noexcept { return channel_; }

 private:
  shared_channel<Store>& channel_;
};

/// An open end; the last of its side closes that side. Empty when it was closed or moved from.
template <class Store, channel_side Side>
class channel_link {
 public:
  explicit channel_link(shared_channel<Store>& channel) noexcept : channel_(&channel) {
    ++channel.references;
    ++open();
  }
  channel_link(channel_link&& other) noexcept : channel_(std::exchange(other.channel_, nullptr)) {}
  channel_link& operator=(channel_link&& other) noexcept {
    if (this != &other) {
      close();
      channel_ = std::exchange(other.channel_, nullptr);
    }
    return *this;
  }
  ~channel_link() { close(); }

  explicit operator bool() const noexcept { return channel_ != nullptr; }
  shared_channel<Store>& operator*() const {
    if (!channel_) [[unlikely]]
      throw_passing(passing::closed);
    return *channel_;
  }
  channel_link clone() const {
    (**this).takers().used_here();
    return channel_link(*channel_);
  }
  void close() noexcept {
    if (!channel_) return;
    channel_->takers().used_here();
    if (--open() == 0) {
      if constexpr (Side == channel_side::sends)
        channel_->end_giving();
      else
        channel_->end_taking();
    }
    shared_channel<Store>* const channel = std::exchange(channel_, nullptr);
    if (--channel->references == 0) delete channel;
  }

 private:
  std::size_t& open() const noexcept { return channel_->ends[static_cast<std::size_t>(Side)]; }

  shared_channel<Store>* channel_;
};
template <class Store>
using sending_link = channel_link<Store, channel_side::sends>;
template <class Store>
using receiving_link = channel_link<Store, channel_side::receives>;

/// Of an item that belongs to the caller until it is accepted, perhaps a temporary: not to be named before it is awaited.
template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] send_awaiter : public give_await<Store> {
 public:
  using give_await<Store>::give_await;
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<send_awaiter> operator co_await() && noexcept { return pinned_awaiter(*this); }
  void await_resume() const { this->conclude(); }
};

template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] send_copy_awaiter : public give_await<Store> {
  using item = typename Store::value_type;

 public:
  send_copy_awaiter(channel_core<Store>& core, const item& gives)
      : give_await<Store>(core, std::addressof(copy_)), copy_(gives) {}
  void await_resume() const { this->conclude(); }

 private:
  item copy_;
};

template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] receive_awaiter : public take_await<Store> {
 public:
  using take_await<Store>::take_await;
  typename Store::value_type await_resume() {
    this->check();
    return received(*this);
  }
};

template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] next_awaiter : public take_await<Store> {
 public:
  using take_await<Store>::take_await;
  std::optional<typename Store::value_type> await_resume() {
    this->check();
    return received_or_end(*this);
  }
};

template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] receive_many_awaiter : public take_await<Store> {
  using item = typename Store::value_type;

 public:
  receive_many_awaiter(shared_channel<Store>& channel, std::vector<item>& into, std::size_t limit)
      : take_await<Store>(channel), channel_(channel), into_(into), limit_(limit) {
    begin_to_receive_many(into, limit);
  }
  std::size_t await_resume() {
    this->check();
    return received_many(*this, this->core(), into_, limit_);
  }

 private:
  const channel_reference<Store> channel_;  // it looks into the channel again when it goes on
  std::vector<item>& into_;
  const std::size_t limit_;
};

inline std::size_t checked_capacity(
    std::size_t capacity,
    const char* wrong = "a channel's capacity is negative, or out of all reason: write unbounded_channel") {
  if (capacity > SIZE_MAX / 2) throw usage_error(usage_error::kind::invalid_argument, wrong);
  return capacity;
}

/// Room for one item in a channel, and an end that sends. Sending through it does not wait; destroyed unused, it gives the room
/// to the next who wants it.
template <class T, class Link>
class [[nodiscard]] held_room {
 public:
  held_room(held_room&&) noexcept = default;
  held_room& operator=(held_room&& other) noexcept {
    if (this != &other) {
      release();
      link_ = std::move(other.link_);
    }
    return *this;
  }
  ~held_room() { release(); }

  /// False when it was used or moved from.
  explicit operator bool() const noexcept { return static_cast<bool>(link_); }
  /// Once; throws std::errc::broken_pipe, with `item` untouched, when every receiver is gone, and errc::closed when the
  /// permit was used before.
  void send(T&& item) {
    if (!(*link_).give_reserved(item)) [[unlikely]]
      throw_passing(passing::no_receiver);
    link_.close();
  }
  void send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    send(std::move(copy));
  }

  // For the channels.
  explicit held_room(Link&& link) noexcept : link_(std::move(link)) {}

 private:
  void release() noexcept {
    if (!link_) return;
    (*link_).release_reserved();
    link_.close();
  }

  Link link_;
};

}  // namespace detail

/// What reserve() gives: room for one item. Counts as a sender.
template <class T, class Store = detail::fifo_store<T>>
using permit = detail::held_room<T, detail::sending_link<Store>>;

namespace detail {
template <class Store>
class [[nodiscard(ROTA_UNAWAITED)]] reserve_awaiter : public give_await<Store> {
  using item = typename Store::value_type;

 public:
  explicit reserve_awaiter(shared_channel<Store>& channel) noexcept
      : give_await<Store>(channel, nullptr), channel_(channel) {}
  permit<item, Store> await_resume() {
    this->conclude();
    if ((*channel_).no_more_given()) [[unlikely]] {  // closed after it was granted; receivers were told the end
      (*channel_).release_reserved();
      throw_passing(passing::closed);
    }
    return permit<item, Store>(sending_link<Store>(*channel_));
  }

 private:
  const channel_reference<Store> channel_;
};
}  // namespace detail

/// The end that sends. Many may be open (clone()); when the last is closed or destroyed, receivers get what is left and
/// then the end of the stream. For tasks of one loop. An end must outlive the awaits on it.
template <class T, class Store>
class sender {
 public:
  using value_type = T;

  sender(sender&&) noexcept = default;
  sender& operator=(sender&&) noexcept = default;

  sender clone() const { return sender(link_.clone()); }
  /// Waits until the item was accepted: by the buffer, or by a receiver if there is none (capacity 0); first come, first
  /// served. Throws std::errc::broken_pipe when every receiver is gone, rota::cancelled when the task's scope is
  /// cancelled: then `item` was not touched. `co_await tx.send(...)`, at once: the item stays the caller's until it is
  /// accepted.
  detail::send_awaiter<Store> send(T&& item) {
    ROTA_REFUSE_OWNING_AGGREGATE_IN(T, "co_await", "co_await tx.send(rota::by_move(object))");
    return detail::send_awaiter<Store>(*link_, std::addressof(item));
  }
  /// The same as std::move(item); for aggregates that own something on GCC 12.2.
  template <std::same_as<T> U>
  detail::send_awaiter<Store> send(by_move<U> item) {
    return detail::send_awaiter<Store>(*link_, std::addressof(item.object()));
  }
  /// The same with a copy.
  detail::send_copy_awaiter<Store> send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return detail::send_copy_awaiter<Store>(*link_, item);
  }
  /// False, with `item` untouched, when it would have to wait. Throws std::errc::broken_pipe when every receiver is gone.
  bool try_send(T&& item) { return try_give(std::addressof(item)); }
  bool try_send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    return try_give(std::addressof(copy));
  }
  /// Waits for room and keeps it: `auto room = co_await tx.reserve(); room.send(make_item());` makes no item that a cancel
  /// or a closed channel would leave unsent. Throws as send(), and usage_error when the capacity is 0.
  detail::reserve_awaiter<Store> reserve() {
    detail::require_room_to_reserve(*link_);
    return detail::reserve_awaiter<Store>(*link_);
  }
  /// Nothing when it would have to wait.
  std::optional<permit<T, Store>> try_reserve() {
    detail::require_room_to_reserve(*link_);
    if (!try_give(nullptr)) return std::nullopt;
    return permit<T, Store>(link_.clone());
  }

  /// Closes this end; every later use of it throws errc::closed.
  void close() noexcept { link_.close(); }
  bool is_open() const noexcept { return static_cast<bool>(link_); }
  /// False: sending can never succeed again.
  bool has_receiver() const noexcept { return link_ && !(*link_).no_more_taken(); }
  channel_statistics statistics() const { return (*link_).statistics(); }

 private:
  friend detail::channel_access;
  explicit sender(detail::sending_link<Store>&& link) noexcept : link_(std::move(link)) {}

  bool try_give(T* item) {
    const detail::passing how = (*link_).give(item);
    if (how == detail::passing::done) return true;
    if (how != detail::passing::waits) detail::throw_passing(how);
    return false;
  }
  detail::sending_link<Store> link_;
};

/// The end that receives. Many may be open (clone()), and each item goes to one of them: to whoever waited longest. When
/// the last is closed or destroyed, what nobody received is destroyed, and senders get std::errc::broken_pipe. For tasks of
/// one loop. An end must outlive the awaits on it.
template <class T, class Store>
class receiver {
 public:
  using value_type = T;

  receiver(receiver&&) noexcept = default;
  receiver& operator=(receiver&&) noexcept = default;

  receiver clone() const { return receiver(link_.clone()); }
  /// The next item. Throws errc::end_of_stream when every sender is gone and nothing is left; rota::cancelled when the task's
  /// scope is cancelled: then no item was taken.
  detail::receive_awaiter<Store> receive() { return detail::receive_awaiter<Store>(*link_); }
  /// The same as std::optional, empty at the end of the stream: `while (auto item = co_await rx.next())`.
  detail::next_awaiter<Store> next() { return detail::next_awaiter<Store>(*link_); }
  /// Waits for one item and adds it to `into`, and at most `limit` in all of those that are there. Returns how many; 0 at the
  /// end of the stream. No allocation if `into` has room.
  detail::receive_many_awaiter<Store> receive_many(std::vector<T>& into, std::size_t limit) {
    return detail::receive_many_awaiter<Store>(*link_, into, limit);
  }
  /// Nothing when it would have to wait, and at the end of the stream (ended() tells which).
  std::optional<T> try_receive() {
    std::optional<T> item;
    (void)(*link_).take(item);
    return item;
  }
  /// Nothing is left, and nothing will come.
  bool ended() const { return (*link_).no_more_given() && (*link_).size() == 0; }

  /// Closes this end; every later use of it throws errc::closed.
  void close() noexcept { link_.close(); }
  bool is_open() const noexcept { return static_cast<bool>(link_); }
  channel_statistics statistics() const { return (*link_).statistics(); }

 private:
  friend detail::channel_access;
  explicit receiver(detail::receiving_link<Store>&& link) noexcept : link_(std::move(link)) {}

  detail::receiving_link<Store> link_;
};

/// The end that sends into a channel without a limit: it never waits. As sender otherwise.
template <class T>
class unbounded_sender {
 public:
  using value_type = T;

  unbounded_sender(unbounded_sender&&) noexcept = default;
  unbounded_sender& operator=(unbounded_sender&&) noexcept = default;

  unbounded_sender clone() const { return unbounded_sender(link_.clone()); }
  /// Throws std::errc::broken_pipe when every receiver is gone, or std::bad_alloc: then `item` was not touched.
  void send(T&& item) {
    const detail::passing how = (*link_).give(std::addressof(item));
    if (how != detail::passing::done) detail::throw_passing(how);
  }
  void send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    send(std::move(copy));
  }

  void close() noexcept { link_.close(); }
  bool is_open() const noexcept { return static_cast<bool>(link_); }
  bool has_receiver() const noexcept { return link_ && !(*link_).no_more_taken(); }
  channel_statistics statistics() const { return (*link_).statistics(); }

 private:
  friend detail::channel_access;
  using store = detail::fifo_store<T>;
  explicit unbounded_sender(detail::sending_link<store>&& link) noexcept : link_(std::move(link)) {}

  detail::sending_link<store> link_;
};

/// Both ends of a new channel: `auto [tx, rx] = rota::channel<int>(16);`.
template <class Sender, class Receiver>
struct channel_ends {
  channel_ends(Sender&& t, Receiver&& r) noexcept : tx(std::move(t)), rx(std::move(r)) {}
  Sender tx;
  Receiver rx;
};

namespace detail {
struct channel_access {
  template <class Sender, class Receiver, class Store, class... Args>
  static channel_ends<Sender, Receiver> make(Args&&... args) {
    auto& channel = *new shared_channel<Store>(static_cast<Args&&>(args)...);
    return ends_of<Sender, Receiver, sending_link<Store>, receiving_link<Store>>(channel);
  }
  template <class Sender, class Receiver, class SendingLink, class ReceivingLink, class Channel>
  static channel_ends<Sender, Receiver> ends_of(Channel& channel) {
    Sender tx{SendingLink(channel)};
    return channel_ends<Sender, Receiver>(std::move(tx), Receiver(ReceivingLink(channel)));
  }
};
// std::less would cost <functional>.
struct smaller_first {
  template <class T>
  constexpr bool operator()(const T& a, const T& b) const {
    return a < b;
  }
};
}  // namespace detail

/// A channel that holds at most `capacity` items; 0: a rendezvous, an item goes from the sender's hand into the receiver's.
/// Memory for them is taken when they first come, and kept.
template <class T>
channel_ends<sender<T>, receiver<T>> channel(std::size_t capacity) {
  return detail::channel_access::make<sender<T>, receiver<T>, detail::fifo_store<T>>(
      detail::checked_capacity(capacity));
}

/// A channel without a limit: for senders that must not wait, where something else bounds what they send.
template <class T>
channel_ends<unbounded_sender<T>, receiver<T>> unbounded_channel() {
  return detail::channel_access::make<unbounded_sender<T>, receiver<T>, detail::fifo_store<T>>(SIZE_MAX);
}

/// A channel whose receivers get the smallest item first, as Compare says (it must not throw), and of equal ones the one that
/// was sent first. Items of senders that still wait for room are not compared.
template <class T, class Compare = detail::smaller_first>
auto priority_channel(std::size_t capacity, Compare compare = {}) {
  using store = detail::priority_store<T, Compare>;
  if (capacity == 0)
    throw usage_error(usage_error::kind::invalid_argument, "a priority_channel of capacity 0 could order nothing");
  return detail::channel_access::make<sender<T, store>, receiver<T, store>, store>(detail::checked_capacity(capacity),
                                                                                   std::move(compare));
}

}  // namespace rota
