// THE SEAM between coroutines and kernel: one request as a value. Above it nobody knows a backend, below it nobody
// knows a coroutine.
//
// The requester owns the operation and every byte that it points to, and keeps both alive and in place from
// submit() until the reactor hands the operation back, completed (rule R1). A cancel is only a request: the
// operation still completes by itself, perhaps with success (rule R2). Results are counts, descriptors or 0;
// failures are negative errno.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace rota::detail {

enum class opcode : std::uint8_t {
  // data: buffer, size
  read,   // any readable descriptor
  write,  // any writable descriptor
  recv,   // sockets
  send,   // sockets; never raises SIGPIPE
  // data: message
  recvmsg,
  sendmsg,
  // data: address, address_size (in and out)
  accept,  // result: a new descriptor, close-on-exec
  connect,
  // data: size holds the poll(2) events; result: the events that are there
  poll,
};

/// An operation of each direction may wait on a descriptor at a time.
enum class direction : std::uint8_t { in, out };

struct operation {
  opcode code;
  bool all = false;  // write, send: go on until everything is written; the result is the whole count
  bool cancel_requested = false;
  bool closing = false;          // the descriptor is being closed by its owner: the result becomes -EBADF
  bool in_flight = false;        // the reactor has it
  std::uint8_t phase = 0;        // the backend's own
  std::uint16_t generation = 0;  // the backend's own: tells apart two operations at one address
  int fd;
  union {
    void* buffer;
    msghdr* message;
    sockaddr* address;
  };
  std::uint32_t size = 0;  // bytes of buffer; for poll the events
  socklen_t address_size = 0;
  std::int32_t result = 0;
  std::uint32_t transferred = 0;  // with `all`: what earlier rounds wrote
  operation* next = nullptr;      // in a list of completed or postponed operations
  void* waiter = nullptr;         // the requester's, untouched by the reactor: the frame to resume

  operation(opcode what, int on) noexcept : code(what), fd(on), buffer(nullptr) {}

  detail::direction way() const noexcept {
    switch (code) {
      case opcode::read:
      case opcode::recv:
      case opcode::recvmsg:
      case opcode::accept: return direction::in;
      case opcode::write:
      case opcode::send:
      case opcode::sendmsg:
      case opcode::connect: return direction::out;
      case opcode::poll: return (size & 4 /*POLLOUT*/) != 0 ? direction::out : direction::in;
    }
    return direction::in;
  }
};

/// Completed operations in the order of their completion.
class completion_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  void push(operation& op) noexcept {
    op.next = nullptr;
    (last_ ? last_->next : first_) = &op;
    last_ = &op;
  }
  operation* pop() noexcept {
    operation* op = first_;
    if (op) {
      first_ = op->next;
      if (!first_) last_ = nullptr;
      op->next = nullptr;
    }
    return op;
  }

 private:
  operation* first_ = nullptr;
  operation* last_ = nullptr;
};

}  // namespace rota::detail
