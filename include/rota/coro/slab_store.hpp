// Blocks of size classes, carved out of 256 KiB slabs; behind every thread's frame cache.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <rota/base/mutex_lock.hpp>

namespace rota::detail {

/// Shared by all threads, under one mutex: a thread comes here once per batch of blocks. A block knows its slab by
/// its address, the slab knows its class; a slab that has become empty goes back to the system, but for a few.
class slab_store {
 public:
  static constexpr std::size_t granule = 64;
  // 64, 128, ... 2048 bytes, and one class that is smaller than its neighbours.
  static constexpr unsigned classes = 33;
  static constexpr unsigned small_class = 32;
  static constexpr std::size_t small_block = 96;

  constexpr slab_store() noexcept = default;

  /// The two could be in one slab.
  static bool may_share(const void* a, const void* b) noexcept {
    return ((reinterpret_cast<std::uintptr_t>(a) ^ reinterpret_cast<std::uintptr_t>(b)) & ~(slab_bytes - 1)) == 0;
  }
  static constexpr std::uint32_t block_bytes(unsigned index) noexcept {
    return static_cast<std::uint32_t>(index == small_class ? small_block : (index + 1) * granule);
  }

  /// Writes the addresses of one to `most` blocks of the class to `out`; returns how many. 0: there is no memory.
  std::size_t take(unsigned index, void** out, std::size_t most) noexcept {
    const mutex_lock guard(mutex_);
    slab* from = with_room_[index];
    if (!from) from = add_slab(index);
    if (!from) return 0;
    std::size_t taken = 0;
    for (; taken != most && has_room(*from); ++taken) {
      if (free_block* block = from->free) {
        from->free = block->next;
        out[taken] = block;
      } else {
        out[taken] = reinterpret_cast<char*>(from) + from->carved;
        from->carved += block_bytes(index);
      }
      ++from->out;
    }
    if (!has_room(*from)) unlink(*from);
    return taken;
  }

  void give(void** blocks, std::size_t count) noexcept {
    const mutex_lock guard(mutex_);
    for (; count != 0; --count, ++blocks) {
      slab& to = *slab_of(*blocks);
      if (!has_room(to)) link(to);
      to.free = new (*blocks) free_block{to.free};
      if (--to.out == 0) retire(to);
    }
  }

 private:
  static constexpr std::size_t slab_bytes = 256 * 1024;
  static constexpr unsigned spare_limit = 4;  // empty slabs kept for the next burst

  struct free_block {
    free_block* next;
  };

  // At the start of each slab. class_index does not change while a block of the slab is out; the rest is guarded
  // by mutex_.
  struct alignas(granule) slab {
    std::uint32_t class_index;
    std::uint32_t out;     // blocks handed out
    std::uint32_t carved;  // bytes in use or free, header included; the rest was never touched
    free_block* free;
    slab* next;  // in with_room_[class_index], or in spare_
    slab* previous;
  };

  static slab* slab_of(void* block) noexcept {
    return reinterpret_cast<slab*>(reinterpret_cast<std::uintptr_t>(block) & ~(slab_bytes - 1));
  }
  static bool has_room(const slab& s) noexcept { return s.free || s.carved + block_bytes(s.class_index) <= slab_bytes; }

  slab* add_slab(unsigned index) noexcept {
    slab* fresh = spare_;
    if (fresh) {
      spare_ = fresh->next;
      --spares_;
    } else {
      fresh = static_cast<slab*>(std::aligned_alloc(slab_bytes, slab_bytes));
      if (!fresh) return nullptr;
    }
    new (fresh) slab{index, 0, sizeof(slab), nullptr, nullptr, nullptr};
    link(*fresh);
    return fresh;
  }
  void retire(slab& empty) noexcept {
    unlink(empty);
    if (spares_ == spare_limit) {
      std::free(&empty);
      return;
    }
    empty.next = spare_;
    spare_ = &empty;
    ++spares_;
  }
  void link(slab& s) noexcept {
    slab*& head = with_room_[s.class_index];
    s.previous = nullptr;
    s.next = head;
    if (head) head->previous = &s;
    head = &s;
  }
  void unlink(slab& s) noexcept {
    (s.previous ? s.previous->next : with_room_[s.class_index]) = s.next;
    if (s.next) s.next->previous = s.previous;
  }

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  slab* with_room_[classes] = {};
  slab* spare_ = nullptr;
  unsigned spares_ = 0;
};

// Never destroyed: static destructors of the program may still free frames.
inline constinit slab_store frame_slabs{};

}  // namespace rota::detail
