// Notices fork(): a child must not touch its parent's ring or epoll set, which the kernel shares between them.
#pragma once

#include <pthread.h>

#include <cstdint>

namespace rota::detail {

class fork_guard {
 public:
  /// From now on every child sees another generation().
  static std::uint32_t watch() noexcept {
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] { ++generation_; });
    (void)registered;
    return generation_;
  }
  static std::uint32_t generation() noexcept { return generation_; }

 private:
  // Not atomic: written only by the atfork handler, in a child that has one thread yet.
  static inline std::uint32_t generation_ = 0;
};

}  // namespace rota::detail
