// What a loop knows about each of its descriptors, indexed by number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <rota/base/owned.hpp>
#include <rota/reactor/operation.hpp>

namespace rota::detail {

struct descriptor {
  operation* reader = nullptr;  // at most one waits in each direction
  operation* writer = nullptr;
  std::uint32_t generation = 0;  // of the number: events of an earlier owner are told apart by it
  bool open = false;
  bool closing = false;  // given up; closes when the last operation has completed
  // The epoll backend's own.
  bool watched = false;      // in the epoll set
  bool watched_out = false;  // with EPOLLOUT
  bool maybe_readable = true;
  bool maybe_writable = true;
  bool read_was_full = false;  // the last read filled its buffer, and may have left something
  bool full_is_all = false;    // when that happened before, nothing was left
  bool untried = false;        // the reader waits for an event, or to be tried
  bool hung_up = false;        // RDHUP, HUP, ERR or PRI was seen: a short read is not the end any more

  operation*& slot(direction way) noexcept { return way == direction::in ? reader : writer; }
};

/// Grows when a descriptor is adopted, never afterwards: looking one up is an index into an array.
class descriptor_table {
 public:
  /// `first`: no descriptor has a smaller number.
  explicit descriptor_table(int first = 0) noexcept : first_(first) {}

  bool can_hold(int fd) const noexcept { return fd >= first_; }
  void open(int fd) {
    const auto index = static_cast<std::size_t>(fd - first_);
    while (pages_.size() <= index / page_size) pages_.push_back(owned<page>(new page));
    descriptor& d = pages_[index / page_size]->entries[index % page_size];
    const std::uint32_t generation = d.generation + 1;
    d = descriptor{};
    d.generation = generation;
    d.open = true;
    ++size_;
  }
  void close(int fd) noexcept {
    find(fd)->open = false;
    --size_;
  }
  descriptor* find(int fd) noexcept {
    const auto index = static_cast<std::size_t>(std::int64_t{fd} - first_);
    if (index / page_size >= pages_.size()) return nullptr;
    descriptor& d = pages_[index / page_size]->entries[index % page_size];
    return d.open ? &d : nullptr;
  }
  std::size_t size() const noexcept { return size_; }

  /// Calls f(fd, descriptor&) for every open one; f may close it.
  template <class F>
  void for_each(F f) {
    for (std::size_t p = 0; p != pages_.size(); ++p)
      for (std::size_t i = 0; i != page_size; ++i)
        if (descriptor& d = pages_[p]->entries[i]; d.open) f(first_ + static_cast<int>(p * page_size + i), d);
  }

 private:
  static constexpr std::size_t page_size = 256;
  struct page {
    descriptor entries[page_size];
  };
  const int first_;
  std::vector<owned<page>> pages_;
  std::size_t size_ = 0;
};

}  // namespace rota::detail
