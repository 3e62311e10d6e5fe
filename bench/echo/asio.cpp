// Measures an echo server written with Boost.Asio's `awaitable`, on its default backend (epoll), one thread.
#include <array>

#include <boost/asio.hpp>

#include "server.hpp"

namespace asio = boost::asio;
using asio::ip::tcp;

asio::awaitable<void> session(tcp::socket peer) {
  try {
    std::array<char, echo::buffer_size> buffer;
    for (;;) {
      const std::size_t size = co_await peer.async_read_some(asio::buffer(buffer), asio::deferred);
      co_await asio::async_write(peer, asio::buffer(buffer.data(), size), asio::deferred);
    }
  } catch (const boost::system::system_error&) {  // end of stream, or the peer is gone
  }
}

asio::awaitable<void> serve(tcp::acceptor listener) {
  for (;;) {
    tcp::socket peer = co_await listener.async_accept(asio::deferred);
    peer.set_option(tcp::no_delay(true));
    asio::co_spawn(listener.get_executor(), session(std::move(peer)), asio::detached);
  }
}

int main(int argc, char** argv) {
  const echo::options options = echo::parse(argc, argv);
  echo::raise_descriptor_limit();
  asio::io_context context(1);
  tcp::acceptor listener(context);
  listener.open(tcp::v4());
  listener.set_option(tcp::acceptor::reuse_address(true));
  listener.bind({asio::ip::address_v4::loopback(), options.port});
  listener.listen(echo::backlog);
  echo::announce(listener.local_endpoint().port());
  asio::co_spawn(context, serve(std::move(listener)), asio::detached);
  context.run();
}
