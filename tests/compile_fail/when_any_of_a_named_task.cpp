// expect: a rota::task is awaited once: hand it over
#include <rota/rota.hpp>

rota::task<int> number();

rota::task<> wrong() {
  rota::task<int> mine = number();
  (void)co_await rota::when_any(mine, number());
}
