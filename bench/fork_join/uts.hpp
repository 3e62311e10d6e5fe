// The tree T1 of S. Olivier, J. Huan, J. Liu, J. Prins, J. Dinan, P. Sadayappan and C.-W. Tseng, "UTS: An Unbalanced Tree
// Search Benchmark", LCPC 2006: geometric, with the same expected branching factor of 4 down to depth 10, root seed 19.
// A node is the SHA-1 hash of its parent and its number among the siblings, so nobody knows how large a subtree is.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace uts {

inline constexpr long nodes = 4'130'071;  // the authors' count
inline constexpr int depth_limit = 10;
inline constexpr double branching = 4;
inline constexpr int most_children = 100;

using words = std::array<std::uint32_t, 5>;

/// SHA-1 (FIPS 180-4) of 20 bytes and a 32-bit number, as big-endian words.
inline words sha1(const words& bytes, std::uint32_t number) {
  std::array<std::uint32_t, 80> w{};
  for (std::size_t i = 0; i != 5; ++i) w[i] = bytes[i];
  w[5] = number;
  w[6] = 0x80000000;
  w[15] = 24 * 8;
  for (std::size_t i = 16; i != 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  words h{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  auto [a, b, c, d, e] = h;
  const auto round = [&](std::uint32_t f, std::uint32_t k, std::size_t i) {
    const std::uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  };
  std::size_t i = 0;
  for (; i != 20; ++i) round((b & c) | (~b & d), 0x5a827999, i);
  for (; i != 40; ++i) round(b ^ c ^ d, 0x6ed9eba1, i);
  for (; i != 60; ++i) round((b & c) | (b & d) | (c & d), 0x8f1bbcdc, i);
  for (; i != 80; ++i) round(b ^ c ^ d, 0xca62c1d6, i);
  return {h[0] + a, h[1] + b, h[2] + c, h[3] + d, h[4] + e};
}

struct node {
  words state;
  int depth;

  int children() const {
    if (depth == depth_limit) return 0;
    const double p = 1 / (1 + branching);
    const double u = static_cast<double>(state[4] & 0x7fffffff) / 2147483648.0;
    const int wished = static_cast<int>(std::floor(std::log(1 - u) / std::log(1 - p)));
    return wished < most_children ? wished : most_children;
  }
  node child(int number) const { return {sha1(state, static_cast<std::uint32_t>(number)), depth + 1}; }
};

/// The hash of 16 zero bytes and the seed, which is 19.
inline constexpr node root{{0xc6988ab7, 0x0cc9559a, 0xe4d6cba2, 0x54e29a84, 0x5a85f86b}, 0};

}  // namespace uts
