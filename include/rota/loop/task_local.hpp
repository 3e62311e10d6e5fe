// task_local<T>: a value that follows a task and the tasks that it spawns, such as the number of a request.
#pragma once

#include <coroutine>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>

namespace rota {

template <class T>
class task_local;

namespace detail {

template <class T>
struct typed_local_value : local_value {
  template <class U>
  typed_local_value(const task_local<T>& of, U&& v)
      : local_value(&of, [](local_value& self) noexcept { delete static_cast<typed_local_value*>(&self); }),
        value(static_cast<U&&>(v)) {}
  T value;
};

// The part of an await with a value that knows no types. A base class: it goes after what it is bound for.
class local_binding {
 public:
  local_binding(const local_binding&) = delete;
  local_binding& operator=(const local_binding&) = delete;

 protected:
  explicit local_binding(local_value& value) noexcept : value_(&value) {}
  ~local_binding() {
    if (bound_in_)
      unbind();
    else
      local_value::release(value_);
  }

  ROTA_NOINLINE void bind(task_state& task) {
    task_extras* extras = extras_of(task);
    if (!extras) throw std::bad_alloc();
    bound_in_ = extras;
    value_->outer = extras->locals;
    extras->locals = value_;
  }
  ROTA_NOINLINE void unbind() noexcept {
    // The awaits of a task nest, so this is its innermost value; but GCC 12 begins all awaits of a full expression before
    // it ends the first one.
    local_value** link = &bound_in_->locals;
    while (*link != value_) link = &(*link)->outer;
    *link = local_value::share(value_->outer);
    bound_in_ = nullptr;
    local_value::release(std::exchange(value_, nullptr));
  }

 private:
  local_value* value_;  // a reference, which is the task's while it is bound
  task_extras* bound_in_ = nullptr;
};

/// Binds a value for the length of one co_await.
template <class A>
class [[nodiscard(ROTA_UNAWAITED)]] local_awaiter : local_binding {
 public:
  static constexpr bool may_leave_strand = may_leave<A>;
  template <class T, class U>
  local_awaiter(const task_local<T>& local, U&& value, A&& a)
      : local_binding(*new typed_local_value<T>(local, static_cast<U&&>(value))),
        inner_(awaiter_of(static_cast<A&&>(a))) {}

  /// What it is around may be a temporary of the same expression: write `co_await with_value(...)`, never name it first.
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<local_awaiter> operator co_await() && noexcept { return pinned_awaiter(*this); }
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    bind(suspend_at(handle, where));
    try {
      return begin_inner(inner_, handle, where);
    } catch (...) {
      unbind();
      throw;
    }
  }
  await_result_t<A> await_resume() {
    const struct closing {
      local_awaiter& self;
      ~closing() { self.unbind(); }  // here, not with the awaiter: other awaits may follow in the same full expression
    } at_exit{*this};
    return inner_.await_resume();
  }

 private:
  awaiter_of_t<A> inner_;
};

}  // namespace detail

/// Names a value that is bound for the length of an await, by with_value. A task that is spawned meanwhile inherits it,
/// whoever owns the new task, and keeps it when the binding has ended. Bound values do not change; binding again hides
/// the outer value. Children of groups and combinators inherit as well; callbacks that are no task see nothing.
///
/// The object's address is its identity: it must outlive every task in which it is bound, so mostly it is a global. Any
/// thread may ask, each for the task that runs on it; a bound value belongs to one event loop or pool, and dies with the last
/// task (and its handles) that knows it.
template <class T>
class task_local {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "task_local<T>: T is a plain object type");

 public:
  constexpr task_local() noexcept = default;
  task_local(const task_local&) = delete;
  task_local& operator=(const task_local&) = delete;

  /// The value that is bound in the running task; null when there is none, and outside of a task. Valid as long as the
  /// binding, in a task that inherited it until that task has ended.
  const T* try_get() const noexcept {
    const detail::task_state* task = detail::running_task();
    const detail::task_extras* extras = task ? task->extras() : nullptr;
    for (const detail::local_value* value = extras ? extras->locals : nullptr; value; value = value->outer)
      if (value->local == this) return &static_cast<const detail::typed_local_value<T>*>(value)->value;
    return nullptr;
  }
  /// The same; throws usage_error when there is none.
  const T& get(std::source_location where = std::source_location::current()) const {
    if (const T* value = try_get()) [[likely]]
      return *value;
    refuse(where);
  }
  /// A copy of the value, or `otherwise`.
  template <class U>
  T get_or(U&& otherwise) const {
    const T* value = try_get();
    return value ? *value : static_cast<T>(std::forward<U>(otherwise));
  }

 private:
  [[noreturn]] ROTA_COLD static void refuse(std::source_location where) {
    detail::task_state* task = detail::running_task();
    if (!task)
      detail::throw_usage_error(usage_error::kind::no_task, "a task_local was read at %s:%u, where no task runs",
                                where.file_name(), static_cast<unsigned>(where.line()));
    detail::throw_usage_error(usage_error::kind::no_value,
                              "a task_local was read at %s:%u, but has no value in %s: co_await "
                              "rota::with_value(local, value, ...) gives it one",
                              where.file_name(), static_cast<unsigned>(where.line()), detail::describe(*task).c_str());
  }
};

/// Awaits `a`, and meanwhile `local` has this value, which is stored now. Gives what `a` gives. A task `a` starts when it
/// is awaited, so its whole body sees the value; what is evaluated to make `a`, such as its arguments, does not.
/// Throws std::bad_alloc.
template <class T, class U, awaitable A>
  requires std::constructible_from<T, U>
detail::local_awaiter<A> with_value(const task_local<T>& local, U&& value, A&& a) {
  return detail::local_awaiter<A>(local, static_cast<U&&>(value), static_cast<A&&>(a));
}

}  // namespace rota
