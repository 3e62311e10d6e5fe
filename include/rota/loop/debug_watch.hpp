// What an event loop watches in debug mode: steps that take long, tasks that go on although they were cancelled, tasks
// that the end of the loop cancels. Without debug mode there is no such object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string_view>

#include <rota/base/clock.hpp>
#include <rota/base/debug_mode.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/loop/timer_queue.hpp>
#include <rota/reactor/reactor.hpp>

namespace rota::detail {

class debug_watch : loop_timer, posted {
 public:
  debug_watch(reactor& clock, timer_queue& timers, scope_node& root, duration slow_step, duration cancel_grace)
      : clock_(clock),
        timers_(timers),
        root_(root),
        slow_step_(slow_step.count()),
        cancel_grace_(cancel_grace.count()) {
    run = &sweep;
    target = reinterpret_cast<std::uintptr_t>(static_cast<posted*>(this)) | posted_tag;
    debug_loops.fetch_add(1, std::memory_order_relaxed);
  }
  ~debug_watch() { debug_loops.fetch_sub(1, std::memory_order_relaxed); }

  /// The task's name is copied: the step may end the task, and free it.
  void step_begins(task_state& task, std::source_location at, nanoseconds now) noexcept {
    step_began_at_ = at;
    is_first_step_ = !task.has(task_state::started);
    task_extras* const extras = extras_of(task);
    if (extras) extras->stepped_at = now;
    id_ = extras ? extras->id : 0;
    name_[extras ? extras->name.copy(name_, sizeof name_ - 1) : 0] = '\0';
  }
  /// Where the step that `task` is in began, of all that is known.
  std::source_location line_of_step(task_state& task) const noexcept {
    return is_first_step_ ? task.root().waits_at : step_began_at_;
  }
  void step_took(nanoseconds time) noexcept {
    if (time < slow_step_) [[likely]]
      return;
    description text = name_of(name_, id_);
    text.add(" kept its event loop busy for %lld ms, in ", milliseconds(time));
    // What keeps the arguments of the task's own coroutine has no line of the program.
    if (is_first_step_ && std::string_view(step_began_at_.file_name()).ends_with("rota/loop/spawn.hpp"))
      text.add("its first step");
    else
      text.add("the step that began at %s:%u", step_began_at_.file_name(),
               static_cast<unsigned>(step_began_at_.line()));
    report("%s", text.c_str());
  }
  void callback_took(nanoseconds time, std::source_location made_at) noexcept {
    if (time >= slow_step_) [[unlikely]]
      report("the callback made at %s:%u kept its event loop busy for %lld ms", made_at.file_name(),
             static_cast<unsigned>(made_at.line()), milliseconds(time));
  }

  /// Some time after a cancel, look who still runs. No timer is armed while nothing was cancelled.
  void cancel_begins(cancel_record& record) noexcept {
    record.noticed_at = clock_.now();
    if (!is_armed()) look_again_at(deadline_after(record.noticed_at, cancel_grace_));
  }
  bool is_armed() const noexcept { return loop_timer::next != nullptr; }

  /// The loop is about to cancel what is left.
  void loop_ends() noexcept {
    std::size_t left = most_named;
    scope_tree::for_each_task(root_, [&](task_state& task) {
      if (task.is_cancelled() || left == 0) return;
      --left;
      report("the event loop ends, and cancels %s%s", describe(task).c_str(), left == 0 ? "; and more" : "");
    });
  }

 private:
  static constexpr std::size_t most_named = 20;

  static long long milliseconds(nanoseconds t) noexcept { return static_cast<long long>(t / 1'000'000); }

  void look_again_at(nanoseconds when) noexcept {
    if (is_armed()) timers_.cancel(*this);  // by a cancel, while the sweep waited for its turn
    deadline = when;
    timers_.arm(*this);
  }

  static void sweep(posted& self) noexcept {
    auto& me = static_cast<debug_watch&>(self);
    const nanoseconds now = me.clock_.now();
    nanoseconds again = never;
    scope_tree::for_each_task(me.root_, [&](task_state& task) {
      if (!task.is_cancelled() || task.has(task_state::told_late)) return;  // a shielded cleanup has its own deadline
      scope_node* by = scope_tree::responsible(task.current);
      const cancel_record* record = by ? scope_tree::record_of(*by) : nullptr;
      if (!record || record->noticed_at == 0) return;
      const nanoseconds due = deadline_after(record->noticed_at, me.cancel_grace_);
      if (due > now) {
        again = due < again ? due : again;
        return;
      }
      task.set(task_state::told_late);
      me.report_late(task, *record, now - record->noticed_at);
    });
    if (again != never) me.look_again_at(again);
  }
  static void report_late(task_state& task, const cancel_record& record, nanoseconds since) noexcept {
    description text = describe(task);
    text.add(", still runs %lld ms after its scope was cancelled", milliseconds(since));
    add_cause(text, record);
    report("%s", text.c_str());
  }

  reactor& clock_;
  timer_queue& timers_;
  scope_node& root_;
  const nanoseconds slow_step_;
  const nanoseconds cancel_grace_;
  char name_[64] = "";  // whose step it is
  std::uint64_t id_ = 0;
  std::source_location step_began_at_;
  bool is_first_step_ = false;
};

}  // namespace rota::detail
