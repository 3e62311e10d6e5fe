// Where callback slots come from, and how C code keeps one: a number in place of a pointer.
#pragma once

#include <pthread.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <rota/adapt/callback_slot.hpp>
#include <rota/base/atomic.hpp>
#include <rota/base/config.hpp>
#include <rota/base/mutex_lock.hpp>

namespace rota::detail {

/// All slots of the process. A thread takes 64 at a time.
class callback_slot_store {
 public:
  static constexpr std::size_t batch = 64;

  constexpr callback_slot_store() noexcept = default;

  /// A list of free slots. Throws std::bad_alloc.
  callback_slot* take(std::size_t& count) {
    const mutex_lock guard(mutex_);
    if (!free_) carve();
    callback_slot* const first = free_;
    callback_slot* last = first;
    for (count = 1; count != batch && last->next; ++count) last = last->next;
    free_ = last->next;
    last->next = nullptr;
    return first;
  }
  void give(callback_slot& first, callback_slot& last) noexcept {
    const mutex_lock guard(mutex_);
    last.next = free_;
    free_ = &first;
  }

  /// Null for a number that no slot has.
  callback_slot* find(std::uint64_t index) noexcept {
    const std::uint64_t n = index + batch - 1;
    const int chunk = static_cast<int>(std::bit_width(n)) - first_bits;
    if (index == 0 || chunk >= chunks) return nullptr;
    callback_slot* const slots = chunks_[chunk].load(std::memory_order_acquire);
    return slots ? slots + (n - std::bit_floor(n)) : nullptr;
  }

 private:
  // Chunk k holds 64 << k slots; together fewer than 2^24, which fit a C handle beside 36 bits of generation.
  static constexpr int chunks = 18;
  static constexpr int first_bits = 7;

  void carve() {
    if (carved_ == size_) add_chunk();
    for (std::size_t i = 0; i != batch; ++i) {
      auto* slot = new (slots_ + carved_) callback_slot;
      slot->index = static_cast<std::uint32_t>(size_ - batch + 1 + carved_++);
      slot->next = free_;
      free_ = slot;
    }
  }
  void add_chunk() {
    const std::size_t next = size_ == 0 ? batch : size_ * 2;
    const int chunk = static_cast<int>(std::bit_width(next)) - first_bits;
    void* room = chunk < chunks ? std::aligned_alloc(alignof(callback_slot), next * sizeof(callback_slot)) : nullptr;
    if (!room) throw std::bad_alloc();
    slots_ = static_cast<callback_slot*>(room);
    size_ = next;
    carved_ = 0;
    chunks_[chunk].store(slots_, std::memory_order_release);
  }

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  callback_slot* free_ = nullptr;
  callback_slot* slots_ = nullptr;  // the newest chunk, of size_ slots, of which carved_ are in use or free
  std::size_t size_ = 0;
  std::size_t carved_ = 0;
  atomic<callback_slot*> chunks_[chunks] = {};
};

// Never destroyed: a C library may call at any time.
inline constinit callback_slot_store all_callback_slots{};

/// This thread's free slots, used in turn, so that a slot rests before it is used again.
class callback_slots {
 public:
  // Not for a coroutine's own code: see detail::this_thread.
  static callback_slot& acquire() {
    callback_slots& mine = of_this_thread();
    if (!mine.first_) [[unlikely]]
      mine.refill();
    callback_slot* slot = mine.first_;
    mine.first_ = slot->next;
    --mine.size_;
    return *slot;
  }
  ROTA_NOINLINE static void release(callback_slot& slot) noexcept {
    callback_slots& mine = of_this_thread();
    slot.next = nullptr;
    (mine.first_ ? mine.last_->next : mine.first_) = &slot;
    mine.last_ = &slot;
    if (++mine.size_ > most || mine.closed_) [[unlikely]]
      mine.give(mine.closed_ ? mine.size_ : mine.size_ / 2);
  }

 private:
  static constexpr std::size_t most = 1024;

  struct give_at_thread_exit {
    ~give_at_thread_exit() {
      callback_slots& mine = of_this_thread();
      mine.closed_ = true;
      if (mine.first_) mine.give(mine.size_);
    }
  };

  static callback_slots& of_this_thread() noexcept {
    static constinit thread_local callback_slots slots{};
    return slots;
  }
  ROTA_NOINLINE void refill() {
    if (!closed_) {
      static thread_local const give_at_thread_exit at_exit;
      (void)at_exit;
    }
    first_ = all_callback_slots.take(size_);
    last_ = first_;
    while (last_->next) last_ = last_->next;
  }
  // Out of line, so that release() keeps no registers for it.
  ROTA_COLD void give(std::size_t count) noexcept {
    callback_slot* const first = first_;
    callback_slot* last = first;
    for (std::size_t i = 1; i != count; ++i) last = last->next;
    first_ = last->next;
    size_ -= count;
    all_callback_slots.give(*first, *last);
  }

  callback_slot* first_ = nullptr;
  callback_slot* last_ = nullptr;
  std::size_t size_ = 0;
  bool closed_ = false;  // the thread is ending
};

/// A slot of the past, the present or none, as C code keeps it.
struct user_data {
  static_assert(sizeof(void*) == 8, "a slot's number and its generation must fit a void*");

  static void* pack(const callback_slot& slot, std::uint64_t generation) noexcept {
    return reinterpret_cast<void*>((generation >> 28 << 24) | slot.index);
  }
  explicit user_data(void* packed) noexcept
      : slot(all_callback_slots.find(reinterpret_cast<std::uintptr_t>(packed) & 0xff'ffff)),
        generation(reinterpret_cast<std::uintptr_t>(packed) >> 24 << 28) {}

  callback_slot* slot;
  std::uint64_t generation;
};

}  // namespace rota::detail
