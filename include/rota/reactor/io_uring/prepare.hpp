// Translates an operation into a submission queue entry.
#pragma once

#include <liburing.h>

#include <rota/reactor/operation.hpp>

namespace rota::detail {

/// The kernel reads the entry at submission, and the operation's memory until its completion.
inline void prepare(io_uring_sqe* entry, operation& op) noexcept {
  char* const rest = static_cast<char*>(op.buffer) + op.transferred;
  const unsigned left = op.size - op.transferred;
  switch (op.code) {
    case opcode::read: io_uring_prep_read(entry, op.fd, op.buffer, op.size, ~std::uint64_t{0}); return;
    case opcode::write: io_uring_prep_write(entry, op.fd, rest, left, ~std::uint64_t{0}); return;
    case opcode::recv: io_uring_prep_recv(entry, op.fd, op.buffer, op.size, 0); return;
    case opcode::send:
      // MSG_WAITALL: the kernel goes on after a short send (5.19); older kernels come back with the short count.
      io_uring_prep_send(entry, op.fd, rest, left, MSG_NOSIGNAL | (op.all ? MSG_WAITALL : 0));
      return;
    case opcode::recvmsg: io_uring_prep_recvmsg(entry, op.fd, op.message, 0); return;
    case opcode::sendmsg: io_uring_prep_sendmsg(entry, op.fd, op.message, MSG_NOSIGNAL); return;
    case opcode::accept:
      io_uring_prep_accept(entry, op.fd, op.address, op.address ? &op.address_size : nullptr, SOCK_CLOEXEC);
      return;
    case opcode::connect: io_uring_prep_connect(entry, op.fd, op.address, op.address_size); return;
    case opcode::poll: io_uring_prep_poll_add(entry, op.fd, op.size); return;
  }
}

}  // namespace rota::detail
