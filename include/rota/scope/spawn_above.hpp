// Makes the tasks of pool/remote_child.hpp: spawn() into a group of a task above, on a pool.
#pragma once

#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/task_record.hpp>
#include <rota/pool/strand_child.hpp>

namespace rota::detail {

template <class T>
class typed_remote_child final : public remote_child, public task_record<T> {
 public:
  typed_remote_child(const way_above& way, task_record<T>& child) noexcept
      : remote_child(way, child), task_record<T>(way.from, line()) {
    move_outcome = [](remote_child& self) noexcept {
      auto& to = static_cast<typed_remote_child&>(self);
      to.take(outcome_of<T>(self_child(self)));
    };
    set_error = [](remote_child& self) noexcept { outcome_of<T>(self_child(self)).set_exception(); };
    destroy = [](remote_child& self) noexcept {
      auto& me = static_cast<typed_remote_child&>(self);
      free_extras(me);
      me.~typed_remote_child();
      frame_memory::deallocate_record(&me, frame_memory::record_class<sizeof(typed_remote_child)>);
    };
    remote_child::outcome = &mine();
  }

  /// Allocates both records and sends the child away.
  template <class Make>
  static join_handle<T> start(const way_above& way, Make make) {
    using record = task_record<T>;
    void* const room = frame_memory::allocate_record<sizeof(record)>();
    void* mine = nullptr;
    task_extras* extras = nullptr;
    std::coroutine_handle<task_promise<T>> frame;
    try {
      mine = frame_memory::allocate_record<sizeof(typed_remote_child)>();
      extras = inherited(way.from);
      task<T> made = make();
      frame = task_access::release(made);
    } catch (...) {
      delete extras;
      if (mine) frame_memory::deallocate_record(mine, frame_memory::record_class<sizeof(typed_remote_child)>);
      frame_memory::deallocate_record(room, frame_memory::record_class<sizeof(record)>);
      throw;
    }
    record& child = *new (room) record(way.to, frame.address());
    frame.promise().outcome = &child.outcome;
    frame.promise().state = &child;
    if (extras) child.adopt_extras(extras);
    auto& made = *new (mine) typed_remote_child(way, child);
    join_handle<T> handle(made);
    made.send(made);
    return handle;
  }

 private:
  static task_state& self_child(remote_child& self) noexcept { return static_cast<typed_remote_child&>(self).child(); }
  task_outcome<T>& mine() noexcept { return task_record<T>::outcome; }

  // What the spawner's running task has bound.
  static task_extras* inherited(strand& spawners) {
    const task_state* const spawner = spawners.running();
    const task_extras* const its = spawner ? spawner->extras() : nullptr;
    if (!its || !its->locals) return nullptr;
    auto* extras = new task_extras;
    extras->locals = local_value::share(its->locals);
    return extras;
  }
  // Not of a cancelled one. An error stays with the child as well, for the group.
  void take(task_outcome<T>& from) noexcept {
    try {
      if (from.has_exception()) std::rethrow_exception(*from.error());
      if constexpr (std::is_void_v<T>)
        mine().set_state(outcome_base::value);
      else if constexpr (std::is_reference_v<T>)
        mine().emplace(std::addressof(from.get()));
      else if constexpr (std::is_move_constructible_v<T>)
        mine().emplace(from.take_value());
      else
        throw usage_error(usage_error::kind::invalid_argument,
                          "a result that cannot be moved came from another task of the pool");
    } catch (...) {
      mine().set_exception();
    }
  }
};

/// A place for start_task_at.
struct start_above : way_above {
  using way_above::way_above;

  template <class T, class Make>
  join_handle<T> start(Make make) const {
    return typed_remote_child<T>::start(*this, make);
  }
};

}  // namespace rota::detail
