// task<T>: a lazy coroutine with one owner.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/resume.hpp>
#include <rota/coro/task_state.hpp>

namespace rota {

template <class T = void>
class task;

namespace detail {

struct final_awaiter {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
    promise_base& promise = handle.promise();
    if (promise.continuation) [[likely]]
      return transfer(promise.continuation);
    if (promise.state) promise.state->exec->task_finished(*promise.state);
    return std::noop_coroutine();
  }
  void await_resume() const noexcept {}
};

struct task_promise_base : promise_base {
  using promise_base::promise_base;
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { frame_memory::deallocate(frame, size); }
  std::suspend_always initial_suspend() const noexcept { return {}; }
  final_awaiter final_suspend() const noexcept { return {}; }

 protected:
  // An exception that leaves the root of a task has nobody above it: the executor must know.
  void note_failure(const std::exception_ptr& error) noexcept {
    if (!continuation && state) state->exec->task_failed(*state, error);
  }
};

// One word says what the union holds; an exception is the rare case.
template <class T>
struct task_promise final : task_promise_base {
  // A reference is kept as a pointer.
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>;
  enum class outcome : unsigned char { none, value, exception };

  explicit task_promise(std::source_location made_at = std::source_location::current()) noexcept
      : task_promise_base(made_at) {}
  ~task_promise() {
    if (holds == outcome::value) value.~stored();
    if (holds == outcome::exception) exception.~exception_ptr();
  }

  task<T> get_return_object() noexcept;
  void unhandled_exception() noexcept {
    new (&exception) std::exception_ptr(std::current_exception());
    holds = outcome::exception;
    note_failure(exception);
  }
  template <class U = T>
    requires std::constructible_from<stored, U> && (!std::is_reference_v<T>)
  void return_value(U&& result) noexcept(std::is_nothrow_constructible_v<stored, U>) {
    new (static_cast<void*>(&value)) stored(std::forward<U>(result));
    holds = outcome::value;
  }
  void return_value(T result) noexcept
    requires std::is_reference_v<T>
  {
    new (static_cast<void*>(&value)) stored(std::addressof(result));
    holds = outcome::value;
  }

  const std::exception_ptr* error() const noexcept { return holds == outcome::exception ? &exception : nullptr; }
  // The outcome by reference: join_handle may be asked again and again.
  std::add_lvalue_reference_t<T> get() {
    if (holds == outcome::exception) std::rethrow_exception(exception);
    if constexpr (std::is_reference_v<T>)
      return *value;
    else
      return value;
  }
  T take() {
    if (holds == outcome::exception) [[unlikely]]
      std::rethrow_exception(exception);
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value);
    else
      return std::move(value);
  }

  union {
    stored value;
    std::exception_ptr exception;
  };
  outcome holds = outcome::none;
};

template <>
struct task_promise<void> final : task_promise_base {
  explicit task_promise(std::source_location made_at = std::source_location::current()) noexcept
      : task_promise_base(made_at) {}
  task<void> get_return_object() noexcept;
  void unhandled_exception() noexcept {
    exception = std::current_exception();
    note_failure(exception);
  }
  void return_void() const noexcept {}
  const std::exception_ptr* error() const noexcept { return exception ? &exception : nullptr; }
  void get() const {
    if (exception) [[unlikely]]
      std::rethrow_exception(exception);
  }
  void take() const { get(); }

  std::exception_ptr exception;
};

// Owns the awaited frame from co_await to the end of the full expression.
template <class T>
class [[nodiscard]] task_awaiter {
 public:
  explicit task_awaiter(std::coroutine_handle<task_promise<T>> child) noexcept : child_(child) {}
  task_awaiter(task_awaiter&& other) noexcept : child_(std::exchange(other.child_, {})) {}
  task_awaiter& operator=(task_awaiter&&) = delete;
  ~task_awaiter() {
    if (child_) child_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent,
                                        std::source_location where = std::source_location::current()) noexcept {
    static_assert(requires(Promise& p) { static_cast<promise_base&>(p); },
                  "rota::task can be awaited only in a coroutine that returns rota::task");
    promise_base& mine = parent.promise();
    mine.waits_at = where;
    promise_base& its = child_.promise();
    its.continuation = parent;
    its.state = mine.state;
    return transfer(child_);
  }
  T await_resume() { return child_.promise().take(); }

 private:
  std::coroutine_handle<task_promise<T>> child_;
};

ROTA_COLD inline void report_never_awaited(std::source_location made_at) noexcept {
  report("a task was destroyed without ever being awaited or spawned; it was made by %s at %s:%u",
         made_at.function_name(), made_at.file_name(), static_cast<unsigned>(made_at.line()));
}
[[noreturn]] ROTA_COLD inline void throw_not_awaitable(bool awaited_before) {
  if (awaited_before)
    throw usage_error(usage_error::kind::already_awaited, "a rota::task was awaited or spawned twice");
  throw usage_error(usage_error::kind::invalid_task, "an empty or moved-from rota::task was awaited or spawned");
}

struct task_access;

}  // namespace detail

/// A lazy, move-only coroutine: the body starts when the task is awaited (as an rvalue, once) or run; it then
/// belongs to who awaits it and cannot be dropped (rule R1). Parameters are copied into the frame: take them by
/// value. An exception of the body is thrown where the task is awaited.
///
/// T may be void, a value (movable is enough) or a reference. One executor at a time touches a task; a task that
/// was never started may be destroyed anywhere, which runs nothing of its body.
template <class T>
class [[nodiscard("a task does nothing until it is awaited or run")]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  /// An empty task: awaiting it throws rota::usage_error.
  task() noexcept = default;
  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      drop();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() { drop(); }

  /// True until the task is awaited, run or moved from.
  bool valid() const noexcept { return reinterpret_cast<std::uintptr_t>(frame_) > awaited; }
  explicit operator bool() const noexcept { return valid(); }

  /// Starts the body on the awaiting task's executor, in its scope; throws usage_error when this task is empty or
  /// was awaited before.
  detail::task_awaiter<T> operator co_await() && { return detail::task_awaiter<T>(release()); }
  /// A task is awaited once: write `co_await std::move(t)`.
  void operator co_await() & = delete;

 private:
  friend promise_type;
  friend detail::task_access;
  static constexpr std::uintptr_t awaited = 1;  // in place of a frame: this task was awaited

  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame.address()) {}

  std::coroutine_handle<promise_type> release() {
    if (!valid()) [[unlikely]]
      detail::throw_not_awaitable(frame_ != nullptr);
    return std::coroutine_handle<promise_type>::from_address(
        std::exchange(frame_, reinterpret_cast<void*>(awaited)));
  }
  void drop() noexcept {
    if (!valid()) return;
    auto handle = std::coroutine_handle<promise_type>::from_address(frame_);
#if ROTA_DEBUG
    detail::report_never_awaited(handle.promise().waits_at);
#endif
    handle.destroy();
  }

  void* frame_ = nullptr;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

// How the library takes the frame out of a task.
struct task_access {
  template <class T>
  static std::coroutine_handle<task_promise<T>> release(task<T>& t) {
    return t.release();
  }
  template <class T>
  static void* frame(const task<T>& t) noexcept {
    return t.valid() ? t.frame_ : nullptr;
  }
};

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

}  // namespace detail
}  // namespace rota
