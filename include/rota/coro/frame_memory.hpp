// Where coroutine frames live: a small cache per thread, by 64-byte size class, with slabs behind it.
//
//   allocate / deallocate ── this thread's cache: no lock, at most 256 KiB of a class
//                                │ batches
//                            slab_store: under one mutex
//
// A frame may be freed on any thread: its block joins that thread's cache, whose surplus goes back to the slabs.
// Every block is 64-byte aligned, because GCC 12 places over-aligned locals correctly only then.
//
// The tail: spawn() wants a task_record in the same block as the frame, but only the compiler's call of operator
// new knows the frame's size. So it asks for a tail first, and the next frame that this thread allocates gets that
// many bytes behind it. Freeing goes by the frame's size alone, which then is not the block's: had_tail() puts such a
// block where it belongs. (Without it the block would serve as a smaller one until its slab gets it back.)
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include <rota/base/config.hpp>
#include <rota/coro/slab_store.hpp>

namespace rota::detail {

struct frame_tail {
  void* frame;  // the frame that got the tail; null if none was allocated
  void* tail;
};

// The free blocks of one class, as a stack of addresses: taking one does not touch the block, which may be far away.
struct frame_stack {
  void** top;   // one past the block that is taken next
  void** base;  // null until the thread first needs the class
  void** limit;
};

struct frame_cache {
  frame_stack stacks[slab_store::classes];
  std::size_t tail_request;
  std::size_t tail_alignment;
  frame_tail tail;
  void* kept;             // a frame that is being destroyed, whose block stays; consumed by a block of operator new
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
 public:
  static constexpr std::size_t granule = slab_store::granule;
  static constexpr std::size_t largest_block = slab_store::classes * granule;
  static constexpr std::size_t largest_frame =
      2048;  // as one has that awaits ten at once; larger ones use operator new

  static void* allocate(std::size_t size) {
    frame_cache& cache = this_threads_frames();
    if (cache.tail_request != 0) [[unlikely]]
      return allocate_with_tail(cache, size);
    if (ROTA_PLAIN_FRAMES || size > largest_frame) [[unlikely]]
      return allocate_large(cache, size);
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

  /// Destroys a coroutine that has ended, with its parameters, but keeps its block. `size`: of the frame; 0 when there is
  /// nothing behind it. Returns what free_block() must know: is the block not of the cache?
  static bool end_frame(void* frame, std::size_t size) noexcept {
    frame_cache& cache = this_threads_frames();
    void* const outer = std::exchange(cache.kept, frame);
    std::coroutine_handle<>::from_address(frame).destroy();
    const bool plain = std::exchange(cache.kept, outer) != frame;
    if (plain) return true;
    frame_stack& stack = cache.stacks[size != 0 ? class_for(size) : slab_store::class_of(frame)];
    if (stack.top != stack.base && stack.top[-1] == frame) --stack.top;
    return false;
  }
  static void free_block(void* block, bool plain) noexcept {
    frame_cache& cache = this_threads_frames();
    if (plain)
      deallocate_large(cache, block);
    else
      put(cache, block, slab_store::class_of(block));
  }

  /// The next frame of this thread gets `bytes` behind it, until cancel_tail_request().
  static void request_tail(std::size_t bytes, std::size_t alignment) noexcept {
    frame_cache& cache = this_threads_frames();
    cache.tail_request = bytes;
    cache.tail_alignment = alignment;
    cache.tail.frame = nullptr;
  }
  static void cancel_tail_request() noexcept { this_threads_frames().tail_request = 0; }
  /// What lies behind `frame`, if it is the one that got the tail; else null.
  static void* tail_of(void* frame) noexcept {
    const frame_cache& cache = this_threads_frames();
    return frame && cache.tail.frame == frame ? cache.tail.tail : nullptr;
  }
  /// Right after the frame, which had a tail, was freed: `size` is the frame's.
  static void had_tail(void* frame, std::size_t size) noexcept {
    if (ROTA_PLAIN_FRAMES || size > largest_frame) return;
    frame_cache& cache = this_threads_frames();
    const unsigned wrong = class_for(size);
    const unsigned right = slab_store::class_of(frame);
    frame_stack& stack = cache.stacks[wrong];
    if (wrong == right || stack.top == stack.base || stack.top[-1] != frame) return;
    --stack.top;
    put(cache, frame, right);
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
  static constexpr std::size_t tail_given = SIZE_MAX;  // in place of a request, until it is cancelled

  static constexpr unsigned class_for(std::size_t size) noexcept { return static_cast<unsigned>((size - 1) / granule); }

  static void* allocate_block(frame_cache& cache, unsigned index) {
    frame_stack& stack = cache.stacks[index];
    if (stack.top == stack.base) [[unlikely]]
      return refill(cache, index);
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

  ROTA_NOINLINE static void* allocate_large(frame_cache& cache, std::size_t size) {
    void* block = ::operator new(size, std::align_val_t(granule));
    ++cache.obtained;
    return block;
  }

  ROTA_NOINLINE static void deallocate_large(frame_cache& cache, void* frame) noexcept {
    if (cache.kept == frame) {
      cache.kept = nullptr;
      return;
    }
    --cache.obtained;
    ::operator delete(frame, std::align_val_t(granule));
  }

  ROTA_NOINLINE static void* allocate_with_tail(frame_cache& cache, std::size_t size) {
    const std::size_t request = cache.tail_request;
    const std::size_t offset = (size + cache.tail_alignment - 1) & ~(cache.tail_alignment - 1);
    // deallocate() will know only `size`. So a small frame with a huge tail gets none: its maker finds another way.
    const bool plain = ROTA_PLAIN_FRAMES || size > largest_frame;
    if (request == tail_given || (!plain && request > largest_block - offset)) [[unlikely]] {
      cache.tail_request = tail_given;
      void* frame = plain ? allocate_large(cache, size) : allocate_block(cache, class_for(size));
      if (cache.tail.frame == frame) cache.tail.frame = nullptr;  // the frame with the tail was freed meanwhile
      return frame;
    }
    cache.tail_request = tail_given;
    void* frame = plain ? allocate_large(cache, offset + request) : allocate_block(cache, class_for(offset + request));
    cache.tail = {frame, static_cast<char*>(frame) + offset};
    return frame;
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
    const std::size_t capacity = 256 * 1024 / ((index + 1) * granule);
    stack.base = static_cast<void**>(std::malloc(capacity * sizeof(void*)));
    stack.top = stack.base;
    stack.limit = stack.base ? stack.base + capacity : nullptr;
    return stack.base != nullptr;
  }
  // One block, and a few more for the next calls.
  ROTA_NOINLINE static void* refill(frame_cache& cache, unsigned index) {
    frame_stack& stack = cache.stacks[index];
    void* one = nullptr;
    const bool open = open_stack(cache, stack, index);
    const std::size_t taken = open ? frame_slabs.take(index, stack.base, 32) : frame_slabs.take(index, &one, 1);
    cache.obtained += static_cast<std::int64_t>(taken);
    if (!open) return one;
    stack.top = stack.base + taken - 1;
    return *stack.top;
  }
  ROTA_NOINLINE static void make_room(frame_cache& cache, void* block, unsigned index) noexcept {
    frame_stack& stack = cache.stacks[index];
    if (!open_stack(cache, stack, index)) {
      if (cache.kept == block) return;
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
