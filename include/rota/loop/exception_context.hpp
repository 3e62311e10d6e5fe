// What a loop's exception handler is told: whom it is about, which source line, what went wrong.
#pragma once

#include <exception>
#include <source_location>
#include <string_view>

namespace rota {

/// An error that has nobody to be thrown at. Its texts live as long as the call of the handler; making it needs no memory.
struct exception_context {
  exception_context() noexcept {}

  /// A sentence without its end: "task 'importer', last at import.cpp:42 ended with an exception that nobody
  /// retrieved". The default handler adds the exception's text.
  const char* message = "";
  /// What was thrown; null if nothing was.
  std::exception_ptr exception;
  /// Of the task that it is about; empty if there is none, or it has no name.
  std::string_view task_name;
  /// Where that task waited last, or where the callback was given to the loop. Line 0: unknown.
  std::source_location where;
};

namespace detail {
struct exception_receiver {
  virtual ~exception_receiver() = default;
  virtual void receive(const exception_context& context) = 0;
};
}  // namespace detail

}  // namespace rota
