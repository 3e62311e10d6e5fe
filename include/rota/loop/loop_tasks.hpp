// What an event loop does for its tasks: what they inherit, how their wait is cancelled, who hears of their end, how
// their errors are reported.
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

/// A spawned task that has ended, and whose outcome nobody will ask for any more.
inline void destroy_task(task_state& task) noexcept {
  free_extras(task);
  outcome_base& outcome = task.outcome();
  if (const outcome_type* type = outcome.type()) type->destroy(&outcome);
  const std::uint16_t record_class = task.record_class_;
  task.~task_state();
  frame_memory::deallocate_record(&task, record_class);
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
  if (task.has(detail::task_state::failed) || owner.sees_every_end()) owner.child_ended(task);
  if (task.has(detail::task_state::ends_run)) static_cast<event_loop&>(*task.exec).end_rounds();
}
ROTA_NOINLINE inline void event_loop::wake_joiners(detail::task_state& task) noexcept {
  for (detail::custom_wait* joiner = std::exchange(task.joiners(), nullptr); joiner;) {
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
  detail::task_owner& owner = detail::owner_of(task);
  task.end();
  task.unlink();
  --tasks_;
  ready_.unreserve();
  if (task.has(detail::task_state::failed) || task.has(detail::task_state::ends_run) || owner.sees_every_end())
      [[unlikely]]
    tell_owner(task, owner);
  if (task.has_joiners_or_extras()) wake_joiners(task);
  owner.one_less();
  no_task_runs();
  if (task.references_ == 0) detail::destroy_task(task);
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
