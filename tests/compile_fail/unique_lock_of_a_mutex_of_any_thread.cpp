// expect: what std::lock_guard and std::unique_lock take is a rota::sync_mutex
#include <mutex>

#include <rota/rota.hpp>

rota::task<> wrong(rota::any_thread::mutex& m) {
  const std::unique_lock guard(m);
  co_return;
}
