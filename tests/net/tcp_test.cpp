// Connections that go well.
#include <rota/net/tcp.hpp>

#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <vector>

#include "support/streams.hpp"

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::tcp_listener;
using rota::tcp_stream;

namespace {

template <class Value = int>
Value option_of(int fd, int level, int name) {
  Value value{};
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

std::byte byte_at(std::size_t i) { return static_cast<std::byte>((i * 31) ^ (i >> 7)); }

rota::task<> write_pattern(tcp_stream& to, std::size_t total) {
  std::vector<std::byte> block(1 << 20);
  for (std::size_t sent = 0; sent != total;) {
    const std::size_t n = std::min(block.size(), total - sent);
    for (std::size_t i = 0; i != n; ++i) block[i] = byte_at(sent + i);
    const std::size_t written = co_await to.write_all(std::span(block).first(n));
    REQUIRE(written == n);
    sent += n;
  }
  to.shutdown();
}

/// How many bytes came before the end of the stream; they must be the pattern's.
rota::task<std::size_t> read_pattern(tcp_stream& from) {
  std::vector<std::byte> block(50'000);
  std::size_t received = 0;
  for (;;) {
    const std::size_t n = co_await from.read_some(block);
    if (n == 0) break;
    bool right = true;
    for (std::size_t i = 0; i != n; ++i) right = right && block[i] == byte_at(received + i);
    REQUIRE(right);
    received += n;
  }
  co_return received;
}

rota::task<> echo_by_reference(tcp_stream& peer) {
  std::vector<std::byte> block(70'000);
  for (;;) {
    const std::size_t n = co_await peer.read_some(block);
    if (n == 0) break;
    co_await peer.write_all(std::span(block).first(n));
  }
  peer.shutdown();
}

}  // namespace

TEST_CASE("a listener on port 0 gets a port and tells it") {
  run([]() -> rota::task<> {
    const tcp_listener one = tcp_listener::bind(address("127.0.0.1", 0));
    const tcp_listener other = tcp_listener::bind(address("127.0.0.1", 0));
    CHECK(one.local_address().host() == "127.0.0.1");
    CHECK(one.local_address().port() != 0);
    CHECK_FALSE(one.local_address() == other.local_address());
    CHECK((::fcntl(one.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    co_return;
  });
}

TEST_CASE("both ends of a connection know both addresses") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    const tcp_stream server = co_await listener.accept();
    CHECK(client.peer_address() == listener.local_address());
    CHECK(server.local_address() == listener.local_address());
    CHECK(client.local_address() == server.peer_address());
    CHECK(client.is_open());
    CHECK((::fcntl(client.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(server.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
  });
}

TEST_CASE("a connection over IPv6") {
  if (!has_ipv6()) SKIP("this machine has no ::1");
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams("::1");
    CHECK(pair.client.peer_address().is_ipv6());
    CHECK(pair.client.peer_address().host() == "::1");
    co_await pair.client.write_all(as_bytes("six"));
    const std::string text = co_await read_text(pair.server);
    CHECK(text == "six");
  });
}

TEST_CASE("an IPv6 listener takes IPv4 connections only if it is asked to") {
  if (!has_ipv6()) SKIP("this machine has no ::1");
  run([]() -> rota::task<> {
    rota::listen_options options;
    tcp_listener six_only = tcp_listener::bind(address("::", 0), options);
    const address four("127.0.0.1", six_only.local_address().port());
    const std::error_code refused = co_await error_of(tcp_stream::connect(four));
    CHECK(refused == std::errc::connection_refused);
    options.ipv6_only = false;
    tcp_listener both = tcp_listener::bind(address("::", 0), options);
    const tcp_stream client = co_await tcp_stream::connect(address("127.0.0.1", both.local_address().port()));
    const tcp_stream server = co_await both.accept();
    CHECK(server.peer_address().host() == "::ffff:127.0.0.1");
  });
}

TEST_CASE("an accept that waits gets the connection that comes later") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto waiting = rota::spawn([&listener]() -> rota::task<bool> {
      const tcp_stream peer = co_await listener.accept();
      co_return peer.is_open();
    });
    co_await settle_tasks();
    CHECK_FALSE(waiting.done());
    const tcp_stream client = co_await tcp_stream::connect(at);
    const bool accepted = co_await waiting;
    CHECK(accepted);
  });
}

TEST_CASE("read_some gives what is there, and 0 at the end of the stream, again and again") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(as_bytes("abc"));
    const std::string text = co_await read_text(pair.server, 100);
    CHECK(text == "abc");
    co_await pair.client.write_all(as_bytes("0123456789"));
    const std::string part = co_await read_text(pair.server, 4);
    const std::string rest = co_await read_text(pair.server, 100);
    CHECK(part == "0123");
    CHECK(rest == "456789");
    co_await pair.client.close();
    for (int i = 0; i != 3; ++i) {
      const std::string end = co_await read_text(pair.server, 100);
      CHECK(end.empty());
    }
  });
}

TEST_CASE("one byte and the end of the stream come before the first wait") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(as_bytes("1"));
    co_await pair.client.close();
    const std::string first = co_await read_text(pair.server, 64);
    const std::string second = co_await read_text(pair.server, 64);
    CHECK(first == "1");
    CHECK(second.empty());
  });
}

TEST_CASE("sixteen megabytes go through an echo and come back as they were") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    const std::size_t total = scaled(16 << 20, 4 << 20, 8 << 20);
    stream_pair pair = co_await connect_streams();
    auto server = rota::spawn(echo_by_reference, std::ref(pair.server));
    auto writer = rota::spawn(write_pattern, std::ref(pair.client), total);
    const std::size_t received = co_await read_pattern(pair.client);
    CHECK(received == total);
    co_await writer;
    co_await server;
  });
}

TEST_CASE("write_all waits while the peer does not read, and write_some writes a part") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    make_narrow(pair);
    const std::string text(more_than_fits, 'b');
    auto writer = rota::spawn([&]() -> rota::task<std::size_t> {
      const std::size_t n = co_await pair.client.write_all(as_bytes(text));
      pair.client.shutdown();
      co_return n;
    });
    co_await settle_tasks();
    CHECK_FALSE(writer.done());
    const std::string received = co_await read_to_end(pair.server);
    CHECK(received == text);
    const std::size_t written = co_await writer;
    CHECK(written == text.size());

    const std::string much(16 << 20, 'm');  // the other way round: as much as there is room for
    const std::size_t some = co_await pair.server.write_some(as_bytes(much));
    CHECK(some > 0);
    CHECK(some < much.size());
  });
}

TEST_CASE("nothing can be written") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const std::size_t all = co_await pair.client.write_all(as_bytes(""));
    const std::size_t some = co_await pair.client.write_some(as_bytes(""));
    CHECK(all == 0);
    CHECK(some == 0);
    co_await pair.client.write_all(as_bytes("x"));
    const std::string text = co_await read_text(pair.server);
    CHECK(text == "x");
  });
}

TEST_CASE("vectored writes gather and vectored reads scatter") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const std::array<rota::const_buffer, 3> out{as_bytes("one,"), as_bytes(""), as_bytes("two,three")};
    const std::size_t written = co_await pair.client.write_some(out);
    CHECK(written == 13);
    std::array<std::byte, 5> a{};
    std::array<std::byte, 64> b{};
    const std::array<rota::mutable_buffer, 2> in{rota::mutable_buffer(a), rota::mutable_buffer(b)};
    const std::size_t n = co_await pair.server.read_some(in);
    CHECK(n == 13);
    CHECK(rota::as_text(a) == "one,t");
    CHECK(rota::as_text(std::span(b).first(8)) == "wo,three");
    co_await pair.client.close();
    const std::size_t end = co_await pair.server.read_some(in);
    CHECK(end == 0);
  });
}

TEST_CASE("a vectored read waits, and the caller's list of buffers need not live on") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    std::array<std::byte, 2> a{};
    std::array<std::byte, 8> b{};
    auto reader = rota::spawn([&]() -> rota::task<std::size_t> {
      std::vector<rota::mutable_buffer> list{rota::mutable_buffer(a), rota::mutable_buffer(b)};
      auto reading = pair.server.read_some(list);
      list.assign(2, rota::mutable_buffer());
      const std::size_t n = co_await reading;
      co_return n;
    });
    co_await settle_tasks();
    CHECK_FALSE(reader.done());
    co_await pair.client.write_all(as_bytes("abcde"));
    const std::size_t n = co_await reader;
    CHECK(n == 5);
    CHECK(rota::as_text(a) == "ab");
    CHECK(rota::as_text(std::span(b).first(3)) == "cde");
  });
}

TEST_CASE("of more than sixteen buffers the first sixteen are taken") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const std::vector<rota::const_buffer> many(20, as_bytes("x"));
    const std::size_t n = co_await pair.client.write_some(many);
    CHECK(n == 16);
    const std::size_t none = co_await pair.client.write_some(std::span<const rota::const_buffer>());
    CHECK(none == 0);
  });
}

TEST_CASE("after shutdown of sending the peer sees the end and can still answer") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(as_bytes("question"));
    pair.client.shutdown();
    const std::string question = co_await read_to_end(pair.server);
    CHECK(question == "question");
    co_await pair.server.write_all(as_bytes("answer"));
    co_await pair.server.close();
    const std::string answer = co_await read_to_end(pair.client);
    CHECK(answer == "answer");
  });
}

TEST_CASE("shutdown of receiving ends a read that waits") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto reader = rota::spawn([&]() -> rota::task<std::string> {
      std::string text = co_await read_text(pair.client);
      co_return text;
    });
    co_await settle_tasks();
    pair.client.shutdown(rota::shutdown_direction::receive);
    const std::string text = co_await reader;
    CHECK(text.empty());
  });
}

TEST_CASE("a task reads while another writes on the same stream") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto reader = rota::spawn([&]() -> rota::task<std::string> {
      std::string text = co_await read_text(pair.client);
      co_return text;
    });
    co_await settle_tasks();
    co_await pair.client.write_all(as_bytes("ping"));
    const std::string ping = co_await read_text(pair.server);
    CHECK(ping == "ping");
    co_await pair.server.write_all(as_bytes("pong"));
    const std::string pong = co_await reader;
    CHECK(pong == "pong");
  });
}

TEST_CASE("options reach the socket; TCP_NODELAY is on for both ends from the beginning") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const int fd = pair.client.native_handle();
    CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option_of(pair.server.native_handle(), IPPROTO_TCP, TCP_NODELAY) == 1);
    pair.client.set_no_delay(false);
    CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) == 0);
    pair.client.set_keep_alive(true);
    CHECK(option_of(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
    pair.client.set_send_buffer(30'000);
    CHECK(option_of(fd, SOL_SOCKET, SO_SNDBUF) >= 30'000);
    pair.client.set_receive_buffer(30'000);
    CHECK(option_of(fd, SOL_SOCKET, SO_RCVBUF) >= 30'000);
    pair.client.set_linger(3s);
    CHECK(option_of<linger>(fd, SOL_SOCKET, SO_LINGER).l_onoff == 1);
    CHECK(option_of<linger>(fd, SOL_SOCKET, SO_LINGER).l_linger == 3);
    pair.client.set_linger(-1s);
    CHECK(option_of<linger>(fd, SOL_SOCKET, SO_LINGER).l_onoff == 0);
  });
}

TEST_CASE("a port can be bound again although connections of it linger") {
  run([]() -> rota::task<> {
    address at;
    {
      tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      at = listener.local_address();
      tcp_stream client = co_await tcp_stream::connect(at);
      tcp_stream server = co_await listener.accept();
      co_await server.close();  // the side that closes first lingers
      const std::string end = co_await read_text(client);
      CHECK(end.empty());
      co_await client.close();
      co_await listener.close();
    }
    const tcp_listener again = tcp_listener::bind(at);
    CHECK(again.local_address() == at);
    co_return;
  });
}

TEST_CASE("two listeners share a port with reuse_port, and each can get connections") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    rota::listen_options options;
    options.reuse_port = true;
    tcp_listener one = tcp_listener::bind(address("127.0.0.1", 0), options);
    tcp_listener other = tcp_listener::bind(one.local_address(), options);
    CHECK(one.local_address() == other.local_address());
    std::array<int, 2> accepted{};
    auto accept_all = [](tcp_listener& listener, int& count) -> rota::task<> {
      for (;;) {
        const tcp_stream peer = co_await listener.accept();
        ++count;
      }
    };
    auto first = rota::spawn(accept_all, std::ref(one), std::ref(accepted[0]));
    auto second = rota::spawn(accept_all, std::ref(other), std::ref(accepted[1]));
    for (int i = 0; i != 64; ++i) {
      const tcp_stream client = co_await tcp_stream::connect(one.local_address());
    }
    co_await settle_tasks();
    CHECK(accepted[0] + accepted[1] == 64);
    CHECK(accepted[0] > 0);  // 64 connections all on one side: once in 2^63
    CHECK(accepted[1] > 0);
    first.cancel();
    second.cancel();
    const std::error_code ended = co_await error_of(first);
    CHECK(ended == rota::errc::task_cancelled);
    (void)co_await error_of(second);
  });
}

TEST_CASE("a stream can be moved, and the new one works") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    tcp_stream moved = std::move(pair.client);
    CHECK(moved.is_open());
    CHECK_FALSE(pair.client.is_open());
    co_await moved.write_all(as_bytes("moved"));
    const std::string text = co_await read_text(pair.server);
    CHECK(text == "moved");
    const std::size_t before = open_descriptors();
    tcp_stream other;
    CHECK_FALSE(other.is_open());
    moved = std::move(other);  // closes what it had
    co_await settle_tasks();
    CHECK(open_descriptors() == before - 1);
    const std::string end = co_await read_text(pair.server);
    CHECK(end.empty());
  });
}

TEST_CASE("a thousand connections at once each get their own bytes back") {
  const std::size_t n = allow_descriptors(scaled(1'000, 200, 500) * 2) / 2;
  const descriptor_balance nothing_left;
  run([n]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn([&]() -> rota::task<> {
      for (std::size_t i = 0; i != n; ++i) {
        tcp_stream peer = co_await listener.accept();
        (void)rota::spawn(echo, std::move(peer));
      }
    });
    std::size_t right = 0;
    std::vector<rota::join_handle<>> clients;
    for (std::size_t i = 0; i != n; ++i)
      clients.push_back(rota::spawn([&right, at, i]() -> rota::task<> {
        tcp_stream stream = co_await tcp_stream::connect(at);
        const std::string text = "connection " + std::to_string(i);
        for (int round = 0; round != 3; ++round) {
          co_await stream.write_all(as_bytes(text));
          std::string answer;
          while (answer.size() < text.size()) {
            const std::string part = co_await read_text(stream, text.size() - answer.size());
            if (part.empty()) break;
            answer += part;
          }
          right += answer == text;
        }
      }));
    for (auto& client : clients) co_await client;
    co_await server;
    CHECK(right == 3 * n);
    co_await settle_tasks();
  });
}

static_assert(sizeof(rota::detail::transfer_awaiter) <= 128);
static_assert(std::is_nothrow_move_constructible_v<tcp_stream> && !std::is_copy_constructible_v<tcp_stream>);
static_assert(std::is_nothrow_move_constructible_v<tcp_listener> && !std::is_copy_constructible_v<tcp_listener>);
