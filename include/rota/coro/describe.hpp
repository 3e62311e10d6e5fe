// Words for people: which task, what went wrong.
#pragma once

#include <exception>
#include <string>

#include <rota/coro/cancellation.hpp>

namespace rota::detail {

/// "std::system_error: connection refused", as far as it can be known.
inline std::string describe(const std::exception_ptr& error) {
  if (!error) return "no error";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const cancelled& e) {
    std::string text = "cancelled";
    if (!e.reason().empty()) text += ": " + std::string(e.reason());
    return text;
  } catch (...) {
    return "an exception that is not a std::exception";
  }
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

/// "task 'importer', last at server.cpp:42"
inline std::string describe(task_state& task) {
  std::string text = "task";
  if (task.extras() && !task.extras()->name.empty()) text += " '" + task.extras()->name + "'";
  const std::source_location at = task.root().waits_at;
  text += std::string(task.has(task_state::started) ? ", last at " : ", made at ") + at.file_name() + ":" +
          std::to_string(at.line());
  return text;
}

}  // namespace rota::detail
