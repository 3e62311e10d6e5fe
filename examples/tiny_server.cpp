// Shows: the smallest TCP server; echo_server is the same with options.
// Run:   build/release/examples/tiny_server        then: nc 127.0.0.1 7000        Ctrl-C ends it.

// [program]
#include <rota/rota.hpp>

#include <array>
#include <span>

rota::task<> session(rota::tcp_stream peer) {  // by value: the connection lives in the task, and closes with it
  std::array<std::byte, 16384> buffer;
  while (const std::size_t n = co_await peer.read_some(buffer))  // 0 is the end of the stream
    co_await peer.write_all(std::span(buffer).first(n));
}

rota::task<> server() {
  auto listener = rota::tcp_listener::bind({"127.0.0.1", 7000});
  co_await rota::serve(std::move(listener), session);  // one task for each connection, until Ctrl-C
}

int main() { return rota::run_main(server()); }
// [/program]
