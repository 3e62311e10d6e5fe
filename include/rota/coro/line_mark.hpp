// The source line of an await, as an argument that costs nothing.
#pragma once

#include <bit>
#include <source_location>

namespace rota::detail {

/// What a std::source_location holds. As a default argument of await_suspend it is the user's co_await; GCC keeps a
/// std::source_location there in the coroutine's frame, 8 bytes for each await, and a bare pointer not.
using line_mark = const void*;
#define ROTA_CALLERS_LINE __builtin_source_location()

inline std::source_location source_line(line_mark mark) noexcept {
  static_assert(sizeof(std::source_location) == sizeof(line_mark));
  return std::bit_cast<std::source_location>(mark);
}
inline line_mark line_mark_of(std::source_location line) noexcept { return std::bit_cast<line_mark>(line); }

}  // namespace rota::detail
