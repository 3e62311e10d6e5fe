// What the fuzz targets share: the input, read byte by byte, and the check that ends the program.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace rota_fuzz {

/// libFuzzer takes the abort for a find and keeps the input. `print_more` may say what led to it.
inline void (*print_more)() = nullptr;
inline void require(bool holds, const char* what) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "\nbroken: %s\n", what);
  if (print_more) print_more();
  std::abort();
}

/// The bytes that a program is decoded from. All zero after the end.
class input {
 public:
  explicit input(std::span<const std::uint8_t> bytes) noexcept : rest_(bytes) {}

  bool more() const noexcept { return !rest_.empty(); }
  std::uint8_t byte() noexcept {
    if (rest_.empty()) return 0;
    const std::uint8_t first = rest_.front();
    rest_ = rest_.subspan(1);
    return first;
  }
  std::size_t below(std::size_t bound) noexcept { return byte() % bound; }
  std::span<const std::uint8_t> take(std::size_t most) noexcept {
    const auto part = rest_.first(most < rest_.size() ? most : rest_.size());
    rest_ = rest_.subspan(part.size());
    return part;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace rota_fuzz

/// The target. libFuzzer calls it; without libFuzzer, replay.cpp does.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
