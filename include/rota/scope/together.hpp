// What when_all, when_any and race have in common: several awaitables as children of one await.
//
// Each child is a task of its own (its state waits for one thing at a time, and can be cancelled alone); the state lies
// in the awaiter, so in the parent's frame, and the awaiter goes on only when every child has ended. So children may
// borrow the parent's locals, and a task that is handed over costs no allocation.
#pragma once

#include <coroutine>
#include <cstddef>
#include <new>
#include <span>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/loop/task_record.hpp>
#include <rota/pool/fork.hpp>
#include <rota/scope/failures.hpp>

namespace rota {

namespace detail {

/// A frame that was made before it is known who runs it, its outcome, and the state of its task: one of its own on a loop;
/// on a strand none, as long as nobody steals it.
template <class T>
class held_frame {
 public:
  using value = T;

  held_frame() noexcept {}
  explicit held_frame(task<T>&& t) { adopt(std::move(t)); }
  held_frame(const held_frame&) = delete;
  held_frame& operator=(const held_frame&) = delete;
  [[gnu::always_inline]] ~held_frame() {
    if (!outcome_.came_at_once()) [[unlikely]]
      drop();  // else the frame has freed itself
  }

  /// Before it is started, and if the argument was none: makes its frame.
  void make(line_mark) const noexcept {}
  /// Room in the ready queue was reserved.
  void start(task_runner& runner, task_owner& owner, bool leaves) noexcept {
    is_on_loop_ = true;
    new (&state_) task_state(&runner, frame());
    promise_of(frame()).state = &state_;
    state_.references_ = 1;  // ours: the outcome stays until we go
    runner_access::start(runner, owner, state_, leaves);
  }
  /// To be started by a fork instead.
  fork_child& forked() noexcept { return forked_; }
  bool is(const task_state* child) const noexcept { return is_on_loop_ && &state_ == child; }
  T take() { return outcome_.take(); }
  T take_value() { return outcome_.take_value(); }
  const std::exception_ptr* error() const noexcept { return outcome_.error(); }
  bool is_done() const noexcept { return outcome_.is_done(); }
  bool has_value() const noexcept { return outcome_.has_value(); }

 protected:
  void adopt(task<T>&& t) {
    forked_.frame = task_access::release(t).address();
    promise_of(frame()).outcome = &outcome_;
  }
  /// A frame of ours, made for the await at this line.
  void adopt(task<T>&& t, line_mark where) {
    adopt(std::move(t));
    promise_of(frame()).waits_at = source_line(where);
  }

 private:
  void* frame() const noexcept { return forked_.frame; }
  ROTA_NOINLINE void drop() noexcept {
    if (!is_on_loop_) {
      if (frame() && !outcome_.is_done()) std::coroutine_handle<>::from_address(frame()).destroy();
      return;
    }
    free_extras(state_);
    state_.~task_state();
  }

  fork_child forked_;
  bool is_on_loop_ = false;
  task_outcome<T> outcome_;
  union {
    task_state state_;
  };
};

// Awaits at the line of the user's await, which is the one to tell in reports.
template <class A>
class [[nodiscard(ROTA_UNAWAITED)]] located_awaiter {
 public:
  located_awaiter(A&& a, line_mark where) : inner_(awaiter_of(static_cast<A&&>(a))), where_(where) {}
  located_awaiter(const located_awaiter&) = delete;
  located_awaiter& operator=(const located_awaiter&) = delete;

  bool await_ready() { return inner_.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> handle) {
    handle.promise().waits_at = source_line(where_);  // for awaiters that do not say it
    return suspend_inner(inner_, handle, where_);
  }
  await_result_t<A> await_resume() { return inner_.await_resume(); }

 private:
  awaiter_of_t<A> inner_;
  line_mark where_;
};

template <class A>
task<await_result_t<A>> await_one(std::remove_reference_t<A>& a, line_mark where) {
  co_return co_await located_awaiter<A>(static_cast<A&&>(a), where);
}
template <class F>
task<await_result_t<std::invoke_result_t<F&>>> call_one(F& f, line_mark where) {
  using awaited = std::invoke_result_t<F&>;
  if constexpr (is_task<awaited>)
    co_return co_await subject(detail::invoke(f));
  else
    co_return co_await located_awaiter<awaited>(detail::invoke(f), where);
}

/// One argument of a combinator: something that can be awaited, or a function that returns such a thing. A is the
/// argument as it was forwarded; a movable temporary is kept by value.
template <class A>
class held_child;
template <class A>
  requires awaitable<A>
class held_child<A> : public held_frame<await_result_t<A>> {
  using held = std::conditional_t<std::is_move_constructible_v<A>, A, A&&>;

 public:
  static constexpr bool leaves = may_leave<A>;
  explicit held_child(A&& a) : argument_(static_cast<A&&>(a)) {}
  void make(line_mark where) { this->adopt(await_one<A>(argument_, where), where); }

 private:
  held argument_;
};
template <class F>
  requires(!awaitable<F>)
class held_child<F> : public held_frame<await_result_t<std::invoke_result_t<std::remove_reference_t<F>&>>> {
 public:
  static constexpr bool leaves = may_leave<std::invoke_result_t<std::remove_reference_t<F>&>>;
  explicit held_child(F&& f) : function_(static_cast<F&&>(f)) {
    refuse_empty(function_, "when_all, when_any, race or select");
  }
  void make(line_mark where) { this->adopt(call_one(function_, where), where); }

 private:
  F function_;
};
template <class T>
class held_child<task<T>> : public held_frame<T> {
 public:
  static constexpr bool leaves = true;
  using held_frame<T>::held_frame;
};

template <class A>
inline constexpr bool is_argument =
    awaitable<A> || requires { requires awaitable<std::invoke_result_t<std::remove_reference_t<A>&>>; };
// Says in one line what an argument must be, instead of a page of templates.
template <class A>
constexpr void refuse_unless_argument() {
  static_assert(!(std::is_lvalue_reference_v<A> && is_task<std::remove_cvref_t<A>>),
                "a rota::task is awaited once: hand it over, std::move(task), a range of tasks as a whole");
  static_assert(is_argument<A> || is_task<std::remove_cvref_t<A>>,
                "the argument can be neither awaited nor called, without arguments, to get something that can: write "
                "f(x), not f, x, or a lambda");
  if constexpr (!awaitable<A>) ROTA_REFUSE_OWNING_CLOSURE(A);
}
template <class... As>
consteval bool are_arguments() {
  (refuse_unless_argument<As>(), ...);
  return (is_argument<As> && ...);
}

/// The arguments of a combinator, one by one.
template <class... As>
class pack_children {
 public:
  // Flatten: a std::tuple constructs and destroys its elements by one call for each.
  [[gnu::flatten]] explicit pack_children(As&&... as) : children_(static_cast<As&&>(as)...) {}
  [[gnu::flatten]] ~pack_children() {}

  static constexpr bool all_leave = (held_child<As>::leaves && ...);
  static constexpr std::size_t size() noexcept { return sizeof...(As); }
  void make(line_mark where) {
    each([=](auto& child) { child.make(where); });
  }
  void start(task_runner& runner, task_owner& owner) noexcept {
    each([&](auto& child) { child.start(runner, owner, std::remove_reference_t<decltype(child)>::leaves); });
  }
  template <class F>
  decltype(auto) apply(F&& f) {
    return std::apply(f, children_);
  }
  template <class F>
  [[gnu::always_inline]] void each(F f) {
    each(f, std::index_sequence_for<As...>());
  }

 private:
  template <class F, std::size_t... I>
  [[gnu::always_inline]] void each(F& f, std::index_sequence<I...>) {
    (f(std::get<I>(children_)), ...);
  }

  std::tuple<held_child<As>...> children_;
};

template <class R>
concept range_of_awaitables = requires(R& r) {
  std::begin(r) != std::end(r);
  *std::begin(r);
};

template <class R>
using element_reference = decltype(*std::begin(std::declval<R&>()));
// Handed over, and the elements are its own: they are const where it is. A view's are somebody else's.
template <class R>
inline constexpr bool gives_its_elements = false;
template <class R>
  requires(!std::is_lvalue_reference_v<R> && requires { typename element_reference<const R>; })
inline constexpr bool gives_its_elements<R> = std::is_const_v<std::remove_reference_t<element_reference<const R>>>;

// What is awaited of an element E: itself, or if it is const and may not be awaited, as a join_handle, a copy.
template <class E>
using element_or_copy =
    std::conditional_t<!awaitable<E> && std::is_const_v<std::remove_reference_t<E>> &&
                           std::is_copy_constructible_v<std::remove_cvref_t<E>> && awaitable<std::remove_cvref_t<E>>,
                       std::remove_cvref_t<E>, E>;
// The elements that a range gives are moved out of it; others are awaited where they are.
template <class R>
using element_of = element_or_copy<
    std::conditional_t<gives_its_elements<R>, std::remove_reference_t<element_reference<R>>, element_reference<R>>>;

/// The elements of a range as children. They live in blocks of the frame cache, so that a thousand of them are no
/// allocation either.
template <class R>
class range_children {
  using element = element_of<R>;
  static constexpr bool copies = !std::is_reference_v<element> && !std::is_const_v<element> &&
                                 std::is_const_v<std::remove_reference_t<element_reference<R>>>;

  struct node {
    explicit node(element&& e) : child(static_cast<element&&>(e)) {}
    held_child<element> child;
    node* next = nullptr;
  };

 public:
  using child_type = held_child<element>;
  using value = typename child_type::value;
  static constexpr bool all_leave = child_type::leaves;

  explicit range_children(R&& range) {
    node** end = &first_;
    try {
      for (auto&& one : range) {
        void* block = frame_memory::allocate(sizeof(node));
        try {
          if constexpr (copies)
            *end = new (block) node(element(one));
          else
            *end = new (block) node(static_cast<element&&>(one));
        } catch (...) {
          frame_memory::deallocate(block, sizeof(node));
          throw;
        }
        end = &(*end)->next;
        ++size_;
      }
    } catch (...) {
      clear();
      throw;
    }
  }
  range_children(const range_children&) = delete;
  range_children& operator=(const range_children&) = delete;
  ~range_children() { clear(); }

  std::size_t size() const noexcept { return size_; }
  void make(line_mark where) {
    each([=](auto& child) { child.make(where); });
  }
  void start(task_runner& runner, task_owner& owner) noexcept {
    each([&](auto& child) { child.start(runner, owner, std::remove_reference_t<decltype(child)>::leaves); });
  }
  template <class F>
  void each(F f) {
    for (node* n = first_; n; n = n->next) f(n->child);
  }

 private:
  void clear() noexcept {
    while (node* n = first_) {
      first_ = n->next;
      n->~node();
      frame_memory::deallocate(n, sizeof(node));
    }
  }

  node* first_ = nullptr;
  std::size_t size_ = 0;
};

/// Children on a loop: starts them and waits until all have ended.
template <class Owner>
class loop_join {
 public:
  explicit loop_join(const char* what) : owner_(what) {}

  template <class Children>
  ROTA_NOINLINE void start(Children& children, task_state& me, void* frame, line_mark where) {
    task_runner& runner = runner_access::of(me);
    children.make(where);
    runner_access::reserve_tasks(runner, children.size());
    // From here on nothing can fail.
    me_ = &me;
    owner_.set_line(where);
    owner_.attach(me);
    children.start(runner, owner_);
    wait_.frame = frame;  // not cancellable: a cancel ends the children, and that ends the wait
    owner_.wake_below = 1;
    owner_.waiter = &wait_;
    me.waits_for(&wait_, wait_kind::custom);
  }
  /// Back in the parent.
  void leave() noexcept {
    if (me_) owner_.detach();
  }
  void throw_if_cancelled(const char* what) {
    if (!owner_.child_was_cancelled()) return;
    if (me_->is_cancelled()) throw_cancelled(*me_);
    throw std::system_error(make_error_code(errc::task_cancelled), what);
  }

  Owner owner_;  // public, for when_all

 private:
  task_state* me_ = nullptr;
  custom_wait wait_;
};

/// What comes out of it is the derived awaiter's business.
template <class Derived, class Owner, class Children>
class together : loop_join<Owner> {
 public:
  together(const together&) = delete;
  together& operator=(const together&) = delete;

  /// Its arguments may be temporaries of the same expression: write `co_await when_all(...)`, never name it first.
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<Derived> operator co_await() && noexcept { return pinned_awaiter(static_cast<Derived&>(*this)); }
  bool await_ready() const noexcept { return children_.size() == 0; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    this->start(children_, suspend_at(handle, where), handle.address(), where);
    return true;
  }

 protected:
  template <class... Args>
  explicit together(const char* what, Args&&... args)
      : loop_join<Owner>(what), children_(static_cast<Args&&>(args)...) {}

  using loop_join<Owner>::leave;
  using loop_join<Owner>::throw_if_cancelled;
  using loop_join<Owner>::owner_;
  Children children_;
};

}  // namespace detail
}  // namespace rota
