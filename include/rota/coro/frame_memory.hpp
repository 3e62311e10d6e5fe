// Where coroutine frames live: a small cache per thread, by 64-byte size class, with slabs behind it.
//
//   allocate / deallocate ── this thread's cache: no lock, at most `cache_limit` blocks of a class
//                                │ batches
//                            slab_store: under one mutex
//
// A frame may be freed on any thread: its block joins that thread's cache, whose surplus goes back to the slabs.
// Every block is 64-byte aligned, because GCC 12 places over-aligned locals correctly only then.
//
// The tail: spawn() wants its task_state in the same block as the frame, but only the compiler's call of operator
// new knows the frame's size. So it asks for a tail first, and the next frame that this thread allocates gets
// that many bytes behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include <rota/base/config.hpp>
#include <rota/coro/slab_store.hpp>

namespace rota::detail {

struct frame_tail {
  void* frame;  // the frame that got the tail; null if none was allocated
  void* tail;   // 16-byte aligned
};

struct frame_cache {
  free_block* head[slab_store::classes];
  std::uint32_t count[slab_store::classes];
  std::size_t tail_request;
  frame_tail tail;
  std::int64_t live;  // frames allocated minus frames freed on this thread
};
inline constinit thread_local frame_cache this_threads_frames{};

class frame_memory {
 public:
  static constexpr std::size_t granule = slab_store::granule;
  static constexpr std::size_t largest_frame = 1024;  // larger ones use operator new
  static constexpr std::size_t largest_tail = slab_store::classes * granule - largest_frame;

  static void* allocate(std::size_t size) {
    frame_cache& cache = this_threads_frames;
    if (cache.tail_request != 0) [[unlikely]]
      return allocate_with_tail(cache, size);
    return size > largest_frame ? allocate_large(cache, size) : allocate_block(cache, size);
  }

  static void deallocate(void* frame, std::size_t size) noexcept {
    frame_cache& cache = this_threads_frames;
    --cache.live;
    if (ROTA_PLAIN_FRAMES || size > largest_frame) [[unlikely]] {
      ::operator delete(frame, std::align_val_t(granule));
      return;
    }
    const unsigned index = slab_store::class_of(frame);  // not from `size`: the block may have had a tail
    if (cache.count[index] == cache_limit) [[unlikely]]
      give_back(cache, index, cache_limit / 2);
    auto* block = static_cast<free_block*>(frame);
    block->next = cache.head[index];
    cache.head[index] = block;
    ++cache.count[index];
  }

  /// The next frame of this thread gets `bytes` (at most largest_tail) behind it. Ends with take_tail().
  static void request_tail(std::size_t bytes) noexcept { this_threads_frames.tail_request = bytes; }
  static frame_tail take_tail() noexcept {
    frame_cache& cache = this_threads_frames;
    const frame_tail result = cache.tail;
    cache.tail_request = 0;
    cache.tail = {nullptr, nullptr};
    return result;
  }

  static std::int64_t live_on_this_thread() noexcept { return this_threads_frames.live; }

  /// Gives this thread's cached blocks back to the slabs; done by itself when a thread ends.
  static void trim() noexcept {
    frame_cache& cache = this_threads_frames;
    for (unsigned index = 0; index != slab_store::classes; ++index)
      if (cache.count[index] != 0) give_back(cache, index, cache.count[index]);
  }

 private:
  static constexpr std::uint32_t cache_limit = 256;

  static void* allocate_block(frame_cache& cache, std::size_t size) {
    if (ROTA_PLAIN_FRAMES) return allocate_large(cache, size);
    const std::size_t index = (size - 1) / granule;
    if (!cache.head[index]) [[unlikely]]
      refill(cache, static_cast<unsigned>(index));
    free_block* block = cache.head[index];
    cache.head[index] = block->next;
    --cache.count[index];
    ++cache.live;
    return block;
  }

  ROTA_NOINLINE static void* allocate_large(frame_cache& cache, std::size_t size) {
    void* block = ::operator new(size, std::align_val_t(granule));
    ++cache.live;
    return block;
  }

  ROTA_NOINLINE static void* allocate_with_tail(frame_cache& cache, std::size_t size) {
    const std::size_t offset = (size + 15) & ~std::size_t{15};
    const std::size_t total = offset + cache.tail_request;
    cache.tail_request = 0;
    void* frame = size > largest_frame ? allocate_large(cache, total) : allocate_block(cache, total);
    cache.tail = {frame, static_cast<char*>(frame) + offset};
    return frame;
  }

  struct trim_at_thread_exit {
    ~trim_at_thread_exit() { trim(); }
  };

  ROTA_NOINLINE static void refill(frame_cache& cache, unsigned index) {
    static thread_local const trim_at_thread_exit at_exit;
    (void)at_exit;
    cache.head[index] = frame_slabs.take(index, cache.count[index]);
  }
  ROTA_NOINLINE static void give_back(frame_cache& cache, unsigned index, std::uint32_t blocks) noexcept {
    free_block* first = cache.head[index];
    free_block* last = first;
    for (std::uint32_t n = 1; n != blocks; ++n) last = last->next;
    cache.head[index] = last->next;
    cache.count[index] -= blocks;
    last->next = nullptr;
    frame_slabs.give(first);
  }
};

}  // namespace rota::detail
