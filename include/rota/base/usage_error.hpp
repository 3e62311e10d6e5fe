// Programmer's errors that are caught before anything is harmed; thrown, so that a test can see them.
#pragma once

#include <exception>

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
    wrong_thread,          ///< an event loop was run on another thread than the one that made it
    wrong_loop,            ///< an object of one loop was used by a task of another
    forked,                ///< a child process used the loop of its parent
    blocking_in_loop,      ///< a blocking wait on a thread that runs an event loop
    already_set,           ///< a promise is set once, its future taken once
    invalid_argument,      ///< an argument out of its documented range
    loop_shut_down,        ///< something new was asked of an event loop that has been shut down
  };

  /// `what` must outlive the exception (a string literal).
  usage_error(kind which, const char* what) noexcept : what_(what), kind_(which) {}

  const char* what() const noexcept override { return what_; }
  kind which() const noexcept { return kind_; }

 private:
  const char* what_;
  kind kind_;
};

}  // namespace rota
