// Where a channel or a queue keeps what was put in and not taken out: in order, by priority, or as a stack. Memory grows
// with the largest number of items that there ever was, and is kept: no allocation in steady state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <utility>

#include <rota/base/config.hpp>

namespace rota::detail {

/// Room for objects of one type, by index; who owns it says which of them live.
template <class T>
class item_slots {
 public:
  item_slots() noexcept = default;
  item_slots(const item_slots&) = delete;
  item_slots& operator=(const item_slots&) = delete;
  ~item_slots() { ::operator delete(slots_, std::align_val_t(alignof(T))); }

  std::size_t count() const noexcept { return count_; }
  T& operator[](std::size_t i) const noexcept { return slots_[i]; }
  void swap(item_slots& other) noexcept {
    std::swap(slots_, other.slots_);
    std::swap(count_, other.count_);
  }
  /// Empty room, at least twice as much as `now`, a power of two. Throws std::bad_alloc.
  static void make(item_slots& fresh, std::size_t now, std::size_t least) {
    std::size_t count = now != 0 ? now * 2 : 8;
    while (count < least) count *= 2;
    if (count > SIZE_MAX / 2 / sizeof(T)) throw std::bad_alloc();
    fresh.slots_ = static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(alignof(T))));
    fresh.count_ = count;
  }

 private:
  T* slots_ = nullptr;
  std::size_t count_ = 0;
};

/// First in, first out.
template <class T>
class fifo_store {
 public:
  using value_type = T;

  fifo_store() noexcept = default;
  ~fifo_store() { clear(); }
  void swap(fifo_store& other) noexcept {
    slots_.swap(other.slots_);
    std::swap(head_, other.head_);
    std::swap(tail_, other.tail_);
  }

  bool empty() const noexcept { return head_ == tail_; }
  std::size_t size() const noexcept { return tail_ - head_; }
  /// For how many items there is memory.
  std::size_t room() const noexcept { return slots_.count(); }
  /// Room for `n` items in all, so that put() cannot fail. Throws std::bad_alloc and changes nothing.
  void ensure(std::size_t n) {
    if (n > slots_.count()) [[unlikely]]
      grow(n);
  }
  void put(T&& item) noexcept { new (static_cast<void*>(&at(tail_++))) T(static_cast<T&&>(item)); }
  /// The store is not empty.
  void take(std::optional<T>& into) noexcept {
    T& first = at(head_);
    into.emplace(static_cast<T&&>(first));
    ++head_;
    first.~T();
  }
  // What the items' destructors do may come back here.
  void clear() noexcept {
    while (!empty()) at(head_++).~T();
  }

 private:
  T& at(std::size_t i) const noexcept { return slots_[i & (slots_.count() - 1)]; }
  ROTA_NOINLINE void grow(std::size_t n) {
    item_slots<T> wider;
    item_slots<T>::make(wider, slots_.count(), n);
    for (std::size_t i = head_; i != tail_; ++i) {
      new (static_cast<void*>(&wider[i & (wider.count() - 1)])) T(static_cast<T&&>(at(i)));
      at(i).~T();
    }
    slots_.swap(wider);
  }

  item_slots<T> slots_;
  std::size_t head_ = 0;  // counts up for ever; masked on use
  std::size_t tail_ = 0;
};

/// Last in, first out.
template <class T>
class lifo_store {
 public:
  using value_type = T;

  lifo_store() noexcept = default;
  ~lifo_store() { clear(); }

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  T& operator[](std::size_t i) const noexcept { return slots_[i]; }
  void ensure(std::size_t n) {
    if (n > slots_.count()) [[unlikely]]
      grow(n);
  }
  void put(T&& item) noexcept { new (static_cast<void*>(&slots_[size_++])) T(static_cast<T&&>(item)); }
  void take(std::optional<T>& into) noexcept {
    into.emplace(static_cast<T&&>(slots_[size_ - 1]));
    drop_last();
  }
  void drop_last() noexcept { slots_[--size_].~T(); }
  void clear() noexcept {
    while (size_ != 0) drop_last();
  }

 private:
  ROTA_NOINLINE void grow(std::size_t n) {
    item_slots<T> wider;
    item_slots<T>::make(wider, slots_.count(), n);
    for (std::size_t i = 0; i != size_; ++i) {
      new (static_cast<void*>(&wider[i])) T(static_cast<T&&>(slots_[i]));
      slots_[i].~T();
    }
    slots_.swap(wider);
  }

  item_slots<T> slots_;
  std::size_t size_ = 0;
};

/// The smallest first, as Compare says, which must not throw; of equal ones, the one that came first. A binary heap.
template <class T, class Compare>
class priority_store {
 public:
  using value_type = T;

  priority_store() noexcept = default;
  explicit priority_store(Compare less) : less_(std::move(less)) {}

  bool empty() const noexcept { return heap_.empty(); }
  std::size_t size() const noexcept { return heap_.size(); }
  void ensure(std::size_t n) { heap_.ensure(n); }
  void put(T&& item) noexcept {
    heap_.put(entry(static_cast<T&&>(item), next_number_++));
    for (std::size_t i = size() - 1; i != 0;) {
      const std::size_t parent = (i - 1) / 2;
      if (!before(i, parent)) break;
      exchange(i, parent);
      i = parent;
    }
  }
  void take(std::optional<T>& into) noexcept {
    into.emplace(static_cast<T&&>(heap_[0].item));
    const std::size_t last = size() - 1;
    if (last != 0) exchange(0, last);
    heap_.drop_last();
    for (std::size_t i = 0;;) {
      std::size_t child = 2 * i + 1;
      if (child >= last) break;
      if (child + 1 < last && before(child + 1, child)) ++child;
      if (!before(child, i)) break;
      exchange(i, child);
      i = child;
    }
  }
  void clear() noexcept { heap_.clear(); }

 private:
  struct entry {
    entry(T&& i, std::uint64_t n) noexcept : item(static_cast<T&&>(i)), number(n) {}
    T item;
    std::uint64_t number;  // in the order in which they came
  };

  bool before(std::size_t a, std::size_t b) const noexcept {
    const entry& one = heap_[a];
    const entry& other = heap_[b];
    if (less_(one.item, other.item)) return true;
    return !less_(other.item, one.item) && one.number < other.number;
  }
  // By construction only: items need not be assignable.
  void exchange(std::size_t a, std::size_t b) noexcept {
    entry kept(static_cast<entry&&>(heap_[a]));
    heap_[a].~entry();
    new (static_cast<void*>(&heap_[a])) entry(static_cast<entry&&>(heap_[b]));
    heap_[b].~entry();
    new (static_cast<void*>(&heap_[b])) entry(static_cast<entry&&>(kept));
  }

  lifo_store<entry> heap_;
  std::uint64_t next_number_ = 0;
  [[no_unique_address]] Compare less_;
};

}  // namespace rota::detail
