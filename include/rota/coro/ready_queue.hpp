// The frames that run next: a ring of pointers that never needs memory when something becomes ready.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include <rota/base/report.hpp>

namespace rota::detail {

/// FIFO. A task is in it at most once, so whoever makes a task calls reserve() first, and push() cannot fail.
class ready_queue {
 public:
  ready_queue() noexcept = default;
  ready_queue(const ready_queue&) = delete;
  ready_queue& operator=(const ready_queue&) = delete;
  ~ready_queue() {
    if (capacity_ != 1) ::operator delete(slots_);
  }
  /// Room for one entry, which the caller lends, and which counts as reserved: all that an executor of one task needs.
  void borrow(void** slot) noexcept {
    slots_ = slot;
    capacity_ = reserved_ = 1;
  }

  std::size_t size() const noexcept { return tail_ - head_; }
  bool empty() const noexcept { return head_ == tail_; }

  /// Room for one more task. Throws std::bad_alloc and changes nothing.
  void reserve() {
    if (reserved_ == capacity_) [[unlikely]]
      grow();
    ++reserved_;
  }
  void unreserve() noexcept { --reserved_; }

  void push(void* entry) noexcept {
    ROTA_DEBUG_ASSERT(size() <= mask_);
    slots_[tail_++ & mask_] = entry;
  }
  void* pop() noexcept { return slots_[head_++ & mask_]; }
  /// For reports: the entry that pop() gives after `n` others.
  void* peek(std::size_t n) const noexcept { return slots_[(head_ + n) & mask_]; }

 private:
  ROTA_NOINLINE void grow() {
    const std::size_t wider = capacity_ == 1 ? 8 : slots_ ? capacity_ * 2 : 64;
    auto** slots = static_cast<void**>(::operator new(wider * sizeof(void*)));
    for (std::size_t i = head_; i != tail_; ++i) slots[i & (wider - 1)] = slots_[i & mask_];
    if (capacity_ != 1) ::operator delete(slots_);
    slots_ = slots;
    capacity_ = wider;
    mask_ = wider - 1;
  }

  void** slots_ = nullptr;
  std::size_t capacity_ = 0;  // a power of two
  std::size_t mask_ = 0;      // capacity_ - 1
  std::size_t reserved_ = 0;
  std::size_t head_ = 0;  // counts up for ever; masked on use
  std::size_t tail_ = 0;
};

}  // namespace rota::detail
