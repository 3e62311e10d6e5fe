// Entering a coroutine, and passing control from one to the next in constant stack (rule R5).
//
// clang turns symmetric transfer into a jump at every optimisation level. GCC does so only at -O2 without
// sanitizers, so there transfer() looks how far the stack has grown since resume() entered the first coroutine:
// when it is more than `limit`, it parks the handle for resume(), which continues on a fresh stack.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <rota/base/config.hpp>

namespace rota::detail {

#if ROTA_TRANSFER_GUARD

struct transfer_state {
  char* base = nullptr;    // stack position of the innermost resume(); null: coroutine entered by somebody else
  void* parked = nullptr;  // the frame that transfer() left for resume()
};
// Read and written by this thread only. Reached from coroutine bodies on GCC alone, which re-reads it each time.
inline constinit thread_local transfer_state transfers{};

inline std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept {
  constexpr std::intptr_t limit = 64 * 1024;
  const auto grown = reinterpret_cast<std::intptr_t>(transfers.base) -
                     reinterpret_cast<std::intptr_t>(__builtin_frame_address(0));
  if (grown > limit) [[unlikely]] {
    transfers.parked = next.address();
    return std::noop_coroutine();
  }
  return next;
}

/// Marks the stack once, then resumes any number of coroutines from that mark.
class resumer {
 public:
  [[gnu::always_inline]] resumer() noexcept
      : saved_(std::exchange(transfers, {static_cast<char*>(__builtin_frame_address(0)), nullptr})) {}
  ~resumer() { transfers = saved_; }
  resumer(const resumer&) = delete;
  resumer& operator=(const resumer&) = delete;

  void resume(void* frame) const {
    do {
      std::coroutine_handle<>::from_address(frame).resume();
      frame = std::exchange(transfers.parked, nullptr);
    } while (frame);
  }

 private:
  transfer_state saved_;
};

#else

inline std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept { return next; }

class resumer {
 public:
  resumer() noexcept {}
  void resume(void* frame) const { std::coroutine_handle<>::from_address(frame).resume(); }
};

#endif

/// Runs the coroutine until it, and whatever it transferred to, has suspended.
ROTA_NOINLINE inline void resume(std::coroutine_handle<> handle) {
  const resumer stack;
  stack.resume(handle.address());
}

}  // namespace rota::detail
