#pragma once
// The only place that knows which Catch2 is installed: Debian 12 has v2 (one header), upstream is at v3.
// Tests are written in v3's spelling.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>

namespace Catch::Matchers {
inline auto ContainsSubstring(std::string const& text) { return Contains(text); }
}  // namespace Catch::Matchers

// v3's SKIP leaves from anywhere; this one has to stand in the body of the test case itself.
#define SKIP(reason)             \
  do {                           \
    WARN("skipped: " << reason); \
    return;                      \
  } while (false)
#endif
