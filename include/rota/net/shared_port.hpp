// shared_port: one address for the listeners of several loops.
#pragma once

#include <rota/base/sys.hpp>
#include <rota/base/unique_fd.hpp>
#include <rota/net/address.hpp>
#include <rota/net/tcp.hpp>

namespace rota {

/// Binds an address, without listening, so that every loop of a loop_group can listen at it (SO_REUSEPORT): the kernel spreads
/// the connections over the listeners. What is wrong with the address is told here, once, and port 0 becomes a number that
/// all of them share. Keep it until the last one listens. Immutable: any thread.
class shared_port {
 public:
  /// Throws std::system_error: "address already in use", also when the other socket does not share its port, ...
  explicit shared_port(const address& at)
      : fd_(detail::check(detail::sys::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
    const int on = 1;
    for (const int option : {SO_REUSEADDR, SO_REUSEPORT})
      detail::check(detail::sys::setsockopt(fd_.get(), SOL_SOCKET, option, &on, sizeof on), "SO_REUSEPORT");
    if (at.is_ipv6())
      detail::check(detail::sys::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), "IPV6_V6ONLY");
    if (const int error = detail::sys::bind(fd_.get(), at.data(), at.size()); error < 0)
      detail::throw_errno(-error, ("bind to " + at.to_string()).c_str());
    socklen_t size = address::capacity;
    detail::check(detail::sys::getsockname(fd_.get(), address_.data(), &size), "getsockname");
  }

  /// With the number that port 0 became.
  const address& local_address() const noexcept { return address_; }
  /// A listener of the loop that runs on this thread: tcp_listener::bind with reuse_port.
  tcp_listener listen(listen_options options = listen_options()) const {
    options.reuse_port = true;
    return tcp_listener::bind(address_, options);
  }

 private:
  unique_fd fd_;
  address address_;
};

}  // namespace rota
