// The tree of cancellation scopes. Cancellation is the state of a scope (rule R3), not a signal: in a cancelled
// scope every suspension throws rota::cancelled, again and again, unless a shielded scope lies between.
//
//   root of the loop ─┬─ task ── timeout(5s) ── task group ─┬─ task
//                     └─ task                               └─ task
//
// Every node belongs to one task, its host: a task's own node, the scopes that it has open (innermost = current),
// and groups whose children are other tasks' nodes. All of it belongs to one executor, and others at most
// ask whether a cancel was requested.
#pragma once

#include <cstdint>
#include <utility>

namespace rota {

namespace detail {
struct task_state;
struct cancel_record;
}  // namespace detail

class scope_node {
 public:
  scope_node(const scope_node&) = delete;
  scope_node& operator=(const scope_node&) = delete;

  /// cancel() was called on this very scope.
  bool cancel_requested() const noexcept { return (flags_ & requested) != 0; }
  /// This scope, or an enclosing one without a shield between, is cancelled: the next suspension in it throws.
  bool is_cancelled() const noexcept { return (flags_ & effective) != 0; }
  bool is_shielded() const noexcept { return (flags_ & shielded) != 0; }
  scope_node* parent() const noexcept { return parent_; }

 protected:
  enum flag : std::uint32_t {
    requested = 1,         // cancel() was called on this node
    effective = 2,         // this node or an enclosing one is cancelled, and no shield lies between
    shielded = 4,          // the cancellation of enclosing scopes stops here
    is_task = 8,           // the node is a detail::task_state
    is_owner = 16,         // the node is a detail::task_owner: its children report their end to it
    sees_success = 1024,   // owner: it wants to hear of children that end well, too
    started = 32,          // task: its first step has run
    finished = 64,         // task: its body has ended
    retrieved = 128,       // task: somebody has seen its outcome
    failed = 256,          // task: it ended with an exception
    was_cancelled = 512,   // task: that exception was rota::cancelled
    marked = 2048,         // task: for a moment, by who looks for duplicates
    stands_in = 4096,      // task: its root only keeps the arguments of the coroutine that it awaits
    is_watch = 8192,       // the node is a detail::scope_watch: a leaf that hears of cancels
    told_late = 16384,     // task: debug mode has reported that it goes on in spite of a cancel
    has_deadline = 32768,  // open scope: it has, or had, a deadline

    ends_run = sees_success,  // task: event_loop::run() waits for its end
    is_remote = is_owner,     // task: its spawner's view of it; it runs for another strand (pool/remote_child.hpp)
  };

  explicit scope_node(std::uint32_t flags) noexcept : flags_(static_cast<std::uint16_t>(flags)) {}
  ~scope_node() = default;

  bool has(flag f) const noexcept { return (flags_ & f) != 0; }
  void set(flag f) noexcept { flags_ = static_cast<std::uint16_t>(flags_ | f); }
  // For flags that change while a child on another strand may ask whether a cancel was requested. Its own strand is the
  // only one that writes, so it needs no atomic read-modify-write, and reads as usual.
  void set_in_sight(flag f) noexcept {
    __atomic_store_n(&flags_, static_cast<std::uint16_t>(flags_ | f), __ATOMIC_RELAXED);
  }
  /// cancel_requested(), on any thread.
  bool cancel_in_sight() const noexcept { return (__atomic_load_n(&flags_, __ATOMIC_RELAXED) & requested) != 0; }
  void clear(flag f) noexcept { flags_ = static_cast<std::uint16_t>(flags_ & ~f); }

  void link(scope_node& parent) noexcept {
    parent_ = &parent;
    next_ = nullptr;
    if (scope_node* first = parent.first_) {
      previous_ = first->previous_;
      previous_->next_ = this;
      first->previous_ = this;
    } else {
      previous_ = parent.first_ = this;
    }
    if (parent.is_cancelled() && !is_shielded()) set_in_sight(effective);
  }
  /// The same, before the other children.
  void link_first(scope_node& parent) noexcept {
    link(parent);
    if (parent.first_ == this) return;
    previous_->next_ = nullptr;
    next_ = std::exchange(parent.first_, this);
  }
  void unlink() noexcept {
    scope_node*& first = parent_->first_;
    (next_ ? next_ : first)->previous_ = previous_;
    (first == this ? first : previous_->next_) = next_;
    parent_ = nullptr;
  }

  scope_node* parent_ = nullptr;
  scope_node* first_ = nullptr;     // children, in the order in which they came
  scope_node* next_ = nullptr;      // the next sibling; null in the last
  scope_node* previous_ = nullptr;  // the sibling before; in the first one the last, so that appending is O(1)
  std::uint16_t flags_;
  std::uint16_t record_class_ = 0;  // task: where its record's memory belongs (coro/frame_memory.hpp)
  std::uint32_t references_ = 0;    // task: handles that keep its outcome
};

}  // namespace rota
