// The line of a call, when all that is known of it is the address to which it returns.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>

#include <rota/base/config.hpp>

namespace rota::detail {

/// "./server+0x1a2b; addr2line -Cfe ./server 0x1a2b tells the line": reading debug information is left to a tool that can. Empty
/// where no file has the address.
class call_site {
 public:
  ROTA_COLD explicit call_site(const void* returns_to) noexcept {
    Dl_info file{};
    if (!returns_to || dladdr(returns_to, &file) == 0 || !file.dli_fname) return;
    const auto begin = reinterpret_cast<std::uintptr_t>(file.dli_fbase);
    // A program that is not loaded anywhere (ET_EXEC, the number behind the 16 bytes that every ELF file begins with) has
    // addresses, others have offsets.
    const bool is_fixed = static_cast<const std::uint16_t*>(file.dli_fbase)[8] == 2;
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(returns_to) - 1;  // within the call
    const std::uintptr_t offset = is_fixed ? at : at - begin;
    std::snprintf(text_, sizeof text_, "%.300s+0x%zx; addr2line -Cfe %.300s 0x%zx tells the line", file.dli_fname,
                  offset, file.dli_fname, offset);
  }
  explicit operator bool() const noexcept { return text_[0] != '\0'; }
  const char* c_str() const noexcept { return text_; }

 private:
  char text_[700] = {};
};

}  // namespace rota::detail
