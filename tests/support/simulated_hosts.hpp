// Simulated hosts that talk, for tests of the simulated network and of what is built on it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <rota/rota.hpp>
#include <rota/testing/simulation.hpp>

#include "support/streams.hpp"

namespace rota_test {

using rota::testing::link_options;
using rota::testing::simulation;
using rota::testing::simulation_options;

inline rota::task<std::string> ask(rota::address to, std::string text) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  co_await stream.write_all(rota::as_bytes(text));
  stream.shutdown();
  std::string answer = co_await read_to_end(stream);
  co_return answer;
}

inline rota::task<> serve_echo() {
  rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
  co_await rota::serve(std::move(listener), echo);
}

/// The first connection to port 7 of the host.
inline rota::task<rota::tcp_stream> accept_one() {
  rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
  rota::tcp_stream peer = co_await listener.accept();
  co_return peer;
}

/// How it ends to say something and to wait for an answer.
inline rota::task<std::error_code> say_and_hear(rota::tcp_stream& stream, std::string_view text) {
  co_await stream.write_all(rota::as_bytes(text));
  std::error_code code = co_await error_of(read_text(stream));
  co_return code;
}

inline rota::task<std::error_code> send_a_million(rota::address to) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  const std::string block(1'000'000, 'x');
  const std::error_code code = co_await error_of(stream.write_all(rota::as_bytes(block)));
  co_return code;
}

struct two_hosts {
  explicit two_hosts(const simulation_options& options = simulation_options())
      : world(options), a(world.add_host("a")), b(world.add_host("b")) {}
  simulation world;
  simulation::host& a;
  simulation::host& b;
};
/// `b` serves echo on port 7.
struct echo_hosts : two_hosts {
  explicit echo_hosts(const simulation_options& options = simulation_options()) : two_hosts(options) {
    (void)b.spawn(serve_echo);
  }
};

}  // namespace rota_test
