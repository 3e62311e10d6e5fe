// Shows: a TCP server; one task for each connection, and a graceful stop on Ctrl-C; the same on several loops.
// Run:   build/release/examples/echo_server --port 7000        then: nc 127.0.0.1 7000        on all CPUs: --loops 0

#include <rota/rota.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <iostream>
#include <span>
#include <utility>

#include "support/arguments.hpp"

// [session]
rota::task<> session(rota::tcp_stream peer) {  // by value: the connection lives in the task, and closes with it
  std::array<std::byte, 16384> buffer;
  while (const std::size_t n = co_await peer.read_some(buffer))  // 0 is the end of the stream
    co_await peer.write_all(std::span(buffer).first(n));
}
// [/session]

// [server]
rota::task<> server(std::uint16_t port) {
  auto listener = rota::tcp_listener::bind({"127.0.0.1", port});
  std::cout << "listening on " << listener.local_address().to_string() << " ("
            << rota::to_string(listener.loop()->backend()) << ")" << std::endl;
  // Ctrl-C cancels this await: the listener closes, open connections get some seconds to end, then are cancelled.
  co_await rota::serve(std::move(listener), session);
}
// [/server]

// [loops]
// The same on each of several loops, which share nothing but the port: the kernel spreads the connections.
rota::task<> server_of_a_loop(rota::loop_member here, const rota::shared_port& port) {
  rota::tcp_listener listener = port.listen();
  if (here.index() == 0)  // before that, nobody listens
    std::cout << "listening on " << port.local_address().to_string() << ", each loop for itself" << std::endl;
  co_await rota::serve(std::move(listener), session);
}

rota::task<> server_on_loops(std::uint16_t number, rota::loop_group_options loops) {
  const rota::shared_port port(rota::address("127.0.0.1", number));     // a mistake in it is told once, here
  co_await rota::loop_group(loops, server_of_a_loop, std::cref(port));  // a cancel reaches all of them
}
// [/loops]

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv,
                               "usage: echo_server [options]       sends back what it receives\n"
                               "  --port N          default 7000; 0 takes a free one\n"
                               "  --loops N         on so many threads; 0: as many as there are CPUs; default 1\n"
                               "  --backend NAME    io_uring, epoll or auto (default)\n");
  const auto port = arguments.number<std::uint16_t>("--port", 7000, 0, 65535);
  rota::event_loop_options options;
  options.backend = arguments.backend();
  const auto loops = arguments.number<unsigned>("--loops", 1, 0, 1000);
  arguments.end();
  if (loops == 1) return rota::run_main(server(port), options);
  rota::loop_group_options group(loops);
  group.loop = options;
  return rota::run_main(server_on_loops(port, group), options);
}
