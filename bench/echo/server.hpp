// What the echo servers share: command line, descriptor limit, the listening socket of the hand-written ones.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace echo {

inline constexpr std::size_t buffer_size = 16384;  // every server reads at most this much at once
inline constexpr int backlog = 4096;               // 10,000 clients connect in one burst

struct options {
  std::uint16_t port = 0;  // 0: the kernel picks one
  std::string backend = "auto";
};

[[noreturn]] inline void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

inline options parse(int argc, char** argv) {
  options result;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const bool known = name == "--port" || name == "--backend";
    if (!known || i + 1 == argc) {
      std::fprintf(stderr, "usage: %s [--port N] [--backend NAME]\n", argv[0]);
      std::exit(2);
    }
    char* const value = argv[++i];
    if (name == "--port") result.port = static_cast<std::uint16_t>(std::atoi(value));
    if (name == "--backend") result.backend = value;
  }
  return result;
}

inline void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
}

// The first line of standard output: whoever started the server reads the port there.
inline void announce(std::uint16_t port) {
  std::printf("%u\n", static_cast<unsigned>(port));
  std::fflush(stdout);
}

inline void set_no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// A listening socket on 127.0.0.1; announces its port.
inline int listen_on(std::uint16_t port, int type_flags) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
  if (fd < 0) fail("socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) fail("bind");
  if (listen(fd, backlog) != 0) fail("listen");
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) fail("getsockname");
  announce(ntohs(address.sin_port));
  return fd;
}

}  // namespace echo
