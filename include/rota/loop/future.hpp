// promise and future: a value that one part of a loop's code sets and another awaits. For one loop; between threads
// there are std::future (adapt/spawn_threadsafe.hpp) and from_callback.
#pragma once

#include <cstdint>
#include <exception>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/detail/result_storage.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota {

template <class T = void>
class promise;
template <class T = void>
class future;
template <class T = void>
class shared_future;

namespace detail {

struct future_wait;

// What a promise and its futures share, without the result.
struct future_core {
  event_loop* home;  // null until the first wait, when the promise was made where no loop ran
  line_mark made_at;
  future_wait* first = nullptr;  // who waits, first come first resumed
  future_wait* last = nullptr;
  std::uint32_t receivers = 0;  // futures, shared futures, awaiters
  bool has_promise = true;
  bool was_taken = false;  // get_future() was called
  bool is_done = false;
  bool retrieved = false;

  future_core(event_loop* loop, line_mark where) noexcept : home(loop), made_at(where) {}

  void check_thread() const;
  void complete() noexcept;
};

// Waits for the result; the typed part is in the awaiters.
struct future_wait : custom_wait {
  explicit future_wait(future_core& c) noexcept : core(c) { cancel = &withdraw; }

  bool suspend(task_state& waiter, void* its_frame) {
    me = &waiter;
    if (core.home && core.home != waiter.exec)
      throw_usage_error(usage_error::kind::wrong_loop, "%s, awaited a future of another event loop",
                        describe(waiter).c_str());
    if (core.is_done) return false;
    core.home = &loop_access::loop_of(waiter);
    if (waiter.is_cancelled()) {
      withdrawn = true;
      return false;
    }
    frame = its_frame;
    before = core.last;
    (core.last ? core.last->after : core.first) = this;
    core.last = this;
    waiter.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    return true;
  }
  static void withdraw(custom_wait& self) noexcept {
    auto& wait = static_cast<future_wait&>(self);
    (wait.before ? wait.before->after : wait.core.first) = wait.after;
    (wait.after ? wait.after->before : wait.core.last) = wait.before;
    wait.withdrawn = true;
    make_ready(wait.frame);
  }

  future_core& core;
  task_state* me = nullptr;
  future_wait* after = nullptr;
  future_wait* before = nullptr;
  bool withdrawn = false;  // the waiter was cancelled first
};

// Before anything changes: who waits can be resumed on its own thread only.
inline void future_core::check_thread() const {
  if (first && !loop_access::is_own_thread(*home)) [[unlikely]]
    throw usage_error(usage_error::kind::wrong_thread,
                      "a promise was set on another thread than its event loop's: post() it there");
}
inline void future_core::complete() noexcept {
  is_done = true;
  while (first) {
    void* const frame = first->frame;
    first = first->after;
    make_ready(frame);
  }
  last = nullptr;
}

template <class T>
struct future_state : future_core {
  using future_core::future_core;
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* state, std::size_t size) noexcept { frame_memory::deallocate(state, size); }

  result_storage<T> result;

  void add_receiver() noexcept { ++receivers; }
  void drop_receiver() noexcept {
    --receivers;
    destroy_if_unused();
  }
  void destroy_if_unused() noexcept {
    if (has_promise || receivers != 0) return;
    if (result.has_exception() && !retrieved) [[unlikely]]
      report_lost();
    delete this;
  }

 private:
  ROTA_COLD void report_lost() const noexcept {
    const std::source_location at = source_line(made_at);
    report("the promise made at %s:%u got an exception that nobody retrieved: %s", at.file_name(),
           static_cast<unsigned>(at.line()), describe(result.exception()).c_str());
  }
};

[[noreturn]] ROTA_COLD inline void throw_no_future() {
  throw usage_error(usage_error::kind::already_awaited, "a future that is empty, or was awaited before, was used");
}

// A future's share of the state; empty when moved from.
template <class T>
class future_link {
 public:
  future_link() noexcept = default;
  explicit future_link(future_state<T>* state) noexcept : state_(state) {
    if (state_) state_->add_receiver();
  }
  future_link(const future_link& other) noexcept : future_link(other.state_) {}
  future_link(future_link&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  future_link& operator=(future_link other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~future_link() {
    if (state_) state_->drop_receiver();
  }

  explicit operator bool() const noexcept { return state_ != nullptr; }
  future_state<T>& checked() const {
    if (!state_) throw_no_future();
    return *state_;
  }
  future_state<T>& operator*() const noexcept { return *state_; }

 private:
  future_state<T>* state_ = nullptr;
};

// Takes the state out of the future for the length of the await, so that nobody else can await it meanwhile.
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] future_awaiter {
 public:
  explicit future_awaiter(future_link<T>& owner, future_link<T>* gives_back_to)
      : owner_(gives_back_to), wait_(owner.checked()), mine_(std::move(owner)) {}
  future_awaiter(const future_awaiter&) = delete;
  future_awaiter& operator=(const future_awaiter&) = delete;
  ~future_awaiter() {
    if (owner_) *owner_ = std::move(mine_);
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return wait_.suspend(suspend_at(handle, where), handle.address());
  }
  T await_resume() {
    if (wait_.withdrawn) throw_cancelled(*wait_.me);
    owner_ = nullptr;
    wait_.core.retrieved = true;
    return (*mine_).result.take();
  }

 private:
  future_link<T>* owner_;  // gets the state back if the wait ends without the result
  future_wait wait_;
  future_link<T> mine_;
};

template <class T, class Result>
class [[nodiscard(ROTA_UNAWAITED)]] shared_future_awaiter {
 public:
  explicit shared_future_awaiter(const future_link<T>& state) : wait_(state.checked()), state_(state) {}
  shared_future_awaiter(const shared_future_awaiter&) = delete;
  shared_future_awaiter& operator=(const shared_future_awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return wait_.suspend(suspend_at(handle, where), handle.address());
  }
  Result await_resume() {
    if (wait_.withdrawn) throw_cancelled(*wait_.me);
    wait_.core.retrieved = true;
    return (*state_).result.get();
  }

 private:
  future_wait wait_;
  future_link<T> state_;
};

}  // namespace detail

/// Awaits what a promise is set to, once: `co_await f` moves the value out and leaves `f` empty, or throws the exception;
/// std::system_error with errc::broken_promise when the promise was destroyed unset. A waiter that is cancelled stops
/// waiting, and nothing else happens: the promise can still be set, and `f` awaited again. Throws usage_error on an
/// empty future, and while another task awaits it; also in a task of another loop. The loop's thread only.
template <class T>
class [[nodiscard]] future {
 public:
  future() noexcept = default;
  future(future&&) noexcept = default;
  future& operator=(future&&) noexcept = default;

  /// False when moved from or awaited, and while it is awaited.
  bool valid() const noexcept { return static_cast<bool>(state_); }
  /// Awaiting would not suspend.
  bool ready() const { return state_.checked().is_done; }

  detail::future_awaiter<T> operator co_await() & { return detail::future_awaiter<T>(state_, &state_); }
  /// The same, but the future stays empty when the waiter is cancelled.
  detail::future_awaiter<T> operator co_await() && { return detail::future_awaiter<T>(state_, nullptr); }
  /// For many awaiters; leaves this future empty.
  shared_future<T> share() {
    (void)state_.checked();
    return shared_future<T>(std::move(state_));
  }

 private:
  friend promise<T>;
  explicit future(detail::future_link<T> state) noexcept : state_(std::move(state)) {}

  detail::future_link<T> state_;
};

/// Like future, for any number of awaiters, again and again: `co_await f` gives a const reference to the value, which
/// lives as long as a copy of `f`. The loop's thread only.
template <class T>
class [[nodiscard]] shared_future {
 public:
  shared_future() noexcept = default;

  bool valid() const noexcept { return static_cast<bool>(state_); }
  bool ready() const { return state_.checked().is_done; }

  detail::shared_future_awaiter<T, typename detail::result_storage<T>::lent> operator co_await() const& {
    return detail::shared_future_awaiter<T, typename detail::result_storage<T>::lent>(state_);
  }
  /// A copy of the value: the last reference may end with the expression.
  detail::shared_future_awaiter<T, T> operator co_await() && { return detail::shared_future_awaiter<T, T>(state_); }

 private:
  friend future<T>;
  explicit shared_future(detail::future_link<T> state) noexcept : state_(std::move(state)) {}

  detail::future_link<T> state_;
};

/// Sets the result that a future awaits; who waits is resumed in its turn, never within the call. Belongs to the loop that
/// runs where it is made, or that is given, or else to the first loop in which its future is awaited. Destroyed unset, it
/// gives errc::broken_promise. An exception that nobody ever retrieves is reported. One block, no other allocation.
template <class T>
class promise {
 public:
  explicit promise(detail::line_mark where = ROTA_CALLERS_LINE)
      : state_(new detail::future_state<T>(event_loop::current(), where)) {}
  explicit promise(event_loop& loop, detail::line_mark where = ROTA_CALLERS_LINE)
      : state_(new detail::future_state<T>(&loop, where)) {}
  promise(promise&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  promise& operator=(promise&& other) noexcept {
    if (this != &other) {
      drop();
      state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
  }
  ~promise() { drop(); }

  /// Once; throws usage_error after that.
  future<T> get_future() {
    if (std::exchange(checked().was_taken, true))
      throw usage_error(usage_error::kind::already_set, "get_future() was called twice on one promise");
    return future<T>(detail::future_link<T>(state_));
  }

  /// Makes the value of these arguments. Throws usage_error when the promise is set already, or (with somebody waiting)
  /// on another thread than the loop's; what the value's constructor throws, leaving the promise unset.
  template <class... Args>
    requires(std::is_void_v<T> && sizeof...(Args) == 0) || std::is_constructible_v<T, Args...>
  void set_value(Args&&... args) {
    if (!try_set_value(static_cast<Args&&>(args)...)) throw_set_twice();
  }
  /// The same, but false when the promise is set already.
  template <class... Args>
    requires(std::is_void_v<T> && sizeof...(Args) == 0) || std::is_constructible_v<T, Args...>
  bool try_set_value(Args&&... args) {
    if (checked().is_done) return false;
    state_->check_thread();
    state_->result.emplace(static_cast<Args&&>(args)...);
    state_->complete();
    return true;
  }

  /// The await throws this exception, which must not be null.
  void set_exception(std::exception_ptr error) {
    if (!try_set_exception(std::move(error))) throw_set_twice();
  }
  bool try_set_exception(std::exception_ptr error) {
    if (!error) throw usage_error(usage_error::kind::invalid_argument, "a promise was set to a null exception");
    if (checked().is_done) return false;
    state_->check_thread();
    state_->result.set_exception(std::move(error));
    state_->complete();
    return true;
  }

  bool is_set() const { return checked().is_done; }
  /// False when nobody can ever see the result: the work for it may as well stop.
  bool has_receiver() const { return !checked().was_taken || state_->receivers != 0; }

 private:
  detail::future_state<T>& checked() const {
    if (!state_) throw usage_error(usage_error::kind::invalid_argument, "a promise that was moved from was used");
    return *state_;
  }
  [[noreturn]] ROTA_COLD static void throw_set_twice() {
    throw usage_error(usage_error::kind::already_set, "a promise was set twice");
  }
  void drop() noexcept {
    if (!state_) return;
    if (!state_->is_done) {
      if (state_->first && !detail::loop_access::is_own_thread(*state_->home)) [[unlikely]]
        detail::trap("a promise was destroyed on another thread than its event loop's, while a task waits for it");
      state_->result.set_code(make_error_code(errc::broken_promise));
      state_->complete();
    }
    state_->has_promise = false;
    std::exchange(state_, nullptr)->destroy_if_unused();
  }

  detail::future_state<T>* state_;
};

}  // namespace rota
