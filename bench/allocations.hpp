// Counts allocations: every call of malloc and its relatives, which operator new calls too. For one file of a program.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include <benchmark/benchmark.h>

namespace allocations {
inline constinit std::uint64_t count = 0;  // of all threads together: for programs with one

/// Since the measured loop began, shared out among `items`: the row `<parameters>/malloc`.
inline void report(benchmark::State& state, std::uint64_t before, std::int64_t items) {
  state.SetItemsProcessed(items);
  state.counters["malloc_calls"] = static_cast<double>(count - before) / static_cast<double>(items);
}
}  // namespace allocations

// glibc's own names for what is replaced here; free() stays as it is.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t items, std::size_t bytes);
void* __libc_realloc(void* block, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

void* malloc(std::size_t bytes) noexcept {
  ++allocations::count;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t items, std::size_t bytes) noexcept {
  ++allocations::count;
  return __libc_calloc(items, bytes);
}
void* realloc(void* block, std::size_t bytes) noexcept {
  ++allocations::count;
  return __libc_realloc(block, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  ++allocations::count;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept { return memalign(alignment, bytes); }
int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) noexcept {
  *block = memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
}
