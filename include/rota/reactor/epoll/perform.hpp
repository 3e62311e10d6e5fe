// Carries an operation out with a non-blocking system call, as far as it goes now.
#pragma once

#include <cerrno>

#include <rota/base/sys.hpp>
#include <rota/reactor/operation.hpp>

namespace rota::detail {

enum class progress : std::uint8_t {
  complete,     ///< op.result is final
  drained,      ///< complete, and the kernel has no more for now (a short read or write)
  would_block,  ///< nothing more can be done until the descriptor is ready
};

/// What the kernel would do with the operation at this moment. Does not wait. The descriptor is non-blocking, or
/// a socket.
inline progress perform(operation& op) noexcept {
  const int socket_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  for (;;) {
    std::int64_t n = 0;
    switch (op.code) {
      case opcode::recv: n = sys::recv(op.fd, op.buffer, op.size, MSG_DONTWAIT); break;
      case opcode::read: n = sys::read(op.fd, op.buffer, op.size); break;
      case opcode::recvmsg: n = sys::recvmsg(op.fd, op.message, MSG_DONTWAIT); break;
      case opcode::sendmsg: n = sys::sendmsg(op.fd, op.message, socket_flags); break;
      case opcode::send:
      case opcode::write: {
        const auto* from = static_cast<const char*>(op.buffer) + op.transferred;
        const std::uint32_t size = op.size - op.transferred;
        n = op.code == opcode::send ? sys::send(op.fd, from, size, socket_flags) : sys::write(op.fd, from, size);
        if (n >= 0) {
          op.transferred += static_cast<std::uint32_t>(n);
          if (op.all && n > 0 && op.transferred < op.size) continue;
          n = op.transferred;
        } else if (n == -EAGAIN && op.transferred > 0 && !op.all) {
          n = op.transferred;
        }
        break;
      }
      case opcode::accept:
        n = sys::accept(op.fd, op.address, op.address ? &op.address_size : nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        // The connection died while it was queued: there may be a living one behind it.
        if (n == -ECONNABORTED || n == -EPROTO) continue;
        break;
      case opcode::connect:
        if (op.phase == 0) {
          op.phase = 1;
          n = sys::connect(op.fd, op.address, op.address_size);
          if (n == -EINPROGRESS || n == -EINTR) return progress::would_block;
          if (n == -EAGAIN) {  // no local port is free: nothing is under way that could be waited for
            op.result = -EAGAIN;
            return progress::complete;
          }
        } else {
          int error = 0;
          socklen_t size = sizeof error;
          n = sys::getsockopt(op.fd, SOL_SOCKET, SO_ERROR, &error, &size);
          if (n == 0) n = -error;
        }
        break;
      case opcode::poll: {
        pollfd p{op.fd, static_cast<short>(op.size), 0};
        n = sys::poll(&p, 1, 0);
        if (n > 0) n = p.revents;
        if (n == 0) return progress::would_block;
        break;
      }
    }
    if (n == -EINTR) continue;
    if (n == -EAGAIN) return progress::would_block;
    op.result = static_cast<std::int32_t>(n);
    // An end of stream (0) says nothing about what follows. Neither does a short read(2): terminals, event descriptors
    // and sockets of packets give one line, one count, one packet, and make no new edge for the next.
    if (op.code == opcode::recv && n > 0 && static_cast<std::uint32_t>(n) < op.size) return progress::drained;
    return progress::complete;
  }
}

}  // namespace rota::detail
