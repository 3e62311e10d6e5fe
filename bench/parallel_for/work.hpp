// The loops of the cases parallel_for and parallel_reduce.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace work {

/// Each element a few dozen steps, whatever it is.
inline std::uint32_t hash(std::uint32_t x) {
  for (int i = 0; i != 8; ++i) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
  }
  return x;
}
inline constexpr std::size_t even_size = 1'000'000;

/// One multiplication and addition for each element: so cheap that what the loop costs is seen.
inline constexpr std::size_t cheap_size = 100'000;

/// The last element takes 4000 times as long as the first.
inline std::uint32_t triangle(std::size_t i) {
  std::uint32_t x = static_cast<std::uint32_t>(i) + 1;
  for (std::size_t n = 0; n != i; ++n) x = x * 1664525 + 1013904223;
  return x;
}
inline constexpr std::size_t uneven_size = 4'000;

struct loops {
  std::vector<std::uint32_t> even = std::vector<std::uint32_t>(even_size, 1);
  std::vector<float> x = std::vector<float>(cheap_size, 1), y = std::vector<float>(cheap_size, 1);
  std::vector<std::uint32_t> uneven = std::vector<std::uint32_t>(uneven_size);

  /// The three bodies; each owns element i.
  auto even_body() {
    return [to = even.data()](std::size_t i) { to[i] = hash(to[i]); };
  }
  auto cheap_body() {
    return [from = x.data(), to = y.data()](std::size_t i) { to[i] += 0.5f * from[i]; };
  }
  auto uneven_body() {
    return [to = uneven.data()](std::size_t i) { to[i] = triangle(i); };
  }
};

}  // namespace work
