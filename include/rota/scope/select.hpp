// select(case...): waits for several things at once and does one of them. Receives, sends and the like wait in their
// lists, all at the same time; the first that is granted takes the others out, in the same moment, so that they have not
// happened. No task, no allocation. Where some wait for other threads, the others have lost in the same moment, and are taken
// out before the task goes on (select_decision.hpp). Everything else that can be awaited (a sleep, a task, a read) is run by
// a child.
// A condition's wait lets go of its mutex, and has it again before the select goes on, whoever was first.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/scope/select_cases.hpp>
#include <rota/scope/select_result.hpp>
#include <rota/scope/together.hpp>
#include <rota/sync/remote_wait_list.hpp>
#include <rota/sync/select_decision.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {

inline constexpr std::size_t no_case = SIZE_MAX;

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
class no_decision {};

template <bool Biased, class... As>
class [[nodiscard(ROTA_UNAWAITED)]] select_awaiter
    : public custom_wait,
      public rest_of_grant,
      public std::conditional_t<((case_in<As, As...>::kind == case_kind::child) || ...),
                                select_children<select_awaiter<Biased, As...>>,
                                no_children<select_awaiter<Biased, As...>>>,
      public std::conditional_t<some_for_any_thread<As...>, select_decision, no_decision> {
  template <class A>
  using case_of = case_in<A, As...>;
  using result = select_result<typename case_of<As>::value...>;
  static constexpr std::size_t child_count = (std::size_t{case_of<As>::kind == case_kind::child} + ...);
  static constexpr bool only_children = child_count == sizeof...(As);
  static constexpr bool decides_elsewhere = some_for_any_thread<As...>;
  static constexpr bool can_try = !only_children || (case_of<As>::is_sleep || ...);
  static constexpr bool relocks = (case_of<As>::relocks || ...);
  static_assert(sizeof...(As) <= 64, "a select has 64 cases at most");

 public:
  explicit select_awaiter(As&&... as) : rest_of_grant{&finish}, cases_(static_cast<As&&>(as)...) {
    cancel = &my_scope_was_cancelled;
  }
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
  template <case_kind Kind, class F>
  void each_that_is(F f) {
    each([&](auto index, auto& one) {
      if constexpr (std::remove_reference_t<decltype(one)>::kind == Kind) f(index, one);
    });
  }
  template <class F>
  void each_in_a_list(F f) {
    each([&](auto index, auto& one) {
      if constexpr (std::remove_reference_t<decltype(one)>::kind != case_kind::child) f(index, one);
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
      each_that_is<case_kind::of_loop>([&](auto, auto& one) { one.belongs_to(me, frame); });
    }
    if constexpr (can_try) {
      const std::size_t first = Biased ? 0 : me.exec->draw() % sizeof...(As);
      if (try_from(first, sizeof...(As)) || (first != 0 && try_from(0, first))) return me.exec->takes_turns(frame);
    }
    return wait(me, where);
  }
  bool try_from(std::size_t from, std::size_t to) {
    [[maybe_unused]] task_runner* runner = nullptr;
    if constexpr ((case_of<As>::is_sleep || ...)) runner = &runner_access::of(*me_);
    each([&](auto index, auto& one) {
      if (winner_ == no_case && index >= from && index < to && one.try_now(runner)) winner_ = index;
    });
    return winner_ != no_case;
  }
  bool wait(task_state& me, [[maybe_unused]] line_mark where) {
    bool decided = false;
    try {
      if constexpr (child_count != 0) make_children(me, where);
      each_that_is<case_kind::of_loop>([&](auto, auto& one) { one.enter(&a_case_is_granted, decision()); });
      if constexpr (decides_elsewhere) decided = !stand_for_all_threads(me);
    } catch (...) {
      // Unless another thread has given us something: then that is what happened.
      if (!decide_here()) return ends_elsewhere(me);
      withdraw_cases();
      if constexpr (child_count != 0) give_back_room(me);
      throw;
    }
    if (decided) {
      if (winner_ == no_case) return ends_elsewhere(me);
      withdraw_cases();
      if constexpr (child_count != 0) give_back_room(me);
      return me.exec->takes_turns(frame);
    }
    if constexpr (child_count != 0) start_children(me);
    me.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    if constexpr (relocks) let_go();
    return true;
  }
  // From the first list on other threads may decide. False: it is decided, here if there is a winner.
  bool stand_for_all_threads(task_state& me) {
    bool waits = true;
    each_that_is<case_kind::of_any_thread>([&](auto index, auto& one) {
      if (!waits || one.enter(me, *this, index, &another_thread_has_granted)) return;
      waits = false;
      if (this->winner() == index) winner_ = index;
    });
    return waits && !this->is_made();
  }
  // The winner's post is on its way.
  bool ends_elsewhere(task_state& me) noexcept {
    if constexpr (child_count != 0) give_back_room(me);
    me.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    return true;
  }
  select_decision* decision() noexcept {
    if constexpr (decides_elsewhere)
      return this;
    else
      return nullptr;
  }
  // False: another thread was faster.
  bool decide_here() noexcept { return select_decision::claim(decision(), select_decision::at_home); }
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
    each_that_is<case_kind::child>([&](auto, auto& one) { one.make(where); });
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
    each_that_is<case_kind::child>([&](auto, auto& one) { one.start(runner_access::of(me), *this); });
  }

  // In two steps: whoever is told may give what others stand for in its list, and all of this select must be out by then.
  void withdraw_cases() noexcept {
    leave_lists();
    tell_lists();
  }
  void leave_lists() noexcept {
    each_that_is<case_kind::of_loop>([](auto, auto& one) { one.leave(); });
    each_that_is<case_kind::of_any_thread>([this](auto index, auto& one) { one.leave(index == winner_); });
  }
  void tell_lists() noexcept {
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
      if (locking_) return;
      bool locks = false;
      each_that_relocks([&](auto, auto& one) {
        if (!locks && one.has_let_go()) {
          locks = locking_ = true;
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
    leave_lists();
    finish(*this);
  }
  static void finish(rest_of_grant& decided) noexcept {
    auto& self = static_cast<select_awaiter&>(decided);
    self.tell_lists();
    if constexpr (child_count != 0) {
      if (self.children != 0)
        scope_tree::cancel(self, cancel_kind::sibling, "another case of the select was first",
                           self.me_->root().waits_at);
    }
    self.go_on();
  }
  // The waiting task leads to its select.
  static select_awaiter& of(waiter& one) noexcept {
    return static_cast<select_awaiter&>(*static_cast<custom_wait*>(one.task->waiting_for()));
  }
  static rest_of_grant* has_lock(waiter& one) noexcept {
    select_awaiter& self = of(one);
    self.locking_ = false;
    self.go_on();
    return nullptr;
  }
  static rest_of_grant* a_case_is_granted(waiter& granted) noexcept {
    select_awaiter& self = of(granted);
    std::size_t winner = no_case;
    self.each([&](auto index, auto& one) {
      if (one.is(granted)) winner = index;
    });
    self.winner_ = winner;
    self.leave_lists();
    return &self;
  }
  static void another_thread_has_granted(posted& place) noexcept {
    auto& self = static_cast<select_awaiter&>(static_cast<remote_wait&>(place).decision());
    self.decide(self.winner());
  }
  void a_child_ended(task_state& child) noexcept {
    std::size_t which = no_case;
    each([&](auto index, auto& one) {
      if (one.is(child)) which = index;
    });
    if (child.has(task_state::was_cancelled)) {
      if (winner_ == no_case && !withdrawn_ && only_children && this->children == 1) go_on();
    } else if (winner_ == no_case && withdrawn_) {
      winner_ = which;  // all of it is out of its lists; a mutex may be waited for
      go_on();
    } else if (winner_ == no_case && decide_here()) {
      decide(which);
    } else if (child.has(task_state::failed)) {
      loop_access::report_lost(child, *error_of(child));
    }
  }
  // It may still win: a child that succeeds in spite of the cancel is heard.
  static void my_scope_was_cancelled(custom_wait& wait) noexcept {
    auto& self = static_cast<select_awaiter&>(wait);
    if (self.winner_ != no_case || self.withdrawn_ || !self.decide_here()) return;
    self.withdrawn_ = true;
    self.withdraw_cases();
    self.go_on();
  }
  [[noreturn]] ROTA_COLD void throw_no_winner() {
    if (withdrawn_ || me_->is_cancelled()) throw_cancelled(*me_);
    throw std::system_error(make_error_code(errc::task_cancelled), "every case of a select was cancelled");
  }

  std::tuple<case_of<As>...> cases_;
  task_state* me_ = nullptr;
  std::size_t winner_ = no_case;
  bool withdrawn_ = false;
  bool locking_ = false;  // it waits for a mutex, which it let go of for a condition
  bool attached_ = false;
  bool room_ = false;
};

}  // namespace detail

/// Waits until one of the cases can go on, and does that one:
///
///   auto r = co_await rota::select(rx.next(), tx.send(std::move(one)), rota::sleep_for(1s));
///   if (r.index() == 0) use(r.get<0>());
///
/// Cases that wait in lists: receives and sends on channels and queues, queue.join(), `next()` of a broadcast, `changed()` of
/// a watch, a mutex, a shared_mutex, a semaphore, a capacity_limiter, an event, a latch, a condition_variable; and what is for
/// any thread: receives and sends on mpsc_channel, mpmc_channel and any_thread::oneshot, any_thread::mutex, semaphore and
/// event. Those that lose have not happened: no item was taken, none was sent, no lock or permit was held for a moment, an
/// automatic event is still set, a notification is another's. What the cases are about must live until the select goes on.
/// And anything else that can be awaited, or a callable that returns such a thing: a child runs it (a barrier, a wait with a
/// predicate, too), and it is begun only if nothing can be done at once: no list case, and no sleep_for or sleep_until whose
/// time has come. If it loses, it is cancelled and has ended before the select goes on; an async generator whose next() is
/// cancelled has ended, so write merge(gen) or keep its next() in a task. Should it have succeeded all the same,
/// select_result::get() gives its value, too (has(), if it has none), and if nobody asks, that is reported, but for a sleep.
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
