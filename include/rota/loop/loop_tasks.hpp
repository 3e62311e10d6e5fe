// What an event loop does for its tasks, beyond what every task_runner does: how an operation that they wait for is
// cancelled, how their errors are reported.
#pragma once

#include <exception>
#include <source_location>

#include <rota/coro/affinity.hpp>
#include <rota/loop/event_loop_class.hpp>

namespace rota {

inline void event_loop::cancel_wait(detail::task_state& task) noexcept {
  if (task.waiting_kind() == detail::wait_kind::operation)
    reactor_->cancel(*static_cast<detail::operation*>(task.waiting_for()));
  else
    task_runner::cancel_wait(task);
}

inline void* event_loop::waiting_frame(detail::task_state& task) noexcept {
  if (task.waiting_kind() == detail::wait_kind::operation)
    return static_cast<detail::operation*>(task.waiting_for())->waiter;
  return task_runner::waiting_frame(task);
}

inline void event_loop::cancel_begins(detail::task_state& task, detail::cancel_record* record) noexcept {
  if (!watch_) [[likely]]
    return;
  if (on_another_thread()) detail::trap_wrong_thread("a scope was cancelled", detail::describe(task));
  if (record) watch_->cancel_begins(*record);
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
