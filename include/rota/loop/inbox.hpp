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
//
// The loop may take and run a post, and be destroyed by what it did, before the poster that found it asleep has woken
// it. That poster alone still touches the loop, and the loop can tell that there is one: it fell asleep and took posts
// afterwards. So it counts the wake-ups that it is owed, posters count those that they have made, and its destructor
// waits until the numbers are equal.
//
// Model checked by tests/model/inbox.cpp and inbox_wakeup.pml.
#pragma once

#include <cstdint>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/sys.hpp>
#include <rota/coro/executor.hpp>

namespace rota::detail {

class inbox {
 public:
  /// Any thread. True: the loop is asleep; wake it, then call woken(). False: the loop may be gone already.
  [[nodiscard]] bool post(posted& work) noexcept {
    posted* head = head_.load(std::memory_order_relaxed);
    do {
      work.next = head == asleep() ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, &work, std::memory_order_release, std::memory_order_relaxed));
    return head == asleep();
  }
  /// The last thing that the poster does to the loop. Release: the destructor comes after all that it did.
  void woken() noexcept { wakeups_.fetch_add(1, std::memory_order_release); }

  // The loop's thread only.

  bool empty() const noexcept {
    posted* head = head_.load(std::memory_order_relaxed);
    return head == nullptr || head == asleep();
  }
  /// False: something was posted, do not wait. May be called again before take().
  [[nodiscard]] bool fall_asleep() noexcept {
    posted* head = nullptr;
    if (!head_.compare_exchange_strong(head, asleep(), std::memory_order_relaxed)) return head == asleep();
    fell_asleep_ = true;
    return true;
  }
  /// Everything posted so far, oldest first; the loop counts as awake.
  posted* take() noexcept {
    posted* newest = head_.exchange(nullptr, std::memory_order_acquire);
    const bool slept = std::exchange(fell_asleep_, false);
    if (newest == asleep()) return nullptr;
    if (slept) ++wakeups_owed_;
    posted* oldest = nullptr;
    while (newest) {
      posted* older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    return oldest;
  }
  /// Before the loop goes: no poster touches it after this.
  void wait_for_posters() noexcept {
    wait_briefly([this] { return wakeups_.load(std::memory_order_acquire) == wakeups_owed_; });
  }

 private:
  static posted* asleep() noexcept { return reinterpret_cast<posted*>(std::uintptr_t{1}); }

  atomic<posted*> head_{nullptr};
  atomic<std::uint32_t> wakeups_{0};  // written by posters
  std::uint32_t wakeups_owed_ = 0;    // the loop's own, like fell_asleep_
  bool fell_asleep_ = false;          // since the last take()
};

}  // namespace rota::detail
