// The network as simulated hosts use it: socket calls, operations, and what is left of them when a host crashes. A run
// depends on nothing but its program, options and seed.
//
// Where UDP, Unix sockets, pipes, names and files will be: docs/design/0006-the-simulator.md.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include <rota/net/address.hpp>
#include <rota/testing/faults.hpp>
#include <rota/testing/virtual_connection.hpp>
#include <rota/testing/virtual_host.hpp>
#include <rota/testing/virtual_tcp.hpp>

namespace rota::detail {

class virtual_network final : public virtual_tcp {
 public:
  static constexpr int first_number = virtual_host::first_number;
  static constexpr std::size_t segment = 16 * 1024;  // with a bandwidth, what arrives at once

  using virtual_tcp::virtual_tcp;

  // ---- a host stops and starts

  /// The host is gone in an instant: its peers learn nothing.
  void crash(std::size_t index) {
    virtual_host& h = host(index);
    h.up = false;
    ++h.life;
    h.user = nullptr;
    for (std::unique_ptr<endpoint>& e : h.sockets) vanish(e);
    h.lose_everything();
    for (std::size_t peer = 0; peer != hosts(); ++peer) ask_for_room(peer, index);
  }
  void restart(std::size_t index) {
    host(index).up = true;
    wire().host_is_back(index);
  }

  // ---- socket calls: as in reactor/socket_calls.hpp

  endpoint* find(std::size_t at_host, int number) noexcept { return host(at_host).find(number); }

  int socket(std::size_t at_host, int family, int type) {
    if (family != AF_INET && family != AF_INET6) return -EAFNOSUPPORT;
    if ((type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != SOCK_STREAM) return -EPROTONOSUPPORT;
    if (faults.strikes(testing::fault::too_many_files)) return -EMFILE;
    if (faults.strikes(testing::fault::no_memory)) return -ENOMEM;
    auto made = std::make_unique<endpoint>(at_host, family);
    made->receive_buffer = options.receive_buffer;
    made->send_buffer = options.send_buffer;
    return host(at_host).take_number(made);
  }

  int bind(endpoint& e, const address& at) {
    if (e.bound || at.family() != e.family) return -EINVAL;
    virtual_host& h = host(e.host);
    if (!is_any(at) && !is_loopback(at) && !same_host(at, h.at)) return -EADDRNOTAVAIL;
    const std::uint16_t port = at.port() != 0 ? at.port() : h.free_port();
    if (port == 0 || h.is_taken(e, at, port)) return -EADDRINUSE;
    e.local = with_port(at, port);
    h.take_port(e, port);
    return 0;
  }

  int listen(endpoint& e, int backlog) {
    if (e.is != endpoint::state::idle && e.is != endpoint::state::listening) return -EINVAL;
    if (!e.bound) {
      const std::uint16_t port = host(e.host).free_port();
      if (port == 0) return -EADDRINUSE;
      e.local = with_port(any_of(e.family), port);
      host(e.host).take_port(e, port);
    }
    e.is = endpoint::state::listening;
    e.backlog = backlog < 1 ? 1 : static_cast<std::size_t>(backlog);
    return 0;
  }

  int set_option(endpoint& e, int level, int name, const void* value, socklen_t size) noexcept {
    int number = 0;
    if (size < sizeof number) return -EINVAL;
    std::memcpy(&number, value, sizeof number);
    if (level == IPPROTO_TCP && name == TCP_NODELAY) return 0;
    if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
      e.ipv6_only = number != 0;
      return 0;
    }
    if (level != SOL_SOCKET) return -ENOPROTOOPT;
    switch (name) {
      case SO_REUSEADDR: e.reuse_address = number != 0; return 0;
      case SO_REUSEPORT: e.reuse_port = number != 0; return 0;
      case SO_KEEPALIVE: return 0;
      case SO_RCVBUF: e.receive_buffer = buffer_size(number); break;
      case SO_SNDBUF: e.send_buffer = buffer_size(number); break;
      case SO_LINGER: {
        linger wish{};
        if (size < sizeof wish) return -EINVAL;
        std::memcpy(&wish, value, sizeof wish);
        e.reset_on_close = wish.l_onoff != 0 && wish.l_linger == 0;
        return 0;
      }
      default: return -ENOPROTOOPT;
    }
    if (e.link) set_capacities(e);
    return 0;
  }

  int shutdown(endpoint& e, int how) {
    if (e.is != endpoint::state::connected || e.broken) return -ENOTCONN;
    if (how != SHUT_WR) e.shut_receive = true;
    if (how != SHUT_RD) send_end(e);
    changed(&e);
    return 0;
  }

  void close(std::size_t at_host, int number) {
    if (const std::unique_ptr<endpoint> e = host(at_host).release_number(number)) close(*e);
  }

  // ---- operations: what could be done now; -EAGAIN when nothing

  int accept(endpoint& e) {
    if (e.is != endpoint::state::listening) return -EINVAL;
    if (e.waiting.empty()) return -EAGAIN;
    if (faults.strikes(testing::fault::too_many_files)) return -EMFILE;
    const int number = host(e.host).take_number(e.waiting.front());
    if (number >= 0) e.waiting.pop_front();
    return number;
  }

  /// Sends the request; connect_result() tells what became of it.
  int connect(endpoint& e, const address& to) {
    if (e.is == endpoint::state::connected) return -EISCONN;
    if (e.is == endpoint::state::connecting) return -EALREADY;
    if (e.is == endpoint::state::listening) return -EISCONN;
    if (to.family() != e.family) return -EAFNOSUPPORT;
    if (faults.strikes(testing::fault::no_buffers)) return -ENOBUFS;
    const std::size_t there = host_of(e.host, to);
    if (there == nowhere) return -ENETUNREACH;
    const address from = source_of(e, to);
    if (!e.bound) {
      const std::uint16_t port = host(e.host).free_port();
      if (port == 0) return -EADDRNOTAVAIL;
      e.local = with_port(from, port);
      host(e.host).take_port(e, port);
    } else if (is_any(e.local)) {
      e.local = with_port(from, e.local.port());
    }
    e.peer = is_any(to) ? with_port(from, to.port()) : to;
    e.is = endpoint::state::connecting;
    e.side = 0;
    e.error = 0;
    e.broken = false;
    e.link = std::make_shared<connection>();
    e.link->ends[0] = &e;
    e.link->hosts[0] = e.host;
    e.link->hosts[1] = there;
    wire().send(kind::request, e.link, 1);
    return -EAGAIN;
  }
  int connect_result(endpoint& e) noexcept {
    if (e.is == endpoint::state::connecting) return -EAGAIN;
    const int error = std::exchange(e.error, 0);
    if (e.is == endpoint::state::connected && error == 0) return 0;
    return error != 0 ? -error : -ECONNABORTED;
  }

  std::int64_t receive(endpoint& e, const iovec* parts, std::size_t count) {
    const std::size_t size = size_of(parts, count);
    if (e.is != endpoint::state::connected) return e.error != 0 ? -std::exchange(e.error, 0) : -ENOTCONN;
    if (size == 0) return 0;
    connection::direction& in = e.incoming();
    std::size_t n = std::min(size, in.arrived);
    if (n == 0) {
      if (e.error != 0) return -std::exchange(e.error, 0);
      return in.end_arrived || e.shut_receive || e.broken ? 0 : -EAGAIN;
    }
    if (faults.strikes(testing::fault::no_memory)) return -ENOMEM;
    if (faults.strikes(testing::fault::connection_reset)) return break_now(e);
    if (n > 1 && faults.strikes(testing::fault::short_read)) n = 1 + faults.amount(testing::fault::short_read, n - 1);
    std::size_t left = n;
    for (std::size_t i = 0; left != 0; ++i) {
      const std::size_t here = std::min(left, parts[i].iov_len);
      if (here != 0) in.bytes.pop(parts[i].iov_base, here);
      left -= here;
    }
    in.arrived -= n;
    wire().send(kind::window, e.link, 1 - e.side, n);
    return static_cast<std::int64_t>(n);
  }

  std::int64_t send(endpoint& e, const iovec* parts, std::size_t count) {
    const std::size_t size = size_of(parts, count);
    if (const int wrong = send_error(e); wrong != 0) return wrong;
    if (size == 0) return 0;
    connection::direction& out = e.outgoing();
    if (out.unacknowledged >= out.capacity) return -EAGAIN;
    if (faults.strikes(testing::fault::no_buffers)) return -ENOBUFS;
    if (faults.strikes(testing::fault::connection_reset)) return break_now(e);
    std::size_t n = std::min(size, out.capacity - out.unacknowledged);
    if (n > 1 && faults.strikes(testing::fault::short_write)) n = 1 + faults.amount(testing::fault::short_write, n - 1);
    std::size_t unsent = n;
    for (std::size_t i = 0; unsent != 0; ++i) {
      const std::size_t here = std::min(unsent, parts[i].iov_len);
      if (here != 0) out.bytes.push(parts[i].iov_base, here);
      unsent -= here;
    }
    out.unacknowledged += n;
    const bool limited = wire().has_bandwidth(e.host, e.link->hosts[1 - e.side]);
    for (std::size_t left = n; left != 0;) {
      const std::size_t part = limited ? std::min(left, segment) : left;
      wire().send(kind::data, e.link, 1 - e.side, part);
      left -= part;
    }
    return static_cast<std::int64_t>(n);
  }

  /// The poll(2) events that are there.
  int events_of(const endpoint& e) const noexcept {
    if (e.is == endpoint::state::listening) return e.waiting.empty() ? 0 : POLLIN | POLLRDNORM;
    if (e.is == endpoint::state::connecting) return 0;
    if (e.is == endpoint::state::idle) return POLLOUT | POLLHUP;
    int found = 0;
    const bool ended = e.incoming().end_arrived || e.broken || e.shut_receive;
    if (e.incoming().arrived != 0 || ended || e.error != 0) found |= POLLIN | POLLRDNORM;
    if (e.outgoing().unacknowledged < e.outgoing().capacity || e.broken || e.sent_end) found |= POLLOUT | POLLWRNORM;
    if (ended) found |= POLLRDHUP;
    if (e.broken || (ended && e.sent_end)) found |= POLLHUP;
    if (e.error != 0) found |= POLLERR;
    return found;
  }

  /// Sockets that are open on the host, those in backlogs too.
  std::size_t open_sockets(std::size_t at_host) noexcept { return host(at_host).open_sockets(); }

 private:
  int send_error(endpoint& e) noexcept {
    if (e.error != 0) return -std::exchange(e.error, 0);
    return e.is != endpoint::state::connected || e.broken || e.sent_end ? -EPIPE : 0;
  }

  // A fault: both ends lose the connection.
  int break_now(endpoint& e) {
    wire().send(kind::reset, e.link, 1 - e.side);
    e.incoming().bytes.clear();
    e.incoming().arrived = 0;
    e.broken = true;
    detach(e);
    // Another operation on the socket may wait. Not now: the one that was struck is not done yet.
    wire_message timer;
    timer.what = kind::look_again;
    timer.host = e.host;
    timer.life = host(e.host).life;
    timer.number = e.number;
    wire().set_timer(clock.now(), std::move(timer));
    return -ECONNRESET;
  }

  void close(endpoint& e) {
    if (e.counts_port) host(e.host).release_port(e);
    for (const std::unique_ptr<endpoint>& never_taken : e.waiting) {
      wire().send(kind::reset, never_taken->link, 0);
      detach(*never_taken);
    }
    if (!e.link || e.link->ends[e.side] != &e) return;
    if (e.is == endpoint::state::connected && !e.broken) {
      // Unread bytes, or a wish: the peer must not think that all was well.
      if (e.reset_on_close || e.incoming().arrived != 0)
        wire().send(kind::reset, e.link, 1 - e.side);
      else
        send_end(e);
    } else if (e.is == endpoint::state::connecting) {
      wire().send(kind::reset, e.link, 1);
    }
    detach(e);
  }

  void vanish(std::unique_ptr<endpoint>& e) noexcept {
    if (!e) return;
    for (std::unique_ptr<endpoint>& never_taken : e->waiting) vanish(never_taken);
    if (e->link && e->link->ends[e->side] == e.get()) {
      e->link->vanished[e->side] = true;
      detach(*e);
    }
  }

  static std::size_t size_of(const iovec* parts, std::size_t count) noexcept {
    std::size_t size = 0;
    for (std::size_t i = 0; i != count; ++i) size += parts[i].iov_len;
    return size;
  }
  static std::size_t buffer_size(int wish) noexcept { return wish < 1024 ? 1024 : static_cast<std::size_t>(wish); }
};

}  // namespace rota::detail
