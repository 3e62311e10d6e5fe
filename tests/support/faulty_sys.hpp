// A system call policy that counts calls and makes chosen ones fail. Include it before any header of rota.
#pragma once

#ifdef ROTA_SYS_POLICY
#error "faulty_sys.hpp has to come first: it chooses the system call policy"
#endif

namespace rota_test {
struct faulty_sys;  // derives from what the next header defines
}
#define ROTA_SYS_POLICY ::rota_test::faulty_sys
#include <rota/base/sys.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>

namespace rota_test {

enum class call {
  socket,
  bind,
  listen,
  accept,
  connect,
  shutdown,
  setsockopt,
  getsockopt,
  getsockname,
  getpeername,
  recv,
  send,
  recvmsg,
  sendmsg,
  read,
  write,
  close,
  fcntl,  // F_DUPFD_CLOEXEC
  fstat,
  poll,
  epoll_create,
  epoll_ctl,
  epoll_wait,
  epoll_wait_until,
  eventfd,
  wake,   // a write to a descriptor of eventfd()
  drain,  // a read of one
  count_
};

/// What one kind of call does next.
struct call_plan {
  std::uint64_t calls = 0;
  std::uint64_t again = 0;        // answered EAGAIN by the kernel
  std::uint64_t eintr_every = 0;  // every n-th call is interrupted; 0: never
  std::uint64_t skip = 0;         // calls that go through before the planned errors
  std::deque<int> errors;         // the next ones fail with these
  std::uint64_t struck = 0;       // planned errors that were given
  std::size_t most = SIZE_MAX;    // bytes that a transfer moves at a time
};

struct faulty_sys : rota::detail::real_sys {
  using real = rota::detail::real_sys;

  static call_plan& plan(call which) noexcept { return plans_[static_cast<std::size_t>(which)]; }
  static std::uint64_t calls(call which) noexcept { return plan(which).calls; }
  static std::uint64_t all_calls() noexcept {
    std::uint64_t n = 0;
    for (const call_plan& p : plans_) n += p.calls;
    return n;
  }
  /// The next `times` calls fail, after `skip` that do not.
  static void fail(call which, int error, std::size_t times = 1, std::uint64_t skip = 0) {
    plan(which).errors.assign(times, error);
    plan(which).skip = skip;
  }
  static void reset() {
    for (call_plan& p : plans_) p = call_plan();
  }

  static int socket(int domain, int type, int protocol) noexcept {
    return run(call::socket, [&] { return real::socket(domain, type, protocol); });
  }
  static int bind(int fd, const sockaddr* address, socklen_t size) noexcept {
    return run(call::bind, [&] { return real::bind(fd, address, size); });
  }
  static int listen(int fd, int backlog) noexcept {
    return run(call::listen, [&] { return real::listen(fd, backlog); });
  }
  static int accept(int fd, sockaddr* address, socklen_t* size, int flags) noexcept {
    return run(call::accept, [&] { return real::accept(fd, address, size, flags); });
  }
  static int connect(int fd, const sockaddr* address, socklen_t size) noexcept {
    return run(call::connect, [&] { return real::connect(fd, address, size); });
  }
  static int shutdown(int fd, int how) noexcept {
    return run(call::shutdown, [&] { return real::shutdown(fd, how); });
  }
  static int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
    return run(call::setsockopt, [&] { return real::setsockopt(fd, level, name, value, size); });
  }
  static int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
    return run(call::getsockopt, [&] { return real::getsockopt(fd, level, name, value, size); });
  }
  static int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
    return run(call::getsockname, [&] { return real::getsockname(fd, address, size); });
  }
  static int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept {
    return run(call::getpeername, [&] { return real::getpeername(fd, address, size); });
  }
  static std::int64_t recv(int fd, void* data, std::size_t size, int flags) noexcept {
    return run(call::recv, [&] { return real::recv(fd, data, at_most(call::recv, size), flags); });
  }
  static std::int64_t send(int fd, const void* data, std::size_t size, int flags) noexcept {
    return run(call::send, [&] { return real::send(fd, data, at_most(call::send, size), flags); });
  }
  static std::int64_t recvmsg(int fd, msghdr* message, int flags) noexcept {
    return run(call::recvmsg, [&] { return real::recvmsg(fd, message, flags); });
  }
  static std::int64_t sendmsg(int fd, const msghdr* message, int flags) noexcept {
    return run(call::sendmsg, [&] { return real::sendmsg(fd, message, flags); });
  }
  static std::int64_t read(int fd, void* data, std::size_t size) noexcept {
    const call which = is_bell(fd) ? call::drain : call::read;
    return run(which, [&] { return real::read(fd, data, at_most(which, size)); });
  }
  static std::int64_t write(int fd, const void* data, std::size_t size) noexcept {
    const call which = is_bell(fd) ? call::wake : call::write;
    return run(which, [&] { return real::write(fd, data, at_most(which, size)); });
  }
  static int close(int fd) noexcept {
    if (is_bell(fd)) bells_[fd] = false;
    return run(call::close, [&] { return real::close(fd); });
  }
  static int fcntl(int fd, int command, int argument) noexcept {
    if (command != F_DUPFD_CLOEXEC) return real::fcntl(fd, command, argument);
    return run(call::fcntl, [&] { return real::fcntl(fd, command, argument); });
  }
  static int fstat(int fd, struct stat* out) noexcept {
    return run(call::fstat, [&] { return real::fstat(fd, out); });
  }
  static int poll(pollfd* fds, nfds_t count, int milliseconds) noexcept {
    return run(call::poll, [&] { return real::poll(fds, count, milliseconds); });
  }
  static int epoll_create() noexcept {
    return run(call::epoll_create, [] { return real::epoll_create(); });
  }
  static int epoll_ctl(int ep, int what, int fd, epoll_event* event) noexcept {
    return run(call::epoll_ctl, [&] { return real::epoll_ctl(ep, what, fd, event); });
  }
  static int epoll_wait(int ep, epoll_event* events, int capacity, int milliseconds) noexcept {
    return run(call::epoll_wait, [&] { return real::epoll_wait(ep, events, capacity, milliseconds); });
  }
  static int epoll_wait_until(int ep, epoll_event* events, int capacity, const timespec* timeout) noexcept {
    return run(call::epoll_wait_until, [&] { return real::epoll_wait_until(ep, events, capacity, timeout); });
  }
  static int eventfd() noexcept {
    const int fd = run(call::eventfd, [] { return real::eventfd(); });
    if (fd >= 0 && fd < most_bells) bells_[fd] = true;
    return fd;
  }

 private:
  static constexpr int most_bells = 4096;
  static bool is_bell(int fd) noexcept { return fd >= 0 && fd < most_bells && bells_[fd]; }
  // Some errors say that the call did, or does, what it should.
  static bool happens_all_the_same(call which, int error) noexcept {
    return which == call::close || (which == call::wake && error == EAGAIN) ||
           (which == call::connect && (error == EINTR || error == EINPROGRESS));
  }

  template <class F>
  static auto run(call which, F perform) noexcept -> decltype(perform()) {
    call_plan& p = plan(which);
    ++p.calls;
    if (p.eintr_every != 0 && p.calls % p.eintr_every == 0) return -EINTR;
    if (p.skip != 0) {
      --p.skip;
    } else if (!p.errors.empty()) {
      const int error = p.errors.front();
      p.errors.pop_front();
      ++p.struck;
      if (happens_all_the_same(which, error)) (void)perform();
      return -error;
    }
    const auto result = perform();
    p.again += result == -EAGAIN;
    return result;
  }
  static std::size_t at_most(call which, std::size_t size) noexcept {
    return size < plan(which).most ? size : plan(which).most;
  }

  static inline bool bells_[most_bells] = {};
  static inline call_plan plans_[static_cast<std::size_t>(call::count_)];
};

}  // namespace rota_test
