// Where diagnostics go, and how a broken invariant ends the program.
#pragma once

#include <atomic>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <rota/base/config.hpp>

namespace rota {

/// Receives one diagnosis: a line, or several when an exception's own text has them; no newline at the end. Called on the
/// thread where the fact was noticed; must not throw.
using report_handler = void (*)(const char* message) noexcept;

namespace detail {
inline constexpr std::size_t longest_report = 4096;  // what is longer is cut off: an exception_group shows 20 members

inline void report_to_stderr(const char* message) noexcept { std::fprintf(stderr, "rota: %s\n", message); }
// Written by set_report_handler, read by whoever reports: relaxed, a function pointer carries no other data.
inline constinit std::atomic<report_handler> current_report_handler{&report_to_stderr};
}  // namespace detail

/// Replaces the receiver of diagnostics (default: one line on stderr) and returns the previous one. Any thread.
inline report_handler set_report_handler(report_handler handler) noexcept {
  return detail::current_report_handler.exchange(handler ? handler : &detail::report_to_stderr,
                                                 std::memory_order_relaxed);
}

/// Sends one printf-formatted line of diagnosis to the report handler. Any thread.
[[gnu::format(printf, 1, 2)]] ROTA_COLD inline void report(const char* format, ...) noexcept {
  char line[detail::longest_report];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  detail::current_report_handler.load(std::memory_order_relaxed)(line);
}

namespace detail {
/// A programmer's error after which going on would corrupt memory: says what it was and aborts, in every build.
[[noreturn, gnu::format(printf, 1, 2)]] ROTA_COLD inline void trap(const char* format, ...) noexcept {
  char line[longest_report];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  current_report_handler.load(std::memory_order_relaxed)(line);
  std::abort();
}
}  // namespace detail
}  // namespace rota

// Checks of rota's own invariants: cheap ones stay on in every build.
#define ROTA_ASSERT(condition) \
  ((condition) ? void() : ::rota::detail::trap("broken invariant %s at %s:%d", #condition, __FILE__, __LINE__))
#if ROTA_ASSERTIONS
#define ROTA_DEBUG_ASSERT(condition) ROTA_ASSERT(condition)
#else
#define ROTA_DEBUG_ASSERT(condition) void()
#endif
