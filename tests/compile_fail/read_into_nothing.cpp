// expect: read_some({}) would have no room for anything
#include <rota/rota.hpp>

rota::task<> wrong(rota::tcp_stream stream) { (void)co_await stream.read_some({}); }
