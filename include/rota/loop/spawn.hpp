// spawn(f, args...): a new task from a callable and its arguments.
#pragma once

#include <bit>
#include <coroutine>
#include <new>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_handle.hpp>

namespace rota {

namespace detail {

// Calling f copies its by-value parameters into the new frame; nothing else needs to be kept when f has no state and
// takes no reference. Then the task is one frame. A parameter of another type than its argument may refer to it, as a
// std::string_view made of a std::string does; numbers do not.
template <class P, class A>
inline constexpr bool is_copied = std::is_same_v<P, A> || (std::is_arithmetic_v<P> && std::is_arithmetic_v<A>);
template <class Signature, class... A>
inline constexpr bool copies_all = false;
template <class R, class... P, class... A>
inline constexpr bool copies_all<R (*)(P...), A...> = (is_copied<P, A> && ...);
template <class R, class... P, class... A>
inline constexpr bool copies_all<R (*)(P...) noexcept, A...> = (is_copied<P, A> && ...);
template <class C, class R, class... P, class... A>
inline constexpr bool copies_all<R (C::*)(P...) const, A...> = (is_copied<P, A> && ...);
template <class C, class R, class... P, class... A>
inline constexpr bool copies_all<R (C::*)(P...) const noexcept, A...> = (is_copied<P, A> && ...);

template <class F, class... Args>
consteval bool is_self_contained() {
  if constexpr (std::is_pointer_v<F>)
    return copies_all<F, Args...>;
  else if constexpr (std::is_empty_v<F> && requires { &F::operator(); })
    return copies_all<decltype(&F::operator()), Args...>;
  else
    return false;
}

// Awaits the coroutine that the task is about: its lines are told in reports, not that of the coroutine which awaits it.
template <class T>
class subject_awaiter : public task_awaiter<T> {
 public:
  using task_awaiter<T>::task_awaiter;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> stand_in) noexcept {
    stand_in.promise().state->set(task_state::stands_in);
    return task_awaiter<T>::await_suspend(stand_in, std::bit_cast<line_mark>(this->child().waits_at));
  }
};
template <class T>
subject_awaiter<T> subject(task<T>&& t) {
  return subject_awaiter<T>(task_access::release(t));
}

// Keeps functor and arguments in its own frame for as long as the task that they make.
template <class T, class F, class... Args>
task<T> call_stored(F f, Args... args) {
  co_return co_await subject(detail::invoke(std::move(f), std::move(args)...));
}
template <class R>
struct task_value;
template <class T>
struct task_value<task<T>> {
  using type = T;
};

// Queues the first step of the task that make() gives.
template <class T, class Make>
[[gnu::always_inline]] inline join_handle<T> start_made(task_runner& runner, task_owner& owner, Make make,
                                                        bool leaves = true) {
  using record = task_record<T>;
  static_assert(alignof(record) <= 16, "a spawned task's result may be aligned to 16 bytes at most");
  runner_access::reserve_task(runner);
  void* room = nullptr;
  std::coroutine_handle<task_promise<T>> frame;
  try {
    room = frame_memory::allocate_record<sizeof(record)>();
    task<T> made = make();
    frame = task_access::release(made);
  } catch (...) {
    if (room) frame_memory::deallocate_record(room, frame_memory::record_class<sizeof(record)>);
    runner_access::unreserve_task(runner);
    throw;
  }
  record& its = *new (room) record(runner, frame.address());
  frame.promise().outcome = &its.outcome;
  frame.promise().state = &its;
  runner_access::start(runner, owner, its, leaves);
  return join_handle<T>(its);
}
template <class T>
join_handle<T> start_given(event_loop& loop, taken_task<T>& given) {
  return start_made<T>(loop, loop_access::root(loop), [&] { return given.take(); });
}

/// Below an owner of this strand or loop. One that does not leave stays on its strand (runner_access::start).
struct start_here {
  task_runner& runner;
  task_owner& owner;
  bool leaves = true;

  template <class T, class Make>
  [[gnu::always_inline]] join_handle<T> start(Make make) const {
    return start_made<T>(runner, owner, make, leaves);
  }
};

/// `place` is a start_here, or the like (scope/spawn_above.hpp).
template <class Place, class F, class... Args>
[[gnu::always_inline]] inline auto start_task_at(const Place& place, F&& f, Args&&... args) {
  if constexpr (can_be_started<F, Args...>()) {
    using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
    static_assert(
        is_task<result>,
        "spawn() takes a callable that returns a rota::task: of a lambda, [](...) -> rota::task<> { ... } with a "
        "co_await or a co_return in it");
    if constexpr (is_task<result>) {
      using T = typename task_value<result>::type;
      refuse_empty(f, "spawn()");
      return place.template start<T>([&] {
        if constexpr (is_self_contained<std::decay_t<F>, std::decay_t<Args>...>())
          return detail::invoke(std::forward<F>(f), std::forward<Args>(args)...);
        else
          return call_stored<T, std::decay_t<F>, std::decay_t<Args>...>(std::forward<F>(f),
                                                                        std::forward<Args>(args)...);
      });
    }
  }
}
template <class F, class... Args>
auto start_task(task_runner& runner, task_owner& owner, F&& f, Args&&... args) {
  return start_task_at(start_here{runner, owner}, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace detail

/// Starts `f(args...)`, which returns a rota::task, on this thread's event loop; its first step runs after what is
/// ready now. Functor and arguments are stored, decayed, in the new task's frame (std::ref keeps a reference), so
/// nothing of the caller needs to outlive the call. The loop owns the task: dropping the handle leaves it running.
/// Throws usage_error where no loop runs, std::bad_alloc without having started anything.
template <class F, class... Args>
[[nodiscard("a dropped handle leaves the task running; cast to void to say that this is meant")]] auto spawn(
    F&& f, Args&&... args) {
  detail::task_runner& here = detail::loop_access::current_runner();
  return detail::start_task(here, detail::runner_access::root(here), std::forward<F>(f), std::forward<Args>(args)...);
}

template <class T>
T event_loop::run(task<T> given) {
  detail::taken_task<T> main(std::move(given));
  check_may_run();
  join_handle<T> handle = detail::start_given(*this, main);
  detail::loop_access::run_until_finished(*this, handle.task());
  if (!handle.done()) throw std::system_error(make_error_code(errc::loop_stopped));
  return handle.take();
}

}  // namespace rota
