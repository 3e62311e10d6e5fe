// What the sanitizers cannot see by themselves: the kernel reads and writes our memory through io_uring,
// and orders threads through it. Free in ordinary builds.
#pragma once

#include <cstddef>

#include <rota/base/config.hpp>
#include <rota/base/report.hpp>

#if ROTA_ASAN
#include <sanitizer/asan_interface.h>
#endif
#if ROTA_TSAN
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace rota::detail {

/// The kernel is about to use, or has just used, these bytes: they must be alive. `when` names the moment.
inline void check_kernel_memory([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t size,
                                [[maybe_unused]] const char* when) noexcept {
#if ROTA_ASAN
  if (data && size) {
    if (void* bad = __asan_region_is_poisoned(const_cast<void*>(data), size))
      trap("the kernel was given memory that is not alive: %zu bytes at %p, bad from %p (at %s)", size, data, bad,
           when);
  }
#endif
}

inline void kernel_release([[maybe_unused]] void* object) noexcept {
#if ROTA_TSAN
  __tsan_release(object);
#endif
}
inline void kernel_acquire([[maybe_unused]] void* object) noexcept {
#if ROTA_TSAN
  __tsan_acquire(object);
#endif
}

}  // namespace rota::detail
