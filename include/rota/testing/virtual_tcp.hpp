// What simulated TCP does by itself: with messages that arrive, and with those that do not. virtual_connection.hpp has the
// two ends, virtual_wire.hpp the way between them; what programs do with sockets is in virtual_network.hpp.
//
// The writer of what does not get through gives up after `retransmission_limit`, a connect after `connect_limit`.
// Simplified: a server has the connection when the client's request arrives (not a round trip later), ports have no
// TIME_WAIT.
//
// Memory that runs out ends the program: this is a tool for tests.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <rota/testing/simulation_options.hpp>
#include <rota/testing/virtual_clock.hpp>
#include <rota/testing/virtual_connection.hpp>
#include <rota/testing/virtual_host.hpp>
#include <rota/testing/virtual_wire.hpp>
#include <rota/testing/virtual_world.hpp>

namespace rota::detail {

class virtual_tcp : public virtual_world, virtual_wire::receiver {
 public:
  using link_state = virtual_wire::link_state;

  static constexpr nanoseconds connect_limit = 127'000'000'000;
  static constexpr nanoseconds retransmission_limit = 924'600'000'000;

  explicit virtual_tcp(const testing::simulation_options& wishes)
      : virtual_world(wishes), wire_(options, clock, *this) {}

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

  // ---- links

  void set_link(std::size_t a, std::size_t b, const testing::link_options& o) { wire_.set_link(a, b, o); }
  void set_link(std::size_t a, std::size_t b, link_state state) {
    wire_.set_link(a, b, state);
    if (state != link_state::cut) return;
    ask_for_room(a, b);
    ask_for_room(b, a);
  }

 protected:
  using kind = wire_message::kind;
  ~virtual_tcp() = default;

  virtual_wire& wire() noexcept { return wire_; }

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
  // What still arrives finds nobody.
  void detach(endpoint& e) noexcept { e.link->ends[e.side] = nullptr; }

  void send_end(endpoint& e) {
    if (!std::exchange(e.sent_end, true) && !e.broken) wire_.send(kind::end, e.link, 1 - e.side);
  }

  void set_capacities(endpoint& e) noexcept {
    endpoint* const other = e.link->ends[1 - e.side];
    if (!other) return;
    e.outgoing().capacity = e.send_buffer + other->receive_buffer;
    e.incoming().capacity = other->send_buffer + e.receive_buffer;
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

 private:
  // ---- messages: for the wire

  bool is_up(std::size_t index) const noexcept override { return host(index).up; }

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
  void arm_connect_timeout(const std::shared_ptr<connection>& c) {
    if (std::exchange(c->connect_times_out, true)) return;
    wire_message timer;
    timer.what = kind::connect_timeout;
    timer.link = c;
    wire_.set_timer(clock.now() + connect_limit, std::move(timer));
  }

  virtual_wire wire_;
  std::uint64_t requests_ = 0;
};

}  // namespace rota::detail
