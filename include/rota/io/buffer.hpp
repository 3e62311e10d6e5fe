// Bytes as rota's streams take them: std::span of std::byte.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string_view>

namespace rota {

/// Memory that an operation fills; the caller keeps it alive until the operation has completed.
using mutable_buffer = std::span<std::byte>;
/// Memory that an operation reads; the caller keeps it alive until the operation has completed.
using const_buffer = std::span<const std::byte>;

/// The bytes of a text, without a copy.
inline const_buffer as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
/// Bytes as text, without a copy.
inline std::string_view as_text(const_buffer bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace rota
