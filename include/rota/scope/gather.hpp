// gather, wait, as_completed: asyncio's ways to wait for tasks that run already. They own nothing: what is left when they
// end goes on. Where the tasks should live and fail together, when_all and task groups are simpler and safer.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <rota/base/owned.hpp>
#include <rota/coro/outcome.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/scope/end_watch.hpp>
#include <rota/scope/timeout.hpp>
#include <rota/scope/when_all.hpp>

namespace rota {

/// First argument of gather: errors are results, too.
struct return_exceptions_t {
  explicit return_exceptions_t() = default;
};
inline constexpr return_exceptions_t return_exceptions{};

namespace detail {

template <class H>
inline constexpr bool is_join_handle = false;
template <class T>
inline constexpr bool is_join_handle<join_handle<T>> = true;
template <class H>
concept a_join_handle = is_join_handle<std::remove_cvref_t<H>>;

template <class H>
struct handle_value;
template <class T>
struct handle_value<join_handle<T>> {
  using type = T;
};
template <class H>
using handle_value_t = typename handle_value<std::remove_cvref_t<H>>::type;

template <class R>
concept range_of_handles = requires(R& r) {
  requires a_join_handle<element_reference<R>>;
  std::begin(r) != std::end(r);
};
template <class R>
using handle_of = std::remove_cvref_t<element_reference<R>>;

/// The handles, moved out of a range that is handed over.
template <class R>
std::vector<handle_of<R>> listed(R&& range) {
  if constexpr (std::is_same_v<R, std::vector<handle_of<R>>>) {
    return static_cast<R&&>(range);
  } else {
    std::vector<handle_of<R>> handles;
    for (auto&& handle : range) {
      if constexpr (gives_its_elements<R>)
        handles.push_back(std::move(handle));
      else
        handles.push_back(handle);
    }
    return handles;
  }
}

// The result of a handle that was given as H: moved out of a handle that was handed over, else copied.
template <class H, class T>
auto gathered(join_handle<T>& handle) {
  if constexpr (std::is_void_v<T>) {
    handle.result();
    return std::monostate();
  } else if constexpr (std::is_lvalue_reference_v<H>) {
    return std::remove_cvref_t<T>(handle.result());
  } else {
    return std::remove_cvref_t<T>(handle.take());
  }
}
template <class H, class T>
auto outcome_of_handle(join_handle<T>& handle) {
  outcome<std::conditional_t<std::is_void_v<T>, void, std::remove_cvref_t<T>>> result;
  try {
    if constexpr (std::is_void_v<T>) {
      handle.result();
      result.emplace();
    } else {
      result.emplace(gathered<H>(handle));
    }
  } catch (...) {
    result.set_exception(std::current_exception());
  }
  return result;
}

template <class T>
task_state& state_of(const join_handle<T>& handle) {
  if (!handle.valid())
    throw_usage_error(usage_error::kind::invalid_task,
                      "an empty join_handle was given to gather, wait or as_completed%s", by_running_task().c_str());
  return handle.task();
}

/// Rethrows the error of the task that failed first.
template <class... Ts>
void rethrow_failed(std::size_t index, join_handle<Ts>&... handles) {
  std::size_t i = 0;
  ((i++ == index ? static_cast<void>(handles.result()) : void()), ...);
}

template <class... Hs>
task<std::tuple<decltype(gathered<Hs>(std::declval<std::remove_cvref_t<Hs>&>()))...>> gather_pack(
    std::remove_cvref_t<Hs>... handles) {
  end_watch watch(sizeof...(Hs));
  (watch.add(state_of(handles)), ...);
  co_await end_watch::awaiter(watch, end_watch::goal::first_failure, end_watch::awaiter::on_cancel::cancel_them);
  rethrow_failed(watch.first_failed(), handles...);
  co_return std::tuple<decltype(gathered<Hs>(handles))...>(gathered<Hs>(handles)...);
}
template <class... Hs>
task<std::tuple<decltype(outcome_of_handle<Hs>(std::declval<std::remove_cvref_t<Hs>&>()))...>> gather_outcomes(
    std::remove_cvref_t<Hs>... handles) {
  end_watch watch(sizeof...(Hs));
  (watch.add(state_of(handles)), ...);
  co_await end_watch::awaiter(watch, end_watch::goal::all, end_watch::awaiter::on_cancel::cancel_them);
  co_return std::tuple<decltype(outcome_of_handle<Hs>(handles))...>(outcome_of_handle<Hs>(handles)...);
}

// H says whether the handles were handed over.
template <class H, class T>
task<std::conditional_t<std::is_void_v<T>, void, std::vector<std::remove_cvref_t<T>>>> gather_range(
    std::vector<join_handle<T>> handles) {
  end_watch watch(handles.size());
  for (const join_handle<T>& handle : handles) watch.add(state_of(handle));
  co_await end_watch::awaiter(watch, end_watch::goal::first_failure, end_watch::awaiter::on_cancel::cancel_them);
  if (watch.first_failed() != end_watch::none) handles[watch.first_failed()].result();
  if constexpr (!std::is_void_v<T>) {
    std::vector<std::remove_cvref_t<T>> values;
    values.reserve(handles.size());
    for (join_handle<T>& handle : handles) values.push_back(gathered<H>(handle));
    co_return values;
  }
}
template <class H, class T>
task<std::vector<outcome<std::conditional_t<std::is_void_v<T>, void, std::remove_cvref_t<T>>>>> gather_range_outcomes(
    std::vector<join_handle<T>> handles) {
  end_watch watch(handles.size());
  for (const join_handle<T>& handle : handles) watch.add(state_of(handle));
  co_await end_watch::awaiter(watch, end_watch::goal::all, end_watch::awaiter::on_cancel::cancel_them);
  std::vector<outcome<std::conditional_t<std::is_void_v<T>, void, std::remove_cvref_t<T>>>> outcomes;
  outcomes.reserve(handles.size());
  for (join_handle<T>& handle : handles) outcomes.push_back(outcome_of_handle<H>(handle));
  co_return outcomes;
}

/// The handles, each task once.
template <class T>
void remove_duplicates(std::vector<join_handle<T>>& handles) {
  for (const join_handle<T>& handle : handles) (void)state_of(handle);  // throws before anything is marked
  std::size_t kept = 0;
  for (std::size_t i = 0; i != handles.size(); ++i) {
    task_state& task = handles[i].task();
    if (task.has(task_state::marked)) continue;
    task.set(task_state::marked);
    if (kept != i) handles[kept] = std::move(handles[i]);
    ++kept;
  }
  handles.resize(kept);
  for (join_handle<T>& handle : handles) handle.task().clear(task_state::marked);
}

}  // namespace detail

/// Waits for tasks that run already and gives their results in the order of the arguments: a std::tuple, std::monostate for
/// void; of a handle that is handed over (std::move) the result is moved, else copied. The same task may be given twice.
///
/// The first exception (a cancelled task counts as one: errc::task_cancelled) is thrown at once; the other tasks go on,
/// and an error of theirs is reported when nobody else holds their handle. A cancel of the caller cancels all tasks, waits
/// until they have ended, and throws rota::cancelled.
template <detail::a_join_handle... Hs>
auto gather(Hs&&... handles) {
  return detail::gather_pack<Hs...>(std::forward<Hs>(handles)...);
}
/// gather(return_exceptions, ...): waits for all, and gives a rota::outcome for each.
template <detail::a_join_handle... Hs>
auto gather(return_exceptions_t, Hs&&... handles) {
  return detail::gather_outcomes<Hs...>(std::forward<Hs>(handles)...);
}
/// The same for a range of handles (a vector, array, deque, span ...): a vector of results, nothing for void.
template <detail::range_of_handles R>
auto gather(R&& handles) {
  using handle = std::conditional_t<detail::gives_its_elements<R>, detail::handle_of<R>, const detail::handle_of<R>&>;
  return detail::gather_range<handle>(detail::listed(std::forward<R>(handles)));
}
template <detail::range_of_handles R>
auto gather(return_exceptions_t, R&& handles) {
  using handle = std::conditional_t<detail::gives_its_elements<R>, detail::handle_of<R>, const detail::handle_of<R>&>;
  return detail::gather_range_outcomes<handle>(detail::listed(std::forward<R>(handles)));
}
template <class... As>
  requires(!(detail::a_join_handle<As> && ...))
task<> gather(As&&...) {
  static_assert(
      sizeof...(As) == 0,
      "gather() waits for tasks that run already: give it join_handles, as in gather(spawn(f, x)), or a range "
      "of them; when_all() takes tasks and other awaitables");
  return {};
}

/// What wait() waits for.
enum class wait_until : unsigned char {
  all_completed,
  first_completed,
  first_exception,  ///< or all; a task that ended as cancelled is none
};

/// What wait() gives: each task once, in the order of the argument.
template <class T>
struct wait_result {
  wait_result() noexcept {}
  std::vector<join_handle<T>> done;
  std::vector<join_handle<T>> pending;
};

namespace detail {

template <class T, class Duration>
task<wait_result<T>> wait_for_handles(std::vector<join_handle<T>> handles, wait_until policy, Duration limit) {
  if (handles.empty())
    throw_usage_error(usage_error::kind::invalid_argument, "wait() needs at least one task, and was called with none%s",
                      by_running_task().c_str());
  using goal = end_watch::goal;
  const goal until = policy == wait_until::all_completed     ? goal::all
                     : policy == wait_until::first_completed ? goal::first
                                                             : goal::first_exception;
  remove_duplicates(handles);
  end_watch watch(handles.size());
  for (const join_handle<T>& handle : handles) watch.add(handle.task());
  using awaiter = end_watch::awaiter;
  co_await move_on_after(limit, awaiter(watch, until, awaiter::on_cancel::withdraw));
  wait_result<T> result;
  for (std::size_t i = 0; i != handles.size(); ++i)
    (watch.has_ended(i) ? result.done : result.pending).push_back(std::move(handles[i]));
  co_return result;
}

}  // namespace detail

/// Waits until `policy` is fulfilled or `limit` has passed, whichever is first. Cancels nothing and throws no error of a
/// task, nor of the limit. Throws usage_error when there is no task, or the limit is not a number; rota::cancelled when the
/// caller is cancelled.
template <detail::range_of_handles R, class Rep = duration::rep, class Period = duration::period>
task<wait_result<detail::handle_value_t<detail::handle_of<R>>>> wait(
    R&& handles, wait_until policy = wait_until::all_completed,
    std::chrono::duration<Rep, Period> limit = duration::max()) {
  return detail::wait_for_handles(detail::listed(std::forward<R>(handles)), policy, limit);
}
template <class A, class... Options>
  requires detail::a_join_handle<A> || awaitable<A>
task<> wait(A&&, Options&&...) {
  static_assert(!std::is_same_v<A, A>,
                "wait() takes a range of join_handles: to wait for one, co_await it, within timeout(limit, handle) or "
                "move_on_after(limit, handle)");
  return {};
}

/// The tasks as they end: `while (auto handle = co_await completions.next())`. For one task at a time: another one that
/// asks meanwhile gets a usage_error. Movable; may be dropped when nobody waits, which leaves the tasks running.
template <class T>
class [[nodiscard(ROTA_UNASKED)]] completion_stream {
 public:
  /// The next task that has ended, or nothing when all were given. Cancelling the wait loses nothing.
  task<std::optional<join_handle<T>>> next() {
    if (!state_) co_return std::nullopt;  // moved from
    state& s = *state_;
    if (s.given == s.handles.size()) co_return std::nullopt;
    using watch = detail::end_watch;
    co_await watch::awaiter(s.watch, watch::goal::first, watch::awaiter::on_cancel::withdraw);
    ++s.given;
    co_return std::move(s.handles[s.watch.next_ended()]);
  }
  /// How many next() will still give. Of a stream that was moved from: none.
  std::size_t left() const noexcept { return state_ ? state_->handles.size() - state_->given : 0; }

  // For the library.
  explicit completion_stream(std::vector<join_handle<T>> handles) {
    detail::remove_duplicates(handles);
    state_ = detail::owned<state>(new state(std::move(handles)));
  }

 private:
  struct state {
    explicit state(std::vector<join_handle<T>> all) : handles(std::move(all)), watch(handles.size()) {
      for (const join_handle<T>& handle : handles) watch.add(handle.task());
    }
    std::vector<join_handle<T>> handles;
    detail::end_watch watch;
    std::size_t given = 0;
  };
  detail::owned<state> state_;
};

/// Gives each task once, in the order of their ends. Owns and cancels nothing; for a time limit:
/// `co_await timeout(d, completions.next())`.
template <detail::range_of_handles R>
completion_stream<detail::handle_value_t<detail::handle_of<R>>> as_completed(R&& handles) {
  return completion_stream<detail::handle_value_t<detail::handle_of<R>>>(detail::listed(std::forward<R>(handles)));
}

}  // namespace rota
