// expect: what std::lock_guard and std::unique_lock take is a rota::sync_mutex
#include <mutex>

#include <rota/rota.hpp>

rota::task<> wrong(rota::mutex& m) {
  const std::lock_guard guard(m);
  co_return;
}
