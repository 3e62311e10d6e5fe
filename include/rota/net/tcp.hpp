// TCP: tcp_stream and tcp_listener.
#pragma once

#include <cstdint>
#include <system_error>
#include <utility>

#include <rota/base/sys.hpp>
#include <rota/base/unique_fd.hpp>
#include <rota/coro/task.hpp>
#include <rota/io/byte_stream.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/net/address.hpp>

namespace rota {

namespace detail {

inline int check(int result, const char* what) {
  if (result < 0) throw_errno(-result, what);
  return result;
}

/// The kernel of an open stream or listener. Throws errc::closed for one that is not open.
inline reactor& kernel_of(event_loop* loop, const char* what) {
  if (!loop) throw_error(make_error_code(errc::closed), what);
  return loop_access::kernel(*loop);
}

template <class Value>
void set_option(event_loop* loop, int fd, int level, int name, const Value& value, const char* what) {
  check(kernel_of(loop, what).set_option(fd, level, name, &value, sizeof value), what);
}

inline descriptor_owner open_socket(event_loop& loop, int family) {
  reactor& kernel = loop_access::kernel(loop);
  const int flags = SOCK_CLOEXEC | (kernel.wants_nonblocking() ? SOCK_NONBLOCK : 0);
  return {loop, unique_fd(check(kernel.socket(family, SOCK_STREAM | flags), "socket"))};
}

inline address local_address_of(event_loop* loop, int fd) {
  address result;
  socklen_t size = address::capacity;
  check(kernel_of(loop, "getsockname").local_address(fd, result.data(), &size), "getsockname");
  return result;
}

class [[nodiscard(ROTA_UNAWAITED)]] connect_awaiter : public operation_awaiter {
 public:
  connect_awaiter(event_loop& loop, int fd, const address& to) noexcept
      : operation_awaiter(opcode::connect, &loop, fd), to_(to) {
    op_.address = to_.data();
    op_.address_size = to_.size();
  }
  void await_resume() {
    if (op_.result < 0) result_or_throw(("connect to " + to_.to_string()).c_str());
  }

 private:
  address to_;
};

class accept_awaiter;

}  // namespace detail

/// Which directions of a connection to shut.
enum class shutdown_direction : std::uint8_t { receive = SHUT_RD, send = SHUT_WR, both = SHUT_RDWR };

/// A connected TCP socket. Move-only; see byte_stream for what it can do and promises. The destructor closes it.
class tcp_stream : public byte_stream {
 public:
  /// Not open.
  tcp_stream() noexcept = default;

  /// Connects to `to`. Throws std::system_error (connection refused, unreachable, timed out ...). A cancel ends the
  /// attempt and closes the socket. (A template, so that only who calls it compiles it: GCC does so with
  /// every other coroutine that it sees, 0.1 s in each file. The function's name is connect<>.)
  template <int = 0>
  static task<tcp_stream> connect(address to);

  /// Shuts one or both directions; the peer's reads then end with 0. Throws std::system_error.
  void shutdown(shutdown_direction direction = shutdown_direction::send) {
    detail::check(detail::kernel_of(fd_.loop(), "shutdown").shutdown(fd_.get(), static_cast<int>(direction)),
                  "shutdown");
  }

  address local_address() const { return detail::local_address_of(fd_.loop(), fd_.get()); }
  address peer_address() const {
    address result;
    socklen_t size = address::capacity;
    detail::check(detail::kernel_of(fd_.loop(), "getpeername").peer_address(fd_.get(), result.data(), &size),
                  "getpeername");
    return result;
  }

  /// Small writes leave at once (TCP_NODELAY); on by default for streams made by connect and accept.
  void set_no_delay(bool on) { set_flag(IPPROTO_TCP, TCP_NODELAY, on, "TCP_NODELAY"); }
  void set_keep_alive(bool on) { set_flag(SOL_SOCKET, SO_KEEPALIVE, on, "SO_KEEPALIVE"); }
  void set_receive_buffer(int bytes) { set_option(SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF"); }
  void set_send_buffer(int bytes) { set_option(SOL_SOCKET, SO_SNDBUF, bytes, "SO_SNDBUF"); }
  /// What close does with unsent data: a zero time resets the connection; a negative one is the system's default.
  void set_linger(std::chrono::seconds time) {
    linger value{time.count() >= 0, time.count() >= 0 ? static_cast<int>(time.count()) : 0};
    set_option(SOL_SOCKET, SO_LINGER, value, "SO_LINGER");
  }

 private:
  friend detail::accept_awaiter;
  explicit tcp_stream(detail::descriptor_owner fd) noexcept : byte_stream(std::move(fd)) {}

  template <class Value>
  void set_option(int level, int name, const Value& value, const char* what) {
    detail::set_option(fd_.loop(), fd_.get(), level, name, value, what);
  }
  void set_flag(int level, int name, bool on, const char* what) { set_option(level, name, int{on}, what); }
};

namespace detail {

/// Gives the stream of the next connection; one that was accepted although its waiter was cancelled is still given,
/// and one that nobody takes is closed.
class [[nodiscard(ROTA_UNAWAITED)]] accept_awaiter : public operation_awaiter {
 public:
  accept_awaiter(event_loop* loop, int fd) noexcept : operation_awaiter(opcode::accept, loop, fd), loop_(loop) {
    op_.result = -1;  // nothing yet: 0 is a descriptor
  }
  ~accept_awaiter() {
    if (!taken_ && op_.result >= 0) loop_access::kernel(*loop_).close_number(op_.result);
  }
  tcp_stream await_resume() {
    const int number = result_or_throw("accept");  // first: a closed listener has no loop
    descriptor_owner fd(*loop_, unique_fd(number));
    taken_ = true;
    const int on = 1;
    loop_access::kernel(*loop_).set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return tcp_stream(std::move(fd));
  }

 private:
  event_loop* loop_;
  bool taken_ = false;
};

}  // namespace detail

/// How a listener is made.
struct listen_options {
  listen_options() noexcept {}
  int backlog = 1024;         ///< connections that wait for accept(); the system caps it
  bool reuse_address = true;  ///< bind although old connections of the port linger
  bool reuse_port = false;    ///< several listeners share the port, the kernel spreads connections (SO_REUSEPORT)
  bool ipv6_only = true;      ///< an IPv6 listener takes no IPv4 connections
};

/// A listening TCP socket. Move-only; belongs to the loop on which it was made. The destructor closes it.
class tcp_listener {
 public:
  /// Binds and listens, at once. Port 0 takes a free one: see local_address(). Throws std::system_error ("address
  /// already in use", ...), usage_error where no loop runs on this thread.
  static tcp_listener bind(const address& at, const listen_options& options = listen_options()) {
    event_loop& loop = detail::loop_access::current();
    detail::reactor& kernel = detail::loop_access::kernel(loop);
    detail::descriptor_owner fd = detail::open_socket(loop, at.family());
    const auto set = [&](int level, int name, bool on, const char* what) {
      detail::set_option(&loop, fd.get(), level, name, int{on}, what);
    };
    if (options.reuse_address) set(SOL_SOCKET, SO_REUSEADDR, true, "SO_REUSEADDR");
    if (options.reuse_port) set(SOL_SOCKET, SO_REUSEPORT, true, "SO_REUSEPORT");
    if (at.is_ipv6()) set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only, "IPV6_V6ONLY");
    if (const int error = kernel.bind(fd.get(), at.data(), at.size()); error < 0)
      detail::throw_errno(-error, ("bind to " + at.to_string()).c_str());
    detail::check(kernel.listen(fd.get(), options.backlog), "listen");
    return tcp_listener(std::move(fd));
  }

  /// Waits for a connection. One task at a time. Throws std::system_error; rota::cancelled when no connection was
  /// taken.
  detail::accept_awaiter accept() noexcept { return {fd_.loop(), fd_.get()}; }

  /// Stops listening: a waiting accept() throws errc::closed.
  detail::close_awaiter close() { return fd_.close(); }
  bool is_open() const noexcept { return fd_.is_open(); }

  address local_address() const { return detail::local_address_of(fd_.loop(), fd_.get()); }
  int native_handle() const noexcept { return fd_.get(); }
  event_loop* loop() const noexcept { return fd_.loop(); }

 private:
  explicit tcp_listener(detail::descriptor_owner fd) noexcept : fd_(std::move(fd)) {}
  detail::descriptor_owner fd_;
};

template <int>
task<tcp_stream> tcp_stream::connect(address to) {
  event_loop& loop = detail::loop_access::current();
  detail::descriptor_owner fd = detail::open_socket(loop, to.family());
  co_await detail::connect_awaiter(loop, fd.get(), to);
  tcp_stream stream(std::move(fd));
  stream.set_no_delay(true);
  co_return stream;
}

}  // namespace rota
