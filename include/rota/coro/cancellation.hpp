// Cancelling a scope, and what a suspension in a cancelled scope throws. Rules R2 and R3.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

#include <rota/base/cancelled.hpp>
#include <rota/coro/task_state.hpp>

namespace rota::detail {

/// A value that is bound to a task_local (loop/task_local.hpp). Immutable, and shared by all tasks that inherited it, on a pool
/// by tasks of several threads.
struct local_value {
  local_value(const void* of, void (*f)(local_value&) noexcept) noexcept : local(of), free(f) {}

  static local_value* share(local_value* value) noexcept {
    if (value) value->references.fetch_add(1, std::memory_order_relaxed);
    return value;
  }
  // A loop: the last task of a long chain must not need a deep stack.
  static void release(local_value* value) noexcept {
    while (value && value->is_last()) {
      local_value* const outer = value->outer;
      value->free(*value);
      value = outer;
    }
  }

  std::atomic<std::size_t> references{1};
  local_value* outer = nullptr;  // what was bound before; a reference
  const void* local;             // the task_local, by its address
  void (*free)(local_value& self) noexcept;

 private:
  // Who is alone needs no read-modify-write: nobody else can make a reference of it.
  bool is_last() noexcept {
    return references.load(std::memory_order_acquire) == 1 || references.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
};

/// What few tasks need, so that every task pays one pointer.
struct task_extras : task_extras_base {
  cancel_record* record = nullptr;  // why handle.cancel() was called
  local_value* locals = nullptr;    // the innermost first; a reference
  std::uint64_t id = 0;             // 0: nobody has asked for it
  task_extras* next = nullptr;      // before the task exists
  std::string name;
  // In debug mode, where every task has extras:
  std::source_location spawned_at;  // where its spawner's step began
  std::int64_t stepped_at = 0;      // the loop's time when its last step began

  ~task_extras() {
    cancel_record::release(record);
    local_value::release(locals);
  }
};

inline task_extras* extras_of(task_state& task) noexcept {
  if (task.has_extras()) return task.extras();
  auto* extras = new (std::nothrow) task_extras;
  if (extras) task.adopt_extras(extras);
  return extras;
}

/// A scope that a task has opened within its own body: with_cancel_scope, timeout, a group.
/// Lives in the task's frame (mostly inside an awaiter); entered and left in strict nesting.
struct open_scope : scope_node {
  explicit open_scope(std::uint32_t flags = 0) noexcept : scope_node(flags) {}
  ~open_scope() { cancel_record::release(record); }

  void enter(task_state& task) noexcept {
    host = &task;
    link(*task.current);
    task.current = this;
  }
  void leave() noexcept {
    if (host->current != this) [[unlikely]]
      trap(
          "a scope was left while another one in it was open: two co_awaits of a timeout, a shield or the like in one "
          "statement, of which GCC 12 begins the second before it ends the first; write two statements "
          "(docs/compilers.md)");
    if (first_) [[unlikely]]
      drop_watch(*this);
    host->current = parent_;
    unlink();
  }
  /// Enters, after the fact, around everything that the task has opened in `within`, its own or an open one.
  void enter_around(task_state& task, scope_node& within) noexcept;
  /// Leaves the scope at the end of its block.
  struct leaving {
    open_scope& scope;
    ~leaving() { scope.leave(); }
  };
  /// After the body of the scope was cancelled: was it this scope that was, and none around it? Then the cancel ends
  /// here (an enclosing scope always wins).
  bool absorbs_cancel() const noexcept {
    return cancel_requested() && !(parent_ && parent_->is_cancelled() && !is_shielded());
  }
  bool absorbs(const cancelled& exception) const noexcept { return exception.task() == host && absorbs_cancel(); }
  bool absorbs(const std::exception_ptr& error) const {
    try {
      std::rethrow_exception(error);
    } catch (const cancelled& exception) {
      return absorbs(exception);
    } catch (...) {
      return false;
    }
  }

  /// Frees the scope_watch that hangs below the scope, if any.
  static void drop_watch(scope_node& scope) noexcept;

  task_state* host = nullptr;
  cancel_record* record = nullptr;
  std::source_location deadline_set_at;

  using scope_node::has_deadline;
  using scope_node::is_owner;
  using scope_node::set;
  using scope_node::shielded;
};

/// A leaf of the tree, without a task of its own, that is told when the scope above it is cancelled. That scope owns it;
/// it has at most one, which is then its first child.
struct scope_watch : open_scope {
  scope_watch(void (*c)(scope_watch&) noexcept, void (*f)(scope_watch&) noexcept) noexcept
      : open_scope(is_watch), cancelled(c), free(f) {}

  using scope_node::link_first;
  using scope_node::unlink;

  void (*cancelled)(scope_watch& self) noexcept;
  void (*free)(scope_watch& self) noexcept;
};

// The scope tree's own moves; scope_node's links are protected from everybody else.
struct scope_tree : scope_node {
  // Null for the root of a loop, which belongs to no task.
  static task_state* host_of(scope_node& node) noexcept {
    return as(node).has(is_task) ? static_cast<task_state*>(&node) : static_cast<open_scope&>(node).host;
  }
  static cancel_record* record_of(scope_node& node) noexcept {
    if (!as(node).has(is_task)) return static_cast<open_scope&>(node).record;
    task_extras* extras = static_cast<task_state&>(node).extras();
    return extras ? extras->record : nullptr;
  }
  static void keep_record(scope_node& node, cancel_record* record) noexcept {
    if (!as(node).has(is_task)) {
      static_cast<open_scope&>(node).record = record;
    } else if (task_extras* extras = extras_of(static_cast<task_state&>(node))) {
      extras->record = record;
    } else {
      cancel_record::release(record);
    }
  }

  /// Marks the node and, in order, everything below it that no shield protects, and wakes who is suspended there.
  static void cancel(scope_node& root, cancel_kind kind, std::string_view reason, std::source_location where) noexcept {
    if (root.cancel_requested()) return;
    cancel_record* const record = cancel_record::make(kind, reason, where);
    if (task_state* host = host_of(root)) host->exec->cancel_begins(*host, record);
    as(root).set_in_sight(requested);
    keep_record(root, record);
    if (root.is_cancelled()) return;  // an enclosing scope was cancelled before: everybody knows
    mark_below(root);
    if (task_state* host = host_of(root)) host->exec->cancel_has_spread(*host);
  }

  static scope_node* first_child(scope_node& node) noexcept { return as(node).first_; }
  /// Gives the node another parent, which may be cancelled.
  static void move(scope_node& node, scope_node& parent) noexcept {
    const bool was_cancelled = node.is_cancelled();
    as(node).unlink();
    as(node).link(parent);
    if (node.is_cancelled() && !was_cancelled) mark_below(node);
  }

  /// The outermost cancelled scope that reaches `from`: its reason is the one to tell.
  static scope_node* responsible(scope_node* from) noexcept {
    scope_node* found = nullptr;
    for (scope_node* node = from; node; node = as(*node).parent_) {
      if (node->cancel_requested()) found = node;
      if (node->is_shielded()) break;
    }
    return found;
  }

  static bool is_task_node(scope_node& node) noexcept { return as(node).has(is_task); }
  /// The node is a task_owner (loop/task_owner.hpp).
  static bool is_owner_node(scope_node& node) noexcept {
    return !as(node).has(is_task) && as(node).has(is_owner);  // of a task the bit is is_remote
  }
  template <class F>
  static void for_each_child(scope_node& scope, F f) {
    for (scope_node* node = as(scope).first_; node; node = as(*node).next_) f(*node);
  }
  static bool is_timed(scope_node& node) noexcept { return as(node).has(has_deadline); }
  static bool has_children(scope_node& node) noexcept { return as(node).first_ != nullptr; }
  /// f(task) is true for every task right below the scope.
  template <class F>
  static bool all_children(scope_node& scope, F f) {
    for (scope_node* node = as(scope).first_; node; node = as(*node).next_)
      if (as(*node).has(is_task) && !f(static_cast<task_state&>(*node))) return false;
    return true;
  }
  /// The watch that hangs below the scope, or null.
  static scope_watch* watch_of(scope_node& scope) noexcept {
    scope_node* first = as(scope).first_;
    return first && as(*first).has(is_watch) ? static_cast<scope_watch*>(static_cast<open_scope*>(first)) : nullptr;
  }

  /// Calls f(task) for every task below the scope, for a report.
  template <class F>
  static void for_each_task(scope_node& root, F f) {
    for (scope_node* node = &root;;) {
      if (as(*node).has(is_task)) f(static_cast<task_state&>(*node));
      scope_node* next = as(*node).first_;
      for (; !next && node != &root; node = as(*node).parent_) next = as(*node).next_;
      if (!next) return;
      node = next;
    }
  }

 private:
  static scope_tree& as(scope_node& node) noexcept { return static_cast<scope_tree&>(node); }
  static void mark_below(scope_node& root) noexcept {
    scope_node* node = &root;
    for (;;) {
      mark(*node);
      scope_node* next = as(*node).first_;
      while (next && next->is_shielded()) next = as(*next).next_;
      while (!next && node != &root) {
        next = as(*node).next_;
        while (next && next->is_shielded()) next = as(*next).next_;
        node = as(*node).parent_;
      }
      if (!next) return;
      node = next;
    }
  }
  static void mark(scope_node& node) noexcept {
    as(node).set_in_sight(effective);
    task_state* task = host_of(node);
    if (task && task->current == &node && task->wait != 0)
      task->exec->cancel_wait(*task);
    else if (as(node).has(is_watch)) [[unlikely]]
      static_cast<scope_watch&>(static_cast<open_scope&>(node)).cancelled(static_cast<scope_watch&>(node));
  }
};

ROTA_COLD inline void open_scope::drop_watch(scope_node& scope) noexcept {
  if (scope_watch* watch = scope_tree::watch_of(scope)) {
    watch->unlink();
    watch->free(*watch);
  }
}

ROTA_COLD inline void open_scope::enter_around(task_state& task, scope_node& within) noexcept {
  scope_node* inner = nullptr;
  for (scope_node* node = task.current; node != &within; node = node->parent()) inner = node;
  host = &task;
  link(within);
  if (inner)
    scope_tree::move(*inner, *this);
  else
    task.current = this;
}

/// At the end of a task, before its frame goes.
inline void free_extras(task_state& task) noexcept {
  task_extras* const extras = task.extras();
  if (!extras) [[likely]]
    return;
  open_scope::drop_watch(task);
  delete extras;
}

/// Ends the current suspension point of `task`, which is in a cancelled scope.
[[noreturn]] ROTA_COLD inline void throw_cancelled(task_state& task) {
  scope_node* by = scope_tree::responsible(task.current);
  throw cancelled(&task, by ? scope_tree::record_of(*by) : nullptr);
}

}  // namespace rota::detail
