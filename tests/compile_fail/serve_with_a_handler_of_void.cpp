// expect: serve(listener, handler): the handler takes a rota::tcp_stream, by value, and returns a rota::task
#include <rota/rota.hpp>

rota::task<> start(rota::tcp_listener listener) {
  co_await rota::serve(std::move(listener), [](rota::tcp_stream peer) { (void)peer; });
}
