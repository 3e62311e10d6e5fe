// oneshot<T>(): one value, from one task of a loop to another. (promise and future do the same, and more; this is the
// channel, with its errors.)
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/sync/channel.hpp>

namespace rota {

/// Sends once, and never waits. Destroyed unused, it tells the receiver that nothing will come.
template <class T>
class oneshot_sender {
 public:
  oneshot_sender(oneshot_sender&&) noexcept = default;
  oneshot_sender& operator=(oneshot_sender&&) noexcept = default;

  /// Throws usage_error when it has sent before, std::errc::broken_pipe when the receiver is gone: then `value` was not
  /// touched.
  void send(T&& value) {
    if (!link_) throw usage_error(usage_error::kind::already_set, "a oneshot was sent twice");
    const detail::passing how = (*link_).give(std::addressof(value));
    if (how != detail::passing::done) detail::throw_passing(how);
    link_.close();
  }
  void send(const T& value)
    requires std::is_copy_constructible_v<T>
  {
    T copy(value);
    send(std::move(copy));
  }
  /// False: the work for the value may as well stop.
  bool has_receiver() const noexcept { return link_ && !(*link_).no_more_taken(); }

 private:
  friend detail::channel_access;
  using store = detail::fifo_store<T>;
  explicit oneshot_sender(detail::sending_link<store>&& link) noexcept : link_(std::move(link)) {}

  detail::sending_link<store> link_;
};

namespace detail {
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] oneshot_awaiter : public take_await<fifo_store<T>> {
 public:
  using take_await<fifo_store<T>>::take_await;
  T await_resume() {
    this->check();
    return received_of_oneshot(*this);
  }
};
}  // namespace detail

template <class T>
class oneshot_receiver {
 public:
  oneshot_receiver(oneshot_receiver&&) noexcept = default;
  oneshot_receiver& operator=(oneshot_receiver&&) noexcept = default;

  /// Waits for the value. Throws errc::broken_promise when the sender has gone without it (and after the value was taken);
  /// rota::cancelled, and the value can still be received.
  detail::oneshot_awaiter<T> receive() { return detail::oneshot_awaiter<T>(*link_); }
  /// Nothing when it has not come.
  std::optional<T> try_receive() {
    std::optional<T> value;
    (void)(*link_).take(value);
    return value;
  }
  /// The sender will see that nobody wants the value.
  void close() noexcept { link_.close(); }

 private:
  friend detail::channel_access;
  using store = detail::fifo_store<T>;
  explicit oneshot_receiver(detail::receiving_link<store>&& link) noexcept : link_(std::move(link)) {}

  detail::receiving_link<store> link_;
};

/// `auto [tx, rx] = rota::oneshot<int>();`. For tasks of one loop.
template <class T>
channel_ends<oneshot_sender<T>, oneshot_receiver<T>> oneshot() {
  return detail::channel_access::make<oneshot_sender<T>, oneshot_receiver<T>, detail::fifo_store<T>>(std::size_t{1});
}

}  // namespace rota
