// Replaces operator new, so that memory can run out where a test wishes. Include it before any header of rota: frames
// come from operator new then, so that each of them can fail, too. For one source file of a program, on one thread.
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
inline bool fails_once = true;      // false: when one has failed, so do all after it
inline long live_blocks = 0;        // allocated and not freed

[[maybe_unused]] inline void* allocate(std::size_t size, std::size_t alignment) {
  if (no_memory) throw std::bad_alloc();
  if (allocations_left >= 0 && allocations_left-- == 0) {
    allocations_left = -1;
    no_memory = !fails_once;
    throw std::bad_alloc();
  }
  void* block = nullptr;
  if (::posix_memalign(&block, alignment < sizeof(void*) ? sizeof(void*) : alignment, size ? size : 1) != 0)
    throw std::bad_alloc();
  ++live_blocks;
  return block;
}
[[maybe_unused]] inline void deallocate(void* block) noexcept {
  if (!block) return;
  --live_blocks;
  std::free(block);
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
void operator delete(void* block) noexcept { rota_test::deallocate(block); }
void operator delete(void* block, std::size_t) noexcept { rota_test::deallocate(block); }
void operator delete(void* block, std::align_val_t) noexcept { rota_test::deallocate(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { rota_test::deallocate(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { rota_test::deallocate(block); }
#endif
