// Every system call that rota makes, in one policy, with the exceptions below. A test build may name another one with
// -DROTA_SYS_POLICY=type -include header (same static functions); when real it costs nothing. A policy that derives
// from real_sys is declared before this header is included, and defined after it.
// Each function returns the result or a negative errno: errno is read here, never in a coroutine.
//
// Not here: the ring of the io_uring backend. Its entries are memory that the kernel reads, and what liburing does to
// them is inline; a policy of single calls could not pretend to be the other side. Tests that need another kernel define
// liburing's functions themselves (tests/reactor/io_uring_faults_test.cpp), or hand the loop a reactor of their own.
// Nor what is about the process: signal handlers (loop/run.hpp), pthread_atfork, getenv.
#pragma once

#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

namespace rota::detail {

struct real_sys {
  static std::int64_t checked(std::int64_t result) noexcept { return result < 0 ? -errno : result; }

  // sockets
  static int socket(int domain, int type, int protocol) noexcept {
    return static_cast<int>(checked(::socket(domain, type, protocol)));
  }
  static int bind(int fd, const sockaddr* address, socklen_t size) noexcept {
    return static_cast<int>(checked(::bind(fd, address, size)));
  }
  static int listen(int fd, int backlog) noexcept { return static_cast<int>(checked(::listen(fd, backlog))); }
  static int accept(int fd, sockaddr* address, socklen_t* size, int flags) noexcept {
    return static_cast<int>(checked(::accept4(fd, address, size, flags)));
  }
  static int connect(int fd, const sockaddr* address, socklen_t size) noexcept {
    return static_cast<int>(checked(::connect(fd, address, size)));
  }
  static int shutdown(int fd, int how) noexcept { return static_cast<int>(checked(::shutdown(fd, how))); }
  static int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
    return static_cast<int>(checked(::setsockopt(fd, level, name, value, size)));
  }
  static int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
    return static_cast<int>(checked(::getsockopt(fd, level, name, value, size)));
  }
  static int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
    return static_cast<int>(checked(::getsockname(fd, address, size)));
  }
  static int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept {
    return static_cast<int>(checked(::getpeername(fd, address, size)));
  }
  static std::int64_t recv(int fd, void* data, std::size_t size, int flags) noexcept {
    return checked(::recv(fd, data, size, flags));
  }
  static std::int64_t send(int fd, const void* data, std::size_t size, int flags) noexcept {
    return checked(::send(fd, data, size, flags));
  }
  static std::int64_t recvmsg(int fd, msghdr* message, int flags) noexcept {
    return checked(::recvmsg(fd, message, flags));
  }
  static std::int64_t sendmsg(int fd, const msghdr* message, int flags) noexcept {
    return checked(::sendmsg(fd, message, flags));
  }

  // any descriptor
  static std::int64_t read(int fd, void* data, std::size_t size) noexcept { return checked(::read(fd, data, size)); }
  static std::int64_t write(int fd, const void* data, std::size_t size) noexcept {
    return checked(::write(fd, data, size));
  }
  static int close(int fd) noexcept { return static_cast<int>(checked(::close(fd))); }
  static int fcntl(int fd, int command, int argument) noexcept {
    return static_cast<int>(checked(::fcntl(fd, command, argument)));
  }
  static int fstat(int fd, struct stat* out) noexcept { return static_cast<int>(checked(::fstat(fd, out))); }

  // readiness
  static int poll(pollfd* fds, nfds_t count, int milliseconds) noexcept {
    return static_cast<int>(checked(::poll(fds, count, milliseconds)));
  }
  static int epoll_create() noexcept { return static_cast<int>(checked(::epoll_create1(EPOLL_CLOEXEC))); }
  static int epoll_ctl(int ep, int what, int fd, epoll_event* event) noexcept {
    return static_cast<int>(checked(::epoll_ctl(ep, what, fd, event)));
  }
  static int epoll_wait(int ep, epoll_event* events, int capacity, int milliseconds) noexcept {
    return static_cast<int>(checked(::epoll_wait(ep, events, capacity, milliseconds)));
  }
  // Linux 5.11; glibc 2.35 has the wrapper, the raw call works with any.
  static int epoll_wait_until(int ep, epoll_event* events, int capacity, const timespec* timeout) noexcept {
    return static_cast<int>(checked(::syscall(441 /*epoll_pwait2*/, ep, events, capacity, timeout, nullptr, 0)));
  }
  static int eventfd() noexcept { return static_cast<int>(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))); }

  // time and the processor
  static std::int64_t now() noexcept {
    timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  }
  static void yield_core() noexcept { ::sched_yield(); }
};

#ifdef ROTA_SYS_POLICY
using sys = ROTA_SYS_POLICY;
#else
using sys = real_sys;
#endif

/// Waits until other threads have made `done()` true, which takes them no longer than a system call. They may need this
/// very core, or have a lower priority than this thread.
template <class Sys = sys, class F>
void wait_briefly(F done) noexcept {
  for (int patience = 100; !done();) {
    if (patience != 0) {
      --patience;
      Sys::yield_core();
    } else {
      Sys::poll(nullptr, 0, 1);
    }
  }
}

}  // namespace rota::detail
