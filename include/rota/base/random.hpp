// The one source of random numbers: seeded, so that a run can be repeated. Nothing in the core draws from it; what is to
// be repeated from one number does: a simulated backend, and tests that are random.
#pragma once

#include <cstdint>

namespace rota::detail {

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014): one word of state, any seed is good.
class random {
 public:
  explicit constexpr random(std::uint64_t seed) noexcept : state_(seed) {}
  constexpr std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Uniform enough below a small bound.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept { return bound ? next() % bound : 0; }

 private:
  std::uint64_t state_;
};

}  // namespace rota::detail
