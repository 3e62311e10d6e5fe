// A task that a child spawns into a group of a task above it, whose strand is another one than its own.
//
// The child is made on the spawner's strand, so what its arguments throw is thrown there. Then it crosses as a message to
// the strand that has the group, and belongs to it as if it had been spawned there. That strand lives: the spawner is below
// it, and the news of its end takes the same way, later. The group is open: it counts what is on its way.
//
// The spawner's handle cannot refer to that task_state, which has another thread. It refers to one of its own, which is in no tree:
//
//   begin   to the group's strand: the child goes below the group
//   stop    the same way, when the handle was cancelled
//   end     to the spawner's strand: the outcome has been moved over, and joiners go on. A handle that is waited for keeps that
//           strand, not the task on it. When all handles were dropped before, nothing is sent: end_word_ says who was first.
#pragma once

#include <atomic>
#include <coroutine>

#include <rota/base/atomic.hpp>
#include <rota/loop/task_runner.hpp>
#include <rota/pool/strand.hpp>

namespace rota::detail {

struct way_above {
  /// On that strand, and cancelled by the handle alone.
  way_above(strand& spawners, strand& above) noexcept : from(spawners), to(above), leaves(false) {}
  /// Below an owner there, which has counted one more that is on its way.
  way_above(strand& spawners, strand& above, task_owner* below, atomic<unsigned>* arriving) noexcept
      : from(spawners), to(above), owner(below), on_its_way(arriving) {}

  strand& from;
  strand& to;
  task_owner* owner = nullptr;
  atomic<unsigned>* on_its_way = nullptr;
  bool leaves = true;
};

/// What knows no types of it; the rest is in scope/spawn_above.hpp.
class remote_child {
 public:
  remote_child(const remote_child&) = delete;
  remote_child& operator=(const remote_child&) = delete;

  /// Of the child; null for one that was not spawned so.
  static remote_child* of(task_state& child) noexcept {
    for (custom_wait* joiner = child.joiners(); joiner; joiner = joiner->next)
      if (!joiner->frame && static_cast<end_hook*>(joiner)->ended == &on_end)
        return static_cast<watch*>(static_cast<end_hook*>(joiner))->of;
    return nullptr;
  }
  /// Of what its spawner's handle refers to.
  static remote_child& seen_as(task_state& view) noexcept {
    return *static_cast<place*>(static_cast<custom_wait*>(view.waiting_for()))->of;
  }

  task_identity identity;

 protected:
  remote_child(const way_above& way, task_state& child) noexcept
      : way_(way), child_(child), line_(nullptr, child, nobody_, child.root().waits_at) {
    begin_.of = stop_.of = end_.of = ended_.of = place_.of = this;
    begin_.run = [](posted& self) noexcept { static_cast<part&>(self).of->arrive(); };
    stop_.run = [](posted& self) noexcept { static_cast<part&>(self).of->stop_child(); };
    end_.run = [](posted& self) noexcept { static_cast<part&>(self).of->come_back(); };
    ended_.ended = &on_end;
    place_.cancel = [](custom_wait& self) noexcept { static_cast<place&>(self).of->pass_on_cancel(); };
    place_.dropped = [](remote_place& self) noexcept { static_cast<place&>(self).of->handles_dropped(); };
  }
  ~remote_child() = default;

  /// The last step of making it: nothing of it may be touched afterwards, but by its handle.
  void send(task_state& self) noexcept {
    self_ = &self;
    line_.promise.state = &self;
    self.set(task_state::is_remote);
    self.waits_for(static_cast<custom_wait*>(&place_), wait_kind::custom);
    ++way_.from.tasks_;
    way_.to.post(begin_);
  }
  void* line() noexcept { return &line_; }
  task_state& child() noexcept { return child_; }

  void (*move_outcome)(remote_child&) noexcept = nullptr;
  void (*set_error)(remote_child&) noexcept = nullptr;  // of the child: what is being handled
  void (*destroy)(remote_child&) noexcept = nullptr;
  outcome_base* outcome = nullptr;

 private:
  struct part : posted {
    remote_child* of = nullptr;
  };
  struct watch : end_hook {
    remote_child* of = nullptr;
  };
  struct place : remote_place {
    remote_child* of = nullptr;
  };
  enum class end : unsigned char { open, told, unwanted };

  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(*this);
  }

  // On the group's strand.

  void arrive() noexcept {
    atomic<unsigned>* const on_its_way = way_.on_its_way;  // what is ours may go
    child_.references_ = 1;                                // until its end is told
    child_.add_joiner(ended_);
    try {
      if (!way_.owner) way_.owner = &way_.to.root_of_others();
      runner_access::start_arrived(way_.to, *way_.owner, child_, way_.leaves);
    } catch (...) {
      fail();
    }
    if (on_its_way) on_its_way->fetch_sub(1, std::memory_order_release);
  }
  // No memory to begin it: it fails before its beginning.
  ROTA_COLD void fail() noexcept {
    set_error(*this);
    const auto frame = std::coroutine_handle<>::from_address(child_.frame());
    child_.set(task_state::failed);
    child_.end();
    frame.destroy();
    if (way_.owner) way_.owner->child_ended(child_);
    task_state& one = child_;  // this may go
    runner_access::wake_joiners(one);
    if (one.references_ == 0) destroy_task(one);
  }
  void stop_child() noexcept {
    if (!child_is_gone_) why_.cancel(child_);
    release();
  }
  static void on_end(end_hook& self) noexcept { static_cast<watch&>(self).of->child_ended(); }
  void child_ended() noexcept {
    child_is_gone_ = true;
    failed_ = child_.has(task_state::failed);
    was_cancelled_ = child_.has(task_state::was_cancelled);
    ended_at_ = child_.ended_at;
    if (!was_cancelled_) move_outcome(*this);  // a `cancelled` shares its record with this strand
    --child_.references_;
    if (end_word_.exchange(end::told, std::memory_order_acq_rel) == end::open)
      way_.from.post(end_);
    else
      release();
  }

  // On the spawner's strand.

  void pass_on_cancel() noexcept {
    place_.cancel = nullptr;
    why_.take(*self_);
    references_.fetch_add(1, std::memory_order_relaxed);
    way_.to.post(stop_);
  }
  void come_back() noexcept {
    task_state& self = *self_;
    --way_.from.tasks_;
    self.set(task_state::retrieved);  // an error is the group's
    if (failed_) self.set(task_state::failed);
    if (was_cancelled_) self.set(task_state::was_cancelled);
    identity.tell_last(self);
    self.end_with(*outcome, ended_at_);
    runner_access::wake_joiners(self);
    const bool has_handles = self.references_ != 0;
    release();
    if (!has_handles) release();
  }
  void handles_dropped() noexcept {
    if (!self_->has(task_state::finished)) {
      if (end_word_.exchange(end::unwanted, std::memory_order_acq_rel) == end::told) return;  // come_back() will do it
      --way_.from.tasks_;
    }
    release();
  }

  way_above way_;
  task_state& child_;
  task_state* self_ = nullptr;
  bool child_is_gone_ = false;  // the group's strand's, until it tells
  bool failed_ = false;
  bool was_cancelled_ = false;
  line_mark ended_at_{};
  atomic<int> references_{2};  // of the handles, and of the child until its end is told; one more for a stop on its way
  atomic<end> end_word_{end::open};
  outcome_base nobody_;
  hook_frame line_;  // where it was made, for reports
  part begin_, stop_, end_;
  watch ended_;
  place place_;
  carried_cancel why_;
};

}  // namespace rota::detail
