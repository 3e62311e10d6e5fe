// Programmer's errors that are caught before anything is harmed; thrown, so that a test can see them.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <exception>

#include <rota/base/config.hpp>

namespace rota {

/// The program used rota in a way that can never work: awaited a task twice, ran a loop inside a loop, ...
/// what() names the mistake. Nothing has been started or changed when it is thrown.
class usage_error : public std::exception {
 public:
  enum class kind : unsigned char {
    already_awaited,       ///< a task is awaited at most once
    invalid_task,          ///< an empty or moved-from task was awaited or spawned
    loop_already_running,  ///< an event loop runs inside no other loop, and on one thread
    no_event_loop,         ///< this thread runs no event loop (or the task no loop's executor)
    wrong_thread,          ///< an event loop, or something of it, was used on another thread than the one that made it
    wrong_loop,            ///< an object of one loop was used by a task of another
    forked,                ///< a child process used the loop of its parent
    blocking_in_loop,      ///< a blocking wait on a thread that runs an event loop
    already_set,           ///< a promise is set once, its future taken once
    invalid_argument,      ///< an argument out of its documented range
    loop_shut_down,        ///< something new was asked of an event loop that has been shut down
    no_task,               ///< rota::this_task, or a task_local, outside of a task
    no_value,              ///< a task_local that is bound to nothing here
    join_cycle,            ///< tasks that wait for each other's end, or a task that waits for its own
    would_deadlock,        ///< a task waits for what it has itself: a mutex that it has locked
    not_held,              ///< a lock that is not held is given back, or more permits than there can be
    busy,                  ///< a second task waits on what one task at a time may wait on
  };

  /// `what` is copied, as far as it fits (1023 characters).
  usage_error(kind which, const char* what) noexcept : kind_(which) { std::snprintf(what_, sizeof what_, "%s", what); }

  const char* what() const noexcept override { return what_; }
  kind which() const noexcept { return kind_; }

 private:
  char what_[1024];  // here, and not allocated: telling of a mistake must not fail
  kind kind_;
};

namespace detail {
/// usage_error with a printf-formatted text.
[[noreturn, gnu::format(printf, 2, 3)]] ROTA_COLD inline void throw_usage_error(usage_error::kind which,
                                                                                const char* format, ...) {
  char text[1024];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw usage_error(which, text);
}
}  // namespace detail
}  // namespace rota
