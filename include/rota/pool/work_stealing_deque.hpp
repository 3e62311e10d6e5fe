// The deque of one worker: its owner pushes and pops at the bottom, everybody else steals at the top, the oldest first.
//
// Chase and Lev (SPAA 2005), with the memory orders after Le, Pop, Cohen, Zappa Nardelli, "Correct and Efficient
// Work-Stealing for Weak Memory Models" (PPoPP 2013), but without its two standalone fences, which ThreadSanitizer does
// not understand. What they ordered is ordered by seq_cst accesses instead:
//
//   push    bottom <- b + n, release: a thief that reads it sees the slots and what the items point to.
//   pop     bottom <- b - 1, seq_cst, then top, seq_cst       A
//   steal   top, seq_cst, then bottom, seq_cst, then the slot B
//           top <- t + 1 by compare-exchange, seq_cst: who wins it owns item t.
//
// Why an item is taken once: pop takes item b without an exchange only if it read a top t < b. A thief that takes b must
// have read top = b, which was stored after pop's read in the order of all seq_cst accesses (pop would have read it
// otherwise). So the thief's read of bottom comes after pop's store of it (A before B), and gives b: nothing to steal. The
// last item (t = b) is decided by the exchange, whoever it is.
// Why a thief's slot is the right one: when the exchange succeeds, top was t all the time, so push, which keeps
// b - top <= capacity, has not used the slot again. When it fails the value is thrown away, which is why slots are atomic.
//
// A full ring is copied into one of twice the size. A thief that still has the old one reads the same items there; old
// rings live as long as the deque.
//
// Model checked by tests/model. Includes nothing but the atomics, which a checker replaces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include <rota/base/atomic.hpp>

namespace rota::detail {

/// Of pointers; null is no item.
template <class T>
class work_stealing_deque {
 public:
  /// `capacity` is a power of two, for a start. Throws std::bad_alloc.
  explicit work_stealing_deque(std::int64_t capacity = 256) : ring_(ring::make(capacity, nullptr)) {
    use(ring_.load(std::memory_order_relaxed));
  }
  work_stealing_deque(const work_stealing_deque&) = delete;
  work_stealing_deque& operator=(const work_stealing_deque&) = delete;
  ~work_stealing_deque() {
    for (ring* r = ring_now_; r;) {
      ring* const older = r->older;
      ring::destroy(r);
      r = older;
    }
  }

  // The owner's thread.

  /// Room for `count` more. False: there was no memory.
  [[nodiscard, gnu::always_inline]] bool reserve(std::int64_t count) noexcept {
    return bottom_now_ + count <= room_end_ || make_room(count);
  }
  /// Puts an item above the newest and `above` others, where room was reserved. Nobody sees it before publish().
  [[gnu::always_inline]] void put(std::int64_t above, T* item) noexcept {
    slot(bottom_now_ + above).store(item, std::memory_order_relaxed);
  }
  [[gnu::always_inline]] void publish(std::int64_t count) noexcept {
    bottom_now_ += count;
    bottom_.store(bottom_now_, std::memory_order_release);
  }
  /// False: there was no memory, and nothing was pushed.
  [[nodiscard]] bool push(T* item) noexcept {
    if (!reserve(1)) return false;
    put(0, item);
    publish(1);
    return true;
  }
  /// The newest item; null when there is none left.
  [[nodiscard, gnu::always_inline]] T* pop() noexcept {
    const std::int64_t b = bottom_now_ - 1;
    bottom_.store(b, std::memory_order_seq_cst);
    const std::int64_t t = top_.load(std::memory_order_seq_cst);
    if (t >= b) [[unlikely]]
      return pop_last(t, b);
    bottom_now_ = b;
    return slot(b).load(std::memory_order_relaxed);
  }

  // Any thread.

  /// The oldest item; null when there is none, or when somebody else was faster.
  [[nodiscard]] T* steal() noexcept {
    std::int64_t t = top_.load(std::memory_order_seq_cst);
    const std::int64_t b = bottom_.load(std::memory_order_seq_cst);
    if (t >= b) return nullptr;
    T* const item = ring_.load(std::memory_order_acquire)->get(t);
    if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return nullptr;
    return item;
  }
  /// How many items there were a moment ago.
  std::int64_t size() const noexcept {
    const std::int64_t t = top_.load(std::memory_order_seq_cst);
    const std::int64_t b = bottom_.load(std::memory_order_seq_cst);
    return b > t ? b - t : 0;
  }

 private:
  struct ring {
    std::int64_t capacity;
    ring* older;
    atomic<T*>* slots;

    static ring* make(std::int64_t capacity, ring* older) {
      auto* slots = new atomic<T*>[static_cast<std::size_t>(capacity)];
      ring* made = new (std::nothrow) ring{capacity, older, slots};
      if (!made) {
        delete[] slots;
        throw std::bad_alloc();
      }
      return made;
    }
    static void destroy(ring* r) noexcept {
      delete[] r->slots;
      delete r;
    }
    void put(std::int64_t i, T* item) noexcept { slots[i & (capacity - 1)].store(item, std::memory_order_relaxed); }
    T* get(std::int64_t i) const noexcept { return slots[i & (capacity - 1)].load(std::memory_order_relaxed); }
  };

  atomic<T*>& slot(std::int64_t i) noexcept { return slots_now_[i & mask_now_]; }
  void use(ring* r) noexcept {
    ring_now_ = r;
    slots_now_ = r->slots;
    mask_now_ = r->capacity - 1;
  }

  // Looks at the true top, which mostly is enough; else a larger ring.
  [[gnu::noinline]] bool make_room(std::int64_t count) noexcept {
    const std::int64_t b = bottom_now_;
    // Acquire: whoever took an item has read its slot before.
    const std::int64_t t = top_.load(std::memory_order_acquire);
    std::int64_t capacity = ring_now_->capacity;
    while (b + count - t > capacity) capacity *= 2;
    if (capacity != ring_now_->capacity) {
      try {
        ring* wider = ring::make(capacity, ring_now_);
        for (std::int64_t i = t; i != b; ++i) wider->put(i, ring_now_->get(i));
        use(wider);
        ring_.store(wider, std::memory_order_release);  // before the bottom that needs it
      } catch (...) {
        return false;
      }
    }
    room_end_ = t + capacity;
    return true;
  }
  // From here on bottom is one less than top, until the next publish() stores it.
  [[gnu::noinline]] T* pop_last(std::int64_t t, std::int64_t b) noexcept {
    if (t > b) return nullptr;
    T* const item = slot(b).load(std::memory_order_relaxed);
    return top_.compare_exchange_strong(t, b + 1, std::memory_order_seq_cst, std::memory_order_relaxed) ? item
                                                                                                        : nullptr;
  }

  // Thieves write top_, and read the others.
  alignas(64) atomic<std::int64_t> top_{0};
  alignas(64) atomic<std::int64_t> bottom_{0};
  atomic<ring*> ring_;
  // The owner's own: what it knows without asking.
  std::int64_t bottom_now_ = 0;
  std::int64_t room_end_ = 0;  // bottom may come so far: the capacity above a top that was seen
  atomic<T*>* slots_now_ = nullptr;
  std::int64_t mask_now_ = 0;
  ring* ring_now_ = nullptr;
};

}  // namespace rota::detail
