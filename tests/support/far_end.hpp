// The peer of a socket that a reactor works with. It acts by itself, as another process would: the reactor learns of it in
// its next wait. A descriptor of the kernel, or a socket of the simulated network.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <rota/base/unique_fd.hpp>
#include <rota/reactor/reactor.hpp>
#include <rota/testing/simulated_reactor.hpp>

#include "support/catch.hpp"
#include "support/sockets.hpp"

namespace rota_test {

/// The network of a simulated reactor that is alone on it; null for one with a kernel.
inline rota::detail::virtual_network* network_of(rota::detail::reactor& r) {
  if (r.kind() != rota::backend::simulated) return nullptr;
  return &static_cast<rota::detail::simulated_reactor&>(r).network();
}

class far_end {
 public:
  explicit far_end(rota::unique_fd fd) noexcept : fd_(std::move(fd)) {}
  far_end(rota::detail::virtual_network& network, int number) noexcept : network_(&network), number_(number) {}
  far_end(far_end&& other) noexcept
      : fd_(std::move(other.fd_)), network_(std::exchange(other.network_, nullptr)), number_(other.number_) {}
  far_end& operator=(far_end&&) = delete;
  ~far_end() { reset(); }

  /// Of the kernel.
  int get() const noexcept { return fd_.get(); }
  void reset() {
    fd_.reset();
    if (network_) std::exchange(network_, nullptr)->close(0, number_);
  }
  /// How many bytes it took.
  std::size_t write(std::string_view text) {
    if (!network_) return moved(::write(fd_.get(), text.data(), text.size()));
    const iovec part{const_cast<char*>(text.data()), text.size()};
    return moved(network_->send(socket(), &part, 1));
  }
  /// What is there now; with `ended`, whether that is the end.
  std::string read(std::size_t most, bool* ended = nullptr) {
    std::string text(most, '\0');
    std::int64_t n = -EAGAIN;
    if (network_) {
      network_->run_due();
      const iovec part{text.data(), most};
      n = network_->receive(socket(), &part, 1);
    } else {
      pollfd p{fd_.get(), POLLIN, 0};
      if (::poll(&p, 1, 0) > 0) n = ::read(fd_.get(), text.data(), most);
    }
    if (ended) *ended = n == 0;
    text.resize(moved(n));
    return text;
  }

 private:
  static std::size_t moved(std::int64_t n) noexcept { return n > 0 ? static_cast<std::size_t>(n) : 0; }
  rota::detail::endpoint& socket() const { return *network_->find(0, number_); }

  rota::unique_fd fd_;
  rota::detail::virtual_network* network_ = nullptr;
  int number_ = -1;
};

inline void write_text(far_end& to, std::string_view text) { REQUIRE(to.write(text) == text.size()); }
/// What can be read now without waiting.
inline std::string read_text(far_end& from, std::size_t most = 4096) { return from.read(most); }
inline bool at_end(far_end& from) {
  bool ended = false;
  return from.read(1, &ended).empty() && ended;
}
inline void drain(far_end& from, std::size_t bytes) {
  while (bytes != 0) {
    const std::size_t n = from.read(std::min<std::size_t>(bytes, 65536)).size();
    REQUIRE(n != 0);
    bytes -= n;
  }
}

// ---- the near end, behind the reactor's back

inline bool is_open(rota::detail::reactor& r, int fd) {
  rota::detail::virtual_network* const network = network_of(r);
  return network ? network->find(0, fd) != nullptr : is_open(fd);
}
/// Fills the socket or pipe until it takes no more; how many bytes that were.
inline std::size_t fill(rota::detail::reactor& r, int fd) {
  const std::string block(4096, 'x');
  std::size_t total = 0;
  if (rota::detail::virtual_network* const network = network_of(r)) {
    const iovec part{const_cast<char*>(block.data()), block.size()};
    for (std::int64_t n = 0; (n = network->send(*network->find(0, fd), &part, 1)) > 0;)
      total += static_cast<std::size_t>(n);
    return total;
  }
  const int flags = ::fcntl(fd, F_GETFL);
  set_nonblocking(fd);
  for (ssize_t n = 0; (n = ::write(fd, block.data(), block.size())) > 0;) total += static_cast<std::size_t>(n);
  REQUIRE(::fcntl(fd, F_SETFL, flags) == 0);
  return total;
}

}  // namespace rota_test
