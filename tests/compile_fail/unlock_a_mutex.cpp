// expect: unlocked by the guard that it gives: auto guard = co_await m.lock()
#include <rota/rota.hpp>

rota::task<> wrong(rota::mutex& m) {
  const auto guard = co_await m.lock();
  m.unlock();
}
