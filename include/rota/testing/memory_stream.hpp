// rota::testing::memory_stream: two ends of a connection in memory, for unit tests of protocols. No kernel, no descriptor:
// the test says in which pieces bytes arrive, how much fits between the ends, and where the connection breaks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/base/error.hpp>
#include <rota/base/random.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/io/buffer.hpp>
#include <rota/net/tcp.hpp>

namespace rota::testing {

/// How many of the bytes that could move move at a time.
class chunking {
 public:
  /// All of them.
  static chunking whole() noexcept { return chunking(kind::whole, 0); }
  static chunking at_most(std::size_t bytes) noexcept { return chunking(kind::at_most, bytes ? bytes : 1); }
  /// Half, rounded up: ever smaller pieces.
  static chunking half() noexcept { return chunking(kind::half, 0); }
  /// Any number from 1 on, drawn from the seed.
  static chunking seeded(std::uint64_t seed) noexcept { return chunking(kind::seeded, seed); }

  /// Of `available` bytes, which are at least one.
  std::size_t next(std::size_t available) noexcept {
    switch (kind_) {
      case kind::whole: break;
      case kind::at_most: return available < bytes_ ? available : static_cast<std::size_t>(bytes_);
      case kind::half: return available - available / 2;
      case kind::seeded: return 1 + static_cast<std::size_t>(dice_.below(available));
    }
    return available;
  }

 private:
  enum class kind : std::uint8_t { whole, at_most, half, seeded };
  chunking(kind k, std::uint64_t value) noexcept : kind_(k), bytes_(value), dice_(value) {}

  kind kind_;
  std::uint64_t bytes_;
  detail::random dice_;
};

/// Of each direction of a pair.
struct memory_stream_options {
  memory_stream_options() noexcept {}

  chunking reads = chunking::whole();
  chunking writes = chunking::whole();
  std::size_t capacity = 64 * 1024;  ///< bytes that were written and not read; further writes wait
};

class memory_stream;
struct memory_stream_pair;

}  // namespace rota::testing

namespace rota::detail {

class memory_awaiter;

// Bytes on their way from one end to the other.
struct memory_channel {
  explicit memory_channel(const testing::memory_stream_options& options)
      : reads(options.reads), writes(options.writes), ring(options.capacity ? options.capacity : 1) {}

  std::size_t room() const noexcept { return ring.size() - size; }
  void put(const std::byte* from, std::size_t n) noexcept {
    for (; n != 0; --n) ring[(first + size++) % ring.size()] = *from++;
  }
  void take(std::byte* to, std::size_t n) noexcept {
    for (; n != 0; --n, --size, first = (first + 1) % ring.size()) *to++ = ring[first];
  }
  /// Lets whoever waits go on, as far as that goes.
  void settle() noexcept;

  testing::chunking reads;
  testing::chunking writes;
  std::vector<std::byte> ring;
  std::size_t first = 0;
  std::size_t size = 0;
  memory_awaiter* reader = nullptr;
  memory_awaiter* writer = nullptr;
  bool ended = false;                 // nothing more will be written
  bool abandoned = false;             // nobody will read: its end was closed
  bool receive_shut = false;          // what is there is read, then the end
  std::size_t reads_left = SIZE_MAX;  // bytes until the error
  std::size_t writes_left = SIZE_MAX;
  std::error_code read_error;
  std::error_code write_error;
};

struct memory_link {
  explicit memory_link(const testing::memory_stream_options& options)
      : ways{memory_channel(options), memory_channel(options)} {}
  memory_channel ways[2];  // [n]: written by end n
  bool closed[2] = {false, false};
};

/// Reads or writes of one end of a memory_stream; at most 16 buffers, as the kernel's streams.
class [[nodiscard(ROTA_UNAWAITED)]] memory_awaiter : custom_wait {
 public:
  static constexpr std::size_t most_buffers = vector_awaiter::most_buffers;

  template <class Byte>
  memory_awaiter(std::shared_ptr<memory_link> link, int end, bool reads, std::span<const std::span<Byte>> buffers,
                 bool all = false) noexcept
      : link_(std::move(link)), end_(end), reads_(reads), all_(all) {
    for (; count_ != buffers.size() && count_ != most_buffers; ++count_) {
      const std::span<Byte> buffer = buffers[count_];
      buffers_[count_] = {const_cast<std::byte*>(buffer.data()), buffer.size()};
      size_ += buffer.size();
    }
    custom_wait::cancel = &withdraw;
  }
  memory_awaiter(const memory_awaiter&) = delete;
  memory_awaiter& operator=(const memory_awaiter&) = delete;
  ~memory_awaiter() {
    if (waits_) slot() = nullptr;
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, where), handle.address());
  }
  /// It did not happen, because its scope was cancelled.
  bool withdrawn() const noexcept { return withdrawn_; }
  std::size_t await_resume() {
    if (withdrawn_) throw_cancelled(*task_);
    if (error_) throw std::system_error(error_, reads_ ? "read" : "write");
    return done_;
  }

 private:
  friend memory_channel;
  friend testing::memory_stream;

  bool start(task_state& task, void* its_frame) {
    task_ = &task;
    frame = its_frame;
    if (reads_ && size_ == 0) refuse_no_room(task);
    if (task.is_cancelled()) {
      withdrawn_ = true;
      return task.exec->takes_turns(frame);
    }
    if (link_ && !link_->closed[end_] && slot()) {
      error_ = make_error_code(errc::busy);
      return false;
    }
    if (attempt()) {
      if (link_) way().settle();
      return task.exec->takes_turns(frame);
    }
    slot() = this;
    waits_ = true;
    task.waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    way().settle();  // may complete this one, in its turn
    return true;
  }

  memory_channel& way() const noexcept { return link_->ways[reads_ ? 1 - end_ : end_]; }
  memory_awaiter*& slot() const noexcept { return reads_ ? way().reader : way().writer; }

  /// True: it has its result.
  bool attempt() noexcept {
    if (!link_ || link_->closed[end_]) {
      error_ = make_error_code(errc::closed);
      return true;
    }
    return reads_ ? attempt_read(way()) : attempt_write(way());
  }
  bool attempt_read(memory_channel& from) noexcept {
    if (from.reads_left == 0) {
      error_ = from.read_error;
      return true;
    }
    if (from.size == 0) return from.ended || from.receive_shut;
    std::size_t n = from.size < size_ ? from.size : size_;
    if (n > from.reads_left) n = from.reads_left;
    move(n = from.reads.next(n), [&](std::byte* to, std::size_t part) { from.take(to, part); });
    if (from.reads_left != SIZE_MAX) from.reads_left -= n;
    return true;
  }
  bool attempt_write(memory_channel& to) noexcept {
    for (;;) {
      if (done_ == size_) return true;
      if (to.writes_left == 0) error_ = to.write_error;
      if (to.ended || to.abandoned) error_ = std::make_error_code(std::errc::broken_pipe);
      if (error_) return true;
      std::size_t n = size_ - done_ < to.room() ? size_ - done_ : to.room();
      if (n > to.writes_left) n = to.writes_left;
      if (n == 0) return false;
      move(n = to.writes.next(n), [&](std::byte* from, std::size_t part) { to.put(from, part); });
      if (to.writes_left != SIZE_MAX) to.writes_left -= n;
      if (!all_) return true;
    }
  }
  // The next n bytes of the buffers.
  template <class F>
  void move(std::size_t n, F bytes) noexcept {
    std::size_t skip = done_;
    done_ += n;
    for (std::size_t i = 0; n != 0; ++i) {
      const std::span<std::byte> buffer = buffers_[i];
      if (skip >= buffer.size()) {
        skip -= buffer.size();
        continue;
      }
      const std::size_t part = n < buffer.size() - skip ? n : buffer.size() - skip;
      bytes(buffer.data() + skip, part);
      n -= part;
      skip = 0;
    }
  }

  void wake() noexcept {
    slot() = nullptr;
    waits_ = false;
    make_ready(frame);
  }
  static void withdraw(custom_wait& self) noexcept {
    auto& wait = static_cast<memory_awaiter&>(self);
    wait.withdrawn_ = true;
    wait.wake();
  }

  std::shared_ptr<memory_link> link_;  // null: of a stream that is not open
  const int end_;
  const bool reads_;
  const bool all_;
  bool waits_ = false;
  bool withdrawn_ = false;
  std::array<std::span<std::byte>, most_buffers> buffers_;
  std::size_t count_ = 0;
  std::size_t size_ = 0;
  std::size_t done_ = 0;
  std::error_code error_;
  task_state* task_ = nullptr;
};

inline void memory_channel::settle() noexcept {
  for (bool moved = true; moved;) {
    const std::size_t before = size;
    moved = false;
    for (memory_awaiter* waiter : {reader, writer}) {
      if (!waiter || !waiter->attempt()) continue;
      waiter->wake();
      moved = true;
    }
    moved = moved || size != before;
  }
}

/// Nothing has to be waited for.
class [[nodiscard(ROTA_UNAWAITED)]] memory_close_awaiter {
 public:
  memory_close_awaiter() noexcept {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}
};

}  // namespace rota::detail

namespace rota::testing {

/// One end of a connection in memory. What a tcp_stream promises of reading, writing, shutting and closing holds, cancels
/// and a second reader included, so that a template works with both. Used by tasks of one thread.
///
/// Where it differs: nothing is ever reset by itself; a peer that closes is read to the end and cannot be written to.
class memory_stream {
 public:
  /// Not open.
  memory_stream() noexcept = default;
  memory_stream(memory_stream&&) noexcept = default;
  memory_stream& operator=(memory_stream&& other) noexcept {
    if (this != &other) {
      (void)close();  // rota-lint: allow(never-awaited) it closes at once
      link_ = std::move(other.link_);
      end_ = other.end_;
    }
    return *this;
  }
  ~memory_stream() {
    (void)close();  // rota-lint: allow(never-awaited) it closes at once
  }

  /// Two ends of one connection.
  static memory_stream_pair pair(const memory_stream_options& options = memory_stream_options());

  detail::memory_awaiter read_some(mutable_buffer buffer) noexcept { return read_some({&buffer, 1}); }
  detail::memory_awaiter read_some(std::span<const mutable_buffer> buffers) noexcept {
    return {link_, end_, true, buffers};
  }
  detail::memory_awaiter write_some(const_buffer buffer) noexcept { return write_some({&buffer, 1}); }
  detail::memory_awaiter write_some(std::span<const const_buffer> buffers) noexcept {
    return {link_, end_, false, buffers};
  }
  detail::memory_awaiter write_all(const_buffer buffer) noexcept {
    return {link_, end_, false, std::span<const const_buffer>(&buffer, 1), true};
  }

  /// After `send` the peer reads what was written, then the end. After `receive` this end's reads give what is there and
  /// do not wait for more, and the peer may write on. Throws errc::closed when it is not open.
  void shutdown(shutdown_direction direction = shutdown_direction::send) {
    if (!link_) throw std::system_error(make_error_code(errc::closed), "shutdown");
    if (direction != shutdown_direction::receive) end(outgoing().ended);
    if (direction != shutdown_direction::send) end(incoming().receive_shut);
  }
  detail::memory_close_awaiter close() noexcept {
    if (const std::shared_ptr<detail::memory_link> link = std::exchange(link_, nullptr)) {
      link->closed[end_] = true;
      detail::memory_channel& out = link->ways[end_];
      detail::memory_channel& in = link->ways[1 - end_];
      out.ended = in.abandoned = true;
      out.settle();
      in.settle();
    }
    return {};
  }
  bool is_open() const noexcept { return link_ != nullptr; }

  // ---- for the test

  /// After that many more bytes every read of this end fails. Throws usage_error when it is not open.
  void fail_reads_after(std::size_t bytes, std::error_code error = std::make_error_code(std::errc::connection_reset)) {
    refuse_unless_open("fail_reads_after()");
    fail_after(incoming().reads_left, incoming().read_error, bytes, error);
    incoming().settle();
  }
  /// The same of writes. A write_all has then written a part.
  void fail_writes_after(std::size_t bytes, std::error_code error = std::make_error_code(std::errc::broken_pipe)) {
    refuse_unless_open("fail_writes_after()");
    fail_after(outgoing().writes_left, outgoing().write_error, bytes, error);
    outgoing().settle();
  }
  /// Bytes that have arrived and were not read.
  std::size_t unread() const noexcept { return link_ ? incoming().size : 0; }

 private:
  memory_stream(std::shared_ptr<detail::memory_link> link, int end) noexcept : link_(std::move(link)), end_(end) {}

  detail::memory_channel& outgoing() const noexcept { return link_->ways[end_]; }
  detail::memory_channel& incoming() const noexcept { return link_->ways[1 - end_]; }
  void end(bool& flag) noexcept {
    flag = true;
    outgoing().settle();
    incoming().settle();
  }
  void refuse_unless_open(const char* what) const {
    if (!link_)
      detail::throw_usage_error(usage_error::kind::invalid_argument,
                                "%s was called on a memory_stream that is not open", what);
  }
  static void fail_after(std::size_t& left, std::error_code& kept, std::size_t bytes, std::error_code error) noexcept {
    left = bytes;
    kept = error;
  }

  std::shared_ptr<detail::memory_link> link_;
  int end_ = 0;
};

struct memory_stream_pair {
  memory_stream first;
  memory_stream second;
};

inline memory_stream_pair memory_stream::pair(const memory_stream_options& options) {
  auto link = std::make_shared<detail::memory_link>(options);
  return {memory_stream(link, 0), memory_stream(link, 1)};
}

}  // namespace rota::testing
