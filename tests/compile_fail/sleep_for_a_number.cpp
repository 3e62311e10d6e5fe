// expect: a duration has a unit
#include <rota/rota.hpp>

rota::task<> wrong() { co_await rota::sleep_for(5); }
