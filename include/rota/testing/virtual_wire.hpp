// The ways between simulated hosts: links with latency, jitter and bandwidth, and the messages on them. What a message
// means is virtual_network.hpp's.
//
// A message is an event in one queue, ordered by (virtual time, sequence). TCP retransmits, so a message that meets a
// partition, or a host that is down, waits for the end of that, and a later one of its connection that was on its way
// already waits for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <rota/base/random.hpp>
#include <rota/testing/simulation_options.hpp>
#include <rota/testing/virtual_clock.hpp>
#include <rota/testing/virtual_connection.hpp>

namespace rota::detail {

/// Between the ends of a connection; or a timer, which goes nowhere.
struct wire_message {
  enum class kind : std::uint8_t {
    // to the connection's end `to_side`
    request,  // to connect
    welcome,  // the request was taken
    refusal,  // nobody listens
    data,     // `amount` bytes
    window,   // `amount` bytes were read
    end,      // nothing follows
    reset,
    // timers
    wake,             // a host's socket_user
    look_again,       // the same, at all operations of a socket
    connect_timeout,  // of the connection's client
    give_up,          // of the end that writes to `to_side`
  };

  bool is_timer() const noexcept { return what >= kind::wake; }
  bool is_written() const noexcept { return what == kind::data || what == kind::end; }

  kind what = kind::wake;
  int to_side = -1;
  std::shared_ptr<connection> link;
  std::uint64_t order = 0;               // among the messages to this end
  nanoseconds unanswered_since = never;  // waits for a partition to end, or a host to come back
  std::size_t amount = 0;
  std::size_t host = 0;
  std::uint32_t life = 0;
  int number = 0;
};

class virtual_wire {
 public:
  enum class link_state : std::uint8_t { open, held, cut };

  /// Who gets the messages.
  class receiver {
   public:
    virtual void arrive(const wire_message& m) = 0;
    /// It met a partition, or a host that is down: its sender waits in vain, and not for ever.
    virtual void nobody_answers(const wire_message& m) = 0;
    virtual void fire(const wire_message& timer) = 0;
    virtual bool is_up(std::size_t host) const noexcept = 0;

   protected:
    ~receiver() = default;
  };

  virtual_wire(const testing::simulation_options& options, const virtual_clock& clock, receiver& to)
      : options_(options), clock_(clock), receiver_(to), jitter_(options.seed ^ 0x6a6974746572u) {}

  nanoseconds next_time() const noexcept { return events_.next_time(); }
  /// Delivers everything that is due.
  void run_due() {
    while (events_.next_time() <= clock_.now()) deliver(events_.pop());
  }

  void set_timer(nanoseconds t, wire_message timer) { events_.add(t, std::move(timer)); }
  void send(wire_message::kind what, const std::shared_ptr<connection>& c, int to_side, std::size_t amount = 0) {
    wire_message m;
    m.what = what;
    m.to_side = to_side;
    m.link = c;
    m.amount = amount;
    m.order = ++c->from[1 - to_side].messages_sent;
    const std::size_t bytes = what == wire_message::kind::data ? amount : 0;
    events_.add(arrival(*c, to_side, bytes), std::move(m));
  }
  /// The same message once more, after `later`.
  void send_again(const wire_message& m, nanoseconds later) { events_.add(clock_.now() + later, m); }

  void set_link(std::size_t a, std::size_t b, const testing::link_options& o) { link_of(a, b).options = o; }
  /// held: messages wait. cut: they wait too, for they are sent again and again, but not for ever: from now on, or from
  /// when they meet it.
  void set_link(std::size_t a, std::size_t b, link_state state) {
    link& l = link_of(a, b);
    if (std::exchange(l.state, state) == state) return;
    if (state == link_state::open) {
      release(l);
      return;
    }
    for (wire_message& m : l.parked) wait(l, m);
  }
  /// What was sent to it while it was down is on its way.
  void host_is_back(std::size_t host) {
    for (auto& [between, l] : links_)
      if ((between.first == host || between.second == host) && l.state == link_state::open) release(l);
  }
  bool has_bandwidth(std::size_t a, std::size_t b) { return link_of(a, b).options.bytes_per_second != 0; }
  /// For how long data, or the end, has been sent to this end in vain; never: it has not.
  nanoseconds unanswered_since(const connection& c, int to_side) {
    nanoseconds first = never;
    for (const wire_message& m : link_of(c.hosts[0], c.hosts[1]).parked)
      if (m.link.get() == &c && m.to_side == to_side && m.is_written()) first = std::min(first, m.unanswered_since);
    return first;
  }

 private:
  struct link {
    testing::link_options options;
    link_state state = link_state::open;
    nanoseconds busy_until[2] = {};  // per direction: what was sent earlier goes first
    std::vector<wire_message> parked;
    std::vector<wire_message> early;  // were on their way when earlier ones were parked, and have to wait for them
  };

  link& link_of(std::size_t a, std::size_t b) {
    const std::pair<std::size_t, std::size_t> key(std::min(a, b), std::max(a, b));
    const auto found = links_.find(key);
    if (found != links_.end()) return found->second;
    link& made = links_[key];
    made.options = a == b ? options_.loopback : options_.network;
    return made;
  }

  nanoseconds arrival(connection& c, int to_side, std::size_t bytes) {
    const std::size_t from = c.hosts[1 - to_side], to = c.hosts[to_side];
    connection::direction& way = c.from[1 - to_side];
    link& l = link_of(from, to);
    nanoseconds t = clock_.now();
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

  void deliver(wire_message m) {
    if (m.is_timer()) {
      receiver_.fire(m);
      return;
    }
    connection& c = *m.link;
    link& l = link_of(c.hosts[0], c.hosts[1]);
    if (l.state != link_state::open || !receiver_.is_up(c.hosts[m.to_side])) {
      wait(l, m);
      l.parked.push_back(std::move(m));
      return;
    }
    const std::uint64_t& arrived = c.from[1 - m.to_side].messages_arrived;
    if (m.order > arrived + 1) {
      l.early.push_back(std::move(m));
      return;
    }
    reach(m);
    const auto is_next = [&](const wire_message& other) {
      return other.link.get() == &c && other.to_side == m.to_side && other.order == arrived + 1;
    };
    for (;;) {
      const auto next = std::find_if(l.early.begin(), l.early.end(), is_next);
      if (next == l.early.end()) break;
      const wire_message now = std::move(*next);
      l.early.erase(next);
      reach(now);
    }
  }

  void reach(const wire_message& m) {
    connection::direction& way = m.link->from[1 - m.to_side];
    way.messages_arrived = std::max(way.messages_arrived, m.order);  // a request may come again
    receiver_.arrive(m);
  }

  // The message is parked on the link, or was when the link's state changed.
  void wait(const link& l, wire_message& m) {
    if (l.state == link_state::held) {
      m.unanswered_since = never;
    } else if (m.unanswered_since == never) {
      m.unanswered_since = clock_.now();
      receiver_.nobody_answers(m);
    }
  }
  void release(link& l) {
    for (wire_message& m : std::exchange(l.parked, {})) {
      m.unanswered_since = never;
      const nanoseconds t = arrival(*m.link, m.to_side, 0);
      events_.add(t, std::move(m));
    }
  }

  const testing::simulation_options& options_;
  const virtual_clock& clock_;
  receiver& receiver_;
  std::map<std::pair<std::size_t, std::size_t>, link> links_;
  event_queue<wire_message> events_;
  random jitter_;
};

}  // namespace rota::detail
