// Where coroutine frames live: a small cache per thread, by 64-byte size class, with slabs behind it.
//
//   allocate / deallocate ── this thread's cache: no lock, at most 256 KiB of a class
//                                │ batches
//                            slab_store: under one mutex
//
// A frame may be freed on any thread: its block joins that thread's cache, whose surplus goes back to the slabs.
// Every frame is 64-byte aligned, because GCC 12 places over-aligned locals correctly only then; a record of a spawned task is
// aligned to 32.
//
// The record of a spawned task comes from here, too, in a class of its own: 96 bytes, so that a task which sleeps takes
// 224 with its frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <rota/base/config.hpp>
#include <rota/coro/slab_store.hpp>

namespace rota::detail {

// The free blocks of one class, as a stack of addresses: taking one does not touch the block, which may be far away.
struct frame_stack {
  void** top;   // one past the block that is taken next
  void** base;  // null until the thread first needs the class
  void** limit;
};

struct frame_cache {
  frame_stack stacks[slab_store::classes];
  bool closed;            // the thread is ending
  std::int64_t obtained;  // blocks taken from the slabs or operator new, minus those given back
};
inline constinit thread_local frame_cache frames_of_a_thread{};

// A task of a pool changes threads between suspensions, and clang before 18 may keep the address of a thread_local across one.
#if ROTA_CLANG && __clang_major__ < 18
ROTA_NOINLINE inline frame_cache& this_threads_frames() noexcept {
  asm volatile("" ::: "memory");  // not a function that always gives the same
  return frames_of_a_thread;
}
#else
[[gnu::always_inline]] inline frame_cache& this_threads_frames() noexcept { return frames_of_a_thread; }
#endif

class frame_memory {
  static constexpr std::uint16_t no_class = UINT16_MAX;  // not of the cache

  static constexpr std::uint16_t class_for(std::size_t size) noexcept {
    return static_cast<std::uint16_t>((size - 1) / granule);
  }

 public:
  static constexpr std::size_t granule = slab_store::granule;
  static constexpr std::size_t largest_frame =
      2048;  // as one has that awaits ten at once; larger ones use operator new

  static void* allocate(std::size_t size) {
    frame_cache& cache = this_threads_frames();
    if (ROTA_PLAIN_FRAMES || size > largest_frame) [[unlikely]]
      return allocate_large(size);
    return allocate_block(cache, class_for(size));
  }

  static void deallocate(void* frame, std::size_t size) noexcept {
    frame_cache& cache = this_threads_frames();
    if (ROTA_PLAIN_FRAMES || size > largest_frame) [[unlikely]] {
      deallocate_large(cache, frame);
      return;
    }
    put(cache, frame, class_for(size));
  }

  /// A block that another thread may free counts as live on none.
  static void* allocate_for_any_thread(std::size_t size) {
    void* const block = allocate(size);
    --this_threads_frames().obtained;
    return block;
  }
  static void deallocate_on_any_thread(void* block, std::size_t size) noexcept {
    ++this_threads_frames().obtained;
    deallocate(block, size);
  }

  /// Where a record of so many bytes belongs: it has no operator delete that knows its size.
  template <std::size_t size>
  static constexpr std::uint16_t record_class = ROTA_PLAIN_FRAMES || size > largest_frame ? no_class
                                                : size <= slab_store::small_block         ? slab_store::small_class
                                                                                          : class_for(size);
  template <std::size_t size>
  static void* allocate_record() {
    [[maybe_unused]] frame_cache& cache = this_threads_frames();
    if constexpr (record_class<size> == no_class)
      return allocate_large(size);
    else
      return allocate_block(cache, record_class<size>);
  }
  static void deallocate_record(void* record, std::uint16_t its_class) noexcept {
    frame_cache& cache = this_threads_frames();
    if (its_class == no_class) [[unlikely]]
      deallocate_large(cache, record);
    else
      put(cache, record, its_class);
  }

  /// False: the two are not in the same frame; true proves it only for frames of the cache.
  static bool may_be_near(const void* a, const void* b) noexcept {
    return ROTA_PLAIN_FRAMES || slab_store::may_share(a, b);
  }

  /// Frames allocated minus frames freed on this thread.
  static std::int64_t live_on_this_thread() noexcept {
    const frame_cache& cache = this_threads_frames();
    std::int64_t live = cache.obtained;
    for (const frame_stack& stack : cache.stacks) live -= stack.top - stack.base;
    return live;
  }

  /// Gives this thread's cached blocks back to the slabs; done by itself when a thread ends.
  static void trim() noexcept {
    frame_cache& cache = this_threads_frames();
    for (frame_stack& stack : cache.stacks) {
      if (!stack.base) continue;
      give_back(cache, stack, stack.top - stack.base);
      std::free(stack.base);
      stack = {nullptr, nullptr, nullptr};
    }
  }

 private:
  static void* allocate_block(frame_cache& cache, unsigned index) {
    frame_stack& stack = cache.stacks[index];
    if (stack.top == stack.base) [[unlikely]] {
      void* const block = refill(index);
      if (!block) [[unlikely]]
        throw_no_memory();
      return block;
    }
    return *--stack.top;
  }
  static void put(frame_cache& cache, void* block, unsigned index) noexcept {
    frame_stack& stack = cache.stacks[index];
    if (stack.top == stack.limit) [[unlikely]] {
      make_room(cache, block, index);
      return;
    }
    *stack.top++ = block;
  }

  ROTA_NOINLINE static void* allocate_large(std::size_t size) {
    frame_cache& cache = this_threads_frames();
    void* block = ::operator new(size, std::align_val_t(granule));
    ++cache.obtained;
    return block;
  }

  ROTA_NOINLINE static void deallocate_large(frame_cache& cache, void* frame) noexcept {
    --cache.obtained;
    ::operator delete(frame, std::align_val_t(granule));
  }

  struct trim_at_thread_exit {
    ~trim_at_thread_exit() {
      trim();
      this_threads_frames().closed = true;
    }
  };

  // Room for 256 KiB of blocks. False without memory, and once the thread is ending.
  static bool open_stack(const frame_cache& cache, frame_stack& stack, unsigned index) noexcept {
    if (stack.base) return true;
    if (cache.closed) return false;
    static thread_local const trim_at_thread_exit at_exit;
    (void)at_exit;
    const std::size_t capacity = 256 * 1024 / slab_store::block_bytes(index);
    stack.base = static_cast<void**>(std::malloc(capacity * sizeof(void*)));
    stack.top = stack.base;
    stack.limit = stack.base ? stack.base + capacity : nullptr;
    return stack.base != nullptr;
  }
  [[noreturn]] ROTA_COLD static void throw_no_memory() { throw std::bad_alloc(); }
  // One block, and a few more for the next calls; null without memory.
  ROTA_RARE static void* refill(unsigned index) noexcept {
    frame_cache& cache = this_threads_frames();
    frame_stack& stack = cache.stacks[index];
    void* one = nullptr;
    const bool open = open_stack(cache, stack, index);
    const std::size_t taken = open ? frame_slabs.take(index, stack.base, 32) : frame_slabs.take(index, &one, 1);
    cache.obtained += static_cast<std::int64_t>(taken);
    if (!open || taken == 0) return one;
    stack.top = stack.base + taken - 1;
    return *stack.top;
  }
  ROTA_NOINLINE static void make_room(frame_cache& cache, void* block, unsigned index) noexcept {
    frame_stack& stack = cache.stacks[index];
    if (!open_stack(cache, stack, index)) {
      frame_slabs.give(&block, 1);
      --cache.obtained;
      return;
    }
    if (stack.top == stack.limit) give_back(cache, stack, (stack.limit - stack.base) / 2);
    *stack.top++ = block;
  }
  static void give_back(frame_cache& cache, frame_stack& stack, std::ptrdiff_t blocks) noexcept {
    stack.top -= blocks;
    cache.obtained -= blocks;
    frame_slabs.give(stack.top, static_cast<std::size_t>(blocks));
  }
};

}  // namespace rota::detail
