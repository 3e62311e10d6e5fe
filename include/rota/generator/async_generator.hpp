// async_generator<T>: a coroutine that awaits and yields. Its consumer drives it: the body runs within co_await next().
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/coro/yielding.hpp>

namespace rota {

template <class T>
class async_generator;

namespace detail {

/// The part of an async generator's promise that does not depend on the items' type. Between two items the body belongs to
/// no task; while it runs it is a frame in the chain of awaits of whoever awaits next() or close(), as an awaited task is.
///
/// Generators nest by co_yield elements_of(inner). The outermost is the root: it is the one that its consumer drives, and
/// it knows who of the nest runs. So an item takes one resumption at any depth.
struct async_generator_state : promise_base {
  explicit async_generator_state(std::source_location made_at) noexcept : promise_base(made_at) {
    outcome = &link;
    state = nullptr;
  }
  async_generator_state(const async_generator_state&) = delete;
  async_generator_state& operator=(const async_generator_state&) = delete;

  outcome_base link;  // who awaits us (root: nobody), and whether that can go on
  void* frame = nullptr;
  std::exception_ptr error;  // of the body
  async_generator_state* root = this;
  async_generator_state* outer = nullptr;         // who yields our items as its own; null in a root
  class async_generator_owner* holder = nullptr;  // nested: what owns us, in outer's frame

  // Only in a root:
  executor* exec = nullptr;           // on which the body began; null before
  async_generator_state* top = this;  // who is resumed next
  const void* item = nullptr;         // what was yielded; null at the end
  bool may_move = false;              // the item was not yielded as an lvalue
  bool closing = false;               // every co_yield throws
  bool hands_over = false;            // run_for() must resume the new top

  bool in_flight() const noexcept { return link.how() != outcome_base::root; }
  /// Began on that executor, and waits for somebody who asks.
  bool can_go_on(const executor* on) const noexcept { return exec == on && !in_flight(); }

  /// Runs the body until it is suspended at an item or at its end (false), or waits (true: `parent` must suspend).
  [[gnu::always_inline]] bool run_for(task_state& task, void* parent) noexcept {
    state = &task;
    if (exec->stack_is_deep()) [[unlikely]] {
      top->state = &task;
      link.awaited_by(parent, outcome_base::suspended);
      exec->park(top->frame);
      return true;
    }
    link.awaited_by(parent, outcome_base::running);
    do {
      hands_over = false;
      top->state = &task;
      std::coroutine_handle<>::from_address(top->frame).resume();
    } while (hands_over);
    if (link.is_done()) [[likely]]
      return false;
    link.set_link(outcome_base::suspended);
    return true;
  }
  /// Another one of the nest goes on, when the one that calls this has suspended.
  void hand_over(async_generator_state& to) noexcept {
    top = &to;
    if (link.how() == outcome_base::running) {
      hands_over = true;
    } else {
      to.state = state;
      exec->park(to.frame);
    }
  }
  /// The body is suspended, with an item or for good.
  [[gnu::always_inline]] void give() noexcept {
    const bool resumes_parent = link.how() == outcome_base::suspended;
    link.set_state(outcome_base::value);
    if (resumes_parent) exec->park(link.parent());
  }
  ROTA_COLD void check(task_state& task, const char* what) const {
    if (in_flight())
      throw_usage_error(usage_error::kind::invalid_argument, "%s, called %s of an async_generator whose body runs",
                        describe(task).c_str(), what);
    if (exec && exec != task.exec)
      throw_usage_error(usage_error::kind::wrong_loop,
                        "%s, called %s of an async_generator that runs on another executor", describe(task).c_str(),
                        what);
  }
};

class async_yield {
 public:
  explicit async_yield(async_generator_state& generator) noexcept : generator_(generator) {}
  async_yield(const async_yield&) = delete;
  async_yield& operator=(const async_yield&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) noexcept {
    generator_.waits_at = source_line(where);
    async_generator_state& root = *generator_.root;
    if (root.closing) [[unlikely]]
      return root.exec->takes_turns(handle.address());
    root.give();
    return true;
  }
  void await_resume() const {
    if (generator_.root->closing) [[unlikely]]
      throw_cancelled(*generator_.state);
  }

 private:
  async_generator_state& generator_;
};

class async_generator_end {
 public:
  explicit async_generator_end(async_generator_state& generator) noexcept : generator_(generator) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {
    if (generator_.outer) {
      generator_.root->hand_over(*generator_.outer);
    } else {
      generator_.item = nullptr;
      generator_.give();
    }
  }
  void await_resume() const noexcept {}

 private:
  async_generator_state& generator_;
};

// Owns the body. Null: empty; `ended` instead of an address: the body has ended, or was closed.
class async_generator_owner {
 public:
  async_generator_owner() noexcept = default;
  explicit async_generator_owner(async_generator_state& body) noexcept : body_(&body) {}
  async_generator_owner(async_generator_owner&& other) noexcept : body_(other.take("moved")) {}
  async_generator_owner& operator=(async_generator_owner&& other) noexcept {
    if (this != &other) {
      drop();
      body_ = other.take("moved");
    }
    return *this;
  }
  ~async_generator_owner() { drop(); }

  bool is_empty() const noexcept { return body_ == nullptr; }
  /// Null when there is none any more.
  async_generator_state* body() const noexcept { return body_ == ended() ? nullptr : body_; }
  /// The body is suspended at a co_yield, at its end or before its start.
  void finish() noexcept { destroy(std::exchange(body_, ended())); }
  /// The chain of awaits that the body is part of is being destroyed; what the body waits for has its say.
  void abandon() noexcept { finish(); }

 private:
  static async_generator_state* ended() noexcept { return reinterpret_cast<async_generator_state*>(alignof(void*)); }
  /// The innermost of a nest first, and each by itself: a deep nest needs no deep stack.
  static void destroy(async_generator_state* body) noexcept {
    if (!body || body == ended()) return;
    for (async_generator_state* one = body->top; one != body;) {
      async_generator_state* const outer = one->outer;
      one->holder->body_ = ended();
      std::coroutine_handle<>::from_address(one->frame).destroy();
      one = outer;
    }
    std::coroutine_handle<>::from_address(body->frame).destroy();
  }
  async_generator_state* take(const char* what) noexcept {
    if (async_generator_state* mine = body(); mine && mine->in_flight()) [[unlikely]]
      trap_in_flight(*mine, what);
    return std::exchange(body_, nullptr);
  }
  void drop() noexcept { destroy(take("destroyed")); }
  [[noreturn]] ROTA_COLD static void trap_in_flight(async_generator_state& body, const char* what) noexcept {
    trap("an async_generator was %s while its body runs; its consumer is %s", what, describe(*body.state).c_str());
  }

  async_generator_state* body_ = nullptr;
};

// Owns a nested generator for the length of a co_yield.
class nested_async_generator {
 public:
  nested_async_generator(async_generator_owner&& inner, async_generator_state& outer)
      : inner_(std::move(inner)), outer_(outer) {
    if (inner_.is_empty() || (inner_.body() && inner_.body()->exec))
      throw usage_error(usage_error::kind::invalid_argument,
                        "co_yield elements_of() needs an async_generator that is not empty and was not asked before");
  }
  nested_async_generator(const nested_async_generator&) = delete;
  nested_async_generator& operator=(const nested_async_generator&) = delete;

  bool await_ready() const noexcept { return outer_.root->closing || !inner_.body(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) noexcept {
    outer_.waits_at = source_line(where);
    async_generator_state& inner = *inner_.body();
    inner.root = outer_.root;
    inner.outer = &outer_;
    inner.holder = &inner_;
    inner.link.awaited_by(handle.address(), outcome_base::suspended);
    inner.root->hand_over(inner);
  }
  void await_resume() {
    async_generator_state* const inner = inner_.body();
    if (!inner) return;
    if (!inner->outer) throw_cancelled(*outer_.state);  // the outer one was closed before: it never began
    inner->link = outcome_base();
    const std::exception_ptr error = std::move(inner->error);
    inner_.finish();
    if (error) std::rethrow_exception(error);
  }

 private:
  async_generator_owner inner_;
  async_generator_state& outer_;
};

template <class T>
class async_generator_promise final : public async_generator_state {
  using object = std::remove_reference_t<T>;

 public:
  explicit async_generator_promise(std::source_location made_at = std::source_location::current()) noexcept
      : async_generator_state(made_at) {}
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* block, std::size_t size) noexcept { frame_memory::deallocate(block, size); }

  async_generator<T> get_return_object() noexcept;
  std::suspend_always initial_suspend() const noexcept { return {}; }
  async_generator_end final_suspend() noexcept { return async_generator_end(*this); }
  void unhandled_exception() noexcept { error = std::current_exception(); }
  void return_void() const noexcept {}

  async_yield yield_value(object& yielded) noexcept
    requires std::is_reference_v<T>
  {
    return offer(yielded, false);
  }
  async_yield yield_value(object&& yielded) noexcept
    requires(!std::is_reference_v<T> || std::is_const_v<object>)
  {
    ROTA_REFUSE_OWNING_AGGREGATE(object);
    return offer(yielded, true);
  }
  async_yield yield_value(const object& yielded) noexcept
    requires(!std::is_reference_v<T> && std::copy_constructible<T>)
  {
    return offer(yielded, false);
  }
  async_yield yield_value(by_move<object> yielded) noexcept
    requires(!std::is_reference_v<T>)
  {
    return offer(yielded.object(), true);
  }

  nested_async_generator yield_value(elements_of<async_generator<T>> inner);
  template <class R>
  nested_async_generator yield_value(elements_of<R> other) {
    static_assert(!std::is_same_v<std::remove_cvref_t<R>, async_generator<T>>,
                  "a generator is handed over: write co_yield rota::elements_of(std::move(inner))");
    return yield_value(elements_of(from_range<R>(static_cast<R&&>(other.range()))));
  }

 private:
  async_yield offer(const object& yielded, bool movable) noexcept {
    root->item = std::addressof(yielded);
    root->may_move = movable;
    return async_yield(*this);
  }
  // The range outlives this generator: both live for one co_yield.
  template <class R>
  static async_generator<T> from_range(R&& range) {
    for (auto&& one : range) co_yield static_cast<decltype(one)&&>(one);
  }
};

// Compilers show it to who writes a range-for over an async_generator.
struct use_while_auto_item__co_await_generator_next;

template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] async_next_awaiter {
  // A reference comes as a pointer: null at the end.
  using result = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, std::optional<T>>;

 public:
  explicit async_next_awaiter(async_generator_owner& owner) noexcept : owner_(owner) {}
  async_next_awaiter(const async_next_awaiter&) = delete;
  async_next_awaiter& operator=(const async_next_awaiter&) = delete;
  [[gnu::always_inline]] ~async_next_awaiter() {
    if (body_) [[unlikely]]
      owner_.abandon();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> handle,
                                            line_mark where = ROTA_CALLERS_LINE) {
    task_state& task = suspend_at(handle, where);
    async_generator_state* const body = owner_.body();
    if (!body || !body->can_go_on(task.exec)) [[unlikely]]
      if (!may_begin(body, task)) return false;
    body_ = body;
    return body->run_for(task, handle.address());
  }
  [[gnu::always_inline]] result await_resume() {
    async_generator_state* const body = std::exchange(body_, nullptr);
    if (!body) [[unlikely]]
      return {};
    body->link = outcome_base();
    using object = std::remove_reference_t<T>;
    auto* item = static_cast<object*>(const_cast<void*>(body->item));
    if (!item) [[unlikely]] {
      finish(*body);
      return {};
    }
    if constexpr (std::is_reference_v<T>) {
      return item;
    } else {
      if constexpr (std::copy_constructible<T>)
        if (!body->may_move) return result(std::as_const(*item));
      return result(std::move(*item));
    }
  }

 private:
  // False: there is nothing any more.
  ROTA_COLD bool may_begin(async_generator_state* body, task_state& task) const {
    if (owner_.is_empty())
      throw_usage_error(usage_error::kind::invalid_argument,
                        "%s, called next() of an empty or moved-from async_generator", describe(task).c_str());
    if (!body) return false;
    body->check(task, "next()");
    body->exec = task.exec;
    return true;
  }
  ROTA_COLD void finish(async_generator_state& body) {
    const std::exception_ptr error = std::move(body.error);
    owner_.finish();
    if (error) std::rethrow_exception(error);
  }

  async_generator_owner& owner_;
  async_generator_state* body_ = nullptr;  // while it runs for us
};

// Resumes a body in a cancelled scope, so that its co_yield throws, until it has ended.
class [[nodiscard(ROTA_UNAWAITED)]] async_close_awaiter {
 public:
  explicit async_close_awaiter(async_generator_owner& owner) noexcept : owner_(owner), body_(owner.body()) {}
  async_close_awaiter(const async_close_awaiter&) = delete;
  async_close_awaiter& operator=(const async_close_awaiter&) = delete;
  ~async_close_awaiter() {
    if (!drives_) [[likely]]
      return;
    owner_.abandon();
    scope_.leave();
  }

  bool await_ready() const noexcept { return !body_; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& task = suspend_at(handle, where);
    body_->check(task, "close()");
    if (!body_->exec) {  // never started
      owner_.finish();
      return false;
    }
    drives_ = true;
    scope_.enter(task);
    scope_tree::cancel(scope_, cancel_kind::requested, "an async_generator was closed", source_line(where));
    body_->closing = true;
    return body_->run_for(task, handle.address());
  }
  void await_resume() {
    if (!drives_) return;
    drives_ = false;
    body_->link = outcome_base();
    scope_.leave();
    const std::exception_ptr error = std::move(body_->error);
    owner_.finish();
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const cancelled& exception) {
      // Ours. If it is one from outside, the next suspension throws it again.
      if (exception.task() != scope_.host) throw;
    }
  }

 private:
  async_generator_owner& owner_;
  async_generator_state* body_;
  open_scope scope_;
  bool drives_ = false;
};

}  // namespace detail

/// A lazy coroutine that may await whatever a task may, and co_yield items. Owns its body; may be moved while the body does
/// not run. T is a value or an lvalue reference.
///
///     while (auto item = co_await pages.next()) use(*item);
///
/// The body runs within next() only, as part of the task that awaits it: that task's cancel, time limits and scopes reach
/// whatever the body awaits, and no scope can stay open in it across a co_yield. Different tasks of one executor may take
/// turns.
///
/// `co_yield elements_of(inner)` yields all items of another one of the same type, which is handed over, or of any range; at
/// any depth an item takes one step, and close() closes the innermost first.
///
/// Leaving it early: who destroys it destroys the body at its co_yield, with its locals; cleanup that must await needs
/// close(), which for_each(), collect() and with(limit, generator, body) call on every way out. Destroying or moving it
/// while its body runs ends the program (rule R1).
template <class T>
class [[nodiscard(ROTA_UNASKED)]] async_generator {
  static_assert(!std::is_void_v<T> && !std::is_rvalue_reference_v<T>,
                "an async_generator yields values or lvalue references");
  static_assert(std::is_reference_v<T> || !std::is_const_v<T>,
                "write async_generator<T>: the items are the consumer's");

 public:
  using promise_type = detail::async_generator_promise<T>;
  using value_type = std::remove_cvref_t<T>;

  /// An empty generator: next() throws usage_error.
  async_generator() noexcept = default;
  async_generator(async_generator&&) noexcept = default;
  async_generator& operator=(async_generator&&) noexcept = default;

  /// The next item: std::optional<T>, or T* for a reference, which is valid until the next call. Empty when the body has
  /// ended, from then on always. What was yielded as an lvalue is copied, else moved. An exception of the body is thrown here,
  /// rota::cancelled among them; the body has ended then. Throws usage_error, and changes nothing, while another next()
  /// runs the body, and on another executor than the first one's.
  [[nodiscard(ROTA_UNAWAITED)]] detail::async_next_awaiter<T> next() noexcept {
    return detail::async_next_awaiter<T>(owner_);
  }

  /// Ends the body: its co_yield throws rota::cancelled, in a cancelled scope, so that its cleanup can await within a
  /// shield as after any cancel. An item that it yields then is dropped. Throws what else leaves the body. Does nothing
  /// when it never began or has ended; a cancel of the caller changes nothing.
  detail::async_close_awaiter close() noexcept { return detail::async_close_awaiter(owner_); }

  /// An item must be awaited, and a range-for awaits nothing.
  detail::use_while_auto_item__co_await_generator_next begin() = delete;
  detail::use_while_auto_item__co_await_generator_next end() = delete;

 private:
  friend promise_type;
  explicit async_generator(detail::async_generator_state& body) noexcept : owner_(body) {}

  detail::async_generator_owner owner_;
};

namespace detail {

template <class T>
async_generator<T> async_generator_promise<T>::get_return_object() noexcept {
  frame = std::coroutine_handle<async_generator_promise>::from_promise(*this).address();
  return async_generator<T>(*this);
}
template <class T>
nested_async_generator async_generator_promise<T>::yield_value(elements_of<async_generator<T>> inner) {
  return nested_async_generator(std::move(inner.range().owner_), *this);
}

}  // namespace detail
}  // namespace rota
