// What foreign code holds instead of a pointer: a slot and its generation, so that a late call can do no harm.
//
// Slots are handed from one await to the next and never given back to the system: a caller with a stale generation
// may look at a slot at any time, and touches nothing of it but `word`:
//
//     generation:36 | count:26 | claimed | reported
//
//   free       count 0, not claimed
//   expected   count 1 or more: C++ callbacks that can still fire, and C handles (which count until the end)
//   claimed    somebody fires: no cancel can end the await any more, and nobody else may fire. Of a stream: it closes
//   reported   a second call was reported, or never will be
//
//   begin       owner    free -> expected. Plain store: nobody has this generation yet, and who has an older one changes the
//                        word only by compare-exchange from a value that is gone. Release: who claims sees the await.
//   claim       anybody  expected -> claimed, compare-exchange (acquire), so one caller of many wins. A stale generation
//                        is late, a claimed word means a second call; neither touches anything else.
//   claim_here  the only callback, on the owner's thread    the same by a plain store. Nobody else may change the word:
//                        the owner is on this thread, a copy can be made only of the object that is being called, a C handle
//                        would make the count 2. C code itself may call twice at once, on two threads: it has to claim().
//   remove      anybody  count - 1; the last one claims (acq_rel: it goes on for all, after what they did before)
//   withdraw    owner    expected -> free, compare-exchange: a cancel. It fails when somebody has claimed.
//   end         owner    claimed -> free, once the value has come. Plain store: a claimed word others change only to add
//                        `reported`; when that is lost, a third call is reported too. Release: a second call that comes now
//                        (acquire) reports the line.
//
// The slot does not order the value: who has claimed writes it and then has the owner resumed, which orders the two.
// On the owner's thread they happen in turn; from elsewhere through executor::post().
//
//   pin, unpin  of a stream, which many may push to at once: count + 1 (acquire, as claim), count - 1 (release)
//   end_pinned  owner    claimed: no more pins; then waits (acquire) until count is its own 1
//
// Model checked by tests/model/callback_slot.cpp.
#pragma once

#include <cstdint>

#include <rota/base/atomic.hpp>
#include <rota/base/config.hpp>
#include <rota/base/report.hpp>
#include <rota/base/sys.hpp>
#include <rota/coro/line_mark.hpp>

namespace rota::detail {

struct alignas(64) callback_slot {
  static constexpr std::uint64_t claimed = 1;
  static constexpr std::uint64_t reported = 2;
  static constexpr std::uint64_t one = 4;  // of count
  static constexpr std::uint64_t count_mask = 0xfff'fffc;
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
  bool is_claimed() const noexcept { return (word.load(std::memory_order_relaxed) & claimed) != 0; }

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
  /// Returns when nobody has pinned the slot any more, and nobody will.
  void end_pinned() noexcept {
    word.fetch_or(claimed, std::memory_order_relaxed);
    wait_briefly([this] { return (word.load(std::memory_order_acquire) & count_mask) == one; });
    const std::uint64_t w = word.load(std::memory_order_relaxed);
    word.store(((w & generation_mask) + next_generation) | reported, std::memory_order_relaxed);
  }

  // ---- any thread

  /// The owner, which then waits for its value; null for a late call and for a second one, which is reported.
  ROTA_NOINLINE void* claim(std::uint64_t generation, const void* its_type) noexcept {
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
  /// The same for a C++ callback, by the executor that runs on this thread. Null: claim() must decide.
  void* claim_here(std::uint64_t generation, const void* here) noexcept {
    if (word.load(std::memory_order_relaxed) != (generation | one) || home.load(std::memory_order_relaxed) != here)
      return nullptr;
    word.store(generation | one | claimed, std::memory_order_relaxed);
    return target;
  }

  /// One more callback that can fire.
  void add(std::uint64_t generation) noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    do {
      if (!is_same(w, generation) || (w & claimed) != 0) return;
      if ((w & count_mask) == count_mask) trap("more than 67 million copies of one rota::callback");
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
    } while (!word.compare_exchange_weak(w, w | reported, std::memory_order_acquire, std::memory_order_relaxed));
    const std::source_location at = source_line(where.load(std::memory_order_relaxed));
    report("a callback was called more than once for the from_callback awaited at %s:%u; the first call counts",
           at.file_name(), static_cast<unsigned>(at.line()));
  }
};

}  // namespace rota::detail
