// Where a plain thread sleeps until another one lets it go on, once.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace rota::detail {

class thread_parker {
 public:
  /// Everything that was done before wake() is seen after this.
  void wait() noexcept {
    if (!fall_asleep()) return;
    while (word_.load(std::memory_order_acquire) != told) sleep(nullptr);
  }
  /// False: nothing came for a millisecond. wait() may follow.
  bool wait_briefly() noexcept {
    const timespec limit{0, 1'000'000};
    if (fall_asleep()) sleep(&limit);
    std::uint32_t word = asleep;
    return !word_.compare_exchange_strong(word, awake, std::memory_order_acquire, std::memory_order_acquire);
  }
  /// Once. The thread may go on, and this be gone, before the system call, which needs no more than the address: at worst it
  /// wakes somebody else who sleeps there by now, and who looks again, as everybody does after a futex.
  void wake() noexcept {
    std::atomic<std::uint32_t>* const address = &word_;
    if (word_.exchange(told, std::memory_order_acq_rel) == asleep)
      (void)::syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

 private:
  enum state : std::uint32_t { awake, asleep, told };

  bool fall_asleep() noexcept {
    std::uint32_t word = awake;
    return word_.compare_exchange_strong(word, asleep, std::memory_order_acquire, std::memory_order_acquire);
  }
  void sleep(const timespec* limit) noexcept {
    (void)::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, asleep, limit, nullptr, 0);
  }

  std::atomic<std::uint32_t> word_{awake};
};

}  // namespace rota::detail
