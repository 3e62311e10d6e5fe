// What happened in a simulated run, one line each: equal runs have equal traces, byte for byte.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include <rota/base/clock.hpp>

namespace rota::testing {

/// Lines such as "3.000250000 server recv #1 = 64": seconds of virtual time since the run began, host, what, result.
/// Holds nothing that differs from run to run or from compiler to compiler: no addresses, no thread, no real time.
class trace {
 public:
  explicit trace(bool keep_text) noexcept : keeps_text_(keep_text) {}

  /// Empty when the run was told not to keep it.
  const std::string& text() const noexcept { return text_; }
  /// Of all lines; equal for equal runs (64-bit FNV-1a).
  std::uint64_t digest() const noexcept { return digest_; }
  std::uint64_t lines() const noexcept { return lines_; }

  // For the simulator: line(time), then pieces, then end().
  trace& line(detail::nanoseconds since_start) {
    number(since_start / 1'000'000'000);
    char fraction[10] = ".";
    detail::nanoseconds rest = since_start % 1'000'000'000;
    for (int i = 9; i != 0; --i, rest /= 10) fraction[i] = static_cast<char>('0' + rest % 10);
    add({fraction, sizeof fraction});
    return *this;
  }
  trace& word(std::string_view text) {
    add(" ");
    add(text);
    return *this;
  }
  trace& number(std::int64_t value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    add({digits, static_cast<std::size_t>(end - digits)});
    return *this;
  }
  void end() {
    add("\n");
    ++lines_;
  }

 private:
  void add(std::string_view piece) {
    for (const char c : piece) digest_ = (digest_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    if (keeps_text_) text_ += piece;
  }

  const bool keeps_text_;
  std::string text_;
  std::uint64_t digest_ = 0xcbf29ce484222325u;
  std::uint64_t lines_ = 0;
};

}  // namespace rota::testing
