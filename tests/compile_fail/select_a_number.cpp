// expect: the argument can be neither awaited nor called
#include <rota/rota.hpp>

rota::task<int> work();

rota::task<> wrong() { (void)co_await rota::select(work(), 5); }
