// expect: a callback is a plain function
#include <rota/loop/calls.hpp>

rota::task<int> number();

void start(rota::event_loop& loop) { loop.call_soon(number); }
