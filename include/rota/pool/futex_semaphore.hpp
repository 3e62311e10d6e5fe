// What workers sleep on. (std::counting_semaphore of libstdc++ 12 is said to lose wake-ups, GCC PR 104928.)
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace rota::detail {

/// Counts permits. Everything that was done before release() is seen after the acquire() that takes its permit.
class futex_semaphore {
 public:
  void release() noexcept {
    permits_.fetch_add(1, std::memory_order_release);
    call(FUTEX_WAKE_PRIVATE, 1, nullptr);
  }
  void acquire() noexcept {
    while (!try_acquire()) call(FUTEX_WAIT_PRIVATE, 0, nullptr);
  }
  /// False: no permit came for a millisecond.
  bool acquire_briefly() noexcept {
    if (try_acquire()) return true;
    const timespec limit{0, 1'000'000};
    call(FUTEX_WAIT_PRIVATE, 0, &limit);
    return try_acquire();
  }

 private:
  bool try_acquire() noexcept {
    std::uint32_t n = permits_.load(std::memory_order_relaxed);
    while (n != 0)
      if (permits_.compare_exchange_weak(n, n - 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    return false;
  }
  // What it returns does not matter: the permits are looked at again.
  void call(int what, std::uint32_t value, const timespec* limit) noexcept {
    static_assert(sizeof permits_ == sizeof(std::uint32_t));
    (void)::syscall(SYS_futex, &permits_, what, value, limit, nullptr, 0);
  }

  std::atomic<std::uint32_t> permits_{0};
};

}  // namespace rota::detail
