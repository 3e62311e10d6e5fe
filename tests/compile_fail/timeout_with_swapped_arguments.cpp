// expect: first how long, a std::chrono duration with its unit
#include <rota/rota.hpp>

using namespace std::chrono_literals;

rota::task<int> work();

rota::task<> wrong() { (void)co_await rota::timeout(work(), 5s); }
