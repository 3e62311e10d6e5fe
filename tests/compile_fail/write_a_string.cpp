// expect: write rota::as_bytes(text) for text
#include <rota/rota.hpp>

rota::task<> wrong(rota::tcp_stream stream, std::string text) { co_await stream.write_all(text); }
