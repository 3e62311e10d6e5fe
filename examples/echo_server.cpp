// Shows: a TCP server; one task for each connection, and a graceful stop on Ctrl-C.
// Run:   build/release/examples/echo_server --port 7000        then: nc 127.0.0.1 7000

#include <rota/rota.hpp>

#include <array>
#include <cstdint>
#include <iostream>
#include <span>

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

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv,
                               "usage: echo_server [options]       sends back what it receives\n"
                               "  --port N          default 7000; 0 takes a free one\n"
                               "  --backend NAME    io_uring, epoll or auto (default)\n");
  const auto port = arguments.number<std::uint16_t>("--port", 7000, 0, 65535);
  rota::event_loop_options options;
  options.backend = arguments.backend();
  arguments.end();
  return rota::run_main(server(port), options);
}
