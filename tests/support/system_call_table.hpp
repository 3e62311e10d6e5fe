// Which errno each system call of rota may answer with, and what the program then sees.
#pragma once

#include "support/faulty_sys.hpp"

#include <cerrno>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rota/testing/faulty_reactor.hpp>

#include "support/faulty_ring.hpp"

namespace rota_test {

using rota::testing::operation_kind;

enum class result {
  unnoticed,  // tried again, waited for, or done without: the program goes on
  thrown,     // as std::system_error with this errno in some scenario; others may do without
};
enum class where { both, epoll, io_uring };

struct fault {
  int error;
  result must = result::thrown;
  // The kernel says so itself in some scenario. (It could not be made up: who is told to wait waits for an event that only
  // the real reason would bring.)
  bool by_the_kernel = false;
};

// One place where the kernel may refuse: a call of base/sys.hpp, one of liburing, or what became of an operation.
struct site {
  const char* name;
  where on;
  std::vector<fault> faults;
  call which = call::count_;
  ring_call ring = ring_call::count_;
  int operation = -1;
};

inline site sys(call which, const char* name, where on, std::vector<fault> faults) {
  site s{name, on, std::move(faults)};
  s.which = which;
  return s;
}
inline site ring(ring_call which, const char* name, std::vector<fault> faults) {
  site s{name, where::io_uring, std::move(faults)};
  s.ring = which;
  return s;
}
inline site operation(operation_kind which, const char* name, std::vector<fault> faults) {
  site s{name, where::both, std::move(faults)};
  s.operation = static_cast<int>(which);
  return s;
}

// The errnos: of EINTR, EAGAIN, ENOBUFS, ENOMEM, EMFILE, ENFILE, ECONNRESET, EPIPE, EBUSY, ENOSYS and EPERM those that the
// manual page of the call names, and what else it is known for.
inline const std::vector<site>& table() {
  constexpr result unnoticed = result::unnoticed, thrown = result::thrown;
  static const std::vector<site> all{
      sys(call::socket, "socket", where::both, {{EMFILE}, {ENFILE}, {ENOBUFS}, {ENOMEM}}),
      sys(call::bind, "bind", where::both, {{ENOMEM}, {EADDRINUSE}, {EACCES}}),
      sys(call::listen, "listen", where::both, {{EADDRINUSE}}),
      sys(call::accept, "accept", where::epoll,
          {{EAGAIN, unnoticed, true},
           {EINTR, unnoticed},
           {ECONNABORTED, unnoticed},
           {EPROTO, unnoticed},
           {EMFILE},
           {ENFILE},
           {ENOBUFS},
           {ENOMEM},
           {EPERM}}),
      sys(call::connect, "connect", where::epoll, {{EINTR, unnoticed}, {EINPROGRESS, unnoticed}, {EAGAIN}, {EPERM}}),
      sys(call::shutdown, "shutdown", where::both, {{ENOTCONN}}),
      sys(call::setsockopt, "setsockopt", where::both, {{ENOBUFS}, {ENOMEM}}),
      sys(call::getsockopt, "getsockopt", where::epoll, {{ENOBUFS}}),
      sys(call::getsockname, "getsockname", where::both, {{ENOBUFS}}),
      sys(call::getpeername, "getpeername", where::both, {{ENOBUFS}}),
      sys(call::recv, "recv", where::epoll, {{EAGAIN, unnoticed, true}, {EINTR, unnoticed}, {ENOMEM}, {ECONNRESET}}),
      sys(call::send, "send", where::epoll,
          {{EAGAIN, unnoticed, true}, {EINTR, unnoticed}, {ENOBUFS}, {ENOMEM}, {ECONNRESET}, {EPIPE}}),
      sys(call::recvmsg, "recvmsg", where::epoll,
          {{EAGAIN, unnoticed, true}, {EINTR, unnoticed}, {ENOMEM}, {ECONNRESET}}),
      sys(call::sendmsg, "sendmsg", where::epoll,
          {{EAGAIN, unnoticed, true}, {EINTR, unnoticed}, {ENOBUFS}, {ENOMEM}, {ECONNRESET}, {EPIPE}}),
      sys(call::read, "read", where::epoll, {{EAGAIN, unnoticed, true}, {EINTR, unnoticed}}),
      sys(call::write, "write", where::epoll, {{EAGAIN, unnoticed, true}, {EINTR, unnoticed}, {EPIPE}, {EPERM}}),
      sys(call::close, "close", where::both, {{EINTR, unnoticed}, {EIO, unnoticed}}),
      sys(call::fcntl, "fcntl", where::both, {{EMFILE}}),
      sys(call::fstat, "fstat", where::both, {{ENOMEM}}),
      sys(call::poll, "poll", where::epoll, {{EINTR, unnoticed}, {ENOMEM}}),
      sys(call::epoll_create, "epoll_create", where::epoll, {{EMFILE}, {ENFILE}, {ENOMEM}}),
      sys(call::epoll_ctl, "epoll_ctl", where::epoll, {{ENOMEM}, {ENOSPC}, {EPERM}}),
      sys(call::epoll_wait, "epoll_wait", where::epoll, {{EINTR, unnoticed}}),
      sys(call::epoll_wait_until, "epoll_wait_until", where::epoll,
          {{EINTR, unnoticed}, {ENOSYS, unnoticed}, {EPERM, unnoticed}}),
      sys(call::eventfd, "eventfd", where::both, {{EMFILE}, {ENFILE}, {ENOMEM}}),
      // read and write of the event descriptor that wakes a loop
      sys(call::wake, "wake", where::both, {{EINTR, unnoticed}, {EAGAIN, unnoticed}}),
      sys(call::drain, "drain", where::both, {{EINTR, unnoticed}, {EAGAIN, unnoticed}}),

      ring(ring_call::set_up, "io_uring_setup", {{EMFILE}, {ENFILE}, {ENOSYS}, {EPERM}, {ENOMEM, unnoticed}}),
      ring(ring_call::submit, "io_uring_enter to submit", {{EAGAIN, unnoticed}, {EBUSY, unnoticed}}),
      ring(ring_call::wait, "io_uring_enter to wait", {{EINTR, unnoticed}, {EAGAIN, unnoticed}, {EBUSY, unnoticed}}),

      operation(operation_kind::accept, "result of accept", {{EMFILE}, {ENFILE}, {ENOBUFS}, {ENOMEM}, {EPERM}}),
      operation(operation_kind::connect, "result of connect", {{EAGAIN}, {EPERM}, {ENOBUFS}}),
      operation(operation_kind::recv, "result of recv", {{ENOMEM}, {ECONNRESET}}),
      operation(operation_kind::send, "result of send", {{ENOBUFS}, {ENOMEM}, {ECONNRESET}, {EPIPE}}),
      operation(operation_kind::recvmsg, "result of recvmsg", {{ENOMEM}, {ECONNRESET}}),
      operation(operation_kind::sendmsg, "result of sendmsg", {{ENOBUFS}, {ENOMEM}, {ECONNRESET}, {EPIPE}}),
      operation(operation_kind::read, "result of read", {{EIO}}),
      operation(operation_kind::write, "result of write", {{EPIPE}, {EPERM}}),
      operation(operation_kind::poll, "result of poll", {{ENOMEM, thrown}}),
  };
  return all;
}

// Of base/sys.hpp, what cannot fail.
inline const std::set<std::string> never_fails{"now", "yield_core", "checked"};

}  // namespace rota_test
