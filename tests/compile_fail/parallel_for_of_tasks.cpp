// expect: the parallel algorithms call plain functions: nobody would await what this one returns
#include <rota/rota.hpp>

rota::task<> visit(int);

rota::task<> all() { co_await rota::parallel_for(0, 10, visit); }
