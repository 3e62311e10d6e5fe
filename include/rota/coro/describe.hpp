// Words for people: which task, what went wrong. None of it needs memory: a report may be about there being none.
#pragma once

#include <cxxabi.h>

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <source_location>
#include <typeinfo>

#include <rota/coro/cancellation.hpp>

namespace rota::detail {

/// A text of limited length; what is too long is cut off.
class description {
 public:
  description() noexcept = default;
  const char* c_str() const noexcept { return text_; }

  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    const int n = std::vsnprintf(text_ + size_, sizeof text_ - size_, format, arguments);
    va_end(arguments);
    if (n > 0) size_ += static_cast<std::size_t>(n);
    if (size_ >= sizeof text_) size_ = sizeof text_ - 1;
  }
  /// The type of the exception that is being handled, as it stands in the source; without memory, in the object file.
  void add_exception_type() noexcept {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    const char* const name = type ? type->name() : "unknown";
    char* const readable = abi::__cxa_demangle(name, nullptr, nullptr, nullptr);
    add("%s", readable ? readable : name);
    std::free(readable);
  }

 private:
  char text_[longest_report - 512] = "";
  std::size_t size_ = 0;
};

/// " at server.cpp:12: the client has gone": who cancelled, and why, as far as they said.
inline void add_cause(description& text, const cancel_record& record) noexcept {
  if (record.where.line() != 0)
    text.add(" at %s:%u", record.where.file_name(), static_cast<unsigned>(record.where.line()));
  if (record.length != 0) text.add(": %.*s", static_cast<int>(record.length), record.text().data());
}

/// "a mutex", "an event"
inline const char* article_of(const char* what) noexcept {
  return *what == 'a' || *what == 'e' || *what == 'i' ? "an" : "a";  // a once
}

/// "std::system_error: connect to 127.0.0.1:1: Connection refused", "an exception of type my_error".
ROTA_COLD inline description describe(const std::exception_ptr& error) noexcept {
  description text;
  if (!error) {
    text.add("no error");
    return text;
  }
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    text.add_exception_type();
    text.add(": %s", e.what());
  } catch (const cancelled& e) {
    text.add("cancelled%s%.*s", e.reason().empty() ? "" : ": ", static_cast<int>(e.reason().size()), e.reason().data());
  } catch (...) {
    text.add("an exception of type ");
    text.add_exception_type();
  }
  return text;
}

inline bool is_cancellation(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const cancelled&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Where the task's own coroutine is: the user's, not the one that stands in for it to keep its arguments.
inline std::source_location line_of(task_state& task) noexcept {
  if (task.has(task_state::stands_in) && !task.has(task_state::finished) && task.wait != 0) {
    void* const root = task.frame();
    for (void* frame = task.exec->waiting_frame(task); frame && frame != root;) {
      const promise_base& promise = promise_of(frame);
      frame = promise.outcome->parent();
      if (frame == root) return promise.waits_at;
    }
  }
  return task.root_line();
}

/// "task 'importer'"; without a name "task 7", if somebody has asked for its number, else "task".
inline description name_of(const char* name, std::uint64_t id) noexcept {
  description text;
  text.add("task");
  if (*name != '\0')
    text.add(" '%s'", name);
  else if (id != 0)
    text.add(" %llu", static_cast<unsigned long long>(id));
  return text;
}

/// "task 'importer', last at server.cpp:42"
ROTA_COLD inline description describe(task_state& task, std::source_location at) noexcept {
  const task_extras* extras = task.extras();
  description text = name_of(extras ? extras->name.c_str() : "", extras ? extras->id : 0);
  text.add(", %s at %s:%u", task.has(task_state::started) ? "last" : "made", at.file_name(),
           static_cast<unsigned>(at.line()));
  return text;
}
inline description describe(task_state& task) noexcept { return describe(task, line_of(task)); }

/// " by task 'importer', last at server.cpp:42": who did what nobody's await says; empty where no task runs.
ROTA_COLD inline description by_running_task() noexcept {
  description text;
  if (task_state* const task = running_task()) text.add(" by %s", describe(*task).c_str());
  return text;
}

ROTA_COLD inline void trap_woken_elsewhere(void* frame) noexcept {
  task_state& task = *promise_of(frame).state;
  // Not line_of(): its thread may be changing what that looks at.
  trap(
      "%s, was woken on another thread than its event loop's: what it waits for belongs to one loop; "
      "event_loop::post() lets other threads reach it",
      describe(task, promise_of(frame).waits_at).c_str());
}

}  // namespace rota::detail
