// What the only receiver of a channel has fetched under the lock and not looked at: it goes on without the lock, and senders
// still count it as being in the channel.
//
//   receiver   takes one from its stock, says how many are left (R1), and asks whether anybody wants room (R2); if so it takes
//              the lock and lets them in.
//   sender     under the lock, finds no room: says that it wants some (S1), and looks once more how much is left (S2);
//              only then it waits, where the next one who takes the lock finds it.
//
// Nobody waits while there is room: all four are seq_cst, so if R2 does not see S1, R2 comes before it, so R1 before S2,
// which sees the room.
//
// Model checked by tests/model. Includes nothing but the atomics, which a checker replaces.
#pragma once

#include <cstddef>

#include <rota/base/atomic.hpp>

namespace rota::detail {

class receiver_stock {
 public:
  /// The receiver has taken one. True: somebody waits for room.
  [[nodiscard]] bool took_one(std::size_t left) noexcept {
    left_.store(left, std::memory_order_seq_cst);
    return wanted_.load(std::memory_order_seq_cst);
  }
  /// Under the lock.
  void filled(std::size_t now) noexcept { left_.store(now, std::memory_order_relaxed); }
  /// At most so many are left. Under the lock, or for a glance.
  std::size_t left() const noexcept { return left_.load(std::memory_order_seq_cst); }
  /// Under the lock, before the last look at left(): the caller will wait.
  void want_room() noexcept { wanted_.store(true, std::memory_order_seq_cst); }
  /// Under the lock. Who waits must find it so, or the receiver would let nobody in before its stock is used up.
  bool is_wanted() const noexcept { return wanted_.load(std::memory_order_relaxed); }
  /// Under the lock: nobody waits any more.
  void have_room() noexcept { wanted_.store(false, std::memory_order_relaxed); }

 private:
  atomic<std::size_t> left_{0};  // written by the receiver
  atomic<bool> wanted_{false};   // written under the lock
};

}  // namespace rota::detail
