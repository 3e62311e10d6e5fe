// A task that a strand's task spawns, or that a combinator runs, on a strand of its own: in parallel.
//
// Its place in the tree of the parent's strand is as on a loop: a task_state below its owner. It waits there, and what
// happens crosses the strands as messages:
//
//   cancel   the wait is cancelled as any other one; that posts to the child's strand, which cancels its own root
//   end      the last thing of the child's strand is a post to the parent's, where the task ends: its owner hears of
//            its failure, its joiners go on, its frame is destroyed
//
// So owners, groups and combinators do not know of it, and all of their state has one thread at a time.
#pragma once

#include <coroutine>
#include <new>
#include <source_location>
#include <utility>

#include <rota/coro/cancellation.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/pool/pool_worker.hpp>
#include <rota/pool/remote_child.hpp>
#include <rota/pool/strand.hpp>

namespace rota::detail {

struct strand_child {
  struct part : posted {
    strand_child* of = nullptr;
  };
  struct stay : custom_wait {
    strand_child* of = nullptr;
  };

  strand_child(strand& parents, task_state& t) noexcept
      : runs(parents.pool(), &begin, &ended, t.root().waits_at, t.frame()), home(parents), task(t) {
    runs.context = this;
    runs.parent = &parents;
    promise_of(t.frame()).state = &runs.state;
    if (remote_child* const spawned = remote_child::of(t)) runs.identity = &spawned->identity;
    const task_extras* const extras = t.extras();
    if (extras && extras->locals) runs.inherit_locals(extras->locals);
    runs.set_outer_deadline(earliest_deadline(t, parents));
    place.of = news.of = end.of = this;
    place.cancel = [](custom_wait& self) noexcept { static_cast<stay&>(self).of->pass_on_cancel(); };
    task.waits_for(static_cast<custom_wait*>(&place), wait_kind::custom);
  }

  // On the parent's strand, once. When the child has ended meanwhile, nobody hears.
  void pass_on_cancel() noexcept {
    place.cancel = nullptr;
    why.take(task);
    news.run = [](posted& self) noexcept {
      strand_child& me = *static_cast<part&>(self).of;
      me.why.cancel(me.runs.state);
    };
    runs.post(news);
  }

  /// Null unless that is what the task waits for.
  static strand_child* of(task_state& task) noexcept {
    if (task.wait == 0 || task.waiting_kind() != wait_kind::custom) return nullptr;
    auto& wait = *static_cast<custom_wait*>(task.waiting_for());
    return wait.frame || task.has(task_state::is_remote) ? nullptr : static_cast<stay&>(wait).of;
  }

  static void begin(strand& s) noexcept {
    if (!s.state.is_cancelled()) {
      s.enter(s.state.frame());
      return;
    }
    const auto frame = std::coroutine_handle<>::from_address(s.state.frame());
    s.task_finished(s.state);
    frame.destroy();
  }
  static void ended(strand& s) noexcept {
    auto& me = *static_cast<strand_child*>(s.context);
    strand& parents = me.home;
    pool_worker& worker = s.worker();
    me.end.run = [](posted& self) noexcept { static_cast<part&>(self).of->end_at_home(); };
    if (parents.leave_in_inbox(me.end)) worker.run_next(parents);
  }
  void end_at_home() noexcept {
    task.wait = 0;
    runs.identity->tell_last(task);
    task.end_like(runs.state);
    if (runs.state.has(task_state::started)) {
      task.set(task_state::started);
      if (runs.state.has(task_state::failed)) task.set(task_state::failed);
    } else {  // cancelled before it began
      task.set(task_state::failed);
      task.set(task_state::was_cancelled);
    }
    strand& here = home;
    task_state& one = task;
    this->~strand_child();
    frame_memory::deallocate(this, sizeof(strand_child));
    here.ended_elsewhere(one);
  }

  strand runs;
  strand& home;
  task_state& task;  // at home
  stay place;
  part news;
  part end;
  carried_cancel why;
};

inline task_identity* strand::identity_of(task_state& task) noexcept {
  if (is_main(task)) return identity;
  if (task.has(task_state::is_remote)) return &remote_child::seen_as(task).identity;
  if (strand_child* const away = strand_child::of(task)) return away->runs.identity;
  remote_child* const spawned = remote_child::of(task);
  return spawned ? &spawned->identity : nullptr;
}

inline bool strand::sends_away(task_state& task) noexcept {
  if (pool_.keeps_children || task.is_cancelled()) return false;
  void* room = nullptr;
  try {
    room = frame_memory::allocate(sizeof(strand_child));
  } catch (const std::bad_alloc&) {  // then it runs here
    return false;
  }
  pool_.submit((new (room) strand_child(*this, task))->runs);
  return true;
}

}  // namespace rota::detail
