// The simulated world below the reactors: TCP between hosts. virtual_host.hpp has the sockets and ports of one host,
// virtual_wire.hpp the links, virtual_connection.hpp the two ends. A run depends on nothing but its program, options and
// seed.
//
// The writer of what does not get through gives up after `retransmission_limit`, a connect after `connect_limit`.
// Simplified: a server has the connection when the client's request arrives (not a round trip later), ports have no
// TIME_WAIT.
//
// Memory that runs out ends the program: this is a tool for tests.
//
// UDP, Unix sockets, pipes and names come with rota's own operations: a new kind of endpoint beside
// virtual_connection.hpp, new messages in virtual_wire.hpp, what they mean here, and the operations in
// simulated_reactor.hpp.
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
#include <string>
#include <utility>
#include <vector>

#include <rota/base/random.hpp>
#include <rota/net/address.hpp>
#include <rota/testing/faults.hpp>
#include <rota/testing/simulation_options.hpp>
#include <rota/testing/trace.hpp>
#include <rota/testing/virtual_clock.hpp>
#include <rota/testing/virtual_connection.hpp>
#include <rota/testing/virtual_host.hpp>
#include <rota/testing/virtual_wire.hpp>

namespace rota::detail {

class virtual_network final : virtual_wire::receiver {
  using kind = wire_message::kind;

 public:
  static constexpr int first_number = virtual_host::first_number;
  using link_state = virtual_wire::link_state;

  static constexpr nanoseconds connect_limit = 127'000'000'000;
  static constexpr nanoseconds retransmission_limit = 924'600'000'000;
  static constexpr std::size_t segment = 16 * 1024;  // with a bandwidth, what arrives at once

  explicit virtual_network(const testing::simulation_options& wishes)
      : options(wishes),
        faults(wishes.seed, wishes.faults, wishes.script ? &*wishes.script : nullptr),
        order(wishes.seed ^ 0x6f72646572u),
        record(wishes.keep_trace),
        wire_(options, clock, *this) {}
  virtual_network(const virtual_network&) = delete;
  virtual_network& operator=(const virtual_network&) = delete;

  const testing::simulation_options options;
  virtual_clock clock;
  fault_plan faults;
  random order;  // of completions and turns
  testing::trace record;

  std::size_t add_host(std::string name) {
    in_addr ip{};
    ip.s_addr = htonl(0x0a000000u + static_cast<std::uint32_t>(hosts_.size()) + 1);
    hosts_.push_back(std::make_unique<virtual_host>(std::move(name), address(ip, 0), options));
    return hosts_.size() - 1;
  }
  virtual_host& host(std::size_t index) noexcept { return *hosts_[index]; }
  std::size_t hosts() const noexcept { return hosts_.size(); }

  // ---- time

  nanoseconds next_event() const noexcept { return wire_.next_time(); }
  /// Delivers everything that is due.
  void run_due() { wire_.run_due(); }
  /// Calls user->woken(number, ticket) at `t`, unless the host crashes before.
  void wake_at(nanoseconds t, std::size_t at_host, int number, std::uint32_t ticket) {
    wire_message timer;
    timer.what = kind::wake;
    timer.host = at_host;
    timer.life = host(at_host).life;
    timer.number = number;
    timer.amount = ticket;
    wire_.set_timer(t, std::move(timer));
  }
  /// Begins a line of the trace.
  testing::trace& note(std::size_t at_host) {
    return record.line(clock.now() - virtual_clock::start_time).word(host(at_host).name);
  }

  // ---- links

  void set_link(std::size_t a, std::size_t b, const testing::link_options& o) { wire_.set_link(a, b, o); }
  void set_link(std::size_t a, std::size_t b, link_state state) {
    wire_.set_link(a, b, state);
    if (state != link_state::cut) return;
    ask_for_room(a, b);
    ask_for_room(b, a);
  }

  // ---- a host stops and starts

  /// The host is gone in an instant: its peers learn nothing.
  void crash(std::size_t index) {
    virtual_host& h = host(index);
    h.up = false;
    ++h.life;
    h.user = nullptr;
    for (std::unique_ptr<endpoint>& e : h.sockets) vanish(e);
    h.lose_everything();
    for (std::size_t peer = 0; peer != hosts_.size(); ++peer) ask_for_room(peer, index);
  }
  void restart(std::size_t index) {
    host(index).up = true;
    wire_.host_is_back(index);
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
    wire_.send(kind::request, e.link, 1);
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
    wire_.send(kind::window, e.link, 1 - e.side, n);
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
    const bool limited = wire_.has_bandwidth(e.host, e.link->hosts[1 - e.side]);
    for (std::size_t left = n; left != 0;) {
      const std::size_t part = limited ? std::min(left, segment) : left;
      wire_.send(kind::data, e.link, 1 - e.side, part);
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
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

  // ---- messages: for the wire

  bool is_up(std::size_t index) const noexcept override { return hosts_[index]->up; }

  void fire(const wire_message& timer) override {
    if (timer.what == kind::give_up) {
      give_up(timer);
    } else if (timer.what == kind::look_again) {
      const virtual_host& h = host(timer.host);
      if (h.user && h.life == timer.life) h.user->socket_changed(timer.number);
    } else if (timer.what == kind::connect_timeout) {
      endpoint* const client = timer.link->ends[0];
      if (client && client->is == endpoint::state::connecting) fail_connect(*client, ETIMEDOUT);
    } else {
      const virtual_host& h = host(timer.host);
      if (h.user && h.life == timer.life) h.user->woken(timer.number, static_cast<std::uint32_t>(timer.amount));
    }
  }

  void arrive(const wire_message& e) override {
    connection& c = *e.link;
    endpoint* const to = c.ends[e.to_side];
    connection::direction& way = c.from[1 - e.to_side];
    switch (e.what) {
      case kind::request: requested(e); return;
      case kind::welcome:
        if (!to) {  // has given up
          wire_.send(kind::reset, e.link, 1);
          return;
        }
        if (to->is != endpoint::state::connecting) return;
        to->is = endpoint::state::connected;
        break;
      case kind::refusal:
        if (to && to->is == endpoint::state::connecting) fail_connect(*to, ECONNREFUSED);
        return;
      case kind::data:
        if (!to || to->broken) {  // closed, or from before a crash
          wire_.send(kind::reset, e.link, 1 - e.to_side);
          return;
        }
        way.arrived += e.amount;
        break;
      case kind::window: c.from[e.to_side].unacknowledged -= e.amount; break;
      case kind::end:
        if (!to && c.vanished[e.to_side]) wire_.send(kind::reset, e.link, 1 - e.to_side);
        way.end_arrived = true;
        break;
      case kind::reset:
        if (!to) return;
        if (to->is == endpoint::state::connecting) {
          fail_connect(*to, ECONNREFUSED);
          return;
        }
        fail(*to, to->incoming().end_arrived ? EPIPE : ECONNRESET);
        return;
      default: return;
    }
    changed(to);
  }

  void requested(const wire_message& e) {
    connection& c = *e.link;
    endpoint* const client = c.ends[0];
    if (!client) return;  // has given up
    endpoint* const listener = host(c.hosts[1]).listener_at(client->peer, requests_);
    if (!listener) {
      wire_.send(kind::refusal, e.link, 0);
      return;
    }
    if (listener->waiting.size() >= listener->backlog) {  // dropped; the client asks again
      arm_connect_timeout(e.link);
      wire_.send_again(e, 1'000'000'000);
      return;
    }
    auto server = std::make_unique<endpoint>(c.hosts[1], listener->family);
    server->is = endpoint::state::connected;
    server->side = 1;
    server->bound = true;
    server->local = as_family(listener->family, client->peer);
    server->peer = as_family(listener->family, client->local);
    server->receive_buffer = listener->receive_buffer;
    server->send_buffer = listener->send_buffer;
    server->link = e.link;
    c.ends[1] = server.get();
    c.established = true;
    set_capacities(*client);
    listener->waiting.push_back(std::move(server));
    wire_.send(kind::welcome, e.link, 0);
    changed(listener);
  }

  // The message did not get through: after a while its sender stops trying.
  void nobody_answers(const wire_message& e) override {
    if (e.what == kind::request || e.what == kind::welcome) {
      arm_connect_timeout(e.link);
      return;
    }
    connection::direction& way = e.link->from[1 - e.to_side];
    if (!e.is_written() || std::exchange(way.giving_up, true)) return;
    wire_message timer;
    timer.what = kind::give_up;
    timer.to_side = e.to_side;
    timer.link = e.link;
    wire_.set_timer(clock.now() + retransmission_limit, std::move(timer));
  }
  void give_up(const wire_message& timer) {
    connection& c = *timer.link;
    c.from[1 - timer.to_side].giving_up = false;
    endpoint* const writer = c.ends[1 - timer.to_side];
    const nanoseconds since = wire_.unanswered_since(c, timer.to_side);
    if (!writer || since == never) return;
    if (clock.now() - since >= retransmission_limit) {
      fail(*writer, ETIMEDOUT);
      return;
    }
    c.from[1 - timer.to_side].giving_up = true;  // what the timer was set for got through, later messages did not
    wire_.set_timer(since + retransmission_limit, timer);
  }
  // A writer that waits for room asks for it again and again: with no bytes, which are given up, or reset, like others. It
  // is enough to ask when answers begin to fail.
  void ask_for_room(std::size_t from, std::size_t of) {
    for (const std::unique_ptr<endpoint>& e : host(from).sockets) {
      if (!e || e->is != endpoint::state::connected || e->broken || e->link->hosts[1 - e->side] != of) continue;
      const connection::direction& out = e->outgoing();
      if (out.unacknowledged + e->send_buffer > out.capacity) wire_.send(kind::data, e->link, 1 - e->side);
    }
  }
  void arm_connect_timeout(const std::shared_ptr<connection>& c) {
    if (std::exchange(c->connect_times_out, true)) return;
    wire_message timer;
    timer.what = kind::connect_timeout;
    timer.link = c;
    wire_.set_timer(clock.now() + connect_limit, std::move(timer));
  }

  // ---- ends

  void changed(endpoint* e) noexcept {
    if (!e || e->number < 0) return;
    if (socket_user* const user = host(e->host).user) user->socket_changed(e->number);
  }

  void fail(endpoint& e, int error) noexcept {
    if (e.broken) return;
    e.error = error;
    e.broken = true;
    changed(&e);
  }
  void fail_connect(endpoint& e, int error) noexcept {
    e.link->ends[e.side] = nullptr;
    e.link = nullptr;
    e.is = endpoint::state::idle;
    e.error = error;
    changed(&e);
  }
  static std::size_t size_of(const iovec* parts, std::size_t count) noexcept {
    std::size_t size = 0;
    for (std::size_t i = 0; i != count; ++i) size += parts[i].iov_len;
    return size;
  }
  int send_error(endpoint& e) noexcept {
    if (e.error != 0) return -std::exchange(e.error, 0);
    return e.is != endpoint::state::connected || e.broken || e.sent_end ? -EPIPE : 0;
  }

  // A fault: both ends lose the connection.
  int break_now(endpoint& e) {
    wire_.send(kind::reset, e.link, 1 - e.side);
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
    wire_.set_timer(clock.now(), std::move(timer));
    return -ECONNRESET;
  }
  // What still arrives finds nobody.
  void detach(endpoint& e) noexcept { e.link->ends[e.side] = nullptr; }

  void send_end(endpoint& e) {
    if (!std::exchange(e.sent_end, true) && !e.broken) wire_.send(kind::end, e.link, 1 - e.side);
  }

  void close(endpoint& e) {
    if (e.counts_port) host(e.host).release_port(e);
    for (const std::unique_ptr<endpoint>& never_taken : e.waiting) {
      wire_.send(kind::reset, never_taken->link, 0);
      detach(*never_taken);
    }
    if (!e.link || e.link->ends[e.side] != &e) return;
    if (e.is == endpoint::state::connected && !e.broken) {
      // Unread bytes, or a wish: the peer must not think that all was well.
      if (e.reset_on_close || e.incoming().arrived != 0)
        wire_.send(kind::reset, e.link, 1 - e.side);
      else
        send_end(e);
    } else if (e.is == endpoint::state::connecting) {
      wire_.send(kind::reset, e.link, 1);
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

  void set_capacities(endpoint& e) noexcept {
    endpoint* const other = e.link->ends[1 - e.side];
    if (!other) return;
    e.outgoing().capacity = e.send_buffer + other->receive_buffer;
    e.incoming().capacity = other->send_buffer + e.receive_buffer;
  }
  static std::size_t buffer_size(int wish) noexcept { return wish < 1024 ? 1024 : static_cast<std::size_t>(wish); }

  // ---- addresses

  std::size_t host_of(std::size_t asking, const address& to) {
    if (is_any(to) || is_loopback(to)) return asking;
    for (std::size_t i = 0; i != hosts_.size(); ++i)
      if (same_host(hosts_[i]->at, to)) return i;
    return nowhere;
  }
  address source_of(const endpoint& e, const address& to) {
    if (is_loopback(to) || is_any(to)) return e.family == AF_INET6 ? address("::1", 0) : address("127.0.0.1", 0);
    return host(e.host).at;
  }

  std::vector<std::unique_ptr<virtual_host>> hosts_;
  virtual_wire wire_;
  std::uint64_t requests_ = 0;
};

}  // namespace rota::detail
