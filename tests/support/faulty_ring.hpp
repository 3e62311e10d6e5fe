// The functions of liburing that enter the kernel, defined once more, so that a test can count them and make them fail. For
// one source file of a program.
#pragma once

#include <rota/base/config.hpp>

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if ROTA_HAS_LIBURING
#include <liburing.h>
#endif

namespace rota_test {

enum class ring_call { set_up, submit, wait, count_ };

/// One call at a time fails.
struct faulty_ring {
  static std::uint64_t calls(ring_call which) noexcept { return calls_[static_cast<std::size_t>(which)]; }
  static void fail(ring_call which, int error, std::uint64_t skip) noexcept {
    which_ = which;
    error_ = error;
    skip_ = skip;
  }
  static bool struck() noexcept { return struck_; }
  static void reset() noexcept {
    for (std::uint64_t& n : calls_) n = 0;
    which_ = ring_call::count_;
    struck_ = false;
  }
  /// The negative errno of the call that begins, or 0.
  static int begin(ring_call which) noexcept {
    ++calls_[static_cast<std::size_t>(which)];
    if (which != which_ || struck_ || skip_-- != 0) return 0;
    struck_ = true;
    return -error_;
  }

 private:
  static inline std::uint64_t calls_[static_cast<std::size_t>(ring_call::count_)] = {};
  static inline ring_call which_ = ring_call::count_;
  static inline int error_ = 0;
  static inline std::uint64_t skip_ = 0;
  static inline bool struck_ = false;
};

}  // namespace rota_test

#if ROTA_HAS_LIBURING
namespace rota_test {
template <class F>
F* real_function(F*, const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (!found) std::abort();
  return reinterpret_cast<F*>(found);
}
}  // namespace rota_test
#define ROTA_TEST_RING(which, function, ...)                                                                  \
  if (const int error = rota_test::faulty_ring::begin(rota_test::ring_call::which); error != 0) return error; \
  return rota_test::real_function(&function, #function)(__VA_ARGS__)

extern "C" int io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* parameters) {
  ROTA_TEST_RING(set_up, io_uring_queue_init_params, entries, ring, parameters);
}
extern "C" int io_uring_submit(io_uring* ring) { ROTA_TEST_RING(submit, io_uring_submit, ring); }
extern "C" int io_uring_submit_and_wait(io_uring* ring, unsigned n) {
  ROTA_TEST_RING(wait, io_uring_submit_and_wait, ring, n);
}
extern "C" int io_uring_submit_and_get_events(io_uring* ring) {
  ROTA_TEST_RING(wait, io_uring_submit_and_get_events, ring);
}
extern "C" int io_uring_submit_and_wait_timeout(io_uring* ring, io_uring_cqe** first, unsigned n,
                                                __kernel_timespec* timeout, sigset_t* mask) {
  ROTA_TEST_RING(wait, io_uring_submit_and_wait_timeout, ring, first, n, timeout, mask);
}
#undef ROTA_TEST_RING
#endif
