// expect: spawn() and run() take a callable and its arguments, never a task
#include <rota/rota.hpp>

rota::task<int> number();

rota::task<int> wrong(rota::thread_pool& pool) { co_return co_await pool.run(number()); }
