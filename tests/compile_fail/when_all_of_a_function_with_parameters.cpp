// expect: the argument can be neither awaited nor called, without arguments
#include <rota/rota.hpp>

rota::task<int> number(int which);

rota::task<> wrong() { (void)co_await rota::when_all(number, number(2)); }
