// Posts from other threads and signal handlers: one atomic word that is queue and sleep flag at once.
//
// head_ holds   null       nothing is posted, the loop is awake
//               asleep     nothing is posted, the loop waits in the kernel (or is about to)
//               a node     the newest post; `next` leads to older ones, the last one's next is null
//
//   post     CAS head_ -> node (release: the loop that takes the node sees its contents). If the old value was
//            `asleep`, this poster and no other must wake the loop: wake-ups are coalesced.
//   sleep    CAS null -> asleep. It fails when a post came first: then the loop must not wait. After it succeeded
//            every post sees `asleep` and wakes. So no wake-up is lost, whichever comes first.
//   take     exchange with null (acquire, pairs with the posters' release), reversed into the order of posting.
#pragma once

#include <cstdint>

#include <rota/base/atomic.hpp>
#include <rota/coro/executor.hpp>

namespace rota::detail {

class inbox {
 public:
  /// Any thread. True: the loop is asleep, wake it.
  [[nodiscard]] bool post(posted& work) noexcept {
    posted* head = head_.load(std::memory_order_relaxed);
    do {
      work.next = head == asleep() ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, &work, std::memory_order_release, std::memory_order_relaxed));
    return head == asleep();
  }

  // The loop's thread only.

  bool empty() const noexcept {
    posted* head = head_.load(std::memory_order_relaxed);
    return head == nullptr || head == asleep();
  }
  /// False: something was posted, do not wait.
  [[nodiscard]] bool fall_asleep() noexcept {
    posted* expected = nullptr;
    return head_.compare_exchange_strong(expected, asleep(), std::memory_order_relaxed);
  }
  /// Everything posted so far, oldest first; the loop counts as awake.
  posted* take() noexcept {
    posted* newest = head_.exchange(nullptr, std::memory_order_acquire);
    if (newest == asleep()) return nullptr;
    posted* oldest = nullptr;
    while (newest) {
      posted* older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    return oldest;
  }

 private:
  static posted* asleep() noexcept { return reinterpret_cast<posted*>(std::uintptr_t{1}); }

  atomic<posted*> head_{nullptr};
};

}  // namespace rota::detail
