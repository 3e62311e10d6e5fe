// The cases of a select, by how they wait: in a list of this loop, in a list for any thread, or by a child that runs them.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rota/coro/concepts.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/scope/together.hpp>
#include <rota/sync/remote_wait_list.hpp>
#include <rota/sync/select_decision.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota::detail {

/// An awaiter of one loop that can stand in a select without a task of its own: try_now() does it, if that can be done at
/// once; list() is where to wait otherwise; channel() tells whether two cases have to do with the same thing.
template <class A>
concept list_case = std::derived_from<std::remove_cvref_t<A>, list_wait> && requires(std::remove_reference_t<A>& a) {
  { a.try_now() } -> std::same_as<bool>;
  { a.list() } -> std::same_as<wait_list&>;
  { a.channel() } -> std::convertible_to<const void*>;
};

/// One that lets go of a mutex for as long as the select waits.
template <class A>
concept relocking_case = list_case<A> && requires(std::remove_reference_t<A>& a) { a.let_go(); };

/// One that is for any thread.
template <class A>
concept any_thread_case = std::derived_from<std::remove_cvref_t<A>, remote_wait>;

enum class case_kind : std::uint8_t { of_loop, of_any_thread, child };

/// Shared: other cases of the select are for any thread.
template <class A, bool Shared>
class loop_case {
 public:
  static constexpr case_kind kind = case_kind::of_loop;
  static constexpr bool is_sleep = false;
  static constexpr bool relocks = relocking_case<A>;
  using value = await_result_t<A>;

  explicit loop_case(A&& a) noexcept : awaiter_(a) {}
  void belongs_to(task_state& me, void* frame) {
    awaiter_.list().used_by(me);
    awaiter_.task = &me;
    awaiter_.frame = frame;
  }
  bool try_now(task_runner*) { return awaiter_.try_now(); }
  /// `decision` is null when all cases are of this loop.
  void enter(waiter::grant_function granted, [[maybe_unused]] select_decision* decision) {
    awaiter_.granted = granted;
    awaiter_.list().push(awaiter_);
    if constexpr (Shared) awaiter_.list().share(note_, awaiter_, *decision);
  }
  auto& awaiter() noexcept { return awaiter_; }
  // In two steps: every case leaves before any is told (select_awaiter::withdraw_cases).
  void leave() noexcept {
    if constexpr (Shared) {
      if (note_.list) note_.list->unshare(note_);
    }
    left_ = awaiter_.place_in != nullptr;
    if (left_) awaiter_.place_in->remove(awaiter_);
  }
  void tell() noexcept {
    if (left_) awaiter_.list().tell_withdrawn();
  }
  bool is(const waiter& w) const noexcept { return static_cast<const waiter*>(&awaiter_) == &w; }
  bool is(const task_state&) const noexcept { return false; }
  const void* channel() const noexcept { return awaiter_.channel(); }
  const void* list() const noexcept { return &awaiter_.list(); }
  bool succeeded() const noexcept { return false; }  // unless it is the first
  value take() { return awaiter_.await_resume(); }

 private:
  std::remove_reference_t<A>& awaiter_;  // the argument itself
  bool left_ = false;
  struct nothing {};
  [[no_unique_address]] std::conditional_t<Shared, shared_place, nothing> note_;
};

template <class A>
class remote_case {
 public:
  static constexpr case_kind kind = case_kind::of_any_thread;
  static constexpr bool is_sleep = false;
  static constexpr bool relocks = false;
  using value = await_result_t<A>;

  explicit remote_case(A&& a) noexcept : awaiter_(a) {}
  bool try_now(task_runner*) { return awaiter_.try_now(); }
  /// False: the select has decided.
  bool enter(task_state& me, select_decision& decision, std::size_t index, void (*granted)(posted&) noexcept) {
    return awaiter_.stand(me, decision, static_cast<std::uint32_t>(index), granted);
  }
  // As above. Who gave the winner what it has took it out, and its list may be gone.
  void leave(bool is_winner) noexcept {
    left_ = is_winner ? nullptr : awaiter_.leave();
    awaiter_.has_ended();
  }
  void tell() noexcept {
    if (left_) left_->tell_withdrawn();
  }
  bool is(const waiter&) const noexcept { return false; }
  bool is(const task_state&) const noexcept { return false; }
  const void* channel() const noexcept { return &awaiter_.place().lock(); }
  const void* list() const noexcept { return &awaiter_.place(); }
  bool succeeded() const noexcept { return false; }  // unless it is the first
  value take() { return awaiter_.await_resume(); }

 private:
  std::remove_reference_t<A>& awaiter_;  // the argument itself
  remote_wait_list* left_ = nullptr;
};

template <class A>
class child_case {
 public:
  static constexpr case_kind kind = case_kind::child;
  static constexpr bool is_sleep = std::is_same_v<std::remove_cvref_t<A>, sleep_awaiter>;
  static constexpr bool relocks = false;
  using value = typename held_child<A>::value;

  explicit child_case(A&& a) : sleep_(sleep_of(a)), child_(static_cast<A&&>(a)) { refuse_unless_argument<A>(); }
  bool try_now([[maybe_unused]] task_runner* runner) noexcept {
    if constexpr (is_sleep) passed_ = runner && sleep_->has_passed(*runner);
    return passed_;
  }
  void make(line_mark where) {
    child_.make(where);
    begun_ = true;
  }
  void start(task_runner& runner, task_owner& owner) noexcept { child_.start(runner, owner, held_child<A>::leaves); }
  bool is(const waiter&) const noexcept { return false; }
  bool is(const task_state& child) const noexcept { return begun_ && child_.is(&child); }
  const void* channel() const noexcept { return nullptr; }
  const void* list() const noexcept { return nullptr; }
  bool succeeded() const noexcept { return begun_ && child_.has_value(); }
  value take() {
    if constexpr (is_sleep) {
      if (passed_) return;
    }
    return child_.take();
  }

 private:
  static const sleep_awaiter* sleep_of(const std::remove_reference_t<A>& a) noexcept {
    if constexpr (is_sleep)
      return &a;
    else
      return nullptr;
  }

  const sleep_awaiter* const sleep_;  // the argument itself, which is not moved
  bool passed_ = false;
  held_child<A> child_;
  bool begun_ = false;
};

template <class A, bool Shared>
struct case_for {
  using type = child_case<A>;
};
template <list_case A, bool Shared>
struct case_for<A, Shared> {
  using type = loop_case<A, Shared>;
};
template <any_thread_case A, bool Shared>
struct case_for<A, Shared> {
  using type = remote_case<A>;
};

template <class... As>
inline constexpr bool some_for_any_thread = (any_thread_case<As> || ...);
template <class A, class... All>
using case_in = typename case_for<A, some_for_any_thread<All...>>::type;

}  // namespace rota::detail
