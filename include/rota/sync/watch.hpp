// watch<T>(initial): one value that changes, and those who want to know the latest.
//
//   auto [tx, rx] = rota::watch<config>(first);
//   while (auto now = co_await rx.next()) apply(*now);     // every change, or, if it is slow, the last of several
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/error.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/sync/channel.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

template <class T>
class watch_sender;
template <class T>
class watch_receiver;

namespace detail {

template <class T>
struct watched {
  explicit watched(T&& initial) : value(std::move(initial)) {}
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* self, std::size_t size) noexcept { frame_memory::deallocate(self, size); }

  void changed() noexcept {
    waiters.used_here();
    ++version;
    waiters.grant_all();
  }
  static void drop(watched* self) noexcept {
    if (--self->references == 0) delete self;
  }

  T value;
  std::uint64_t version = 0;  // of the value
  std::size_t references = 0;
  std::size_t senders = 0;
  std::size_t receivers = 0;
  wait_list waiters{"watched value"};
};

/// Waits for a version that `seen` is not.
template <class T>
class watch_await : public cursor_wait {
 public:
  watch_await(watched<T>& w, read_cursor& seen) noexcept : cursor_wait(seen), watched_(w) { ++w.references; }
  watch_await(const watch_await&) = delete;
  watch_await& operator=(const watch_await&) = delete;
  ~watch_await() { watched<T>::drop(&watched_); }

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
    return watched_.version != this->position() || watched_.senders == 0;
  }
  wait_list& list() noexcept { return watched_.waiters; }
  const void* channel() const noexcept { return &watched_; }

 protected:
  // Back in the task. False: no news, and there will be none.
  bool see() {
    read_cursor& seen = this->conclude();
    if (watched_.version == seen.at) return false;
    seen.at = watched_.version;
    return true;
  }
  const T& value() const noexcept { return watched_.value; }

 private:
  watched<T>& watched_;
};

template <class T>
class [[nodiscard]] changed_awaiter : public watch_await<T> {
 public:
  using watch_await<T>::watch_await;
  bool await_resume() { return this->see(); }
};
template <class T>
class [[nodiscard]] watch_next_awaiter : public watch_await<T> {
 public:
  using watch_await<T>::watch_await;
  std::optional<T> await_resume() {
    if (!this->see()) return std::nullopt;
    return this->value();
  }
};

template <class T>
struct watch_ends;

}  // namespace detail

/// Sets the value. Never waits. Many may be open (clone()); when the last is gone, receivers see the last value and then the
/// end.
template <class T>
class watch_sender {
 public:
  watch_sender(watch_sender&& other) noexcept : watched_(std::exchange(other.watched_, nullptr)) {}
  watch_sender& operator=(watch_sender&& other) noexcept {
    if (this != &other) {
      close();
      watched_ = std::exchange(other.watched_, nullptr);
    }
    return *this;
  }
  ~watch_sender() { close(); }

  watch_sender clone() const { return watch_sender(checked()); }
  /// Whoever waits for a change is told, also when the value is the same. Nobody need be there.
  template <class U = T>
    requires std::is_assignable_v<T&, U&&>
  void send(U&& value) {
    checked().value = static_cast<U&&>(value);
    watched_->changed();
  }
  /// `f(T&)` changes the value in place. It must not use this watch; if it throws, nobody is told.
  template <class F>
  void modify(F&& f) {
    detail::invoke(static_cast<F&&>(f), checked().value);
    watched_->changed();
  }
  /// The same, but receivers are told only if `f(T&)` returns true.
  template <class F>
  bool modify_if(F&& f) {
    const bool told = detail::invoke(static_cast<F&&>(f), checked().value);
    if (told) watched_->changed();
    return told;
  }
  const T& borrow() const { return checked().value; }
  watch_receiver<T> subscribe() const;
  std::size_t receivers() const { return checked().receivers; }
  void close() noexcept {
    if (!watched_) return;
    if (--watched_->senders == 0) watched_->waiters.grant_all();
    detail::watched<T>::drop(std::exchange(watched_, nullptr));
  }

 private:
  template <class U, class V>
  friend channel_ends<watch_sender<U>, watch_receiver<U>> watch(V&& initial);
  explicit watch_sender(detail::watched<T>& w) noexcept : watched_(&w) {
    ++w.references;
    ++w.senders;
  }
  detail::watched<T>& checked() const {
    if (!watched_) [[unlikely]]
      detail::throw_passing(detail::passing::closed);
    return *watched_;
  }

  detail::watched<T>* watched_;
};

/// Sees the value, and its changes: always the latest, never those between that were too quick. An end must outlive the
/// awaits on it, and must not be moved meanwhile. One task at a time waits on it: a second await throws usage_error (busy).
/// Closed meanwhile, the await throws errc::closed.
template <class T>
class watch_receiver {
 public:
  watch_receiver(watch_receiver&& other) noexcept
      : watched_(std::exchange(other.watched_, nullptr)), seen_(other.seen_.at) {}
  watch_receiver& operator=(watch_receiver&& other) noexcept {
    if (this != &other) {
      close();
      watched_ = std::exchange(other.watched_, nullptr);
      seen_.at = other.seen_.at;
    }
    return *this;
  }
  ~watch_receiver() { close(); }

  /// Another one, that has seen what this one has.
  watch_receiver clone() const { return watch_receiver(checked(), seen_.at); }
  /// The value at this moment; the reference is good until the next await.
  const T& borrow() const { return checked().value; }
  /// Was the value set since this receiver last saw a change?
  bool has_changed() const { return checked().version != seen_.at; }
  /// Waits until the value is set, if it was not since this receiver last looked, which this await counts as. False: every
  /// sender is gone, and nothing is new. `const bool news = co_await rx.changed();`
  detail::changed_awaiter<T> changed() { return detail::changed_awaiter<T>(checked(), seen_); }
  /// The same with a copy of the value; empty when every sender is gone and nothing is new.
  detail::watch_next_awaiter<T> next()
    requires std::is_copy_constructible_v<T>
  {
    return detail::watch_next_awaiter<T>(checked(), seen_);
  }
  void close() noexcept {
    if (!watched_) return;
    seen_.close();
    --watched_->receivers;
    detail::watched<T>::drop(std::exchange(watched_, nullptr));
  }

 private:
  friend watch_sender<T>;
  template <class U, class V>
  friend channel_ends<watch_sender<U>, watch_receiver<U>> watch(V&& initial);
  watch_receiver(detail::watched<T>& w, std::uint64_t seen) noexcept : watched_(&w), seen_(seen) {
    ++w.references;
    ++w.receivers;
  }
  detail::watched<T>& checked() const {
    if (!watched_) [[unlikely]]
      detail::throw_passing(detail::passing::closed);
    return *watched_;
  }

  detail::watched<T>* watched_;
  detail::read_cursor seen_;
};

template <class T>
watch_receiver<T> watch_sender<T>::subscribe() const {
  return watch_receiver<T>(checked(), checked().version);
}

/// `auto [tx, rx] = rota::watch<int>(0);`. The initial value counts as seen. For tasks of one loop.
template <class T, class U = T>
channel_ends<watch_sender<T>, watch_receiver<T>> watch(U&& initial) {
  auto& state = *new detail::watched<T>(T(static_cast<U&&>(initial)));
  watch_sender<T> tx(state);
  return channel_ends<watch_sender<T>, watch_receiver<T>>(std::move(tx), watch_receiver<T>(state, state.version));
}

}  // namespace rota
