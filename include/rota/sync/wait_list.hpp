// Who waits for a mutex, a channel, an event: one fair queue under everything that tasks of one loop wait for.
//
// Exact FIFO, and no barging: whoever gives something away (a lock, a permit, an item) hands it to the first waiter with
// grant(), at once, so that nobody who comes later can take it. From then on the waiter has it: a cancel that comes
// between grant() and the waiter's next step changes nothing (rule R2; the suspension after that throws), so a wake-up
// is never lost with the waiter that was to get it. A cancel before grant() takes the waiter out of its place, and
// nothing else has happened; what others may get now, because it stands in their way no longer, is the list's owner's
// to say (the second constructor).
//
// A place of a select that waits for other threads, too, is claimed before it is given anything (claim_first, claim): it
// may have something else by now (select_decision.hpp). Then it is taken out, and the next one is served. Such a place has
// a note in the list (share), so that where there is none nothing is claimed.
//
// The list belongs to the loop whose tasks wait in it; nobody waiting, it belongs to no loop. No atomics, no allocation:
// a place is part of an awaiter, in the frame of the task that waits.
#pragma once

#include <coroutine>
#include <cstddef>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/affinity.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/select_decision.hpp>

namespace rota::detail {

class wait_list;

/// What is left of a grant when the waiter, and all that waits with it, is out of its lists: others may be given something by it.
struct rest_of_grant {
  void (*run)(rest_of_grant&) noexcept;
};

/// A place in a wait_list. A task that waits for several things at once has one in each.
struct waiter {
  using grant_function = rest_of_grant* (*)(waiter&) noexcept;
  explicit waiter(grant_function f) noexcept : granted(f) {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  task_state* task = nullptr;     // who waits; set before the place is taken
  wait_list* place_in = nullptr;  // null: in none
  waiter* next = nullptr;         // in the list
  waiter* previous = nullptr;     // in the list; in the first one the last
  grant_function granted;  // it is out of the list: see that the task goes on, now or in what is left (null: nothing)
};

/// Beside a waiter of a select that other threads may decide: few lists have any, and the others do not pay for it.
struct shared_place {
  waiter* place = nullptr;
  select_decision* decision = nullptr;
  wait_list* list = nullptr;  // null: in none
  shared_place* next = nullptr;
  shared_place* previous = nullptr;  // in the first one the last
};

/// Tasks of a pool run at the same time on several threads, even those of one when_all.
[[noreturn]] ROTA_COLD inline void refuse_pool(task_state& task, const char* what) {
  throw_usage_error(usage_error::kind::wrong_loop,
                    "%s, of a thread pool, uses %s %s, which is for tasks of one event loop; for a pool there are "
                    "rota::any_thread::mutex, semaphore, event and oneshot, rota::mpsc_channel and rota::mpmc_channel",
                    describe(task).c_str(), article_of(what), what);
}

class wait_list {
 public:
  /// `what` it is for, in messages: "mutex".
  explicit wait_list(const char* what) noexcept : what_(what) {}
  /// `withdrawn` is called after a cancel has taken a waiter out.
  wait_list(const char* what, void (*withdrawn)(wait_list&) noexcept) noexcept : what_(what), withdrawn_(withdrawn) {}
  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;
  /// Ends the program if somebody waits: it would wait for ever.
  ~wait_list() {
    if (first_) [[unlikely]]
      destroyed_with_waiters();
  }

  bool empty() const noexcept { return first_ == nullptr; }
  /// Null when the list is empty. Nothing may be given to it that was not claimed.
  waiter* first() const noexcept { return first_; }
  /// The first one that can still be given something, which must follow. Null: nobody is left.
  waiter* claim_first() noexcept {
    if (shared_) [[unlikely]]
      claim_shared_first();
    return first_;
  }
  /// Of one who waits here. False: it has something else by now, and is out.
  bool claim(waiter& w) noexcept { return !shared_ || claim_shared(w); }
  /// Of two that meet, here and in the other list.
  bool claim_both(waiter& w, wait_list& other, waiter& its) noexcept {
    return (!shared_ && !other.shared_) || claim_shared(w, other, its);
  }
  /// False: everybody who waits here takes whatever comes, and need not be claimed.
  bool has_shared() const noexcept { return shared_ != nullptr; }
  /// Who was pushed belongs to a select that other threads may decide. In the order of the waiters: the first one is found first.
  void share(shared_place& note, waiter& w, select_decision& decision) noexcept {
    note.place = &w;
    note.decision = &decision;
    note.list = this;
    note.next = nullptr;
    note.previous = shared_ ? shared_->previous : &note;
    (shared_ ? shared_->previous->next : shared_) = &note;
    shared_->previous = &note;
  }
  void unshare(shared_place& note) noexcept {
    if (note.next)
      note.next->previous = note.previous;
    else
      shared_->previous = note.previous;
    (shared_ == &note ? shared_ : note.previous->next) = note.next;
    note.list = nullptr;
  }
  std::size_t size() const noexcept {
    std::size_t n = 0;
    for (const waiter* w = first_; w; w = w->next) ++n;
    return n;
  }
  const char* what() const noexcept { return what_; }
  /// With ROTA_ASSERTIONS, ends the program when what the list is for is used on a thread that is not its loop's. By everything
  /// that may change it without a wait.
  void used_here() noexcept { user_.note(what_); }
  /// The same at an await. Throws usage_error to a task of a pool.
  void used_by([[maybe_unused]] task_state& task) {
#if ROTA_ASSERTIONS
    if (task.exec->is_strand()) [[unlikely]]
      refuse_pool(task, what_);
    used_here();
#endif
  }

  /// At the end. Throws usage_error, and changes nothing, when tasks of another loop wait here, or the task is a pool's.
  void push(waiter& w) {
    check_loop(*w.task);
    w.place_in = this;
    w.next = nullptr;
    if (first_) {
      w.previous = first_->previous;
      w.previous->next = &w;
      first_->previous = &w;
    } else {
      first_ = w.previous = &w;
    }
  }
  /// Out of its place, without going on.
  void remove(waiter& w) noexcept {
    if (w.next)
      w.next->previous = w.previous;
    else
      first_->previous = w.previous;  // it was the last
    (first_ == &w ? first_ : w.previous->next) = w.next;
    w.place_in = nullptr;
  }
  /// Removes the waiter, which was claimed and goes on in its turn. What it is given must be its own already.
  void grant(waiter& w) noexcept {
    remove(w);
    finish(w.granted(w));
  }
  static void finish(rest_of_grant* left) noexcept {
    if (left) [[unlikely]]
      left->run(*left);
  }
  /// Everybody who waits now, in order.
  void grant_all() noexcept {
    while (waiter* next = claim_first()) grant(*next);
  }
  /// A cancel has removed a waiter.
  void tell_withdrawn() noexcept {
    if (withdrawn_) withdrawn_(*this);
  }

 private:
  shared_place* note_of(const waiter& w) const noexcept {
    shared_place* note = shared_;
    if (&w == first_) return note && note->place == &w ? note : nullptr;  // notes stand in the order of the waiters
    while (note && note->place != &w) note = note->next;
    return note;
  }
  ROTA_COLD void claim_shared_first() noexcept {
    while (first_ && !claim_shared(*first_)) {
    }
  }
  ROTA_COLD bool claim_shared(waiter& w) noexcept {
    shared_place* const note = note_of(w);
    if (!note || select_decision::claim(note->decision, select_decision::at_home)) return true;
    drop(*note);
    return false;
  }
  ROTA_COLD bool claim_shared(waiter& w, wait_list& other, waiter& its) noexcept {
    constexpr auto home = select_decision::at_home;
    shared_place* const a = note_of(w);
    shared_place* const b = other.note_of(its);
    if (select_decision::claim_both(a ? a->decision : nullptr, home, b ? b->decision : nullptr, home)) return true;
    if (a && a->decision->is_made()) drop(*a);
    if (b && b->decision->is_made()) other.drop(*b);
    return false;
  }
  // It has something else.
  void drop(shared_place& note) noexcept {
    remove(*note.place);
    unshare(note);
  }
  void check_loop(task_state& task) const {
    if (task.exec->is_strand()) [[unlikely]]
      refuse_pool(task, what_);
    if (first_ && first_->task->exec != task.exec) [[unlikely]]
      throw_usage_error(usage_error::kind::wrong_loop, "%s, waits for %s %s on which tasks of another event loop wait",
                        describe(task).c_str(), article_of(what_), what_);
  }
  [[noreturn]] ROTA_COLD void destroyed_with_waiters() noexcept {
    trap("%s %s was destroyed while %zu waited for it, first %s", article_of(what_), what_, size(),
         describe(*first_->task).c_str());
  }

  waiter* first_ = nullptr;
  const char* what_;
  void (*withdrawn_)(wait_list&) noexcept = nullptr;
  shared_place* shared_ = nullptr;  // of selects that other threads may decide; few lists have any
  [[no_unique_address]] loop_user user_;
};

/// The base of an awaiter that waits in one list. The derived one looks first whether its scope is cancelled, so that it
/// takes nothing, and then whether it need not wait at all, in which case it returns what task.exec->takes_turns() says
/// (rule R6); otherwise, and when it is cancelled, it returns wait_in().
class list_wait : public custom_wait, public waiter {
 public:
  /// Its scope was cancelled before it got anything: await_resume() must throw, with check().
  bool withdrawn() const noexcept { return withdrawn_; }

 protected:
  list_wait() noexcept : list_wait(&go_on, &withdraw) {}
  /// For who has more to do before it goes on.
  list_wait(grant_function when_granted, void (*when_cancelled)(custom_wait&) noexcept) noexcept
      : waiter(when_granted) {
    cancel = when_cancelled;
  }
  ~list_wait() {
    if (place_in) [[unlikely]]
      destroyed_waiting();
  }

  /// suspend_at() for who may get what it wants without a wait: throws usage_error when the task is a pool's, in builds
  /// with ROTA_ASSERTIONS. Without, only push() looks.
  template <class Promise>
  static task_state& begin_at(std::coroutine_handle<Promise> handle, line_mark where, wait_list& in) {
    task_state& me = suspend_at(handle, where);
    in.used_by(me);
    return me;
  }
  /// Out of await_suspend: true when the task suspends. `cancellable`: false for a wait that a cancel must not end.
  ROTA_NOINLINE bool wait_in(wait_list& in, task_state& waiting, void* its_frame, bool cancellable = true) {
    task = &waiting;
    frame = its_frame;
    if (cancellable && waiting.is_cancelled()) [[unlikely]] {
      withdrawn_ = true;
      return waiting.exec->takes_turns(its_frame);
    }
    if (!cancellable) cancel = nullptr;
    in.push(*this);
    waiting.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    return true;
  }
  /// Throws rota::cancelled if the wait was withdrawn.
  void check() const {
    if (withdrawn_) [[unlikely]]
      throw_cancelled(*task);
  }

  static rest_of_grant* go_on(waiter& self) noexcept {
    make_ready(static_cast<list_wait&>(self).frame);
    return nullptr;
  }

  bool withdrawn_ = false;

 private:
  [[noreturn]] ROTA_COLD void destroyed_waiting() const noexcept {
    trap("%s, was destroyed while it waited for %s %s; a started task must be joined or cancelled",
         describe(*task).c_str(), article_of(place_in->what()), place_in->what());
  }
  static void withdraw(custom_wait& self) noexcept {
    auto& wait = static_cast<list_wait&>(self);
    wait_list& from = *wait.place_in;
    from.remove(wait);
    wait.withdrawn_ = true;
    make_ready(wait.frame);
    from.tell_withdrawn();
  }
};

}  // namespace rota::detail
