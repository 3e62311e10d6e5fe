// expect: must be something to await: of a function, its call
#include <rota/rota.hpp>

using namespace std::chrono_literals;

rota::task<int> work();

rota::task<> wrong() { (void)co_await rota::timeout(5s, work); }
