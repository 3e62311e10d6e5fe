// expect: read_some() fills bytes, a std::span<std::byte>
#include <rota/rota.hpp>

rota::task<> wrong(rota::tcp_stream stream) {
  char text[100];
  (void)co_await stream.read_some(text);
}
