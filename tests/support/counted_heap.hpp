// Counts every way to the heap. For one source file of a program.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <rota/base/config.hpp>

namespace rota_test {
// Of this thread: the test framework has no other, and a plain counter costs nothing.
inline thread_local std::uint64_t allocations = 0;
}  // namespace rota_test

#if !ROTA_ASAN && !ROTA_TSAN
// The library's own calls end here, malloc's callers too.
extern "C" void* __libc_malloc(std::size_t) noexcept;
extern "C" void* __libc_calloc(std::size_t, std::size_t) noexcept;
extern "C" void* __libc_realloc(void*, std::size_t) noexcept;
extern "C" void* __libc_memalign(std::size_t, std::size_t) noexcept;
extern "C" void* malloc(std::size_t size) noexcept {
  ++rota_test::allocations;
  return __libc_malloc(size);
}
extern "C" void* calloc(std::size_t n, std::size_t size) noexcept {
  ++rota_test::allocations;
  return __libc_calloc(n, size);
}
extern "C" void* realloc(void* block, std::size_t size) noexcept {
  ++rota_test::allocations;
  return __libc_realloc(block, size);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++rota_test::allocations;
  return __libc_memalign(alignment, size);
}
extern "C" int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  ++rota_test::allocations;
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}
namespace rota_test {
inline constexpr bool counts_allocations = true;
}  // namespace rota_test
#else
namespace rota_test {
inline constexpr bool counts_allocations = false;  // the sanitizers own the heap
}  // namespace rota_test
#endif
