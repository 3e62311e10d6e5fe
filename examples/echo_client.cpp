// Shows: many connections at once, a time limit for each step, and what to do when some of them fail.
// Run:   build/release/examples/echo_client --port 7000 --connections 100 --messages 1000 --size 64

#include <rota/rota.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/arguments.hpp"

using namespace std::chrono_literals;

namespace {

struct plan {
  std::uint16_t port;
  std::size_t connections;
  std::size_t messages;
  std::size_t size;
};

// [read_exactly]
rota::task<> read_exactly(rota::tcp_stream& stream, rota::mutable_buffer buffer) {
  while (!buffer.empty()) {
    const std::size_t n = co_await stream.read_some(buffer);
    if (n == 0) throw std::system_error(rota::errc::end_of_stream, "the server hung up");
    buffer = buffer.subspan(n);
  }
}
// [/read_exactly]

// Sends each message, waits for its echo, and notes how long that took.
// [talk]
rota::task<std::vector<rota::duration>> talk(plan p) {
  // The time limit covers the whole attempt to connect.
  rota::tcp_stream stream = co_await rota::timeout(5s, rota::tcp_stream::connect({"127.0.0.1", p.port}));
  std::vector<std::byte> message(p.size), echo(p.size);
  std::vector<rota::duration> round_trips;
  round_trips.reserve(p.messages);
  for (std::size_t i = 0; i != p.messages; ++i) {
    std::fill(message.begin(), message.end(), static_cast<std::byte>(i));
    const rota::time_point sent = rota::clock::now();
    co_await stream.write_all(message);
    co_await rota::timeout(10s, read_exactly(stream, echo));
    round_trips.push_back(rota::clock::now() - sent);
    if (echo != message) throw std::runtime_error("the echo differs from message " + std::to_string(i));
  }
  co_return round_trips;
}
// [/talk]

double microseconds(rota::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

// [all]
rota::task<int> run_client(plan p) {
  const rota::time_point begin = rota::clock::now();
  std::vector<rota::join_handle<std::vector<rota::duration>>> talks;
  for (std::size_t i = 0; i != p.connections; ++i) talks.push_back(rota::spawn(talk, p));

  // Each conversation is awaited, and its failure looked at: rota would report what nobody looked at.
  std::vector<rota::duration> round_trips;
  std::size_t failed = 0;
  for (auto& t : talks) {
    try {
      const std::vector<rota::duration>& more = co_await t;
      round_trips.insert(round_trips.end(), more.begin(), more.end());
    } catch (const std::exception& error) {
      if (failed++ == 0) std::fprintf(stderr, "echo_client: %s\n", error.what());
    }
  }
  // [/all]
  if (failed != 0) {
    std::fprintf(stderr, "echo_client: %zu of %zu connections failed\n", failed, p.connections);
    co_return 1;
  }
  const std::chrono::duration<double> seconds = rota::clock::now() - begin;
  std::sort(round_trips.begin(), round_trips.end());
  const auto quantile = [&](double q) {
    return microseconds(round_trips[static_cast<std::size_t>(q * static_cast<double>(round_trips.size() - 1))]);
  };
  std::printf("%zu connections x %zu messages x %zu bytes: every byte came back, in %.2f s (%s)\n", p.connections,
              p.messages, p.size, seconds.count(), rota::to_string(rota::event_loop::current()->backend()).data());
  std::printf("%.0f messages/s; round trip p50 %.0f us, p99 %.0f us, slowest %.0f us\n",
              static_cast<double>(round_trips.size()) / seconds.count(), quantile(0.5), quantile(0.99), quantile(1));
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv,
                               "usage: echo_client [options]       talks to echo_server and checks what comes back\n"
                               "  --port N          default 7000\n"
                               "  --connections N   at the same time, 1 to 20000, default 10\n"
                               "  --messages N      on each connection, default 1000\n"
                               "  --size N          bytes of a message, 1 to 65536, default 64\n"
                               "  --backend NAME    io_uring, epoll or auto (default)\n");
  plan p{};
  p.port = arguments.number<std::uint16_t>("--port", 7000, 1, 65535);
  p.connections = arguments.number<std::size_t>("--connections", 10, 1, 20'000);
  p.messages = arguments.number<std::size_t>("--messages", 1000, 1, 10'000'000);
  // A message must fit into the buffers of the sockets: we read no echo before all of it is written.
  p.size = arguments.number<std::size_t>("--size", 64, 1, 65'536);
  rota::event_loop_options options;
  options.backend = arguments.backend();
  arguments.end();
  return rota::run_main(run_client(p), options);
}
