// Descriptors as tests need them: pairs, pipes, a plain blocking peer, and how many the process has.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include <rota/base/unique_fd.hpp>
#include <rota/net/address.hpp>

#include "support/catch.hpp"

namespace rota_test {

/// How many descriptors this process has.
inline std::size_t open_descriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  REQUIRE(directory != nullptr);
  std::size_t n = 0;
  while (::readdir(directory) != nullptr) ++n;
  ::closedir(directory);
  return n;
}

/// REQUIREs at the end of its block that the process has as many descriptors as at the beginning.
class descriptor_balance {
 public:
  descriptor_balance() : expected_(open_descriptors()) {}
  descriptor_balance(const descriptor_balance&) = delete;
  descriptor_balance& operator=(const descriptor_balance&) = delete;
  ~descriptor_balance() noexcept(false) {
    if (std::uncaught_exceptions() == 0) REQUIRE(open_descriptors() == expected_);
  }

 private:
  std::size_t expected_;
};

inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

inline void set_nonblocking(int fd, bool on = true) {
  const int flags = ::fcntl(fd, F_GETFL);
  REQUIRE(flags >= 0);
  REQUIRE(::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

struct descriptor_pair {
  rota::unique_fd first;   // of a pipe: the end to read from
  rota::unique_fd second;  // of a pipe: the end to write to
};

inline descriptor_pair make_socket_pair() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {rota::unique_fd(ends[0]), rota::unique_fd(ends[1])};
}

inline descriptor_pair make_pipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  return {rota::unique_fd(ends[0]), rota::unique_fd(ends[1])};
}

/// A blocking listener on a free loopback port.
inline rota::unique_fd make_listener(rota::address& at, int backlog = 64) {
  rota::unique_fd fd(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd);
  REQUIRE(::bind(fd.get(), at.data(), at.size()) == 0);
  REQUIRE(::listen(fd.get(), backlog) == 0);
  socklen_t size = rota::address::capacity;
  REQUIRE(::getsockname(fd.get(), at.data(), &size) == 0);
  return fd;
}

inline rota::unique_fd connect_to(const rota::address& to) {
  rota::unique_fd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd);
  REQUIRE(::connect(fd.get(), to.data(), to.size()) == 0);
  return fd;
}

/// Two ends of a TCP connection over loopback.
inline descriptor_pair make_tcp_pair() {
  rota::address at("127.0.0.1", 0);
  const rota::unique_fd listener = make_listener(at);
  rota::unique_fd one = connect_to(at);
  rota::unique_fd other(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(other);
  return {std::move(one), std::move(other)};
}

inline void write_text(int fd, std::string_view text) {
  REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

/// What can be read now without waiting.
inline std::string read_text(int fd, std::size_t most = 4096) {
  pollfd p{fd, POLLIN, 0};
  if (::poll(&p, 1, 0) <= 0) return {};
  std::string text(most, '\0');
  const ssize_t n = ::read(fd, text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

/// From now on a close of this socket resets the connection.
inline void reset_on_close(int fd) {
  const linger value{1, 0};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value) == 0);
}

/// Raises the soft limit of descriptors to the hard one, and says how many more of `wanted` may be opened.
inline std::size_t allow_descriptors(std::size_t wanted) {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const std::size_t left = static_cast<std::size_t>(limit.rlim_cur) - open_descriptors() - 32;
  if (left >= wanted) return wanted;
  WARN("only " << left << " descriptors instead of " << wanted);
  return left;
}

/// Whether the kernel has IPv6 on its loopback interface.
inline bool has_ipv6() {
  const rota::unique_fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const rota::address loopback("::1", 0);
  return fd && ::bind(fd.get(), loopback.data(), loopback.size()) == 0;
}

}  // namespace rota_test
