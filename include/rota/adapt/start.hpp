// start: runs a task for code that has no coroutine, and tells it by callbacks how the task ended.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rota/adapt/callback_slots.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/spawn.hpp>

namespace rota {

namespace detail {

// The three callbacks, in the frame of the task that calls one of them. A task that is cancelled before its first step
// never runs: then the destructor calls.
template <class Value, class Error, class Cancelled>
class end_callbacks {
 public:
  end_callbacks(Value on_value, Error on_error, Cancelled on_cancelled, end_callbacks** home,
                std::source_location where)
      : value_(std::move(on_value)),
        error_(std::move(on_error)),
        cancelled_(std::move(on_cancelled)),
        home_(home),
        made_at_(where) {
    refuse_empty(value_, "start(), for on_value,");
    refuse_empty(error_, "start(), for on_error,");
    refuse_empty(cancelled_, "start(), for on_cancelled,");
    *home_ = this;
  }
  end_callbacks(end_callbacks&& other) noexcept(std::is_nothrow_move_constructible_v<Value> &&
                                                std::is_nothrow_move_constructible_v<Error> &&
                                                std::is_nothrow_move_constructible_v<Cancelled>)
      : value_(std::move(other.value_)),
        error_(std::move(other.error_)),
        cancelled_(std::move(other.cancelled_)),
        home_(std::exchange(other.home_, nullptr)),
        made_at_(other.made_at_) {
    *home_ = this;
  }
  ~end_callbacks() {
    if (armed_) cancelled();
  }

  /// From now on, and in this place, exactly one callback is called; then the slot ends.
  void arm(callback_slot& slot) noexcept {
    armed_ = &slot;
    home_ = nullptr;
  }
  template <class... T>
  void value(T&&... result) noexcept {
    call(value_, static_cast<T&&>(result)...);
  }
  void error(std::exception_ptr exception) noexcept { call(error_, std::move(exception)); }
  void cancelled() noexcept { call(cancelled_); }

 private:
  template <class F, class... Args>
  void call(F& f, Args&&... args) noexcept {
    armed_->withdraw();
    callback_slots::release(*std::exchange(armed_, nullptr));
    try {
      f(static_cast<Args&&>(args)...);
    } catch (...) {
      description text;
      text.add("a callback that was given to rota::start at %s:%u failed", made_at_.file_name(),
               static_cast<unsigned>(made_at_.line()));
      loop_access::report_error(event_loop::current(), std::current_exception(), text, running_task(), made_at_);
    }
  }

  Value value_;
  Error error_;
  Cancelled cancelled_;
  end_callbacks** home_;  // told where the object is, until it is armed
  std::source_location made_at_;
  callback_slot* armed_ = nullptr;
};

// Until the task has it.
class owned_slot {
 public:
  owned_slot() : slot_(&callback_slots::acquire()) {}
  owned_slot(const owned_slot&) = delete;
  owned_slot& operator=(const owned_slot&) = delete;
  ~owned_slot() {
    if (slot_) callback_slots::release(*slot_);
  }
  callback_slot* get() const noexcept { return slot_; }
  callback_slot* release() noexcept { return std::exchange(slot_, nullptr); }

 private:
  callback_slot* slot_;
};

template <class T, class Callbacks>
task<> run_and_tell(taken_task<T> body, Callbacks callbacks) {
  std::exception_ptr error;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await body.take();
      callbacks.value();
    } else {
      decltype(auto) result = co_await body.take();
      callbacks.value(static_cast<T&&>(result));
    }
    co_return;
  } catch (const cancelled&) {
    callbacks.cancelled();
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  callbacks.error(std::move(error));
}

}  // namespace detail

/// A task that start() runs. Dropping it changes nothing; it may outlive the task and the loop. The loop's thread only.
class started_task {
 public:
  /// Of no task.
  started_task() noexcept = default;

  /// As join_handle::cancel. A task that has not begun never does; on_cancelled is called all the same. False when the
  /// task has ended or was cancelled before.
  bool cancel(std::string_view reason = {},
              std::source_location where = std::source_location::current()) const noexcept {
    if (done()) return false;
    auto& task = *static_cast<detail::task_state*>(slot_->target);
    detail::check_thread(task, "started_task::cancel() was called");
    if (task.cancel_requested()) return false;
    detail::scope_tree::cancel(task, cancel_kind::requested, reason, where);
    return true;
  }
  /// The task has ended; its callback was called, or is running.
  bool done() const noexcept {
    return !slot_ || !detail::callback_slot::is_same(slot_->word.load(std::memory_order_relaxed), generation_);
  }

  // For the library.
  started_task(detail::callback_slot& slot, std::uint64_t generation) noexcept
      : slot_(&slot), generation_(generation) {}

 private:
  detail::callback_slot* slot_ = nullptr;
  std::uint64_t generation_ = 0;
};

/// Runs the task on the loop and calls exactly one of these, once, when it has ended: on_value(T) (no argument for void),
/// on_error(std::exception_ptr), or on_cancelled(), which also answers a cancel before the first step and the end of the
/// loop. On the loop's thread and never within start(); an exception that leaves one goes to the loop's
/// exception handler.
///
/// The task's parameters must live in it: start(fetch(url), ...), and no lambda coroutine with captures. Throws usage_error
/// for a task that is empty or was awaited, and std::bad_alloc; then none is called.
template <class T, class OnValue, class OnError, class OnCancelled>
started_task start(event_loop& loop, task<T> given, OnValue on_value, OnError on_error, OnCancelled on_cancelled,
                   std::source_location where = std::source_location::current()) {
  static_assert(std::invocable<OnError&, std::exception_ptr>, "on_error takes a std::exception_ptr");
  static_assert(std::invocable<OnCancelled&>, "on_cancelled takes nothing");
  if constexpr (std::is_void_v<T>)
    static_assert(std::invocable<OnValue&>, "on_value takes nothing: the task gives no value");
  else
    static_assert(std::invocable<OnValue&, T>, "on_value takes the task's value");
  using callbacks = detail::end_callbacks<OnValue, OnError, OnCancelled>;
  detail::taken_task<T> body(std::move(given));
  callbacks* stored = nullptr;
  detail::owned_slot slot;
  callbacks called(std::move(on_value), std::move(on_error), std::move(on_cancelled), &stored, where);
  const join_handle<> handle = detail::start_task(
      loop, detail::loop_access::root(loop), &detail::run_and_tell<T, callbacks>, std::move(body), std::move(called));
  stored->arm(*slot.get());
  const std::uint64_t generation = slot.get()->begin(&handle.task(), &loop, nullptr, nullptr);
  return started_task(*slot.release(), generation);
}
/// The same on the loop that runs on this thread; usage_error when there is none.
template <class T, class OnValue, class OnError, class OnCancelled>
started_task start(task<T> given, OnValue on_value, OnError on_error, OnCancelled on_cancelled,
                   std::source_location where = std::source_location::current()) {
  detail::taken_task<T> body(std::move(given));
  event_loop& loop = detail::loop_access::current();
  return rota::start(loop, body.take(), std::move(on_value), std::move(on_error), std::move(on_cancelled), where);
}

}  // namespace rota
