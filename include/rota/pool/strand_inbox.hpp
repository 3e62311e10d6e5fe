// The word of a strand: what others want of it, and whether it belongs to a worker. One worker at a time runs a strand,
// and hands on what it wrote to the next one.
//
//   null     running, or queued to run; nothing was posted
//   idle     the task waits; the strand belongs to no worker
//   a node   the newest post; `next` leads to older ones
//
//   post     CAS -> node. Acquire-release: who finds `idle` queues the strand, and hands on what its last worker wrote.
//   rest     CAS null -> idle, release, when the stack has unwound and nothing is left to do; the last thing that a worker
//            does to a strand. It fails when a post came first.
//   take     exchange with null, acquire.
//
// So between two workers there are always a rest (release) and the post that found `idle` (acquire), then the pool's queue.
// After that post the word is not `idle` until the next rest: a strand is queued once, and run by one worker.
//
// Model checked by tests/model/strand_inbox.cpp and fork_join.pml. Includes nothing but the atomics and what is posted.
#pragma once

#include <cstdint>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/coro/executor.hpp>

namespace rota::detail {

class strand_inbox {
 public:
  // Any thread.

  /// True: it rested, and the caller must see to it that it runs.
  [[nodiscard]] bool post(posted& work) noexcept {
    posted* head = head_.load(std::memory_order_relaxed);
    do {
      work.next = head == idle() ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, &work, std::memory_order_acq_rel, std::memory_order_relaxed));
    return head == idle();
  }

  /// A moment ago.
  bool rests() const noexcept { return head_.load(std::memory_order_relaxed) == idle(); }

  // The worker that runs it.

  bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }
  /// All posts, the oldest first.
  posted* take() noexcept {
    posted* newest = head_.exchange(nullptr, std::memory_order_acquire);
    posted* oldest = nullptr;
    while (newest) oldest = std::exchange(newest, std::exchange(newest->next, oldest));
    return oldest;
  }
  /// False: something was posted. True: nothing of the strand may be touched any more.
  [[nodiscard]] bool rest() noexcept {
    posted* nothing = nullptr;
    return head_.compare_exchange_strong(nothing, idle(), std::memory_order_release, std::memory_order_relaxed);
  }

 private:
  static posted* idle() noexcept { return reinterpret_cast<posted*>(std::uintptr_t{1}); }

  atomic<posted*> head_{nullptr};
};

}  // namespace rota::detail
