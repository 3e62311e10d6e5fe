// Replaces operator new, so that memory can run out where a test wishes. Include it before any header of rota: frames
// come from operator new then, so that each of them can fail, too. For one source file of a program.
#pragma once

#ifdef ROTA_VERSION_MAJOR
#error "failing_new.hpp has to come first: it chooses where frames come from"
#endif
#define ROTA_PLAIN_FRAMES 1
#include <cstddef>
#include <cstdlib>
#include <new>
#include <system_error>

#include "support/rota_test.hpp"

namespace rota_test {

inline long allocations_left = -1;  // the one after these fails; negative: none does
inline bool no_memory = false;      // every allocation fails

[[maybe_unused]] inline void* allocate(std::size_t size, std::size_t alignment) {
  if (no_memory) throw std::bad_alloc();
  if (allocations_left >= 0 && allocations_left-- == 0) {
    allocations_left = -1;
    throw std::bad_alloc();
  }
  void* block = nullptr;
  if (::posix_memalign(&block, alignment < sizeof(void*) ? sizeof(void*) : alignment, size ? size : 1) != 0)
    throw std::bad_alloc();
  return block;
}

/// Counts its living copies.
struct counted {
  static inline int alive = 0;
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
};

enum class when_out_of_memory : bool { must_fail, may_succeed };
inline constexpr auto may_succeed = when_out_of_memory::may_succeed;

/// Runs `program()`, a rota::task<int>, again and again on one loop, and lets its first allocation fail, then its second,
/// and so on until it needs no more of them. Each time it must give `expected` or std::bad_alloc, which may be in an
/// exception_group, and leave nothing behind. Returns how often it failed.
template <class Program>
int fail_each_allocation(Program program, int expected, when_out_of_memory then = when_out_of_memory::must_fail) {
  const captured_reports reports;
  rota::event_loop loop;
  REQUIRE(loop.run(program()) == expected);
  int failures = 0;
  bool passed = false;
  for (long failing = 0; !passed; ++failing) {
    REQUIRE(failing < 1000);
    const frame_balance nothing_left;
    bool out_of_memory = false;
    try {
      allocations_left = failing;
      const int result = loop.run(program());
      passed = allocations_left >= 0;
      allocations_left = -1;
      REQUIRE(result == expected);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    } catch (const rota::exception_group& group) {
      out_of_memory = group.find<std::bad_alloc>() != nullptr;
    }
    allocations_left = -1;
    failures += out_of_memory;
    // What the failed program had spawned goes on; it needs a few iterations to end.
    for (int i = 0; i != 10 && loop.statistics().tasks != 0; ++i) {
      const auto pause = []() -> rota::task<> {
        for (int n = 0; n != 10; ++n) co_await rota::yield();
      };
      loop.run(pause());
    }
    INFO("allocation " << failing << " failed");
    if (then == when_out_of_memory::must_fail) REQUIRE(passed != out_of_memory);
    require_quiescent(loop);
    REQUIRE(counted::alive == 0);
  }
  INFO(reports.all());
  REQUIRE(loop.run(program()) == expected);
  return failures;
}

}  // namespace rota_test

// ThreadSanitizer's runtime does not let a program replace them.
#if !ROTA_TSAN
void* operator new(std::size_t size) { return rota_test::allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return rota_test::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return rota_test::allocate(size, alignof(std::max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { std::free(block); }
#endif
