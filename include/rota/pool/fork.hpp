// Fork and join on a strand: several tasks as children of one await, in parallel where other workers have time.
//
//   add(child) ...   pushes the child before, if any, onto the worker's deque
//   go()             runs the last child as if the parent awaited it, then pops its siblings and does the same with them
//
// Until something is stolen this is a chain of plain awaits: the children share the parent's task_state and scope. A pop that
// comes back empty means that the others were stolen (or lie in the deque of a worker that the strand has left, where
// they are found like stolen ones); then, and only then, the join counter is used:
//
//   parent    left += children that others run     acquire-release; 0: all have ended before
//   child     left -= 1 at its very end            acquire-release; 0: it wakes the parent
//
// A stolen child and the news that it must stop cross each other: the thief stores its strand, then looks at stop_; the
// parent sets stop_, then looks for strands. Both seq_cst, so at least one of them sees the other.
#pragma once

#include <coroutine>
#include <cstdint>
#include <new>
#include <source_location>
#include <utility>

#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/pool/pool_worker.hpp>
#include <rota/pool/strand.hpp>

namespace rota::detail {

/// One child, in the parent's frame. The message tells its strand to stop.
struct fork_child : posted {
  void* frame;  // not started
  outcome_base* outcome;
  fork* of;
  fork_child* older;  // the one before it
  fork_child* kept;   // the next of those that did not fit into the deque
  atomic<strand*> stolen;
};

class fork {
 public:
  fork() noexcept {}  // begin() is the true one
  fork(const fork&) = delete;
  fork& operator=(const fork&) = delete;
  ~fork() {}

  void begin(task_state& me, void* parent) noexcept {
    home_ = static_cast<strand*>(me.exec);
    parent_ = parent;
    scope_ = me.current;
    outer_ = std::exchange(home_->forks, this);
    newest_ = kept_ = nullptr;
    waiting_ = 0;
    stay_ = home_->stay();
    suspended_ = nullptr;
    locals_ = me.has_extras() ? me.extras()->locals : nullptr;
    left_.store(0, std::memory_order_relaxed);
    stop_.store(false, std::memory_order_relaxed);
    failure_told_.store(false, std::memory_order_relaxed);
    is_slow_ = has_scope_ = is_joining_ = false;
  }
  [[gnu::always_inline]] void add(fork_child& child, void* frame, outcome_base& outcome) noexcept {
    promise_of(frame).outcome = &outcome;
    child.frame = frame;
    child.outcome = &outcome;
    child.of = this;
    child.stolen.store(nullptr, std::memory_order_relaxed);
    if (newest_) push(*newest_);
    child.older = newest_;
    newest_ = &child;
  }
  /// False: all have ended. True: the parent is suspended.
  [[gnu::always_inline]] bool go() noexcept {
    if (waiting_ != 0) {
      if (home_->worker().must_leave() && !kept_ && home_->worker().deque.push(newest_)) [[unlikely]] {
        ++waiting_;
        return join();
      }
      home_->pool().parking.hint();
    }
    return !run_all(newest_);
  }
  /// Back in the parent. False: all of it took place here, and nothing failed or was cancelled.
  [[gnu::always_inline]] bool leave() noexcept {
    if (!is_slow_) [[likely]] {
      home_->forks = outer_;
      return false;
    }
    leave_slowly();
    return true;
  }

  // For strand::cancel_has_spread(). Something was cancelled; was it around this fork?
  void pass_on_cancel() noexcept {
    if (scope().is_cancelled()) stop_children(cancel_kind::requested, "the scope around a when_all was cancelled");
  }
  fork* outer() const noexcept { return outer_; }
  task_state& parent() const noexcept { return home_->state; }
  std::source_location where() const noexcept { return promise_of(parent_).waits_at; }

 private:
  friend void run_forked(fork_child& child, pool_worker& here) noexcept;
  struct join_hook : hook_frame {
    using hook_frame::hook_frame;
    fork* self = nullptr;
  };
  struct fork_message : posted {
    fork* self = nullptr;
  };

  scope_node& scope() noexcept { return has_scope_ ? own_scope_ : *scope_; }

  [[gnu::always_inline]] void push(fork_child& child) noexcept {
    ++waiting_;
    if (!home_->worker().deque.push(&child)) [[unlikely]]
      child.kept = std::exchange(kept_, &child);
  }

  // Runs the child, then those that are left to this worker. True: all have ended.
  bool run_all(fork_child* child) noexcept {
    do {
      if (!run_here(*child)) return false;
      if (waiting_ == 0) [[likely]]
        return true;
      child = next_of_ours();
    } while (child);
    return !join();
  }
  // True: the child has ended.
  [[gnu::always_inline]] bool run_here(fork_child& child) noexcept {
    promise_base& its = promise_of(child.frame);
    outcome_base& outcome = *child.outcome;
    its.state = &home_->state;
    if (home_->stack_is_deep()) [[unlikely]] {
      will_end_later(outcome);
      home_->park(child.frame);
      return false;
    }
    outcome.awaited_by(parent_, outcome_base::running);
    std::coroutine_handle<>::from_address(child.frame).resume();
    if (outcome.has_value()) [[likely]]
      return true;
    if (!outcome.is_done()) {
      will_end_later(outcome);
      return false;
    }
    child_failed();
    return true;
  }
  // The newest of ours; null when others have all that are left.
  [[gnu::always_inline]] fork_child* next_of_ours() noexcept {
    while (waiting_ != 0) {
      fork_child* child = nullptr;
      if (kept_) [[unlikely]]
        child = std::exchange(kept_, kept_->kept);
      else if (stay_ == home_->stay())
        child = home_->worker().deque.pop();  // ours, if any: as many as `waiting_` were pushed last
      if (!child) return nullptr;
      --waiting_;
      if (!stop_.load(std::memory_order_relaxed)) [[likely]]
        return child;
      is_slow_ = true;  // this one never begins
    }
    return nullptr;
  }
  // True: others are at work, and the last of them resumes the parent.
  ROTA_NOINLINE bool join() noexcept {
    if (waiting_ == 0) return false;
    is_slow_ = is_joining_ = true;
    const auto theirs = static_cast<std::int32_t>(std::exchange(waiting_, 0));
    return left_.fetch_add(theirs, std::memory_order_acq_rel) + theirs != 0;
  }

  // The child has suspended: its end leads to our join point.
  ROTA_NOINLINE void will_end_later(outcome_base& outcome) noexcept {
    is_slow_ = true;
    suspended_ = &outcome;
    link_up_.awaited_by(parent_, outcome_base::suspended);
    auto* point = new (&join_point_)
        join_hook([](hook_frame* frame) { static_cast<join_hook*>(frame)->self->child_ended_later(); }, home_->state,
                  link_up_, promise_of(parent_).waits_at);
    point->self = this;
    outcome.awaited_by(static_cast<hook_frame*>(point), outcome_base::suspended);
  }
  void child_ended_later() noexcept {
    outcome_base* const outcome = std::exchange(suspended_, nullptr);
    if (!outcome->has_value()) child_failed();
    fork_child* const child = next_of_ours();
    if (child ? run_all(child) : !join()) home_->park(parent_);
  }
  void child_failed() noexcept;
  void stop_children(cancel_kind kind, const char* why) noexcept;
  void a_stolen_child_failed() noexcept;
  void leave_slowly() noexcept;

  strand* home_;
  void* parent_;
  scope_node* scope_;  // in which the parent forked
  fork* outer_;
  fork_child* newest_;       // of all children
  fork_child* kept_;         // the first that did not fit into the deque
  local_value* locals_;      // of the parent when it forked: it keeps them until all have ended
  outcome_base* suspended_;  // of the child that will end later
  std::uint32_t waiting_;    // pushed and not popped
  std::uint32_t stay_;       // a later one does not own what was pushed
  atomic<std::int32_t> left_;
  atomic<bool> stop_;
  atomic<bool> failure_told_;
  bool is_slow_;  // something happened that leave() must look at
  bool has_scope_;
  bool is_joining_;  // no child of ours runs

  // Most forks never need these.
  cancel_kind stop_kind_;
  const char* stop_reason_;
  outcome_base link_up_;
  fork_message message_;
  fork_message wake_up_;
  union {
    open_scope own_scope_;
  };
  union {
    join_hook join_point_;
  };
};

// By an error, or by a cancel, of which the siblings hear as well.
ROTA_COLD inline void fork::child_failed() noexcept {
  is_slow_ = true;
  pass_on_cancel();
  stop_children(cancel_kind::sibling, "a sibling failed");
}

ROTA_COLD inline void fork::stop_children(cancel_kind kind, const char* why) noexcept {
  is_slow_ = true;
  if (stop_.load(std::memory_order_relaxed)) return;
  stop_kind_ = kind;
  stop_reason_ = why;
  stop_.store(true, std::memory_order_seq_cst);
  for (fork_child* child = newest_; child; child = child->older) {
    strand* const its = child->stolen.load(std::memory_order_seq_cst);
    if (!its) continue;
    child->run = [](posted& self) noexcept {
      auto& me = static_cast<fork_child&>(self);
      scope_tree::cancel(me.stolen.load(std::memory_order_relaxed)->state, me.of->stop_kind_, me.of->stop_reason_,
                         promise_of(me.of->parent_).waits_at);
    };
    its->post(*child);  // it may have ended; then nobody hears
  }
}

// On the parent's strand. The child that runs here, if any, is cancelled by a scope that it did not need so far.
ROTA_COLD inline void fork::a_stolen_child_failed() noexcept {
  stop_children(cancel_kind::sibling, "a sibling failed");
  if (is_joining_) return;
  if (!has_scope_) {
    new (&own_scope_) open_scope();
    own_scope_.enter_around(home_->state, *scope_);
    for (fork* inner = home_->forks; inner != this; inner = inner->outer_)
      if (inner->scope_ == scope_) inner->scope_ = &own_scope_;
    has_scope_ = true;
  }
  scope_tree::cancel(own_scope_, stop_kind_, stop_reason_, promise_of(parent_).waits_at);
}

ROTA_COLD inline void fork::leave_slowly() noexcept {
  is_joining_ = true;
  home_->hear_others();  // a message of ours may have arrived after its child's end
  home_->forks = outer_;
  if (has_scope_) {
    own_scope_.leave();
    own_scope_.~open_scope();
  }
  for (fork_child* child = newest_; child; child = child->older) {
    strand* const its = child->stolen.load(std::memory_order_relaxed);
    if (!its) continue;
    its->~strand();
    frame_memory::deallocate(its, sizeof(strand));
  }
}

inline void strand::cancel_has_spread(task_state&) noexcept {
  for (fork* f = forks; f; f = f->outer()) f->pass_on_cancel();
}

/// A child that was stolen, or found in the deque without its parent: becomes a task of its own.
ROTA_NOINLINE inline void run_forked(fork_child& child, pool_worker& here) noexcept {
  const auto begin = [](strand& me) noexcept {
    auto& it = *static_cast<fork_child*>(me.context);
    fork& of = *it.of;
    promise_of(it.frame).state = &me.state;
    it.outcome->awaited_by(me.end_frame(), outcome_base::suspended);
    it.stolen.store(&me, std::memory_order_seq_cst);
    if (of.stop_.load(std::memory_order_seq_cst)) {
      me.end();  // before it began; the parent destroys its frame
      return;
    }
    if (of.locals_) me.lend_locals(*of.locals_);
    me.enter(it.frame);
  };
  const auto ended = [](strand& me) noexcept {
    auto& it = *static_cast<fork_child*>(me.context);
    fork& of = *it.of;
    strand& home = *of.home_;
    pool_worker& worker = me.worker();
    if (it.outcome->has_exception() && !of.stop_.load(std::memory_order_relaxed) &&
        !of.failure_told_.exchange(true, std::memory_order_relaxed)) {
      of.message_.self = &of;
      of.message_.run = [](posted& self) noexcept {
        static_cast<fork::fork_message&>(self).self->a_stolen_child_failed();
      };
      home.post(of.message_);
    }
    if (of.left_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    of.wake_up_.self = &of;
    of.wake_up_.run = [](posted& self) noexcept {
      fork& joined = *static_cast<fork::fork_message&>(self).self;
      joined.home_->resume_later(joined.parent_);
    };
    if (home.leave_in_inbox(of.wake_up_)) worker.run_next(home);
  };
  const std::source_location made_at = promise_of(child.of->parent_).waits_at;
  auto& made = *new (here.take_spare()) strand(here.pool(), begin, ended, made_at);
  made.context = &child;
  made.run_on(here);
}

}  // namespace rota::detail
