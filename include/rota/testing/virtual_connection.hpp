// TCP as a program sees it: endpoints, and connections whose two directions are bounded queues of bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include <rota/base/clock.hpp>
#include <rota/net/address.hpp>

namespace rota::detail {

/// Bytes, first in first out; grows to what was in it at most.
class byte_queue {
 public:
  std::size_t size() const noexcept { return size_; }
  void push(const void* data, std::size_t n) {
    if (size_ + n > bytes_.size()) grow(size_ + n);
    const std::size_t tail = (head_ + size_) % bytes_.size();
    const std::size_t first = std::min(n, bytes_.size() - tail);
    std::memcpy(bytes_.data() + tail, data, first);
    std::memcpy(bytes_.data(), static_cast<const char*>(data) + first, n - first);
    size_ += n;
  }
  void pop(void* to, std::size_t n) noexcept {
    const std::size_t first = std::min(n, bytes_.size() - head_);
    std::memcpy(to, bytes_.data() + head_, first);
    std::memcpy(static_cast<char*>(to) + first, bytes_.data(), n - first);
    head_ = (head_ + n) % bytes_.size();
    size_ -= n;
  }
  void clear() noexcept { head_ = size_ = 0; }

 private:
  void grow(std::size_t at_least) {
    std::size_t wider = bytes_.empty() ? 256 : bytes_.size() * 2;
    while (wider < at_least) wider *= 2;
    std::vector<char> bytes(wider);
    const std::size_t n = size_;
    if (n != 0) pop(bytes.data(), n);
    bytes_.swap(bytes);
    head_ = 0;
    size_ = n;
  }

  std::vector<char> bytes_;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

struct endpoint;

/// Lives until both ends have closed and nothing of it is on its way.
struct connection {
  struct direction {
    byte_queue bytes;                // written and not read, on their way or arrived
    std::size_t arrived = 0;         // of these
    std::size_t unacknowledged = 0;  // as the writer knows it: bounded by `capacity`
    std::size_t capacity = 0;
    nanoseconds last_arrival = 0;  // a later message does not overtake
    std::uint64_t messages_sent = 0;
    std::uint64_t messages_arrived = 0;  // in the order in which they were sent
    bool end_arrived = false;            // nothing follows the arrived bytes
    bool giving_up = false;              // a timer runs: nobody acknowledges
  };

  direction from[2];               // from[i] is written by ends[i]
  endpoint* ends[2] = {};          // null: closed, or not there yet
  std::size_t hosts[2] = {};       // where the ends are
  bool vanished[2] = {};           // the end's host crashed: nobody has said goodbye
  bool established = false;        // the server's end was made
  bool connect_times_out = false;  // a timer runs: the client does not wait for ever
};

/// A socket. Owned by its host's table, or by the backlog of a listener until it is accepted.
struct endpoint {
  enum class state : std::uint8_t { idle, listening, connecting, connected };

  explicit endpoint(std::size_t host_index, int address_family) noexcept : host(host_index), family(address_family) {}

  std::size_t host;
  int number = -1;  // -1: in a backlog
  int family;
  state is = state::idle;
  bool bound = false;
  bool counts_port = false;  // accepted ones share the listener's
  address local;
  address peer;
  std::shared_ptr<connection> link;
  int side = 0;
  int error = 0;        // reported once, to whoever comes first
  bool broken = false;  // reset or given up: nothing can be sent any more, nothing will come
  bool sent_end = false;
  bool shut_receive = false;
  bool reset_on_close = false;
  bool reuse_address = false;
  bool reuse_port = false;
  bool ipv6_only = false;
  std::size_t receive_buffer = 0;
  std::size_t send_buffer = 0;
  std::size_t backlog = 0;
  std::deque<std::unique_ptr<endpoint>> waiting;  // to be accepted

  connection::direction& incoming() const noexcept { return link->from[1 - side]; }
  connection::direction& outgoing() const noexcept { return link->from[side]; }
};

}  // namespace rota::detail
