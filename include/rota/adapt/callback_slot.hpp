// What foreign code holds instead of a pointer: a slot and its generation, so that a late call can do no harm.
//
// Slots are handed from one await to the next and never given back to the system: a caller with a stale generation
// may look at a slot at any time, and touches nothing of it but `word`:
//
//     generation:36 | count:24 | flags:4
//
//   count       C++ callbacks that can still fire, and C handles (which count until the end); of a stream: pushes under way
//   claimed     somebody fires: the value is being put into the awaiter, which cannot end before `ready`
//   ready       the value is there (release; the awaiter's acquire sees the value)
//   suspended   the await has suspended: whoever sets `ready` must resume it
//   reported    a second call was reported, or never will be
//
//   begin       owner, plain store (generation, count 1): release, so that who claims sees what the owner wrote before
//   claim       CAS + claimed (acquire). Fails for a stale generation (late), and when claimed (second).
//   publish     fetch_or ready (acq_rel): release for the value; acquire pairs with the owner's `suspended`
//   claim_here  the same two by one plain store, on the owner's thread, by the only callback that there is: nobody else
//               may change the word then (the owner ends on that thread, and nobody may copy a callback that is being called)
//   suspend     owner, fetch_or suspended (acq_rel): acquire for a value that is there already
//   withdraw    owner, CAS to the next generation, only while not claimed: from then on every call is late
//   end         owner, after `ready`: plain store of the next generation. Others change the word only by CAS of a value
//               with their own generation, so a plain store loses at most what concerns nobody any more.
//
//   pin, unpin  of a stream, which many may push to at once: CAS count + 1 (acquire), fetch_sub (release)
//   end_pinned  owner, fetch_or claimed: no more pins; then waits (acquire) until count is its own 1
//
// A slot is free while count is 0 and claimed is not set.
#pragma once

#include <sched.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <rota/base/atomic.hpp>
#include <rota/base/config.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/line_mark.hpp>

namespace rota::detail {

struct alignas(64) callback_slot {
  static constexpr std::uint64_t claimed = 1;
  static constexpr std::uint64_t ready = 2;
  static constexpr std::uint64_t suspended = 4;
  static constexpr std::uint64_t reported = 8;
  static constexpr std::uint64_t one = 16;  // of count
  static constexpr std::uint64_t count_mask = 0xfff'fff0;
  static constexpr std::uint64_t next_generation = 0x1000'0000;
  static constexpr std::uint64_t generation_mask = ~(next_generation - 1);

  atomic<std::uint64_t> word{next_generation | reported};
  void* target = nullptr;             // whose slot it is; like `type` for who has claimed or pinned only
  const void* type = nullptr;         // tells apart callbacks of different types
  atomic<const void*> home{nullptr};  // the owner's executor
  atomic<line_mark> where{nullptr};   // the await, for reports
  std::uint32_t index = 0;
  callback_slot* next = nullptr;  // in a list of free slots

  static bool is_same(std::uint64_t word, std::uint64_t generation) noexcept {
    return ((word ^ generation) & generation_mask) == 0;
  }

  // ---- the owner, on its executor's thread

  std::uint64_t begin(void* owner, const void* its_home, const void* its_type, line_mark at) noexcept {
    target = owner;
    type = its_type;
    home.store(its_home, std::memory_order_relaxed);
    where.store(at, std::memory_order_relaxed);
    const std::uint64_t generation = word.load(std::memory_order_relaxed) & generation_mask;
    word.store(generation | one, std::memory_order_release);
    return generation;
  }
  /// False: somebody fires, and the value comes.
  bool withdraw() noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    do {
      if ((w & claimed) != 0) return false;
    } while (!word.compare_exchange_weak(w, ((w & generation_mask) + next_generation) | reported,
                                         std::memory_order_relaxed, std::memory_order_relaxed));
    return true;
  }
  void end() noexcept {
    const std::uint64_t w = word.load(std::memory_order_relaxed);
    word.store(((w & generation_mask) + next_generation) | (w & reported), std::memory_order_release);
  }
  void wait_until_ready() noexcept {
    while ((word.load(std::memory_order_acquire) & ready) == 0) ::sched_yield();
  }

  /// Returns when nobody has pinned the slot any more, and nobody will.
  void end_pinned() noexcept {
    word.fetch_or(claimed, std::memory_order_relaxed);
    while ((word.load(std::memory_order_acquire) & count_mask) != one) ::sched_yield();
    const std::uint64_t w = word.load(std::memory_order_relaxed);
    word.store(((w & generation_mask) + next_generation) | reported, std::memory_order_release);
  }

  // ---- any thread

  /// The owner, which then waits for publish(); null for a late call and for a second one, which is reported.
  void* claim(std::uint64_t generation, const void* its_type) noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    do {
      if (!is_same(w, generation) || (w & claimed) != 0) [[unlikely]] {
        report_second(w, generation);
        return nullptr;
      }
    } while (!word.compare_exchange_weak(w, w | claimed, std::memory_order_acquire, std::memory_order_relaxed));
    if (type != its_type) [[unlikely]]
      trap_wrong_type();
    return target;
  }
  /// Claims and publishes at once where that needs no other thread's consent; `here` is this thread's executor. The
  /// owner must then get its value, and be resumed if `was_suspended`. Null: claim() must decide.
  void* claim_here(std::uint64_t generation, const void* here, bool& was_suspended) noexcept {
    const std::uint64_t w = word.load(std::memory_order_relaxed);
    // Of this generation and this thread: then the owner is still there, and will be.
    if (((w ^ generation) & ~suspended) != one || home.load(std::memory_order_relaxed) != here) return nullptr;
    was_suspended = (w & suspended) != 0;
    word.store(w | claimed | ready, std::memory_order_relaxed);
    return target;
  }
  /// True: the owner must be resumed. Otherwise the slot is not to be touched again.
  bool publish() noexcept { return (word.fetch_or(ready, std::memory_order_acq_rel) & suspended) != 0; }

  /// One more callback that can fire.
  void add(std::uint64_t generation) noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    do {
      if (!is_same(w, generation) || (w & claimed) != 0) return;
      if ((w & count_mask) == count_mask) trap("more than 16 million copies of one rota::callback");
    } while (!word.compare_exchange_weak(w, w + one, std::memory_order_relaxed, std::memory_order_relaxed));
  }
  /// One less; the last one has claimed the slot: the owner is returned, to be told that nobody will fire.
  void* remove(std::uint64_t generation) noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    for (;;) {
      if (!is_same(w, generation) || (w & claimed) != 0) return nullptr;
      const bool last = (w & count_mask) == one;
      // acq_rel: the last one goes on for all, after what they did before.
      if (word.compare_exchange_weak(w, last ? w | claimed : w - one, std::memory_order_acq_rel,
                                     std::memory_order_relaxed))
        return last ? target : nullptr;
    }
  }

  /// The owner, which then stays until unpin(); null when it has gone.
  void* pin(std::uint64_t generation, const void* its_type) noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    do {
      if (!is_same(w, generation) || (w & claimed) != 0) return nullptr;
    } while (!word.compare_exchange_weak(w, w + one, std::memory_order_acquire, std::memory_order_relaxed));
    if (type != its_type) [[unlikely]]
      trap_wrong_type();
    return target;
  }
  void unpin() noexcept { word.fetch_sub(one, std::memory_order_release); }

 private:
  [[noreturn]] ROTA_COLD static void trap_wrong_type() noexcept {
    trap("the user data of a C callback was given to a rota::callback or callback_stream of another type");
  }
  // Still there, or its slot not yet taken by another await: then the line is known.
  ROTA_COLD void report_second(std::uint64_t w, std::uint64_t generation) noexcept {
    const auto is_known = [&] {
      const bool running = is_same(w, generation) && (w & claimed) != 0;
      const bool ended = is_same(w, generation + next_generation) && (w & (count_mask | claimed)) == 0;
      return (running || ended) && (w & reported) == 0;
    };
    do {
      if (!is_known()) return;
    } while (!word.compare_exchange_weak(w, w | reported, std::memory_order_relaxed, std::memory_order_relaxed));
    const std::source_location at = source_line(where.load(std::memory_order_relaxed));
    report("a callback was called more than once for the from_callback awaited at %s:%u; the first call counts",
           at.file_name(), static_cast<unsigned>(at.line()));
  }
};

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
  void give(std::size_t count) noexcept {
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
