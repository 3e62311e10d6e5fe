// task<T>: a lazy coroutine with one owner.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <new>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rota/base/call_site.hpp>
#include <rota/base/debug_mode.hpp>
#include <rota/base/function_name.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/task_state.hpp>

namespace rota {

template <class T = void>
class task;

namespace detail {

// Out of line: a coroutine's own code stays short, and saves fewer registers.
ROTA_COLD inline void drop(std::exception_ptr& error) noexcept { error.~exception_ptr(); }
[[noreturn]] ROTA_COLD inline void rethrow(const std::exception_ptr& error) { std::rethrow_exception(error); }

/// The outcome of a task<T>.
template <class T>
class task_outcome : public outcome_base {
 public:
  // A reference is kept as a pointer; void needs nothing.
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                    std::conditional_t<std::is_void_v<T>, bool, T>>;

  task_outcome() noexcept {}
  task_outcome(const task_outcome&) = delete;
  task_outcome& operator=(const task_outcome&) = delete;
  [[gnu::always_inline]] ~task_outcome() {
    if (has_value()) [[likely]]
      value_.~stored();
    else if (has_exception())
      drop(exception_);
  }

  template <class... Args>
  void emplace(Args&&... args) {
    new (static_cast<void*>(&value_)) stored(static_cast<Args&&>(args)...);
    set_state(value);
  }
  void set_exception() noexcept {
    if (has_value()) [[unlikely]] {  // after co_return, out of the destructor of a local
      value_.~stored();
      forget_value();
    }
    new (&exception_) std::exception_ptr(std::current_exception());
    if (how() == root) set_type(&destroyer);
    set_state(exception);
  }
  const std::exception_ptr* error() const noexcept { return has_exception() ? &exception_ : nullptr; }

  // By reference: join_handle may be asked again and again.
  std::add_lvalue_reference_t<T> get() {
    if (!has_value()) [[unlikely]]
      rethrow(exception_);
    if constexpr (std::is_reference_v<T>)
      return *value_;
    else if constexpr (!std::is_void_v<T>)
      return value_;
  }
  T take() {
    if (!has_value()) [[unlikely]]
      rethrow(exception_);
    return take_value();
  }
  /// The same for who knows that there is one.
  T take_value() {
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return std::move(value_);
  }

  static constexpr outcome_type destroyer{
      [](void* self) noexcept { static_cast<task_outcome*>(self)->~task_outcome(); },
      [](const void* self) noexcept { return static_cast<const task_outcome*>(self)->error(); }};

 private:
  union {
    stored value_;
    std::exception_ptr exception_;
  };
};

template <class T>
struct task_promise_base : promise_base {
  using promise_base::promise_base;
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { frame_memory::deallocate(frame, size); }

  ROTA_IF_CALLERS_ARE_KNOWN_INLINE task<T> get_return_object() noexcept;
  std::suspend_always initial_suspend() const noexcept { return {}; }
  // Says in one line where a co_yield belongs.
  template <class U>
  std::suspend_never yield_value(U&&) noexcept {
    static_assert(!std::is_same_v<U, U>,
                  "co_yield is for a coroutine that returns a rota::generator<T>, or, when it awaits as well, a "
                  "rota::async_generator<T>; a task gives its one value with co_return");
    return {};
  }
  // No frame suspends at its end: it frees itself there, parameters included, and only then its parent goes on.
  std::suspend_never final_suspend() noexcept {
    if (outcome->how() != outcome_base::running) [[unlikely]]
      end_alone();
    return {};
  }
  ROTA_COLD void unhandled_exception() noexcept {
    task_outcome<T>& mine = outcome_of_mine();
    mine.set_exception();
    // An exception that leaves the root of a task has nobody above it: its owner will look for it.
    if (mine.how() == outcome_base::root) state->set(task_state::failed);
    // Reports are about the coroutine that was spawned, whose line would go with its frame.
    else if (state->has(task_state::stands_in) && mine.parent() == state->frame())
      promise_of(mine.parent()).waits_at = waits_at;
  }

 protected:
  task_outcome<T>& outcome_of_mine() noexcept { return *static_cast<task_outcome<T>*>(outcome); }

 private:
  // No parent is below it on the stack.
  ROTA_NOINLINE void end_alone() noexcept {
    if (outcome->how() == outcome_base::root)
      state->exec->task_finished(*state);
    else
      state->exec->park(outcome->parent());
  }
};

template <class T>
struct task_promise final : task_promise_base<T> {
  explicit task_promise(std::source_location made_at = std::source_location::current()) noexcept
      : task_promise_base<T>(made_at) {}

  template <class U = T>
    requires std::constructible_from<T, U> && (!std::is_reference_v<T>)
  void return_value(U&& result) noexcept(std::is_nothrow_constructible_v<T, U>) {
    this->outcome_of_mine().emplace(std::forward<U>(result));
  }
  void return_value(T result) noexcept
    requires std::is_reference_v<T>
  {
    this->outcome_of_mine().emplace(std::addressof(result));
  }
};

template <>
struct task_promise<void> final : task_promise_base<void> {
  explicit task_promise(std::source_location made_at = std::source_location::current()) noexcept
      : task_promise_base<void>(made_at) {}
  void return_void() const noexcept { outcome->set_state(outcome_base::value); }
};

// Holds the awaited task's outcome. The task's frame frees itself when the body ends.
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] task_awaiter {
 public:
  explicit task_awaiter(std::coroutine_handle<task_promise<T>> child) noexcept : child_(child) {}
  task_awaiter(const task_awaiter&) = delete;
  task_awaiter& operator=(const task_awaiter&) = delete;
  [[gnu::always_inline]] ~task_awaiter() {
    if (!outcome_.has_value() && !outcome_.has_exception()) [[unlikely]]
      child_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> parent,
                                            line_mark where = ROTA_CALLERS_LINE) noexcept {
    static_assert(
        requires(Promise& p) { static_cast<promise_base&>(p); },
        "rota::task can be awaited only in a coroutine that returns rota::task");
    promise_base& mine = parent.promise();
    mine.waits_at = source_line(where);
    const auto child = child_;  // the compiler cannot know that nothing here changes the member
    promise_base& its = child.promise();
    its.outcome = &outcome_;
    its.state = mine.state;
    if (mine.state->exec->stack_is_deep()) [[unlikely]] {
      outcome_.awaited_by(parent.address(), outcome_base::suspended);
      mine.state->exec->park(child.address());
      return true;
    }
    outcome_.awaited_by(parent.address(), outcome_base::running);
    child.resume();
    if (outcome_.has_value()) [[likely]]
      return false;
    return outcome_.is_awaited_further();
  }
  T await_resume() { return outcome_.take(); }

 protected:
  const promise_base& child() const noexcept { return child_.promise(); }

 private:
  std::coroutine_handle<task_promise<T>> child_;  // the frame is gone once outcome_ is done
  task_outcome<T> outcome_;
};

// No compiler gives a promise the line of the call that made it. Where nothing is inlined there is an address; and a task that
// never began is mostly dropped where it was made, so who runs is told, too.
ROTA_COLD inline void report_never_awaited(std::source_location defined_at, const void* call) noexcept {
  const function_name full(defined_at.function_name());
  std::string_view name = full.c_str();
  const bool is_ours = name.starts_with("rota::detail::");
  if (is_ours) name.remove_prefix(name.rfind(':') + 1);  // called as the function that users know
  description text;
  text.add("a task was destroyed without ever being awaited or spawned: a call of %.*s", static_cast<int>(name.size()),
           name.data());
  if (!is_ours)
    text.add(", which is defined at %s:%u", defined_at.file_name(), static_cast<unsigned>(defined_at.line()));
  if (running_task()) text.add("; dropped%s", by_running_task().c_str());
  const call_site made(is_ours ? nullptr : call);  // else the line would be in the library
  report("%s%s%s", text.c_str(), made ? "; made at " : "", made.c_str());
}
[[noreturn]] ROTA_COLD inline void throw_not_awaitable(bool awaited_before) {
  if (awaited_before)
    throw_usage_error(usage_error::kind::already_awaited, "a rota::task was awaited or spawned twice%s",
                      by_running_task().c_str());
  throw_usage_error(usage_error::kind::invalid_task, "an empty or moved-from rota::task was awaited or spawned%s",
                    by_running_task().c_str());
}

struct task_access;
struct await_a_task_once_as_in__co_await_std_move_t;  // compilers show it to who awaits one that has a name

}  // namespace detail

/// A lazy, move-only coroutine: the body starts when the task is awaited (as an rvalue, once) or run; it then
/// belongs to who awaits it and cannot be dropped (rule R1). Parameters are copied into the frame: take them by
/// value. An exception of the body is thrown where the task is awaited.
///
/// T may be void, a value (movable is enough) or a reference. One executor at a time touches a task; a task that
/// was never started may be destroyed anywhere, which runs nothing of its body.
template <class T>
class [[nodiscard("a task does nothing until it is awaited or run")]] ROTA_IN_REGISTER task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  /// An empty task: awaiting it throws rota::usage_error.
  task() noexcept = default;
  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (valid()) drop(frame_);
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  [[gnu::always_inline]] ~task() {
    if (valid()) [[unlikely]]
      drop(frame_);
  }

  /// True until the task is awaited, run or moved from.
  bool valid() const noexcept { return reinterpret_cast<std::uintptr_t>(frame_) > awaited; }
  explicit operator bool() const noexcept { return valid(); }

  /// Starts the body on the awaiting task's executor, in its scope; throws usage_error when this task is empty or
  /// was awaited before.
  detail::task_awaiter<T> operator co_await() && { return detail::task_awaiter<T>(release()); }
  /// A task is awaited once.
  detail::await_a_task_once_as_in__co_await_std_move_t operator co_await() & = delete;

 private:
  friend detail::task_promise_base<T>;
  friend detail::task_access;
  static constexpr std::uintptr_t awaited = 1;  // in place of a frame: this task was awaited

  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame.address()) {}

  std::coroutine_handle<promise_type> release() {
    if (!valid()) [[unlikely]]
      detail::throw_not_awaitable(frame_ != nullptr);
    return std::coroutine_handle<promise_type>::from_address(std::exchange(frame_, reinterpret_cast<void*>(awaited)));
  }
  ROTA_COLD static void drop(void* frame) noexcept {
    auto handle = std::coroutine_handle<promise_type>::from_address(frame);
    if (detail::debug_mode()) {
      const auto& promise = handle.promise();
      detail::report_never_awaited(promise.waits_at, ROTA_ASSERTIONS ? promise.outcome : nullptr);
    }
    handle.destroy();
  }

  void* frame_ = nullptr;
};

namespace detail {

template <class T>
ROTA_IF_CALLERS_ARE_KNOWN_INLINE task<T> task_promise_base<T>::get_return_object() noexcept {
  if (ROTA_KNOWS_CALLERS) outcome = static_cast<outcome_base*>(__builtin_return_address(0));
  return task<T>(std::coroutine_handle<task_promise<T>>::from_promise(static_cast<task_promise<T>&>(*this)));
}

// How the library takes the frame out of a task.
struct task_access {
  template <class T>
  static std::coroutine_handle<task_promise<T>> release(task<T>& t) {
    return t.release();
  }
  template <class T>
  static void check(const task<T>& t) {
    if (!t.valid()) throw_not_awaitable(t.frame_ != nullptr);
  }
  template <class T>
  static void discard(task<T>& t) noexcept {
    if (t.valid()) t.release().destroy();
  }
};

/// A task that the library was given: if it never begins, somebody is told why, or wanted it so, and needs no report.
template <class T>
class taken_task {
 public:
  explicit taken_task(task<T>&& t) : task_(std::move(t)) { task_access::check(task_); }
  taken_task(taken_task&&) noexcept = default;
  taken_task& operator=(taken_task&&) = delete;
  ~taken_task() { task_access::discard(task_); }

  task<T> take() noexcept { return std::move(task_); }

 private:
  task<T> task_;
};

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;
template <class T>
inline constexpr bool may_leave<task<T>> = true;

// Who keeps a callable and its arguments, and calls it later, asks here first; it says in one line what is wrong with them.
template <class F, class... Args>
consteval bool can_be_started() {
  constexpr bool is_given_a_task = is_task<std::remove_cvref_t<F>>;
  static_assert(!is_given_a_task,
                "spawn() and run() take a callable and its arguments, never a task: write spawn(f, args...) instead of "
                "spawn(f(args...)), so that they live as long as the new task");
  constexpr bool is_callable = std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(
      is_given_a_task || is_callable,
      "spawn(f, args...), run(f, args...): f cannot be called with these arguments, which are stored and passed on as "
      "rvalues; for a T& parameter pass std::ref(x), and name the type: a lambda's `auto&` would be the "
      "std::reference_wrapper");
  constexpr bool is_kept =
      std::is_constructible_v<std::decay_t<F>, F> && (std::is_constructible_v<std::decay_t<Args>, Args> && ...);
  static_assert(
      !is_callable || is_kept,
      "spawn(f, args...), run(f, args...): an argument that cannot be copied is handed over, std::move(x); of "
      "a channel's end there may be another, x.clone(); std::ref(x) keeps a reference");
  return is_callable && is_kept;
}

// Says in one line what a body must be, instead of a page of templates.
template <class F, class Argument>
task<> refuse_body() {
  constexpr bool is_invocable = std::is_invocable_v<F&, Argument&>;
  static_assert(is_invocable,
                "the body takes one argument by reference, what is opened for it: [&](rota::task_group& group) -> "
                "rota::task<> { ... }");
  static_assert(!is_invocable || body_for<F, Argument>,
                "the body must return a rota::task: write [&](...) -> rota::task<> { ... } with a co_await or a "
                "co_return in it");
  return {};
}

}  // namespace detail
}  // namespace rota
