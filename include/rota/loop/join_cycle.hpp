// Tasks that wait for each other's end: refused when the last of them is about to wait, in whatever order they came.
//
// Suppose that this task never ends. Who cannot end, either? Whoever joins it, whoever has it as a child, and so on
// upwards. If the task is about to wait for one of those, none of them would ever go on. Two things break such a circle,
// and end the walk: a deadline around a wait, and when_any or race while one of their children can still end. (So
// does a cancel, but nobody can know of that one in advance.)
#pragma once

#include <cstddef>
#include <vector>

#include <rota/base/usage_error.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/loop/task_owner.hpp>

namespace rota::detail {

/// The tasks that cannot end unless `waiter` does. They are marked while this lives.
class join_cycle {
 public:
  ROTA_COLD explicit join_cycle(task_state& waiter) noexcept {
    const bool is_needed = waiter.joiners() || (waiter.parent() && owner_of(waiter).host);
    if (!is_needed || ends_by_itself(waiter)) return;
    try {
      do {
        forget();
        add(end_waiter{&waiter, nullptr, nullptr}, 0, false);
        for (std::size_t i = 0; i != stuck_.size(); ++i) add_who_needs(i);
      } while (finds_a_way_out());
    } catch (...) {
      forget();  // no memory for the search: the tasks then wait, as they would without it
    }
  }
  join_cycle(const join_cycle&) = delete;
  join_cycle& operator=(const join_cycle&) = delete;
  ~join_cycle() { forget(); }

  static bool has(task_state& task) noexcept { return task.has(task_state::marked); }

  /// Could its end need that of others? If not, there is nothing to search.
  static bool may_be_stuck(task_state& task) noexcept {
    return (task.wait != 0 && task.waiting_kind() == wait_kind::custom) || scope_tree::has_children(task);
  }

  [[noreturn]] ROTA_COLD void refuse(task_state& waiter, task_state& awaited) const {
    description text = describe(waiter);
    text.add(", awaited ");
    std::size_t i = 0;
    while (stuck_[i].waits.task != &awaited) ++i;
    for (; i != 0; i = stuck_[i].needs)
      text.add("%s%s", describe(*stuck_[i].waits.task).c_str(),
               stuck_[i].is_parent ? ", which cannot end before its child, " : ", which waits for ");
    throw_usage_error(usage_error::kind::join_cycle, "%sthe first: none of them would ever go on", text.c_str());
  }
  [[noreturn]] ROTA_COLD static void refuse_itself(task_state& waiter) {
    throw_usage_error(usage_error::kind::join_cycle, "%s, awaited itself: it would never go on",
                      describe(waiter).c_str());
  }

 private:
  struct entry {
    end_waiter waits;
    std::size_t needs;  // whom, as an index
    bool is_parent;     // of that one
  };
  static constexpr std::size_t most = 1000;  // a wait costs no more than that, whoever waits for the waiter

  // A deadline that reaches its wait.
  static bool ends_by_itself(task_state& task) noexcept {
    for (scope_node* node = task.current; node; node = node->parent()) {
      if (scope_tree::is_timed(*node)) return true;
      if (node->is_shielded()) return false;
    }
    return false;
  }
  void forget() noexcept {
    for (const entry& e : stuck_) e.waits.task->clear(task_state::marked);
    stuck_.clear();
  }
  void add(const end_waiter& waits, std::size_t needs, bool is_parent) {
    if (has(*waits.task) || goes_on(waits.others)) return;
    stuck_.push_back({waits, needs, is_parent});
    waits.task->set(task_state::marked);
  }
  void add_who_needs(std::size_t index) {
    task_state& task = *stuck_[index].waits.task;
    for (custom_wait* joiner = task.joiners(); joiner && stuck_.size() < most; joiner = joiner->next) {
      end_waiter its;
      if (joiner->frame)
        its.task = promise_of(joiner->frame).state;
      else if (auto& hook = static_cast<end_hook&>(*joiner); hook.who_waits)
        its = hook.who_waits(hook);
      if (its.task && !ends_by_itself(*its.task)) add(its, index, false);
    }
    // The scope of a child cannot be left before it. (A deadline around it would reach the child, too.)
    if (!task.parent() || stuck_.size() >= most) return;
    task_owner& owner = owner_of(task);
    if (!owner.host) return;
    end_waiter parent{owner.host, nullptr, nullptr};
    if (!owner.needs_all_children()) {
      parent.others = &owner;
      parent.may_go_on = [](const void* o) noexcept {
        auto& all = *static_cast<task_owner*>(const_cast<void*>(o));
        return !scope_tree::all_children(all, [](task_state& child) { return has(child); });
      };
    }
    add(parent, index, true);
  }

  // Whoever waits for one of several was taken for stuck. Those who are not are noted, for another search.
  bool finds_a_way_out() {
    bool found = false;
    for (const entry& e : stuck_) {
      if (!e.waits.others || !e.waits.may_go_on(e.waits.others)) continue;
      go_on_.push_back(e.waits.others);
      found = true;
    }
    return found;
  }
  bool goes_on(const void* others) const noexcept {
    for (const void* one : go_on_)
      if (others == one && others) return true;
    return false;
  }

  std::vector<entry> stuck_;  // the first is the waiter
  std::vector<const void*> go_on_;
};

}  // namespace rota::detail
