// watch<T>(initial): one value that changes, and those who want to know the latest.
//
//   auto [tx, rx] = rota::watch<config>(first);
//   while (auto now = co_await rx.next()) apply(*now);     // every change, or, if it is slow, the last of several
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/sync/channel.hpp>
#include <rota/sync/read_by_all.hpp>

namespace rota {

template <class T>
class watch_sender;
template <class T>
class watch_receiver;

namespace detail {

template <class T>
struct watched : read_by_all {
  explicit watched(T&& initial) : read_by_all("watched value"), value(std::move(initial)) {}
  T value;  // `latest` is its version
};

template <class T>
class watch_await : public news_await<watched<T>> {
 public:
  using news_await<watched<T>>::news_await;

 protected:
  // Back in the task. False: no news, and there will be none.
  bool see() {
    const std::uint64_t version = this->state().latest;
    return std::exchange(this->conclude().at, version) != version;
  }
};

template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] changed_awaiter : public watch_await<T> {
 public:
  using watch_await<T>::watch_await;
  bool await_resume() { return this->see(); }
};
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] watch_next_awaiter : public watch_await<T> {
 public:
  using watch_await<T>::watch_await;
  std::optional<T> await_resume() {
    if (!this->see()) return std::nullopt;
    return this->state().value;
  }
};

}  // namespace detail

/// Sets the value. Never waits. Many may be open (clone()); when the last is gone, receivers see the last value and then the
/// end.
template <class T>
class watch_sender {
 public:
  watch_sender clone() const { return watch_sender(*link_); }
  /// Whoever waits for a change is told, also when the value is the same. Nobody need be there.
  template <class U = T>
    requires std::is_assignable_v<T&, U&&>
  void send(U&& value) {
    link_->value = static_cast<U&&>(value);
    link_->has_news();
  }
  /// `f(T&)` changes the value in place. It must not use this watch; if it throws, nobody is told.
  template <class F>
  void modify(F&& f) {
    detail::refuse_empty(f, "watch_sender::modify()");
    detail::invoke(static_cast<F&&>(f), link_->value);
    link_->has_news();
  }
  /// The same, but receivers are told only if `f(T&)` returns true.
  template <class F>
  bool modify_if(F&& f) {
    detail::refuse_empty(f, "watch_sender::modify_if()");
    const bool told = detail::invoke(static_cast<F&&>(f), link_->value);
    if (told) link_->has_news();
    return told;
  }
  const T& borrow() const { return link_->value; }
  watch_receiver<T> subscribe() const;
  std::size_t receivers() const { return link_->receivers; }
  void close() noexcept { link_.close(); }

 private:
  template <class U, class V>
  friend channel_ends<watch_sender<U>, watch_receiver<U>> watch(V&& initial);
  explicit watch_sender(detail::watched<T>& w) noexcept : link_(w) {}

  detail::sending_end<detail::watched<T>> link_;
};

/// Sees the value, and its changes: always the latest, never those between that were too quick. An end must outlive the
/// awaits on it, and must not be moved meanwhile. One task at a time waits on it: a second await throws usage_error (busy).
/// Closed meanwhile, the await throws errc::closed.
template <class T>
class watch_receiver {
 public:
  /// Another one, that has seen what this one has.
  watch_receiver clone() const { return watch_receiver(*end_, end_.position()); }
  /// The value at this moment; the reference is good until the next await.
  const T& borrow() const { return end_->value; }
  /// Was the value set since this receiver last saw a change?
  bool has_changed() const { return end_->latest != end_.position(); }
  /// Waits until the value is set, if it was not since this receiver last looked, which this await counts as. False: every
  /// sender is gone, and nothing is new. `const bool news = co_await rx.changed();`
  detail::changed_awaiter<T> changed() { return detail::changed_awaiter<T>(end_); }
  /// The same with a copy of the value; empty when every sender is gone and nothing is new.
  detail::watch_next_awaiter<T> next()
    requires std::is_copy_constructible_v<T>
  {
    return detail::watch_next_awaiter<T>(end_);
  }
  void close() noexcept { end_.close(); }

 private:
  friend watch_sender<T>;
  template <class U, class V>
  friend channel_ends<watch_sender<U>, watch_receiver<U>> watch(V&& initial);
  watch_receiver(detail::watched<T>& w, std::uint64_t seen) noexcept : end_(w, seen) {}

  detail::reading_end<detail::watched<T>> end_;
};

template <class T>
watch_receiver<T> watch_sender<T>::subscribe() const {
  return watch_receiver<T>(*link_, link_->latest);
}

/// `auto [tx, rx] = rota::watch<int>(0);`. The initial value counts as seen. For tasks of one loop.
template <class T, class U = T>
channel_ends<watch_sender<T>, watch_receiver<T>> watch(U&& initial) {
  auto& state = *new detail::watched<T>(T(static_cast<U&&>(initial)));
  watch_sender<T> tx(state);
  return channel_ends<watch_sender<T>, watch_receiver<T>>(std::move(tx), watch_receiver<T>(state, state.latest));
}

}  // namespace rota
