// The simulated world below the reactors: hosts with sockets, links with latency and bandwidth, messages on their way.
//
// A message is an event in one queue, ordered by (virtual time, sequence), so a run depends on nothing but its program,
// options and seed. TCP retransmits: a message that meets a partition waits for its end; the writer gives up after
// `retransmission_limit`, a connect after `connect_limit`. Simplified: a server has the connection when the client's
// request arrives (not a round trip later), ports have no TIME_WAIT.
//
// Memory that runs out ends the program: this is a tool for tests.
//
// UDP, Unix sockets, pipes and names come with rota's own operations: a new kind of endpoint beside
// virtual_connection.hpp, new message kinds here, and their operations in simulated_reactor.hpp.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rota/base/random.hpp>
#include <rota/base/sys.hpp>
#include <rota/net/address.hpp>
#include <rota/testing/faults.hpp>
#include <rota/testing/simulation_options.hpp>
#include <rota/testing/trace.hpp>
#include <rota/testing/virtual_clock.hpp>
#include <rota/testing/virtual_connection.hpp>

namespace rota::detail {

/// Who works with a host's sockets: its reactor.
class socket_user {
 public:
  /// Something may be possible now that was not.
  virtual void socket_changed(int number) noexcept = 0;
  /// What wake_at() asked for.
  virtual void woken(int number, std::uint32_t ticket) noexcept = 0;

 protected:
  ~socket_user() = default;
};

struct virtual_host {
  std::string name;
  address at;  // port 0
  socket_user* user = nullptr;
  bool up = true;
  std::uint32_t life = 0;  // counts crashes
  std::vector<std::unique_ptr<endpoint>> sockets;
  std::map<std::uint16_t, int> ports;  // in use, by how many
  std::uint16_t next_port = 0;
};

class virtual_network {
 public:
  static constexpr int first_number = 1 << 20;  // above what Linux gives (fs.nr_open)
  static constexpr nanoseconds connect_limit = 127'000'000'000;
  static constexpr nanoseconds retransmission_limit = 924'600'000'000;
  static constexpr std::size_t segment = 16 * 1024;  // with a bandwidth, what arrives at once

  explicit virtual_network(const testing::simulation_options& wishes)
      : options(wishes),
        faults(wishes.seed, wishes.faults, wishes.script ? &*wishes.script : nullptr),
        order(wishes.seed ^ 0x6f72646572u),
        record(wishes.keep_trace),
        jitter_(wishes.seed ^ 0x6a6974746572u) {}
  virtual_network(const virtual_network&) = delete;
  virtual_network& operator=(const virtual_network&) = delete;

  const testing::simulation_options options;
  virtual_clock clock;
  fault_plan faults;
  random order;  // of completions and turns
  testing::trace record;

  std::size_t add_host(std::string name) {
    auto host = std::make_unique<virtual_host>();
    host->name = std::move(name);
    in_addr ip{};
    const auto index = static_cast<std::uint32_t>(hosts_.size()) + 1;
    ip.s_addr = htonl(0x0a000000u + index);
    host->at = address(ip, 0);
    hosts_.push_back(std::move(host));
    return hosts_.size() - 1;
  }
  virtual_host& host(std::size_t index) noexcept { return *hosts_[index]; }
  std::size_t hosts() const noexcept { return hosts_.size(); }

  // ---- time

  nanoseconds next_event() const noexcept { return events_.next_time(); }
  /// Delivers everything that is due.
  void run_due() {
    while (events_.next_time() <= clock.now()) deliver(events_.pop());
  }
  /// Calls user->woken(number, ticket) at `t`, unless the host crashes before.
  void wake_at(nanoseconds t, std::size_t at_host, int number, std::uint32_t ticket) {
    event e;
    e.what = kind::wake;
    e.host = at_host;
    e.life = host(at_host).life;
    e.number = number;
    e.amount = ticket;
    events_.add(t, std::move(e));
  }
  /// Begins a line of the trace.
  testing::trace& note(std::size_t at_host) {
    return record.line(clock.now() - virtual_clock::start_time).word(host(at_host).name);
  }

  // ---- links

  enum class link_state : std::uint8_t { open, held, cut };

  void set_link(std::size_t a, std::size_t b, const testing::link_options& o) { link_of(a, b).options = o; }
  /// held: messages wait. cut: they wait too, for they are sent again and again, but not for ever.
  void set_link(std::size_t a, std::size_t b, link_state state) {
    link& l = link_of(a, b);
    if (l.state == link_state::cut || state == link_state::cut) l.changed_at = clock.now();
    l.state = state;
    if (state != link_state::open) return;
    for (event& e : std::exchange(l.parked, {})) {
      connection& c = *e.link;
      const nanoseconds t = arrival(c.hosts[1 - e.to_side], c.hosts[e.to_side], 0, c.from[1 - e.to_side]);
      events_.add(t, std::move(e));
    }
  }

  // ---- a host stops and starts

  /// The host is gone in an instant: its peers learn nothing.
  void crash(std::size_t index) {
    virtual_host& h = host(index);
    h.up = false;
    ++h.life;
    h.user = nullptr;
    for (std::unique_ptr<endpoint>& e : h.sockets) vanish(e);
    h.sockets.clear();
    h.ports.clear();
  }
  void restart(std::size_t index) { host(index).up = true; }

  // ---- socket calls: as in reactor/socket_calls.hpp

  endpoint* find(std::size_t at_host, int number) noexcept {
    virtual_host& h = host(at_host);
    const std::int64_t index = std::int64_t{number} - first_number;
    if (index < 0 || index >= static_cast<std::int64_t>(h.sockets.size())) return nullptr;
    return h.sockets[static_cast<std::size_t>(index)].get();
  }

  int socket(std::size_t at_host, int family, int type) {
    if (family != AF_INET && family != AF_INET6) return -EAFNOSUPPORT;
    if ((type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != SOCK_STREAM) return -EPROTONOSUPPORT;
    if (faults.strikes(testing::fault::too_many_files)) return -EMFILE;
    if (faults.strikes(testing::fault::no_memory)) return -ENOMEM;
    auto made = std::make_unique<endpoint>(at_host, family);
    made->receive_buffer = options.receive_buffer;
    made->send_buffer = options.send_buffer;
    return take_number(at_host, made);
  }

  int bind(endpoint& e, const address& at) {
    if (e.bound || at.family() != e.family) return -EINVAL;
    const virtual_host& h = host(e.host);
    if (!is_any(at) && !is_loopback(at) && !same_host(at, h.at)) return -EADDRNOTAVAIL;
    std::uint16_t port = at.port();
    if (port == 0) {
      port = free_port(e.host);
      if (port == 0) return -EADDRINUSE;
    }
    for (const std::unique_ptr<endpoint>& other : h.sockets) {
      if (!other || !other->bound || !other->counts_port || other->local.port() != port) continue;
      if (!overlap(e, at, *other)) continue;
      if (e.reuse_port && other->reuse_port) continue;
      if (e.reuse_address && other->reuse_address && other->is != endpoint::state::listening) continue;
      return -EADDRINUSE;
    }
    e.local = with_port(at, port);
    take_port(e, port);
    return 0;
  }

  int listen(endpoint& e, int backlog) {
    if (e.is != endpoint::state::idle && e.is != endpoint::state::listening) return -EINVAL;
    if (!e.bound) {
      const std::uint16_t port = free_port(e.host);
      if (port == 0) return -EADDRINUSE;
      e.local = with_port(any_of(e.family), port);
      take_port(e, port);
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
    virtual_host& h = host(at_host);
    if (!find(at_host, number)) return;
    const std::unique_ptr<endpoint> e = std::move(h.sockets[static_cast<std::size_t>(number - first_number)]);
    close(*e);
  }

  // ---- operations: what could be done now; -EAGAIN when nothing

  int accept(endpoint& e) {
    if (e.is != endpoint::state::listening) return -EINVAL;
    if (e.waiting.empty()) return -EAGAIN;
    if (faults.strikes(testing::fault::too_many_files)) return -EMFILE;
    const int number = take_number(e.host, e.waiting.front());
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
      const std::uint16_t port = free_port(e.host);
      if (port == 0) return -EADDRNOTAVAIL;
      e.local = with_port(from, port);
      take_port(e, port);
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
    send_message(kind::request, e.link, 1);
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
    send_message(kind::window, e.link, 1 - e.side, n);
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
    const bool limited = link_of(e.host, e.link->hosts[1 - e.side]).options.bytes_per_second != 0;
    for (std::size_t left = n; left != 0;) {
      const std::size_t part = limited ? std::min(left, segment) : left;
      send_message(kind::data, e.link, 1 - e.side, part);
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
  std::size_t open_sockets(std::size_t at_host) noexcept {
    std::size_t n = 0;
    for (const std::unique_ptr<endpoint>& e : host(at_host).sockets)
      if (e) n += 1 + e->waiting.size();
    return n;
  }

 private:
  enum class kind : std::uint8_t {
    // messages of a connection, to its end `to_side`
    request,  // to connect
    welcome,  // the request was taken
    refusal,  // nobody listens
    data,     // `amount` bytes
    window,   // `amount` bytes were read
    end,      // nothing follows
    reset,
    // timers
    wake,             // a host's socket_user
    connect_timeout,  // of the connection's client
    give_up,          // of the end that writes to `to_side`
  };
  struct event {
    kind what = kind::wake;
    int to_side = -1;
    std::shared_ptr<connection> link;
    std::uint64_t order = 0;  // among the messages to this end
    std::size_t amount = 0;
    std::size_t host = 0;
    std::uint32_t life = 0;
    int number = 0;
  };
  struct link {
    testing::link_options options;
    link_state state = link_state::open;
    nanoseconds changed_at = 0;
    nanoseconds busy_until[2] = {};  // per direction: what was sent earlier goes first
    std::vector<event> parked;
    std::vector<event> early;  // were on their way when earlier ones were parked, and have to wait for them
  };
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

  // ---- messages

  link& link_of(std::size_t a, std::size_t b) {
    const std::pair<std::size_t, std::size_t> key(std::min(a, b), std::max(a, b));
    const auto found = links_.find(key);
    if (found != links_.end()) return found->second;
    link& made = links_[key];
    made.options = a == b ? options.loopback : options.network;
    return made;
  }

  nanoseconds arrival(std::size_t from, std::size_t to, std::size_t bytes, connection::direction& way) {
    link& l = link_of(from, to);
    nanoseconds t = clock.now();
    if (l.options.bytes_per_second != 0) {
      nanoseconds& busy = l.busy_until[from < to ? 0 : 1];
      const auto takes = static_cast<nanoseconds>(static_cast<std::uint64_t>(bytes + 40) * 1'000'000'000u /
                                                  l.options.bytes_per_second);
      t = busy = std::max(busy, t) + takes;
    }
    t += l.options.latency.count();
    if (const nanoseconds more = l.options.jitter.count(); more > 0)
      t += static_cast<nanoseconds>(jitter_.below(static_cast<std::uint64_t>(more) + 1));
    return way.last_arrival = std::max(way.last_arrival, t);
  }

  void send_message(kind what, const std::shared_ptr<connection>& c, int to_side, std::size_t amount = 0) {
    event e;
    e.what = what;
    e.to_side = to_side;
    e.link = c;
    e.amount = amount;
    e.order = ++c->from[1 - to_side].messages_sent;
    const std::size_t bytes = what == kind::data ? amount : 0;
    const nanoseconds t = arrival(c->hosts[1 - to_side], c->hosts[to_side], bytes, c->from[1 - to_side]);
    events_.add(t, std::move(e));
  }

  void deliver(event e) {
    if (e.what == kind::wake) {
      virtual_host& h = host(e.host);
      if (h.user && h.life == e.life) h.user->woken(e.number, static_cast<std::uint32_t>(e.amount));
      return;
    }
    connection& c = *e.link;
    if (e.what == kind::connect_timeout) {
      endpoint* const client = c.ends[0];
      if (client && client->is == endpoint::state::connecting) fail_connect(*client, ETIMEDOUT);
      return;
    }
    if (e.what == kind::give_up) {
      give_up(e);
      return;
    }
    link& l = link_of(c.hosts[0], c.hosts[1]);
    if (l.state != link_state::open) {
      if (l.state == link_state::cut) nobody_answers(e);
      l.parked.push_back(std::move(e));
      return;
    }
    const std::uint64_t& arrived = c.from[1 - e.to_side].messages_arrived;
    if (e.order > arrived + 1) {
      l.early.push_back(std::move(e));
      return;
    }
    reach(e);
    const auto is_next = [&](const event& other) {
      return other.link.get() == &c && other.to_side == e.to_side && other.order == arrived + 1;
    };
    for (;;) {
      const auto next = std::find_if(l.early.begin(), l.early.end(), is_next);
      if (next == l.early.end()) break;
      const event now = std::move(*next);
      l.early.erase(next);
      reach(now);
    }
  }

  void reach(const event& e) {
    connection& c = *e.link;
    connection::direction& way = c.from[1 - e.to_side];
    way.messages_arrived = std::max(way.messages_arrived, e.order);  // a request may come again
    if (host(c.hosts[e.to_side]).up)
      arrive(e);
    else
      nobody_answers(e);
  }

  void arrive(const event& e) {
    connection& c = *e.link;
    endpoint* const to = c.ends[e.to_side];
    connection::direction& way = c.from[1 - e.to_side];
    switch (e.what) {
      case kind::request: requested(e); return;
      case kind::welcome:
        if (!to || to->is != endpoint::state::connecting) return;
        to->is = endpoint::state::connected;
        break;
      case kind::refusal:
        if (to && to->is == endpoint::state::connecting) fail_connect(*to, ECONNREFUSED);
        return;
      case kind::data:
        if (!to || to->broken) {  // closed, or from before a crash
          send_message(kind::reset, e.link, 1 - e.to_side);
          return;
        }
        way.arrived += e.amount;
        break;
      case kind::window: c.from[e.to_side].unacknowledged -= e.amount; break;
      case kind::end:
        if (!to && c.vanished[e.to_side]) send_message(kind::reset, e.link, 1 - e.to_side);
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

  void requested(const event& e) {
    connection& c = *e.link;
    endpoint* const client = c.ends[0];
    if (!client) return;  // has given up
    endpoint* const listener = listener_at(c.hosts[1], client->peer);
    if (!listener) {
      send_message(kind::refusal, e.link, 0);
      return;
    }
    if (listener->waiting.size() >= listener->backlog) {  // dropped; the client asks again
      event again = e;
      arm_connect_timeout(e.link);
      events_.add(clock.now() + 1'000'000'000, std::move(again));
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
    send_message(kind::welcome, e.link, 0);
    changed(listener);
  }

  // The message did not get through: after a while its sender stops trying.
  void nobody_answers(const event& e) {
    if (e.what == kind::request || e.what == kind::welcome) {
      arm_connect_timeout(e.link);
      return;
    }
    connection::direction& way = e.link->from[1 - e.to_side];
    if ((e.what != kind::data && e.what != kind::end) || std::exchange(way.giving_up, true)) return;
    event timer = e;
    timer.what = kind::give_up;
    events_.add(clock.now() + retransmission_limit, std::move(timer));
  }
  void give_up(const event& e) {
    connection& c = *e.link;
    c.from[1 - e.to_side].giving_up = false;
    const link& l = link_of(c.hosts[0], c.hosts[1]);
    const bool cut = l.state == link_state::cut && clock.now() - l.changed_at >= retransmission_limit;
    endpoint* const writer = c.ends[1 - e.to_side];
    if (writer && (cut || !c.ends[e.to_side])) fail(*writer, ETIMEDOUT);
  }
  void arm_connect_timeout(const std::shared_ptr<connection>& c) {
    if (std::exchange(c->from[0].giving_up, true)) return;
    event timer;
    timer.what = kind::connect_timeout;
    timer.link = c;
    events_.add(clock.now() + connect_limit, std::move(timer));
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
    send_message(kind::reset, e.link, 1 - e.side);
    e.incoming().bytes.clear();
    e.incoming().arrived = 0;
    e.broken = true;
    detach(e);
    return -ECONNRESET;
  }
  // What still arrives finds nobody.
  void detach(endpoint& e) noexcept { e.link->ends[e.side] = nullptr; }

  void send_end(endpoint& e) {
    if (!std::exchange(e.sent_end, true) && !e.broken) send_message(kind::end, e.link, 1 - e.side);
  }

  void close(endpoint& e) {
    if (e.counts_port) release_port(e);
    for (const std::unique_ptr<endpoint>& never_taken : e.waiting) {
      send_message(kind::reset, never_taken->link, 0);
      detach(*never_taken);
    }
    if (!e.link || e.link->ends[e.side] != &e) return;
    if (e.is == endpoint::state::connected && !e.broken) {
      // Unread bytes, or a wish: the peer must not think that all was well.
      if (e.reset_on_close || e.incoming().arrived != 0)
        send_message(kind::reset, e.link, 1 - e.side);
      else
        send_end(e);
    } else if (e.is == endpoint::state::connecting) {
      send_message(kind::reset, e.link, 1);
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

  int take_number(std::size_t at_host, std::unique_ptr<endpoint>& e) {
    std::vector<std::unique_ptr<endpoint>>& sockets = host(at_host).sockets;
    std::size_t index = 0;  // the lowest free one, as POSIX has it
    while (index != sockets.size() && sockets[index]) ++index;
    if (index >= options.most_descriptors) return -EMFILE;
    if (index == sockets.size()) sockets.emplace_back();
    e->number = first_number + static_cast<int>(index);
    sockets[index] = std::move(e);
    return first_number + static_cast<int>(index);
  }

  // ---- addresses and ports

  static bool is_any(const address& a) { return a.host() == "0.0.0.0" || a.host() == "::"; }
  static bool is_loopback(const address& a) {
    return a.is_ipv6() ? a.host() == "::1" : a.host().compare(0, 4, "127.") == 0;
  }
  static bool same_host(const address& a, const address& b) { return a.host() == b.host(); }
  static address any_of(int family) { return family == AF_INET6 ? address("::", 0) : address(); }
  static address with_port(const address& a, std::uint16_t port) { return address(a.host(), port); }

  // A listener of both families sees IPv4 addresses as IPv6 ones.
  static address as_family(int family, const address& a) {
    return family == a.family() ? a : address("::ffff:" + a.host(), a.port());
  }

  static bool overlap(const endpoint& e, const address& at, const endpoint& other) {
    if (e.family != other.family) {
      const endpoint& six = e.family == AF_INET6 ? e : other;
      return !six.ipv6_only && (is_any(at) || is_any(other.local));
    }
    return is_any(at) || is_any(other.local) || same_host(at, other.local);
  }

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

  // With SO_REUSEPORT several listen: requests go round.
  endpoint* listener_at(std::size_t at_host, const address& to) {
    std::vector<endpoint*> found;
    for (const std::unique_ptr<endpoint>& e : host(at_host).sockets) {
      if (!e || e->is != endpoint::state::listening || e->local.port() != to.port()) continue;
      const bool fits = e->family == to.family() ? is_any(e->local) || same_host(e->local, to)
                                                 : e->family == AF_INET6 && !e->ipv6_only && is_any(e->local);
      if (fits) found.push_back(e.get());
    }
    return found.empty() ? nullptr : found[requests_++ % found.size()];
  }

  void take_port(endpoint& e, std::uint16_t port) {
    e.bound = e.counts_port = true;
    ++host(e.host).ports[port];
  }
  void release_port(endpoint& e) {
    std::map<std::uint16_t, int>& ports = host(e.host).ports;
    const auto found = ports.find(e.local.port());
    if (found != ports.end() && --found->second == 0) ports.erase(found);
  }
  /// 0: none is left.
  std::uint16_t free_port(std::size_t at_host) {
    virtual_host& h = host(at_host);
    const std::size_t count = std::size_t{options.last_port} - options.first_port + 1;
    for (std::size_t i = 0; i != count; ++i) {
      if (h.next_port < options.first_port || h.next_port > options.last_port) h.next_port = options.first_port;
      const std::uint16_t port = h.next_port++;
      if (h.ports.count(port) == 0) return port;
    }
    return 0;
  }

  std::vector<std::unique_ptr<virtual_host>> hosts_;
  std::map<std::pair<std::size_t, std::size_t>, link> links_;
  event_queue<event> events_;
  random jitter_;
  std::uint64_t requests_ = 0;
};

}  // namespace rota::detail
