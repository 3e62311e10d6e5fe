// expect: gather() waits for tasks that run already
#include <rota/rota.hpp>

rota::task<int> number();

rota::task<> wrong() { co_await rota::gather(rota::return_exceptions, rota::spawn(number), number()); }
