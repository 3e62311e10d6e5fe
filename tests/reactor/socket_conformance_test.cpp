// What every backend promises about TCP sockets that are made, used and closed by the reactor's own calls: the same cases
// on io_uring, epoll and the simulated backend. What needs a descriptor of the kernel is in reactor_conformance_test.cpp.
#include <rota/reactor/reactor.hpp>

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>

#include <rota/net/address.hpp>

#include "support/plain_operations.hpp"

using namespace rota_test;

namespace {

int open_socket(reactor& r) {
  const int fd = r.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (r.wants_nonblocking() ? SOCK_NONBLOCK : 0));
  REQUIRE(fd >= 0);
  r.adopt(fd);
  return fd;
}

int open_listener(reactor& r, rota::address& at, int backlog = 64) {
  const int fd = open_socket(r);
  REQUIRE(r.bind(fd, at.data(), at.size()) == 0);
  REQUIRE(r.listen(fd, backlog) == 0);
  socklen_t size = rota::address::capacity;
  REQUIRE(r.local_address(fd, at.data(), &size) == 0);
  REQUIRE(at.port() != 0);
  return fd;
}

struct connect_request : request {
  connect_request(int on, const rota::address& where) : request(opcode::connect, on), to(where) {
    address = to.data();
    address_size = to.size();
  }
  rota::address to;
};

/// Both ends of a connection belong to the reactor.
struct tcp_ends {
  explicit tcp_ends(reactor& reactor_of_both, int buffers = 0) : r(reactor_of_both) {
    rota::address at("127.0.0.1", 0);
    const int listener = open_listener(r, at);
    client = open_socket(r);
    if (buffers != 0) {
      REQUIRE(r.set_option(listener, SOL_SOCKET, SO_RCVBUF, &buffers, sizeof buffers) == 0);
      REQUIRE(r.set_option(client, SOL_SOCKET, SO_SNDBUF, &buffers, sizeof buffers) == 0);
    }
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
  std::string receive(int at, std::size_t most = 64) {
    std::string text(most, '.');
    request op(opcode::recv, at, text);
    const int n = perform(r, op);
    REQUIRE(n >= 0);
    return text.substr(0, static_cast<std::size_t>(n));
  }

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

TEST_CASE("a recv waits for bytes that come later, and completes once") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    std::string buffer(16, '.');
    request op(opcode::recv, c.server, buffer);
    submit_waiting(r, op);
    CHECK(r.in_flight() == 1);
    c.send(c.client, "later");
    wait_for(r, op);
    CHECK(op.result == 5);
    CHECK(buffer.substr(0, 5) == "later");
    c.send(c.client, "more");
    settle(r);
    CHECK(op.completions == 1);
    CHECK(r.in_flight() == 0);
  });
}

TEST_CASE("a send of everything goes on as the peer reads") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r, 8'192);
    std::string text(2'000'000, '\0');
    for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i * 7 >> 3);
    request op(opcode::send, c.client, text);
    op.all = true;
    submit_waiting(r, op);
    std::string received;
    while (received.size() < text.size()) received += c.receive(c.server, 60'000);
    wait_for(r, op);
    CHECK(op.result == static_cast<int>(text.size()));
    CHECK(received == text);
  });
}

TEST_CASE("messages scatter and gather over TCP") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    std::string a = "abc", b = "defgh";
    std::array<iovec, 2> parts{iovec{a.data(), 3}, iovec{b.data(), 5}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = 2;
    request sending(opcode::sendmsg, c.client);
    sending.message = &message;
    CHECK(perform(r, sending) == 8);
    std::string x(2, '.'), y(10, '.');
    std::array<iovec, 2> into{iovec{x.data(), 2}, iovec{y.data(), 10}};
    msghdr incoming{};
    incoming.msg_iov = into.data();
    incoming.msg_iovlen = 2;
    request receiving(opcode::recvmsg, c.server);
    receiving.message = &incoming;
    CHECK(perform(r, receiving) == 8);
    CHECK(x + y == "abcdefgh....");
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

TEST_CASE("poll tells what a TCP socket is ready for") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    request writable(opcode::poll, c.client);
    writable.size = POLLOUT;
    CHECK((perform(r, writable) & POLLOUT) != 0);
    request readable(opcode::poll, c.server);
    readable.size = POLLIN;
    submit_waiting(r, readable);
    c.send(c.client, "x");
    wait_for(r, readable);
    CHECK((readable.result & POLLIN) != 0);
    CHECK(c.receive(c.server) == "x");
    request ended(opcode::poll, c.server);
    ended.size = POLLRDHUP;
    submit_waiting(r, ended);
    c.close_client();
    wait_for(r, ended);
    CHECK((ended.result & POLLRDHUP) != 0);
  });
}

// ---- the rules of the interface

TEST_CASE("a second operation of a direction is refused as busy, the other direction is free") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    std::string one(8, '.'), two(8, '.');
    request first(opcode::recv, c.server, one);
    submit_waiting(r, first);
    request second(opcode::recv, c.server, two);
    CHECK(perform(r, second) == -EBUSY);
    c.send(c.server, "out");
    c.send(c.client, "in");
    wait_for(r, first);
    CHECK(first.result == 2);
  });
}

TEST_CASE("a cancelled operation completes by itself and takes no bytes") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    std::string buffer(8, '.');
    request op(opcode::recv, c.server, buffer);
    submit_waiting(r, op);
    r.cancel(op);
    r.cancel(op);  // twice is once
    wait_for(r, op);
    CHECK(op.result == -ECANCELED);
    settle(r);
    CHECK(op.completions == 1);
    c.send(c.client, "kept");
    CHECK(c.receive(c.server) == "kept");
  });
}

TEST_CASE("a cancelled connect and a cancelled accept leave sockets that can be closed") {
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
    submit(r, connecting);
    r.cancel(connecting);
    wait_for(r, connecting);
    CHECK((connecting.result == 0 || connecting.result == -ECANCELED));
    r.close(fd);
    r.close(listener);
  });
}

TEST_CASE("a cancel of what has completed changes nothing") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r);
    c.send(c.client, "there");
    settle(r);
    std::string buffer(8, '.');
    request op(opcode::recv, c.server, buffer);
    CHECK(perform(r, op) == 5);
    r.cancel(op);
    settle(r);
    CHECK(op.result == 5);
    CHECK(op.completions == 1);
  });
}

TEST_CASE("close ends what is in flight with EBADF, and closes when the last has completed") {
  on_all_backends([](reactor& r) {
    tcp_ends c(r, 8'192);
    std::string buffer(8, '.'), text(2'000'000, 'x');
    request reading(opcode::recv, c.client, buffer);
    request writing(opcode::send, c.client, text);
    writing.all = true;
    submit_waiting(r, reading);
    submit_waiting(r, writing);
    CHECK(r.in_flight() == 2);
    const int fd = c.client;
    c.close_client();
    CHECK_FALSE(r.is_closed(fd));
    request late(opcode::recv, fd, buffer);
    CHECK(perform(r, late) == -EBADF);
    wait_for(r, reading);
    wait_for(r, writing);
    CHECK(reading.result == -EBADF);
    CHECK(writing.result == -EBADF);
    CHECK(r.is_closed(fd));
    CHECK(r.in_flight() == 0);
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
