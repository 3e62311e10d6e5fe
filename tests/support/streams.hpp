// TCP connections on one loop, for tests of what is built on them.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <rota/rota.hpp>

#include "support/rota_test.hpp"
#include "support/sockets.hpp"

namespace rota_test {

using namespace std::chrono_literals;

struct stream_pair {
  rota::tcp_stream client;
  rota::tcp_stream server;
};

/// A connection over loopback; both ends belong to the current loop.
inline rota::task<stream_pair> connect_streams(const char* host = "127.0.0.1") {
  rota::tcp_listener listener = rota::tcp_listener::bind(rota::address(host, 0));
  rota::tcp_stream client = co_await rota::tcp_stream::connect(listener.local_address());
  rota::tcp_stream server = co_await listener.accept();
  co_return stream_pair{std::move(client), std::move(server)};
}

template <rota::detail::opcode Read, rota::detail::opcode Write>
using any_stream = rota::detail::stream_by<Read, Write>;

/// The next bytes, at most `most`; empty at the end of the stream.
template <rota::detail::opcode Read, rota::detail::opcode Write>
rota::task<std::string> read_text(any_stream<Read, Write>& from, std::size_t most = 4096) {
  std::string text(most, '\0');
  const std::size_t n = co_await from.read_some(std::as_writable_bytes(std::span(text)));
  text.resize(n);
  co_return text;
}

/// Everything up to the end of the stream.
template <rota::detail::opcode Read, rota::detail::opcode Write>
rota::task<std::string> read_to_end(any_stream<Read, Write>& from) {
  std::string all;
  std::string part(65536, '\0');
  for (;;) {
    const std::size_t n = co_await from.read_some(std::as_writable_bytes(std::span(part)));
    if (n == 0) break;
    all.append(part, 0, n);
  }
  co_return all;
}

inline rota::task<> echo(rota::tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

/// The error with which the awaitable ends; fails the test when it ends without one.
template <class A>
rota::task<std::error_code> error_of(A&& awaitable) {
  try {
    (void)co_await static_cast<A&&>(awaitable);
  } catch (const std::system_error& error) {
    co_return error.code();
  }
  co_return std::error_code();
}

/// Lets everything that is ready run, and the reactor say what it knows.
inline rota::task<> settle_tasks(int rounds = 8) {
  for (int i = 0; i != rounds; ++i) co_await rota::sleep_for(0s);
}

/// Little room on the way from client to server: a write of `more_than_fits` waits until the server reads.
inline void make_narrow(stream_pair& pair) {
  pair.client.set_send_buffer(16'384);
  pair.server.set_receive_buffer(16'384);
}
inline constexpr std::size_t more_than_fits = 2 << 20;

}  // namespace rota_test
