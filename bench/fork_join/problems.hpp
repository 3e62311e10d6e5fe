// What every library has to do in the cases of fork_join.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "uts.hpp"

namespace problems {

inline constexpr int fib_of = 30;
inline constexpr long fib_is = 832'040;
inline constexpr int fib_small_of = 12;  // for those who make a thread for each fork
inline constexpr long fib_small_is = 144;
inline constexpr int skynet_depth = 6;  // 10^6 leaves
inline constexpr long skynet_is = 499'999'500'000;
inline constexpr int nqueens_is = 2680;

using board = std::array<char, 11>;  // the column of the queen in each row

inline bool may_stand(const board& b, std::size_t row, std::size_t column) {
  for (std::size_t r = 0; r != row; ++r) {
    const auto c = static_cast<std::size_t>(b[r]);
    if (c == column || c + row - r == column || column + row - r == c) return false;
  }
  return true;
}

/// matmul of Cilk: M. Frigo, C. E. Leiserson and K. H. Randall, "The Implementation of the Cilk-5 Multithreaded Language",
/// PLDI 1998. C += A * B by quarters: four products at once, joined, then the four others.
inline constexpr std::size_t matrix_size = 512;
inline constexpr std::size_t leaf_size = 32;

/// A square block of a matrix whose rows are matrix_size numbers long.
struct block {
  float* numbers;
  std::size_t size;
  block quarter(std::size_t row, std::size_t column) const {
    return {numbers + (row * matrix_size + column) * (size / 2), size / 2};
  }
};
struct product {
  block c, a, b;
  bool is_leaf() const { return c.size == leaf_size; }
  /// The k-th product that goes into a quarter of c.
  product quarter(std::size_t row, std::size_t column, std::size_t k) const {
    return {c.quarter(row, column), a.quarter(row, k), b.quarter(k, column)};
  }
  [[gnu::noinline]] void multiply() const {
    for (std::size_t i = 0; i != leaf_size; ++i)
      for (std::size_t k = 0; k != leaf_size; ++k) {
        const float x = a.numbers[i * matrix_size + k];
        for (std::size_t j = 0; j != leaf_size; ++j)
          c.numbers[i * matrix_size + j] += x * b.numbers[k * matrix_size + j];
      }
  }
};

/// Who multiplies calls all three, so that the numbers are in its caches, not in those of a thread that only waits.
class matrices {
 public:
  matrices() : a_(small_integers(3)), b_(small_integers(5)), c_(std::make_unique<numbers>()) {}

  void clear() { c_->at.fill(0); }
  product all() { return {whole(*c_), whole(*a_), whole(*b_)}; }
  /// Of a few places, after one product.
  bool are_right() const {
    for (const std::size_t i : {std::size_t{0}, matrix_size / 3, matrix_size - 1}) {
      float sum = 0;
      for (std::size_t k = 0; k != matrix_size; ++k) sum += a_->at[i * matrix_size + k] * b_->at[k * matrix_size + i];
      if (c_->at[i * matrix_size + i] != sum) return false;
    }
    return true;
  }

 private:
  // Aligned, so that no library has its rows across two cache lines by chance: that costs a tenth.
  struct alignas(64) numbers {
    std::array<float, matrix_size * matrix_size> at;
  };
  static block whole(numbers& n) { return {n.at.data(), matrix_size}; }
  static std::unique_ptr<numbers> small_integers(std::size_t step) {  // floats add them without an error
    auto n = std::make_unique<numbers>();
    for (std::size_t i = 0; i != n->at.size(); ++i) n->at[i] = static_cast<float>(i * step % 7);
    return n;
  }
  std::unique_ptr<numbers> a_, b_, c_;
};

}  // namespace problems
