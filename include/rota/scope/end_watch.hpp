// Waits for the ends of several spawned tasks, without owning them: what gather, wait and as_completed stand on.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rota/base/usage_error.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_cycle.hpp>

namespace rota::detail {

/// Which tasks of a fixed number have ended, in the order of their ends. The tasks stay alive by handles that the user of
/// the watch keeps; it may be destroyed at any time, unless somebody waits.
class end_watch {
 public:
  enum class goal : std::uint8_t { all, first, first_exception, first_failure };  // a cancelled task fails, too

  explicit end_watch(std::size_t capacity) : hooks_(capacity) {}
  end_watch(const end_watch&) = delete;
  end_watch& operator=(const end_watch&) = delete;
  ~end_watch() {
    if (is_awaited_) trap("a stream of completions was destroyed while a task waits for the next one");
    for (std::size_t i = 0; i != size_; ++i)
      if (!hooks_[i].has_ended) hooks_[i].task->remove_joiner(hooks_[i]);
  }

  void add(task_state& task) noexcept {
    hook& h = hooks_[size_++];
    h.watch = this;
    h.task = &task;
    h.ended = [](end_hook& self) noexcept { static_cast<hook&>(self).watch->note(static_cast<hook&>(self)); };
    h.who_waits = &who_waits;
    ++left_;
    if (task.has(task_state::finished))
      note(h);
    else
      task.add_joiner(h);
  }

  static constexpr std::size_t none = SIZE_MAX;
  std::size_t left() const noexcept { return left_; }
  std::size_t first_failed() const noexcept { return first_failed_; }
  bool has_ended(std::size_t index) const noexcept { return hooks_[index].has_ended; }
  /// The next of those that have ended, first come first; none when there is none now.
  std::size_t next_ended() noexcept {
    hook* h = first_ended_;
    if (!h) return none;
    first_ended_ = h->next_ended;
    return static_cast<std::size_t>(h - hooks_.data());
  }

  class awaiter;

 private:
  struct hook : end_hook {
    end_watch* watch = nullptr;
    task_state* task = nullptr;
    hook* next_ended = nullptr;
    bool has_ended = false;
  };

  void note(hook& h) noexcept {
    h.has_ended = true;
    (first_ended_ ? last_ended_->next_ended : first_ended_) = &h;
    last_ended_ = &h;
    --left_;
    if (h.task->has(task_state::failed)) {
      const bool is_exception = !h.task->has(task_state::was_cancelled);
      if (first_failed_ == none) first_failed_ = static_cast<std::size_t>(&h - hooks_.data());
      has_exception_ = has_exception_ || is_exception;
    }
    if (waiter_ && reached(goal_)) make_ready(std::exchange(waiter_, nullptr)->frame);
  }
  bool reached(goal g) const noexcept {
    if (left_ == 0) return true;
    switch (g) {
      case goal::all: return false;
      case goal::first: return first_ended_ != nullptr;
      case goal::first_exception: return has_exception_;
      case goal::first_failure: return first_failed_ != none;
    }
    return true;
  }

  static end_waiter who_waits(end_hook& self) noexcept {
    const end_watch& watch = *static_cast<hook&>(self).watch;
    if (!watch.waiter_) return {};
    return {promise_of(watch.waiter_->frame).state, watch.goal_ == goal::first ? &watch : nullptr,
            [](const void* w) noexcept { return !static_cast<const end_watch*>(w)->obstacle(goal::first); }};
  }
  /// A task that is marked, if that keeps the goal from being reached; else null.
  task_state* obstacle(goal g) const noexcept {
    task_state* found = nullptr;
    for (std::size_t i = 0; i != size_; ++i) {
      if (hooks_[i].has_ended) continue;
      if (join_cycle::has(*hooks_[i].task))
        found = hooks_[i].task;
      else if (g == goal::first)
        return nullptr;
    }
    return found;
  }

  std::vector<hook> hooks_;  // never grows: joiners' lists lead here
  std::size_t size_ = 0;
  std::size_t left_ = 0;
  std::size_t first_failed_ = none;
  bool has_exception_ = false;
  goal goal_ = goal::all;
  hook* first_ended_ = nullptr;
  hook* last_ended_ = nullptr;
  custom_wait* waiter_ = nullptr;  // null once it was made ready
  bool is_awaited_ = false;        // from a suspension until the task goes on: what ended meanwhile is that task's
};

/// Waits until the goal is reached. A cancel ends the wait; or it cancels all the tasks, and the wait goes on until they
/// have ended.
class [[nodiscard(ROTA_UNAWAITED)]] end_watch::awaiter : custom_wait {
 public:
  enum class on_cancel : bool { withdraw, cancel_them };

  awaiter(end_watch& watch, goal g, on_cancel what) noexcept : watch_(watch), goal_(g), on_cancel_(what) {}
  awaiter(const awaiter&) = delete;
  awaiter& operator=(const awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, where), handle.address());
  }
  void await_resume() {
    watch_.is_awaited_ = false;
    if (withdrawn_) throw_cancelled(*me_);
  }

 private:
  ROTA_NOINLINE bool start(task_state& me, void* its_frame) {
    if (watch_.is_awaited_)
      throw_usage_error(usage_error::kind::invalid_argument,
                        "%s, asked a stream of completions on which another task waits", describe(me).c_str());
    me_ = &me;
    check(me);
    if (watch_.reached(goal_)) return false;
    if (me.is_cancelled() && !be_cancelled()) return false;
    refuse_cycle(me);
    frame = its_frame;
    cancel = &cancelled;
    watch_.goal_ = goal_;
    watch_.waiter_ = this;
    watch_.is_awaited_ = true;
    me.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    return true;
  }
  void check(task_state& me) const {
    for (std::size_t i = 0; i != watch_.size_; ++i) {
      const hook& h = watch_.hooks_[i];
      if (h.has_ended) continue;
      if (h.task == &me) join_cycle::refuse_itself(me);
      if (h.task->exec != me.exec)
        throw_usage_error(usage_error::kind::wrong_loop, "%s, awaited a task of another event loop",
                          describe(me).c_str());
    }
  }
  void refuse_cycle(task_state& me) const {
    if (withdrawn_) return;
    const join_cycle cycle(me);
    if (task_state* one = watch_.obstacle(goal_)) cycle.refuse(me, *one);
  }
  static void cancelled(custom_wait& self) noexcept {
    auto& wait = static_cast<awaiter&>(self);
    if (wait.be_cancelled()) return;
    wait.watch_.waiter_ = nullptr;
    make_ready(wait.frame);
  }
  /// True: the wait goes on. Not where one of the tasks waits for us: cancelling it has led back here, and one of us
  /// must end first.
  bool be_cancelled() noexcept {
    withdrawn_ = true;
    if (on_cancel_ == on_cancel::withdraw) return false;
    goal_ = watch_.goal_ = goal::all;
    cancelling_ = true;
    bool leads_back = false;
    for (std::size_t i = 0; i != watch_.size_; ++i) {
      if (watch_.has_ended(i)) continue;
      task_state& task = *watch_.hooks_[i].task;
      leads_back = leads_back || is_cancelling(task);
      scope_tree::cancel(task, cancel_kind::requested, "gather was cancelled", me_->root().waits_at);
    }
    cancelling_ = false;
    return !leads_back;
  }
  static bool is_cancelling(task_state& task) noexcept {
    if (task.wait == 0 || task.waiting_kind() != wait_kind::custom) return false;
    const auto* wait = static_cast<custom_wait*>(task.waiting_for());
    return wait->cancel == &cancelled && static_cast<const awaiter*>(wait)->cancelling_;
  }

  end_watch& watch_;
  task_state* me_ = nullptr;
  goal goal_;
  on_cancel on_cancel_;
  bool withdrawn_ = false;
  bool cancelling_ = false;  // while be_cancelled() runs
};

}  // namespace rota::detail
