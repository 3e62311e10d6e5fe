// Fork and join on a strand: several tasks as children of one await, in parallel where other workers have time.
//
// run() pushes all children but the last onto the worker's deque, runs the last one as if the parent awaited it, then pops its
// siblings and does the same with them. Until something is stolen this is a chain of plain awaits: the children share
// the parent's task_state and scope. A pop that comes back empty means that the others were stolen (or lie in the deque of
// a worker that the strand has left, where they are found like stolen ones); then, and only then, the join counter is used:
//
//   parent    left += children that others run     acquire-release; 0: all have ended before
//   child     left -= 1 at its very end            acquire-release; 0: it wakes the parent
//
// A stolen child and the news that it must stop cross each other: the thief adds itself to stolen_, then looks at stop_; the
// parent sets stop_, then walks along stolen_. All seq_cst, so at least one of them sees the other.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <new>
#include <source_location>
#include <utility>

#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/pool/pool_worker.hpp>
#include <rota/pool/strand.hpp>

namespace rota::detail {

/// Made in the parent's frame when it forks. What a fork needs to which nothing happens is in line and short; all else is out
/// of line.
class fork {
 public:
  [[gnu::always_inline]] fork(strand& home, void* parent) noexcept
      : home_(home), parent_(parent), scope_(home.state.current), outer_(std::exchange(home.forks, this)) {
    if (home.state.has_extras()) [[unlikely]] {
      inherited_ = reinterpret_cast<std::uintptr_t>(home.state.extras()->locals) | has_deadline;
      deadline_ = home.deadline_here();
    }
  }
  fork(const fork&) = delete;
  fork& operator=(const fork&) = delete;
  ~fork() {}

  /// Room for as many children, to be seen to before. False: no memory.
  [[nodiscard, gnu::always_inline]] static bool reserve(strand& home, std::size_t children) noexcept {
    return home.worker().deque.reserve(static_cast<std::int64_t>(children));
  }
  /// False: all have ended. True: the parent is suspended.
  template <class Children>
  [[gnu::always_inline]] bool run(Children& children) noexcept {
    pool_worker& worker = home_.worker();
    fork_child* newest = nullptr;
    std::uint32_t waiting = 0;  // pushed and not popped
    children.each([&](auto& child) {
      if (newest) push(worker, *newest, waiting++);
      newest = &child.forked();
    });
    if (waiting != 0) {
      worker.deque.publish(waiting);
      if (worker.must_leave()) [[unlikely]]
        return leave_all(worker, *newest, waiting);
      worker.pool().parking.hint();
    }
    return !run_all(worker, newest, waiting);
  }
  /// Back in the parent. False: all of it took place here, and nothing failed or was cancelled.
  [[gnu::always_inline]] bool leave() noexcept {
    if (!is_slow_) [[likely]] {
      home_.forks = outer_;
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
  task_state& parent() const noexcept { return home_.state; }
  std::source_location where() const noexcept { return promise_of(parent_).waits_at; }

 private:
  friend void run_forked(fork_child& child, pool_worker& here) noexcept;

  // Where a child that has suspended leads when it ends.
  struct join_hook : hook_frame {
    join_hook(fork& f, outcome_base& of_child, std::uint32_t others) noexcept
        : hook_frame([](hook_frame* frame) { static_cast<join_hook*>(frame)->self.child_ended_later(); }, f.home_.state,
                     up, f.where()),
          self(f),
          child(of_child),
          waiting(others),
          stay(f.home_.stay()) {
      up.awaited_by(f.parent_, outcome_base::suspended);
      child.awaited_by(static_cast<hook_frame*>(this), outcome_base::suspended);
    }
    fork& self;
    outcome_base& child;
    outcome_base up;
    std::uint32_t waiting;
    std::uint32_t stay;  // a later one does not own what was pushed
  };

  scope_node& scope() noexcept { return has_scope_ ? own_scope_ : *scope_; }

  [[gnu::always_inline]] void push(pool_worker& worker, fork_child& child, std::int64_t above) noexcept {
    child.of = this;
    worker.deque.put(above, &child);
  }
  // Runs the child, then those that are left to this worker. True: all have ended.
  [[gnu::always_inline]] bool run_all(pool_worker& worker, fork_child* child, std::uint32_t waiting) noexcept {
    for (;;) {
      promise_base& its = promise_of(child->frame);
      outcome_base& outcome = *its.outcome;
      its.state = &home_.state;
      if (home_.stack_is_deep()) [[unlikely]] {
        home_.park(child->frame);
        return will_end_later(outcome, waiting);
      }
      outcome.awaited_by(parent_, outcome_base::running);
      std::coroutine_handle<>::from_address(child->frame).resume();
      if (!outcome.has_value()) [[unlikely]] {
        if (!outcome.is_done()) return will_end_later(outcome, waiting);
        child_failed();
      }
      if (waiting == 0) return true;
      child = worker.deque.pop();  // ours, if any: as many as `waiting` were pushed last
      if (!child) [[unlikely]]
        return !join(waiting);
      --waiting;
      if (stop_.load(std::memory_order_relaxed)) [[unlikely]]
        return !drop(worker, waiting);
    }
  }
  ROTA_NOINLINE bool will_end_later(outcome_base& outcome, std::uint32_t waiting) noexcept {
    is_slow_ = true;
    new (&join_point_) join_hook(*this, outcome, waiting);
    return false;
  }
  void child_ended_later() noexcept {
    const std::uint32_t waiting = join_point_.waiting;
    const bool is_here = join_point_.stay == home_.stay();
    if (!join_point_.child.has_value()) child_failed();
    if (!(is_here ? go_on(waiting) : join(waiting))) home_.park(parent_);
  }

  // These return true when others are at work, and the last of them resumes the parent.
  ROTA_NOINLINE bool join(std::uint32_t waiting) noexcept {
    if (waiting == 0) return false;
    is_slow_ = is_joining_ = true;
    const auto theirs = static_cast<std::int32_t>(waiting);
    return left_.fetch_add(theirs, std::memory_order_acq_rel) + theirs != 0;
  }
  ROTA_NOINLINE bool go_on(std::uint32_t waiting) noexcept {
    if (waiting == 0) return false;
    pool_worker& worker = home_.worker();
    if (stop_.load(std::memory_order_relaxed)) return drop(worker, waiting);
    fork_child* const child = worker.deque.pop();
    return child ? !run_all(worker, child, waiting - 1) : join(waiting);
  }
  // What waits never begins; the parent destroys it.
  ROTA_NOINLINE bool drop(pool_worker& worker, std::uint32_t waiting) noexcept {
    is_slow_ = true;
    while (waiting != 0 && worker.deque.pop()) --waiting;
    return join(waiting);
  }
  ROTA_NOINLINE bool leave_all(pool_worker& worker, fork_child& newest, std::uint32_t waiting) noexcept {
    push(worker, newest, 0);
    worker.deque.publish(1);
    return join(waiting + 1);
  }

  static constexpr std::uintptr_t has_deadline = 1;
  void hand_down_to(strand& child) const noexcept {
    if (auto* const locals = reinterpret_cast<local_value*>(inherited_ & ~has_deadline)) child.inherit_locals(locals);
    child.set_outer_deadline(deadline_);
  }
  void child_failed() noexcept;
  void stop_children(cancel_kind kind, const char* why) noexcept;
  void a_stolen_child_failed() noexcept;
  void leave_slowly() noexcept;

  strand& home_;
  void* const parent_;
  scope_node* scope_;  // in which the parent forked
  fork* const outer_;
  // 0, or has_deadline, which says that deadline_ is set, and the parent's task_locals when it forked: it keeps them until
  // all have ended.
  std::uintptr_t inherited_ = 0;
  atomic<stolen_child*> stolen_{nullptr};
  atomic<std::int32_t> left_{0};
  atomic<bool> stop_{false};
  bool is_slow_ = false;  // something happened that leave() must look at
  bool has_scope_ = false;
  bool is_joining_ = false;  // no child of ours runs

  // Most forks never need these.
  nanoseconds deadline_;  // around it
  cancel_kind stop_kind_;
  const char* stop_reason_;
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
  for (stolen_child* child = stolen_.load(std::memory_order_seq_cst); child; child = child->next) {
    child->stop.about = child;
    child->stop.run = [](posted& self) noexcept {
      stolen_child& me = *static_cast<stolen_child::message&>(self).about;
      const fork& of = *me.child.of;
      scope_tree::cancel(me.runs.state, of.stop_kind_, of.stop_reason_, of.where());
    };
    child->runs.post(child->stop);  // it may have ended; then nobody hears
  }
}

// On the parent's strand. The child that runs here, if any, is cancelled by a scope that it did not need so far.
ROTA_COLD inline void fork::a_stolen_child_failed() noexcept {
  stop_children(cancel_kind::sibling, "a sibling failed");
  if (is_joining_ || has_scope_) return;
  new (&own_scope_) open_scope();
  own_scope_.enter_around(home_.state, *scope_);
  for (fork* inner = home_.forks; inner != this; inner = inner->outer_)
    if (inner->scope_ == scope_) inner->scope_ = &own_scope_;
  has_scope_ = true;
  scope_tree::cancel(own_scope_, stop_kind_, stop_reason_, where());
}

ROTA_COLD inline void fork::leave_slowly() noexcept {
  is_joining_ = true;
  home_.hear_others();  // a message of ours may have arrived after its child's end
  home_.forks = outer_;
  if (has_scope_) {
    own_scope_.leave();
    own_scope_.~open_scope();
  }
  stolen_child* child = stolen_.load(std::memory_order_relaxed);
  while (child) {
    stolen_child* const ended = std::exchange(child, child->next);
    ended->~stolen_child();
    frame_memory::deallocate(ended, sizeof(stolen_child));
  }
}

inline void strand::cancel_has_spread(task_state&) noexcept {
  for (fork* f = forks; f; f = f->outer()) f->pass_on_cancel();
}

/// A child that was stolen, or found in the deque without its parent: becomes a task of its own.
ROTA_NOINLINE inline void run_forked(fork_child& child, pool_worker& here) noexcept {
  const auto begin = [](strand& me) noexcept {
    auto& it = stolen_child::of(me);
    fork& of = *it.child.of;
    promise_base& its = promise_of(it.child.frame);
    its.state = &me.state;
    it.outcome = its.outcome;
    it.outcome->awaited_by(me.end_frame(), outcome_base::suspended);
    it.next = of.stolen_.load(std::memory_order_relaxed);
    while (!of.stolen_.compare_exchange_weak(it.next, &it, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
    if (of.stop_.load(std::memory_order_seq_cst)) {
      me.end();  // before it began; the parent destroys its frame
      return;
    }
    if (of.inherited_ != 0) of.hand_down_to(me);
    me.enter(it.child.frame);
  };
  const auto ended = [](strand& me) noexcept {
    auto& it = stolen_child::of(me);
    fork& of = *it.child.of;
    strand& home = of.home_;
    pool_worker& worker = me.worker();
    if (it.outcome->has_exception() && !of.stop_.load(std::memory_order_relaxed)) {
      it.has_failed.about = &it;
      it.has_failed.run = [](posted& self) noexcept {
        static_cast<stolen_child::message&>(self).about->child.of->a_stolen_child_failed();
      };
      home.post(it.has_failed);
    }
    if (of.left_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    it.was_last.about = &it;
    it.was_last.run = [](posted& self) noexcept {
      fork& joined = *static_cast<stolen_child::message&>(self).about->child.of;
      joined.home_.resume_later(joined.parent_);
    };
    if (home.leave_in_inbox(it.was_last)) worker.run_next(home);
  };
  auto& made = *new (here.take_spare()) stolen_child(child, here.pool(), begin, ended, child.of->where());
  strand& parents = child.of->home_;
  made.runs.parent = &parents;
  made.runs.identity = parents.identity;
  made.runs.run_on(here);
}

}  // namespace rota::detail
