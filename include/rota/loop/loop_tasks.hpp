// What an event loop does for its tasks: what they inherit, how their wait is cancelled, who hears of their end, when
// their frames go, how their errors are reported.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <source_location>
#include <utility>

#include <rota/coro/affinity.hpp>
#include <rota/loop/event_loop_class.hpp>

namespace rota {

namespace detail {

// The state lies in the same block, behind the frame; 0: it does not.
inline std::size_t frame_size_of(task_state& task) noexcept {
  if (task.is_held()) return 0;
  return static_cast<std::size_t>(reinterpret_cast<char*>(&task) - static_cast<char*>(task.frame()));
}
/// A task that has ended, but to whose outcome somebody refers: its arguments go now. A channel's end among them must not
/// stay open for as long as somebody keeps a handle.
inline void end_frame(task_state& task) noexcept {
  if (frame_memory::end_frame(task.frame(), frame_size_of(task))) task.set(task_state::plain_block);
  task.set(task_state::frame_ended);
}

// Ends with the frame: the state lies in the same block.
inline void destroy_task(task_state& task) noexcept {
  free_extras(task);
  outcome_base& outcome = outcome_of(task);
  if (const outcome_type* type = outcome.type()) type->destroy(&outcome);
  void* frame = task.frame();
  if (task.has(task_state::frame_ended)) {
    const bool plain = task.has(task_state::plain_block);
    task.~task_state();
    frame_memory::free_block(frame, plain);
    return;
  }
  const std::size_t frame_size = frame_size_of(task);
  task.~task_state();
  std::coroutine_handle<>::from_address(frame).destroy();
  frame_memory::had_tail(frame, frame_size);
}

}  // namespace detail

// Room for what the next task inherits, before it exists: starting it cannot fail.
ROTA_COLD inline void event_loop::inherit_locals(detail::task_state& spawner) {
  detail::local_value* const locals = spawner.extras()->locals;
  if (!locals && !watch_) return;
  auto* extras = new (std::nothrow) detail::task_extras;
  if (!extras) {
    ready_.unreserve();
    throw std::bad_alloc();
  }
  extras->locals = detail::local_value::share(locals);
  if (watch_) extras->spawned_at = watch_->line_of_step(spawner);
  extras->next = std::exchange(inherited_, extras);
}

inline void event_loop::cancel_wait(detail::task_state& task) noexcept {
  switch (task.waiting_kind()) {
    case detail::wait_kind::operation: reactor_->cancel(*static_cast<detail::operation*>(task.waiting_for())); return;
    case detail::wait_kind::timer: {
      auto& t = *static_cast<detail::loop_timer*>(task.waiting_for());
      timers_.cancel(t);
      t.deadline = detail::never;  // tells the sleeper that it did not sleep
      detail::make_ready(reinterpret_cast<void*>(t.target));
      return;
    }
    case detail::wait_kind::custom: {
      auto& wait = *static_cast<detail::custom_wait*>(task.waiting_for());
      if (wait.cancel) wait.cancel(wait);
      return;
    }
  }
}

inline void* event_loop::waiting_frame(detail::task_state& task) noexcept {
  void* const what = task.waiting_for();
  if (!what) return nullptr;
  switch (task.waiting_kind()) {
    case detail::wait_kind::operation: return static_cast<detail::operation*>(what)->waiter;
    case detail::wait_kind::timer: return reinterpret_cast<void*>(static_cast<detail::loop_timer*>(what)->target);
    case detail::wait_kind::custom: return static_cast<detail::custom_wait*>(what)->frame;
  }
  return nullptr;
}

inline void event_loop::cancel_begins(detail::task_state& task, detail::cancel_record* record) noexcept {
  if (!watch_) [[likely]]
    return;
  if (on_another_thread()) detail::trap_wrong_thread("a scope was cancelled", detail::describe(task));
  if (record) watch_->cancel_begins(*record);
}

// These two are out of line, for most tasks are joined by nobody and end well.
ROTA_NOINLINE inline void event_loop::tell_owner(detail::task_state& task, detail::task_owner& owner) noexcept {
  if (task.has(detail::task_state::failed)) {
    const std::exception_ptr* error = detail::error_of(task);
    if (error && detail::is_cancellation(*error)) task.set(detail::task_state::was_cancelled);
  }
  owner.child_ended(task);
}
ROTA_NOINLINE inline void event_loop::wake_joiners(detail::custom_wait* joiner) noexcept {
  while (joiner) {
    detail::custom_wait& ended = *std::exchange(joiner, joiner->next);
    if (ended.frame) [[likely]] {
      detail::make_ready(ended.frame);
    } else {
      auto& hook = static_cast<detail::end_hook&>(ended);
      hook.ended(hook);
    }
  }
}

inline void event_loop::task_finished(detail::task_state& task) noexcept {
  ROTA_ASSERT(task.current == &task);
  task.set(detail::task_state::finished);
  detail::task_owner& owner = detail::owner_of(task);
  task.unlink();
  --tasks_;
  ready_.unreserve();
  if (task.has(detail::task_state::failed) || owner.sees_every_end()) tell_owner(task, owner);
  if (task.joiners()) wake_joiners(std::exchange(task.joiners(), nullptr));
  owner.one_less();
  if (task.is_held() && !can_park()) [[unlikely]]
    return;            // its state may be gone by then: its frame goes with it
  ++task.references_;  // destroy_ended() drops it
  if (task.has(detail::task_state::started))
    park_ended(task);  // the stack is still in its frame
  else
    destroy_ended(task);
}

inline void event_loop::destroy_ended(detail::task_state& task) noexcept {
  if (--task.references_ == 0)
    detail::destroy_task(task);
  else
    detail::end_frame(task);
}

inline void event_loop::report_error(event_loop* loop, const std::exception_ptr& error, const detail::description& text,
                                     detail::task_state* task, std::source_location where) noexcept {
  exception_context context;
  context.message = text.c_str();
  context.exception = error;
  context.where = where;
  if (task) {
    if (task->extras()) context.task_name = task->extras()->name;
    if (where.line() == 0) context.where = detail::line_of(*task);
  }
  if (loop)
    loop->call_exception_handler(context);
  else
    default_exception_handler(context);
}

}  // namespace rota
