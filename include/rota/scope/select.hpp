// select(case...): waits for several things at once and does one of them. Receives, sends and the like wait in their
// lists, all at the same time; the first that is granted takes the others out, in the same moment, so that they have not
// happened. No task, no allocation. Everything else that can be awaited (a sleep, a task, a read) is run by a child.
// A condition's wait lets go of its mutex, and has it again before the select goes on, whoever was first.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/scope/together.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {

/// An awaiter that can stand in a select without a task of its own: try_now() does it, if that can be done at once;
/// list() is where to wait otherwise; channel() tells whether two cases have to do with the same thing.
template <class A>
concept list_case = std::derived_from<std::remove_cvref_t<A>, list_wait> && requires(std::remove_reference_t<A>& a) {
  { a.try_now() } -> std::same_as<bool>;
  { a.list() } -> std::same_as<wait_list&>;
  { a.channel() } -> std::convertible_to<const void*>;
};

/// One that lets go of a mutex for as long as the select waits.
template <class A>
concept relocking_case = list_case<A> && requires(std::remove_reference_t<A>& a) { a.let_go(); };

template <bool Biased, class... As>
class select_awaiter;

template <class V>
struct selected_value {
  using type = std::optional<std::remove_cvref_t<V>>;
};
template <>
struct selected_value<void> {
  using type = bool;
};

}  // namespace detail

/// What a select has done: one case, index(), and its value. A case that was run by a child may have succeeded before the
/// cancel reached it, although it lost; then it has a value, too. If nobody looks at that, it is reported.
template <class... Vs>
class [[nodiscard]] select_result {
 public:
  select_result(select_result&& other) noexcept
      : values_(std::move(other.values_)), index_(other.index_), late_(std::exchange(other.late_, 0)) {}
  select_result& operator=(select_result&&) = delete;
  ~select_result() {
    if (late_ != 0) [[unlikely]]
      report_late();
  }

  /// Of the case that was first, as they were written.
  std::size_t index() const noexcept { return index_; }
  /// The case has happened. At most one but for index(), and only among those that a child runs.
  template <std::size_t I>
  bool has() const noexcept {
    if constexpr (std::is_same_v<std::tuple_element_t<I, decltype(values_)>, bool>) late_ &= ~bit(I);
    return static_cast<bool>(std::get<I>(values_));
  }
  /// Its value. Throws usage_error (no_value) when it has not happened.
  template <std::size_t I>
  auto& get() {
    if (!has<I>()) throw usage_error(usage_error::kind::no_value, "this case of the select has not happened");
    late_ &= ~bit(I);
    return *std::get<I>(values_);
  }

 private:
  template <bool Biased, class... As>
  friend class detail::select_awaiter;
  select_result() noexcept = default;

  static constexpr std::uint64_t bit(std::size_t i) noexcept { return std::uint64_t{1} << i; }
  ROTA_COLD void report_late() const noexcept {
    for (std::size_t i = 0; i != sizeof...(Vs); ++i)
      if ((late_ & bit(i)) != 0)
        report("case %zu of a select had succeeded although case %zu was first, and nobody asked", i, index_);
  }

  std::tuple<typename detail::selected_value<Vs>::type...> values_{};
  std::size_t index_ = 0;
  mutable std::uint64_t late_ = 0;  // by case: it has a value that nobody has looked at, and was not the first
};

namespace detail {

inline constexpr std::size_t no_case = SIZE_MAX;

template <class A>
class waiting_case {
 public:
  static constexpr bool is_child = false;
  static constexpr bool is_sleep = false;
  static constexpr bool relocks = relocking_case<A>;
  using value = await_result_t<A>;

  explicit waiting_case(A&& a) noexcept : awaiter_(a) {}
  void belongs_to(task_state& me, void* frame) {
    awaiter_.list().used_by(me);
    awaiter_.task = &me;
    awaiter_.frame = frame;
  }
  bool try_now(task_runner*) { return awaiter_.try_now(); }
  void enter(void (*granted)(waiter&) noexcept) {
    awaiter_.granted = granted;
    awaiter_.list().push(awaiter_);
  }
  auto& awaiter() noexcept { return awaiter_; }
  // In two steps: whoever is told may give what others stand for in its list, and all of this select must be out by then.
  void leave() noexcept {
    left_ = awaiter_.place_in != nullptr;
    if (left_) awaiter_.place_in->remove(awaiter_);
  }
  void tell() noexcept {
    if (left_) awaiter_.list().tell_withdrawn();
  }
  bool is(const waiter& w) const noexcept { return static_cast<const waiter*>(&awaiter_) == &w; }
  bool is(const task_state&) const noexcept { return false; }
  const void* channel() const noexcept { return awaiter_.channel(); }
  const wait_list* list() const noexcept { return &awaiter_.list(); }
  bool succeeded() const noexcept { return false; }  // unless it is the first
  value take() { return awaiter_.await_resume(); }

 private:
  std::remove_reference_t<A>& awaiter_;  // the argument itself
  bool left_ = false;
};

template <class A>
class child_case {
 public:
  static constexpr bool is_child = true;
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
  const wait_list* list() const noexcept { return nullptr; }
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

template <class A>
struct case_for {
  using type = child_case<A>;
};
template <list_case A>
struct case_for<A> {
  using type = waiting_case<A>;
};

/// Owns the children of a select.
template <class Select>
class select_children : public task_owner {
 protected:
  select_children() noexcept : task_owner(sees_success) {}

 private:
  void child_ended(task_state& child) noexcept override { static_cast<Select&>(*this).a_child_ended(child); }
  bool needs_all_children() const noexcept override { return false; }
};
template <class Select>
class no_children {};

template <bool Biased, class... As>
class [[nodiscard(ROTA_UNAWAITED)]] select_awaiter
    : public custom_wait,
      public std::conditional_t<(case_for<As>::type::is_child || ...), select_children<select_awaiter<Biased, As...>>,
                                no_children<select_awaiter<Biased, As...>>> {
  using result = select_result<typename case_for<As>::type::value...>;
  static constexpr std::size_t child_count = (std::size_t{case_for<As>::type::is_child} + ...);
  static constexpr bool only_children = child_count == sizeof...(As);
  static constexpr bool can_try = !only_children || (case_for<As>::type::is_sleep || ...);
  static constexpr bool relocks = (case_for<As>::type::relocks || ...);
  static_assert(sizeof...(As) <= 64, "a select has 64 cases at most");

 public:
  explicit select_awaiter(As&&... as) : cases_(static_cast<As&&>(as)...) { cancel = &my_scope_was_cancelled; }
  select_awaiter(const select_awaiter&) = delete;
  select_awaiter& operator=(const select_awaiter&) = delete;

  /// Its arguments are temporaries of the same expression: write `co_await select(...)`, never name it first.
  await_in_the_expression_that_makes_it operator co_await() & = delete;
  pinned_awaiter<select_awaiter> operator co_await() && noexcept { return pinned_awaiter(*this); }
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    frame = handle.address();
    return begin(suspend_at(handle, where), where);
  }
  result await_resume() {
    if constexpr (child_count != 0) {
      if (attached_) this->detach();
    }
    if (winner_ == no_case) [[unlikely]]
      throw_no_winner();
    result happened;
    happened.index_ = winner_;
    // First those that lost and succeeded all the same: if the winner throws, they are told of.
    each([&](auto index, auto& one) {
      if (index == winner_ || !one.succeeded()) return;
      store<index>(happened, one);
      if constexpr (!std::remove_reference_t<decltype(one)>::is_sleep) happened.late_ |= result::bit(index);
    });
    each([&](auto index, auto& one) {
      if (index == winner_) store<index>(happened, one);
    });
    return happened;
  }

 private:
  friend select_children<select_awaiter>;
  template <class F>
  void each(F f) {
    each_of(f, std::index_sequence_for<As...>());
  }
  template <class F>
  void each_in_a_list(F f) {
    each([&](auto index, auto& one) {
      if constexpr (!std::remove_reference_t<decltype(one)>::is_child) f(index, one);
    });
  }
  template <class F>
  void each_that_relocks(F f) {
    each([&](auto index, auto& one) {
      if constexpr (std::remove_reference_t<decltype(one)>::relocks) f(index, one.awaiter());
    });
  }
  template <class F, std::size_t... Is>
  void each_of(F& f, std::index_sequence<Is...>) {
    (f(std::integral_constant<std::size_t, Is>(), std::get<Is>(cases_)), ...);
  }
  template <std::size_t I, class Case>
  static void store(result& into, Case& one) {
    if constexpr (std::is_void_v<typename Case::value>) {
      one.take();
      std::get<I>(into.values_) = true;
    } else {
      std::get<I>(into.values_).emplace(one.take());
    }
  }

  bool begin(task_state& me, line_mark where) {
    me_ = &me;
    if (me.is_cancelled()) [[unlikely]] {
      withdrawn_ = true;
      return me.exec->takes_turns(frame);
    }
    if constexpr (!only_children) {
      refuse_both_sides(me);
      each_in_a_list([&](auto, auto& one) { one.belongs_to(me, frame); });
    }
    if constexpr (can_try) {
      const std::size_t first = Biased ? 0 : me.exec->draw() % sizeof...(As);
      if (try_from(first, sizeof...(As)) || (first != 0 && try_from(0, first))) return me.exec->takes_turns(frame);
    }
    wait(me, where);
    return true;
  }
  bool try_from(std::size_t from, std::size_t to) {
    [[maybe_unused]] task_runner* runner = nullptr;
    if constexpr ((case_for<As>::type::is_sleep || ...)) runner = &runner_access::of(*me_);
    each([&](auto index, auto& one) {
      if (winner_ == no_case && index >= from && index < to && one.try_now(runner)) winner_ = index;
    });
    return winner_ != no_case;
  }
  void wait(task_state& me, [[maybe_unused]] line_mark where) {
    try {
      if constexpr (child_count != 0) make_children(me, where);
      each_in_a_list([](auto, auto& one) { one.enter(&a_case_is_granted); });
    } catch (...) {
      withdraw_cases();
      if constexpr (child_count != 0) give_back_room(me);
      throw;
    }
    if constexpr (child_count != 0) start_children(me);
    me.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    if constexpr (relocks) let_go();
  }
  // Whether or not one of them could go on at once: a mistake is one every time.
  void refuse_both_sides(task_state& me) {
    each_in_a_list([&](auto index, auto& one) {
      each([&](auto other_index, auto& other) {
        if (other_index < index && other.channel() == one.channel() && other.list() != one.list())
          throw_meets_itself(me);
      });
    });
  }
  [[noreturn]] ROTA_COLD static void throw_meets_itself(task_state& me) {
    throw_usage_error(usage_error::kind::invalid_argument,
                      "%s, has a select that both sends into and receives from one channel: it would wait for itself",
                      describe(me).c_str());
  }
  void make_children(task_state& me, line_mark where) {
    task_runner& runner = runner_access::of(me);
    each([&](auto, auto& one) {
      if constexpr (std::remove_reference_t<decltype(one)>::is_child) one.make(where);
    });
    runner_access::reserve_tasks(runner, child_count);
    room_ = true;
  }
  void give_back_room(task_state& me) noexcept {
    if (!std::exchange(room_, false)) return;
    for (std::size_t i = 0; i != child_count; ++i) runner_access::unreserve_task(runner_access::of(me));
  }
  void start_children(task_state& me) noexcept {
    this->attach(me);
    attached_ = true;
    each([&](auto, auto& one) {
      if constexpr (std::remove_reference_t<decltype(one)>::is_child) one.start(runner_access::of(me), *this);
    });
  }

  void withdraw_cases() noexcept {
    each_in_a_list([](auto, auto& one) { one.leave(); });
    each_in_a_list([](auto, auto& one) { one.tell(); });
  }
  // Each mutex once. Whoever gets one may decide this very select, or have it cancelled.
  void let_go() noexcept {
    each_that_relocks([&](auto index, auto& one) {
      bool is_first = true;
      each_that_relocks([&](auto other_index, auto& other) {
        if (other_index < index && other.lets_go_of() == one.lets_go_of()) is_first = false;
      });
      if (is_first && winner_ == no_case && !withdrawn_) one.let_go();
    });
  }
  // The task goes on when it has its mutexes again, and every child has ended.
  void go_on() noexcept {
    if constexpr (relocks) {
      bool locks = false;
      each_that_relocks([&](auto, auto& one) {
        if (!locks && one.has_let_go()) {
          locks = true;
          one.lock_again(&has_lock);
        }
      });
      if (locks) return;
    }
    if constexpr (child_count != 0) {
      if (this->children != 0) {
        this->wake_below = 1;
        this->waiter = this;
        return;
      }
    }
    make_ready(frame);
  }
  void decide(std::size_t winner) noexcept {
    winner_ = winner;
    withdraw_cases();
    if constexpr (child_count != 0) {
      if (this->children != 0)
        scope_tree::cancel(*this, cancel_kind::sibling, "another case of the select was first", me_->root().waits_at);
    }
    go_on();
  }
  // The waiting task leads to its select.
  static select_awaiter& of(waiter& one) noexcept {
    return static_cast<select_awaiter&>(*static_cast<custom_wait*>(one.task->waiting_for()));
  }
  static void has_lock(waiter& one) noexcept { of(one).go_on(); }
  static void a_case_is_granted(waiter& granted) noexcept {
    select_awaiter& self = of(granted);
    std::size_t winner = no_case;
    self.each([&](auto index, auto& one) {
      if (one.is(granted)) winner = index;
    });
    self.decide(winner);
  }
  void a_child_ended(task_state& child) noexcept {
    std::size_t which = no_case;
    each([&](auto index, auto& one) {
      if (one.is(child)) which = index;
    });
    if (child.has(task_state::was_cancelled)) {
      if (winner_ == no_case && !withdrawn_ && only_children && this->children == 1) go_on();
    } else if (winner_ == no_case) {
      decide(which);
    } else if (child.has(task_state::failed)) {
      loop_access::report_lost(child, *error_of(child));
    }
  }
  // It may still win: a child that succeeds in spite of the cancel is heard.
  static void my_scope_was_cancelled(custom_wait& wait) noexcept {
    auto& self = static_cast<select_awaiter&>(wait);
    if (self.winner_ != no_case || self.withdrawn_) return;
    self.withdrawn_ = true;
    self.withdraw_cases();
    self.go_on();
  }
  [[noreturn]] ROTA_COLD void throw_no_winner() {
    if (withdrawn_ || me_->is_cancelled()) throw_cancelled(*me_);
    throw std::system_error(make_error_code(errc::task_cancelled), "every case of a select was cancelled");
  }

  std::tuple<typename case_for<As>::type...> cases_;
  task_state* me_ = nullptr;
  std::size_t winner_ = no_case;
  bool withdrawn_ = false;
  bool attached_ = false;
  bool room_ = false;
};

}  // namespace detail

/// Waits until one of the cases can go on, and does that one:
///
///   auto r = co_await rota::select(rx.next(), tx.send(std::move(one)), rota::sleep_for(1s));
///   if (r.index() == 0) use(r.get<0>());
///
/// Cases that wait in lists are what tasks of one loop wait for: receives and sends on channels and queues, queue.join(),
/// `next()` of a broadcast, `changed()` of a watch, a mutex, a shared_mutex, a semaphore, a capacity_limiter, an event, a
/// latch, a condition_variable. Those that lose have not happened: no item was taken, none was sent, no lock or permit was
/// held for a moment, an automatic event is still set, a notification is another's. And anything else that can be awaited, or
/// a callable that returns such a thing: a child runs it (what is for any thread, a barrier, a wait with a predicate, too), and
/// it is begun only if nothing can be done at once: no list case, and no sleep_for or sleep_until whose time has come. If it loses, it is cancelled and has ended before the select
/// goes on; an async generator whose next() is cancelled has ended, so write merge(gen) or keep its next() in a task.
/// Should it have succeeded all the same, select_result::get() gives its value, too (has(), if it has none), and if nobody asks, that is
/// reported, but for a sleep.
/// Those that can be done at once are tried in order from a random one on. Never receive in when_any or race: what they do
/// not return is lost; select is for that. What the case throws is thrown: the end of a stream, a broken pipe, a child's error.
/// Throws rota::cancelled when the task's scope is cancelled, and then nothing has happened.
template <class... As>
  requires(sizeof...(As) != 0)
auto select(As&&... as) {
  if constexpr (detail::are_arguments<As...>()) return detail::select_awaiter<false, As...>(static_cast<As&&>(as)...);
}
/// The same, but tried from the first on: of list cases and sleeps that can be done at once, the one that is written first
/// is done. Children, of whatever kind, come after them.
template <class... As>
  requires(sizeof...(As) != 0)
auto select_biased(As&&... as) {
  if constexpr (detail::are_arguments<As...>()) return detail::select_awaiter<true, As...>(static_cast<As&&>(as)...);
}

}  // namespace rota
