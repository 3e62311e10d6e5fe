// A strand runs one task of a pool: an executor that one worker at a time drives, so that everything below it (scope tree,
// task state, forks) is single-threaded as on a loop. docs/design/0012-the-pool.md.
#pragma once

#include <coroutine>
#include <cstdint>
#include <new>
#include <source_location>
#include <string_view>
#include <utility>

#include <rota/base/owned.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/task_identity.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/loop/deadline_scope.hpp>
#include <rota/loop/task_runner.hpp>
#include <rota/pool/pool_core.hpp>
#include <rota/pool/pool_timers.hpp>
#include <rota/pool/strand_inbox.hpp>

namespace rota::detail {

class fork;

/// Something that can be resumed like a coroutine and is none: calls a function. Compilers agree on a frame's first two
/// words; the promise behind them lets a debugger walk on (rule R9).
struct alignas(16) hook_frame {  // an outcome_base keeps 4 bits of its address
  void (*resume)(hook_frame* self);
  void (*destroy)(hook_frame* self);
  promise_base promise;

  hook_frame(void (*f)(hook_frame*), task_state& task, outcome_base& to, std::source_location at) noexcept
      : resume(f), destroy(nullptr), promise(at) {
    promise.state = &task;
    promise.outcome = &to;
  }
};

class strand final : public task_runner, public pool_job {
 public:
  /// `begin` runs when a worker takes the strand first, and starts the task, whose outcome says awaited_by(end_frame(),
  /// suspended); or it calls end(). `ended` runs as the last thing, on an unwound stack: it may destroy the strand.
  using step = void (*)(strand& self) noexcept;
  strand(pool_core& pool, step begin, step ended, std::source_location made_at, void* root = nullptr) noexcept
      : task_runner(executor_kind::strand),
        state(this, root ? root : &end_),
        pool_(pool),
        begin_(begin),
        ended_(ended),
        end_(&on_end, state, top_, made_at) {
    ready_.borrow(&ready_slot_);
    run = [](pool_job& self, pool_worker& here) noexcept { static_cast<strand&>(self).run_on(here); };
    due_.message.strand = this;
    due_.message.run = [](posted& self) noexcept {
      static_cast<strand&>(*static_cast<due_timers::news&>(self).strand).fire_due();
    };
  }
  ~strand() {
    free_extras(state);  // looks at what is below the task, root_ too
  }

  pool_core& pool() const noexcept { return pool_; }
  /// The worker that runs it; to be asked on that worker's thread only.
  pool_worker& worker() const noexcept { return *worker_; }
  void* end_frame() noexcept { return &end_; }
  void end() noexcept { has_ended_ = true; }
  /// Is the task one of those that `other`'s task has made, or that these have?
  bool is_below(const task_runner& other) const noexcept {
    const strand* one = parent;
    while (one && one != &other) one = one->parent;
    return one != nullptr;
  }
  /// False for tasks that live here beside it.
  bool is_main(const task_state& task) const noexcept { return &task == &state; }
  std::source_location made_at() const noexcept { return end_.promise.waits_at; }
  /// Counts how often a worker took it: between two suspensions with the same number nothing else ran on the worker.
  std::uint32_t stay() const noexcept { return stay_; }

  /// Runs a frame of the task now. For `begin`.
  void enter(void* frame) {
    state.set(task_state::started);
    run_frame(state, frame);
  }
  void run_on(pool_worker& here) noexcept;

  void post(posted& work) noexcept override {
    if (leave_in_inbox(work)) pool_.submit(*this);
  }
  /// True: it was idle, and the caller must see to it that it runs.
  [[nodiscard]] bool leave_in_inbox(posted& work) noexcept { return inbox_.post(work); }
  /// A moment ago; any thread.
  bool rests() const noexcept { return inbox_.rests(); }
  bool has_posts() const noexcept { return !inbox_.empty(); }
  void hear_others() noexcept override {
    if (has_posts()) [[unlikely]]
      hear();
  }
  ROTA_NOINLINE void hear() noexcept {
    posted* oldest = inbox_.take();
    while (oldest) {
      posted& work = *std::exchange(oldest, oldest->next);  // running it may destroy it
      work.run(work);
    }
  }

  inline void cancel_has_spread(task_state&) noexcept override;
  inline bool cancels_elsewhere(task_state&, scope_node& scope, std::string_view reason,
                                std::source_location where) noexcept override;
  void task_finished(task_state& task) noexcept override {
    if (!is_main(task)) return task_runner::task_finished(task);
    task.end();
    no_task_runs();  // the frame's parameters are still to be destroyed
    has_ended_ = true;
  }
  inline task_identity* identity_of(task_state& task) noexcept override;
  nanoseconds outer_deadline() const noexcept override { return outer_deadline_; }
  /// Before it begins. With extras, so that a fork looks at the deadline.
  void set_outer_deadline(nanoseconds when) noexcept {
    if (when != never && extras_of(state)) outer_deadline_ = when;
  }
  /// The deadline that reaches what the task does now.
  nanoseconds deadline_here() noexcept {
    if (state.current != deadline_of_) {
      deadline_of_ = state.current;
      deadline_ = earliest_deadline(*state.current, *this);
    }
    return deadline_;
  }
  /// What the task that it came from has bound. Before it begins.
  void inherit_locals(local_value* locals) noexcept;
  due_timers& due() noexcept { return due_; }

  task_state state;         // of the task; a root of its own scope tree
  fork* forks = nullptr;    // open ones, the innermost first
  void* context = nullptr;  // of who made it
  task_identity own_identity;
  task_identity* identity = &own_identity;
  strand* parent = nullptr;  // whose task cannot end before this one's; null for the pool's own

 private:
  friend struct strand_child;
  friend class remote_child;

  // What the task spawns without a group. It is cancelled with the task, which ends when all of it has ended.
  struct root_owner final : task_owner {
    explicit root_owner(task_state& task, std::uint32_t flags = 0) noexcept : task_owner(flags) {
      host = &task;
      link(task);
    }
    void child_ended(task_state& child) noexcept override {
      if (child.has(task_state::was_cancelled) || child.references_ != 0) return;
      report("%s ended with an exception that nobody retrieved: %s", describe(child).c_str(),
             describe(*error_of(child)).c_str());
    }
  };

  nanoseconds time() noexcept override { return pool_.timers.now(); }
  void arm(loop_timer& timer) override {
    if ((timer.target & loop_timer::scope_tag) != 0) {
      (void)extras_of(state);  // so that a fork looks at the deadline
      deadline_of_ = nullptr;
    }
    pool_.timers.arm(timer);
  }
  void disarm(loop_timer& timer) noexcept override {
    deadline_of_ = nullptr;
    pool_.timers.disarm(timer, due_);
  }
  task_owner& root() override {
    if (!root_) root_ = owned<root_owner>(new root_owner(state));
    return *root_;
  }
  // Owns what tasks below have begun here for themselves, and cancel: nobody here does.
  task_owner& root_of_others() {
    if (!root_of_others_) root_of_others_ = owned<root_owner>(new root_owner(state, open_scope::shielded));
    return *root_of_others_;
  }
  inline bool sends_away(task_state& task) noexcept override;
  void fire_due() noexcept {
    while (loop_timer* t = pool_.timers.take(due_)) fire(*t);
  }
  void run_entry(void* entry) noexcept {
    const auto bits = reinterpret_cast<std::uintptr_t>(entry);
    if ((bits & first_step_tag) == 0) [[likely]]
      run_frame(*promise_of(entry).state, entry);
    else
      run_first_step(*reinterpret_cast<task_state*>(bits & ~first_step_tag));
  }

  static void on_end(hook_frame* frame) { static_cast<strand&>(*frame->promise.state->exec).has_ended_ = true; }

  pool_core& pool_;
  const step begin_;
  const step ended_;
  pool_worker* worker_ = nullptr;
  void* ready_slot_ = nullptr;
  nanoseconds outer_deadline_ = never;
  scope_node* deadline_of_ = nullptr;  // whose deadline is known
  nanoseconds deadline_ = never;
  std::uint32_t stay_ = 0;
  bool has_begun_ = false;
  bool has_ended_ = false;
  strand_inbox inbox_;
  outcome_base top_;  // says that nobody is above
  hook_frame end_;
  due_timers due_;
  owned<root_owner> root_;
  owned<root_owner> root_of_others_;
};

inline due_timers& due_timers_for(loop_timer& t) noexcept {
  const task_state& task = (t.target & loop_timer::scope_tag) != 0
                               ? *reinterpret_cast<open_scope*>(t.target & ~loop_timer::scope_tag)->host
                               : *promise_of(reinterpret_cast<void*>(t.target)).state;
  return static_cast<strand&>(*task.exec).due();
}

/// A cancel that crosses to another strand.
class carried_cancel {
 public:
  carried_cancel() noexcept = default;
  carried_cancel(const carried_cancel&) = delete;
  carried_cancel& operator=(const carried_cancel&) = delete;
  ~carried_cancel() { cancel_record::release(record_); }

  /// Once.
  void take(cancel_kind kind, std::string_view reason, std::source_location where) noexcept {
    record_ = cancel_record::make(kind, reason, where);
  }
  /// What the cancel of this task says. A copy: records are counted without atomics.
  void take(task_state& task) noexcept {
    scope_node* const by = scope_tree::responsible(&task);
    if (const cancel_record* const its = by ? scope_tree::record_of(*by) : nullptr)
      take(its->kind, its->text(), its->where);
  }
  void cancel(scope_node& scope) const noexcept {
    scope_tree::cancel(scope, record_ ? record_->kind : cancel_kind::requested,
                       record_ ? record_->text() : std::string_view(),
                       record_ ? record_->where : std::source_location());
  }

 private:
  cancel_record* record_ = nullptr;  // null without memory
};

// A stolen child knows scopes of its parents, which belong to their strands. They cannot end before the child, and a parent
// hears its messages before it goes on, so the scope lives when this one arrives.
inline bool strand::cancels_elsewhere(task_state&, scope_node& scope, std::string_view reason,
                                      std::source_location where) noexcept {
  const task_state* const caller = running_task();
  if (caller && caller->exec == this) return false;
  struct message : posted {
    scope_node* scope = nullptr;
    carried_cancel why;
  };
  auto* made = new (std::nothrow) message;
  if (!made) {
    report("out of memory: a scope is not cancelled by another thread, %s:%u", where.file_name(),
           static_cast<unsigned>(where.line()));
    return true;
  }
  made->scope = &scope;
  made->why.take(cancel_kind::requested, reason, where);
  made->run = [](posted& self) noexcept {
    auto* const me = static_cast<message*>(&self);
    me->why.cancel(*me->scope);
    delete me;
  };
  post(*made);
  return true;
}

// Out of line, for few tasks have task_locals.
ROTA_COLD inline void strand::inherit_locals(local_value* locals) noexcept {
  if (task_extras* const extras = extras_of(state))
    extras->locals = local_value::share(locals);
  else
    report("out of memory: a task of a pool does not see its task_locals");
}

}  // namespace rota::detail
