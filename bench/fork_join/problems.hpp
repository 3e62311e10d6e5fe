// What every library has to do in the cases of fork_join.
#pragma once

#include <array>
#include <cstddef>

namespace problems {

inline constexpr int fib_of = 30;
inline constexpr int skynet_depth = 6;  // 10^6 leaves

using board = std::array<char, 11>;  // the column of the queen in each row

inline bool may_stand(const board& b, std::size_t row, std::size_t column) {
  for (std::size_t r = 0; r != row; ++r) {
    const auto c = static_cast<std::size_t>(b[r]);
    if (c == column || c + row - r == column || column + row - r == c) return false;
  }
  return true;
}

}  // namespace problems
