// Measures an echo server written with rota: one task per connection, on the backend that --backend names.
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <system_error>
#include <utility>

#include <rota/rota.hpp>

#include "server.hpp"

rota::task<> session(rota::tcp_stream peer) {
  std::array<std::byte, echo::buffer_size> buffer;
  try {
    while (const std::size_t size = co_await peer.read_some(buffer))
      co_await peer.write_all(std::span(buffer).first(size));
  } catch (const std::system_error&) {  // the peer is gone
  }
}

rota::task<> serve(std::uint16_t port) {
  rota::listen_options options;
  options.backlog = echo::backlog;
  rota::tcp_listener listener = rota::tcp_listener::bind({"127.0.0.1", port}, options);
  echo::announce(listener.local_address().port());
  for (;;) {
    rota::tcp_stream peer = co_await listener.accept();
    (void)rota::spawn(session, std::move(peer));
  }
}

int main(int argc, char** argv) {
  const echo::options options = echo::parse(argc, argv);
  echo::raise_descriptor_limit();
  setenv("ROTA_BACKEND", options.backend.c_str(), 1);
  return rota::run_main(serve(options.port));
}
