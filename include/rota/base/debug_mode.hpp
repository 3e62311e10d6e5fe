// Whether somebody wants the debug mode: a run-time switch, by the environment or for one event loop.
#pragma once

#include <atomic>
#include <cstdlib>

#include <rota/base/config.hpp>

namespace rota::detail {

/// ROTA_DEBUG in the environment is set, and neither empty nor 0.
inline bool debug_by_environment() noexcept {
  const char* value = std::getenv("ROTA_DEBUG");
  return value && *value != '\0' && !(value[0] == '0' && value[1] == '\0');
}

/// Event loops of this process that are in debug mode; relaxed, it carries no other data.
inline constinit std::atomic<int> debug_loops{0};

/// For what belongs to no loop. A debug build always says what costs nothing to find.
inline bool debug_mode() noexcept {
  return ROTA_ASSERTIONS || debug_loops.load(std::memory_order_relaxed) > 0 || debug_by_environment();
}

}  // namespace rota::detail
