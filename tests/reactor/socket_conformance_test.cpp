// What every backend promises about TCP: sockets that are made, used and closed by the reactor's own calls, on io_uring, epoll
// and the simulated backend.
#include <rota/reactor/reactor.hpp>

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <deque>
#include <string>

#include <rota/net/address.hpp>

#include "support/plain_operations.hpp"

using namespace rota_test;

namespace {

/// Both ends of a connection belong to the reactor.
struct tcp_ends {
  explicit tcp_ends(reactor& reactor_of_both) : r(reactor_of_both) {
    rota::address at("127.0.0.1", 0);
    const int listener = open_listener(r, at);
    client = open_socket(r);
    connect_request connecting(client, at);
    submit(r, connecting);
    request accepting(opcode::accept, listener);
    server = perform(r, accepting);
    REQUIRE(server >= 0);
    r.adopt(server);
    wait_for(r, connecting);
    REQUIRE(connecting.result == 0);
    r.close(listener);
  }
  tcp_ends(const tcp_ends&) = delete;
  tcp_ends& operator=(const tcp_ends&) = delete;
  ~tcp_ends() {
    close_client();
    if (server >= 0) r.close(server);
  }
  void close_client() {
    if (client >= 0) r.close(std::exchange(client, -1));
  }

  void send(int from, std::string text) {
    request op(opcode::send, from, text);
    op.all = true;
    REQUIRE(perform(r, op) == static_cast<int>(text.size()));
  }
  std::string receive(int at, std::size_t most = 64) { return rota_test::receive(r, at, most); }

  reactor& r;
  int client = -1;
  int server = -1;
};

}  // namespace

TEST_CASE("bytes go both ways, in order") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    c.send(c.client, "one");
    c.send(c.client, "two");
    std::string text;
    while (text.size() < 6) text += c.receive(c.server, 2);
    CHECK(text == "onetwo");
    c.send(c.server, "back");
    CHECK(c.receive(c.client) == "back");
  });
}

TEST_CASE("a half-close ends the peer's reads after the bytes, and leaves the other way open") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    c.send(c.client, "last");
    REQUIRE(r.shutdown(c.client, SHUT_WR) == 0);
    CHECK(c.receive(c.server) == "last");
    CHECK(c.receive(c.server).empty());
    CHECK(c.receive(c.server).empty());
    c.send(c.server, "answer");
    CHECK(c.receive(c.client) == "answer");
    std::string text = "too late";
    request op(opcode::send, c.client, text);
    CHECK(perform(r, op) == -EPIPE);
  });
}

TEST_CASE("a close with unread bytes resets the connection, one without ends it") {
  on_all_backends([](reactor& r) {
    for (const bool unread : {true, false}) {
      tcp_ends c(r);
      if (unread) {
        c.send(c.server, "nobody reads this");
        settle(r);
      }
      c.close_client();
      std::string buffer(8, '.');
      request op(opcode::recv, c.server, buffer);
      CHECK(perform(r, op) == (unread ? -ECONNRESET : 0));
    }
  });
}

TEST_CASE("a close with a linger of zero resets the connection") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    const linger value{1, 0};
    REQUIRE(r.set_option(c.client, SOL_SOCKET, SO_LINGER, &value, sizeof value) == 0);
    c.close_client();
    std::string buffer(8, '.');
    request op(opcode::recv, c.server, buffer);
    CHECK(perform(r, op) == -ECONNRESET);
  });
}

TEST_CASE("writes to a peer that has closed end with EPIPE") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    c.close_client();
    settle(r);
    std::string text = "into the void";
    int result = 0;
    for (int i = 0; i != 10 && result >= 0; ++i) {
      request op(opcode::send, c.server, text);
      result = perform(r, op);
      settle(r);
    }
    CHECK(result == -EPIPE);
  });
}

TEST_CASE("a connect is refused where nobody listens, and both ends of one know their addresses") {
  on_all_backends([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    r.close(open_listener(r, at));
    const int fd = open_socket(r);
    connect_request op(fd, at);
    CHECK(perform(r, op) == -ECONNREFUSED);
    r.close(fd);
    tcp_ends c(r);
    rota::address mine, theirs;
    socklen_t size = rota::address::capacity;
    REQUIRE(r.local_address(c.client, mine.data(), &size) == 0);
    size = rota::address::capacity;
    REQUIRE(r.peer_address(c.server, theirs.data(), &size) == 0);
    CHECK(mine == theirs);
    CHECK(mine.host() == "127.0.0.1");
  });
}

TEST_CASE("an address is taken once") {
  on_all_backends([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int first = open_listener(r, at);
    const int second = open_socket(r);
    CHECK(r.bind(second, at.data(), at.size()) == -EADDRINUSE);
    r.close(second);
    r.close(first);
    const int third = open_socket(r);
    CHECK(r.bind(third, at.data(), at.size()) == 0);
    r.close(third);
    const rota::address elsewhere("192.0.2.1", 0);
    const int fourth = open_socket(r);
    CHECK(r.bind(fourth, elsewhere.data(), elsewhere.size()) == -EADDRNOTAVAIL);
    r.close(fourth);
  });
}

TEST_CASE("a cancelled accept takes no connection, and its listener goes on") {
  on_all_backends([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = open_listener(r, at);
    request accepting(opcode::accept, listener);
    submit_waiting(r, accepting);
    r.cancel(accepting);
    wait_for(r, accepting);
    CHECK(accepting.result == -ECANCELED);
    const int fd = open_socket(r);
    connect_request connecting(fd, at);
    CHECK(perform(r, connecting) == 0);
    request next(opcode::accept, listener);
    const int accepted = perform(r, next);
    REQUIRE(accepted >= 0);
    r.close_number(accepted);
    r.close(fd);
    r.close(listener);
  });
}

TEST_CASE(
    "a connect that waits can be cancelled, and one that is cancelled at once leaves a socket that can be closed") {
  on_all_backends([](reactor& r) {
    // A listener whose backlog is full takes no further connection, so the next one waits.
    rota::address at("127.0.0.1", 0);
    const int listener = open_listener(r, at, 0);
    std::deque<connect_request> connects;
    const auto connect_once_more = [&]() -> connect_request& { return connects.emplace_back(open_socket(r), at); };
    connect_request& first = connect_once_more();
    submit(r, first);
    r.cancel(first);
    wait_for(r, first);
    CHECK((first.result == 0 || first.result == -ECANCELED));
    for (int i = 0; i != 4; ++i) submit(r, connect_once_more());
    settle(r);
    connect_request& last = connect_once_more();
    submit_waiting(r, last);
    r.cancel(last);
    wait_for(r, last);
    CHECK(last.result == -ECANCELED);
    for (connect_request& one : connects) r.close(one.fd);
    for (connect_request& one : connects) wait_for(r, one);
    r.close(listener);
  });
}

TEST_CASE("a connection that was accepted for a listener that is being closed is closed") {
  on_all_backends([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = open_listener(r, at);
    request accepting(opcode::accept, listener);
    submit_waiting(r, accepting);
    const int fd = open_socket(r);
    connect_request connecting(fd, at);
    submit(r, connecting);
    r.close(listener);
    wait_until(r, [&] { return r.is_closed(listener); });
    CHECK(accepting.result == -EBADF);
    wait_for(r, connecting);
    // Whether it was accepted or not, the client sees an end. (Descriptors are counted as well.)
    std::string buffer(1, '.');
    request op(opcode::recv, fd, buffer);
    CHECK(perform(r, op) <= 0);
    r.close(fd);
  });
}

TEST_CASE("connections that nobody has accepted are reset with their listener") {
  on_all_backends([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = open_listener(r, at);
    const int fd = open_socket(r);
    connect_request connecting(fd, at);
    CHECK(perform(r, connecting) == 0);
    r.close(listener);
    std::string buffer(8, '.');
    request op(opcode::recv, fd, buffer);
    CHECK(perform(r, op) == -ECONNRESET);
    r.close(fd);
  });
}

TEST_CASE("wake ends a wait without a limit") {
  on_all_backends([](reactor& r) {
    r.wake();
    CHECK(collect(r, rota::detail::never) == 0);
  });
}
