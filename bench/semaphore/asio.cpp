// Measures Boost.Asio's channel as a semaphore of 10 permits: alone, and shared by 100 coroutines.
#include "../asio_permits.hpp"

using namespace asio_permits;

BENCHMARK(alone<10>)->Name("semaphore/asio/uncontended");
BENCHMARK(in_turn<10>)->Name("semaphore/asio/tasks")->Arg(100);
BENCHMARK(alone_tutorial<10>)->Name("semaphore/asio_tutorial/uncontended");
BENCHMARK(in_turn_tutorial<10>)->Name("semaphore/asio_tutorial/tasks")->Arg(100);
BENCHMARK_MAIN();
