// What a spawned task knows, shared by all frames of its chain of awaits: who resumes it, in which scope it is,
// what it waits for, who joins it.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <cstdint>
#include <cstring>
#include <exception>
#include <source_location>

#include <rota/base/held_locks.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/scope_node.hpp>

namespace rota::detail {

struct task_state;
struct custom_wait;

/// What few tasks need, so that the others do not pay for it; the rest is in coro/cancellation.hpp.
struct task_extras_base {
  custom_wait* joiners = nullptr;
};
struct task_extras;

/// What can be done with the outcome of a spawned task whose type is forgotten; aligned, so that its address has room
/// for the flags of outcome_base.
struct alignas(16) outcome_type {
  void (*destroy)(void* outcome) noexcept;
  const std::exception_ptr* (*error)(const void* outcome) noexcept;  // null when there is none
};

/// Where a task leaves its outcome: in the awaiter of its parent, or in the record of a spawned task, which is a block of
/// its own and stays when the frame has gone (loop/task_record.hpp).
/// One word: who gets the outcome, and in its low bits how far things are.
class outcome_base {
 public:
  enum link : std::uintptr_t {
    running = 0,    // awaited, and the parent is still inside its await_suspend; the address is the parent's frame
    suspended = 1,  // awaited, and the parent has suspended
    root = 2,       // a task of its own; the address is its outcome_type or null
  };
  enum state : std::uintptr_t { none = 0, value = 4, exception = 8 };

  void awaited_by(void* frame, link how) noexcept { word_ = reinterpret_cast<std::uintptr_t>(frame) | how; }
  void set_link(link how) noexcept { word_ = (word_ & ~std::uintptr_t{3}) | how; }
  void set_type(const outcome_type* type) noexcept { word_ = reinterpret_cast<std::uintptr_t>(type) | root; }
  void set_state(state s) noexcept { word_ |= s; }
  void forget_value() noexcept { word_ &= ~std::uintptr_t{value}; }

  /// The call into the child has returned. False: it has ended, too, by an exception.
  ROTA_NOINLINE bool is_awaited_further() noexcept {
    if (has_exception()) return false;
    set_link(suspended);
    return true;
  }

  link how() const noexcept { return static_cast<link>(word_ & 3); }
  bool is_done() const noexcept { return (word_ & (value | exception)) != 0; }
  bool has_value() const noexcept { return (word_ & value) != 0; }
  bool has_exception() const noexcept { return (word_ & exception) != 0; }
  /// A value that came before its awaiter had suspended.
  bool came_at_once() const noexcept { return (word_ & 15) == (std::uintptr_t{value} | running); }
  void* parent() const noexcept { return reinterpret_cast<void*>(word_ & ~std::uintptr_t{15}); }
  const outcome_type* type() const noexcept { return static_cast<const outcome_type*>(parent()); }

 private:
  std::uintptr_t word_ = root;
};

/// The first member of every promise of rota, at a fixed place (16 bytes after the frame's address), so that a
/// debugger can walk a chain of awaits without debug information: the outcome's first word, without its low 4 bits,
/// is the parent's frame (rule R9).
struct promise_base {
  /// Set when the task is started, like `state`. Until then, with ROTA_ASSERTIONS, the address to which the call that made
  /// it returns, or null.
  outcome_base* outcome;
  std::source_location waits_at;  // where it was made; once started, where it last awaited
  task_state* state;  // not beside `outcome`: GCC would store both as one vector, which takes longer to read

  explicit promise_base(std::source_location made_at) noexcept : waits_at(made_at) {
    if (ROTA_ASSERTIONS) outcome = nullptr;
  }
};
// The frame's two function pointers, then the promise, as long as its alignment is at most 16.
inline constexpr std::size_t promise_offset = 16;

inline promise_base& promise_of(void* frame) noexcept {
  return *reinterpret_cast<promise_base*>(static_cast<char*>(frame) + promise_offset);
}

/// What a suspended task waits for. A task waits for at most one thing; null while it runs or is queued.
enum class wait_kind : std::uintptr_t { custom = 0, timer = 1, operation = 2 };

/// A suspension that is neither a timer nor a kernel operation: joins, locks, channels.
struct custom_wait {
  void* frame = nullptr;                            // the suspended frame
  void (*cancel)(custom_wait&) noexcept = nullptr;  // must see to it that the frame resumes; null: cannot be cancelled
  custom_wait* next = nullptr;                      // in the list of who waits for the same thing
};

/// A task that waits for the ends of others (loop/join_cycle.hpp).
struct end_waiter {
  task_state* task = nullptr;
  const void* others = nullptr;                              // null: it needs every one of them
  bool (*may_go_on)(const void* others) noexcept = nullptr;  // one of them is not marked, and its end may be enough
};

/// In a task's list of joiners with a null frame: a function that is called inside the task's end.
struct end_hook : custom_wait {
  void (*ended)(end_hook&) noexcept = nullptr;  // may destroy the hook
  end_waiter (*who_waits)(end_hook&) noexcept = nullptr;
};

/// What a task with task_state::is_remote waits for, from its beginning on and for ever: its end on another strand.
struct remote_place : custom_wait {
  void (*dropped)(remote_place&) noexcept = nullptr;  // no handle is left
};

struct task_state : scope_node {
  task_state(executor* runs_on, void* root_frame) noexcept
      : scope_node(is_task), exec(runs_on), current(this), frame_(root_frame) {}

  executor* exec;
  union {
    scope_node* current;  // the innermost open scope of this task
    line_mark ended_at;   // once it has ended
  };
  std::uintptr_t wait = 0;  // address of what it waits for, with its wait_kind in the low bits
#if ROTA_ASSERTIONS
  const bool is_bound = exec->is_event_loop();  // to the thread that makes it: coro/affinity.hpp
  const pthread_t thread = pthread_self();
#endif

  /// Who awaits the outcome, first come first (loop/join_handle.hpp).
  custom_wait*& joiners() noexcept {
    if (has_extras()) [[unlikely]]
      return reinterpret_cast<task_extras_base*>(tagged() - 1)->joiners;
    return joiners_or_extras_;
  }
  void add_joiner(custom_wait& joiner) noexcept {
    custom_wait** end = &joiners();
    while (*end) end = &(*end)->next;
    *end = &joiner;
  }
  void remove_joiner(custom_wait& joiner) noexcept {
    custom_wait** link = &joiners();
    while (*link != &joiner) link = &(*link)->next;
    *link = joiner.next;
  }
  bool has_joiners_or_extras() const noexcept { return joiners_or_extras_ != nullptr; }
  bool has_extras() const noexcept { return (tagged() & 1) != 0; }
  /// Null for most tasks.
  task_extras* extras() const noexcept { return has_extras() ? reinterpret_cast<task_extras*>(tagged() - 1) : nullptr; }
  void adopt_extras(task_extras_base* extras) noexcept {
    extras->joiners = joiners();
    joiners_or_extras_ = reinterpret_cast<custom_wait*>(reinterpret_cast<std::uintptr_t>(extras) + 1);
  }

  /// The frame of the coroutine that it began with; before it has ended.
  void* frame() const noexcept { return frame_; }
  promise_base& root() const noexcept { return promise_of(frame_); }
  /// Where the root last awaited, or was made, also when it is gone.
  std::source_location root_line() const noexcept { return has(finished) ? source_line(ended_at) : root().waits_at; }
  /// Of a task that has ended.
  outcome_base& outcome() const noexcept { return *outcome_; }
  /// The body has ended, and the frame is about to go: what is told about it afterwards.
  void end() noexcept {
    promise_base& promise = root();
    end_with(*promise.outcome, line_mark_of(promise.waits_at));
  }
  /// The same for a task whose frame was another one's, which has ended.
  void end_like(const task_state& other) noexcept { end_with(*other.outcome_, other.ended_at); }
  void end_with(outcome_base& outcome, line_mark at) noexcept {
    set(finished);
    ended_at = at;
    outcome_ = &outcome;
  }

  /// Before a suspension: is the scope cancelled, so that it must not even begin?
  bool is_cancelled() const noexcept { return current->is_cancelled(); }
  void waits_for(void* what, wait_kind kind) noexcept {
    wait = reinterpret_cast<std::uintptr_t>(what) | static_cast<std::uintptr_t>(kind);
  }
  wait_kind waiting_kind() const noexcept { return static_cast<wait_kind>(wait & 7); }
  void* waiting_for() const noexcept { return reinterpret_cast<void*>(wait & ~std::uintptr_t{7}); }

  // scope_node keeps these to the library.
  using scope_node::clear;
  using scope_node::ends_run;
  using scope_node::failed;
  using scope_node::finished;
  using scope_node::has;
  using scope_node::is_remote;
  using scope_node::link;
  using scope_node::marked;
  using scope_node::record_class_;
  using scope_node::references_;
  using scope_node::retrieved;
  using scope_node::set;
  using scope_node::stands_in;
  using scope_node::started;
  using scope_node::told_late;
  using scope_node::unlink;
  using scope_node::was_cancelled;

 private:
  // The list of joiners; or the extras, which then hold it, with bit 0 set.
  custom_wait* joiners_or_extras_ = nullptr;
  union {
    void* frame_;
    outcome_base* outcome_;  // once it has ended
  };

  std::uintptr_t tagged() const noexcept { return reinterpret_cast<std::uintptr_t>(joiners_or_extras_); }
};

/// What the task waited for has happened: it goes to its executor's ready queue.
inline void make_ready(void* frame) noexcept {
  task_state& task = *promise_of(frame).state;
  task.wait = 0;
  task.exec->resume_later(frame);
}

#if ROTA_ASSERTIONS
[[noreturn]] ROTA_COLD inline void trap_awaits_with_lock(std::source_location at, line_mark locked_at) noexcept {
  const std::source_location there = source_line(locked_at);
  if (std::strstr(there.file_name(), "/include/c++/"))
    trap(
        "a task awaits at %s:%u while its thread holds a sync_mutex, locked by a guard of the standard library, which "
        "hides the line: a sync_mutex::guard tells it",
        at.file_name(), static_cast<unsigned>(at.line()));
  trap("a task awaits at %s:%u while its thread holds a sync_mutex, locked at %s:%u", at.file_name(),
       static_cast<unsigned>(at.line()), there.file_name(), static_cast<unsigned>(there.line()));
}
#endif

/// Every awaiter of rota that suspends begins here: notes the line, refuses coroutines that are not rota's.
template <class Promise>
task_state& suspend_at(std::coroutine_handle<Promise> handle, line_mark where) noexcept {
  static_assert(
      requires(Promise& p) { static_cast<promise_base&>(p); },
      "this can be awaited only in a coroutine that returns rota::task");
  static_assert(alignof(Promise) <= promise_offset, "a promise that is aligned to more than 16 bytes is not supported");
  promise_base& promise = handle.promise();
  promise.waits_at = source_line(where);
#if ROTA_ASSERTIONS
  if (const held_locks& held = held_locks::here(); held.count != 0) [[unlikely]]
    trap_awaits_with_lock(promise.waits_at, held.last_at);
#endif
  return *promise.state;
}

}  // namespace rota::detail
