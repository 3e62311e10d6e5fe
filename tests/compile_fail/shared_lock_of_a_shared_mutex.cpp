// expect: auto guard = co_await m.lock_shared()
#include <shared_mutex>

#include <rota/rota.hpp>

rota::task<> wrong(rota::shared_mutex& m) {
  const std::shared_lock guard(m);
  co_return;
}
