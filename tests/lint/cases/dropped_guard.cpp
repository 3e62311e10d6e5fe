#include "common.hpp"

#include <rota/rota.hpp>

task<> dropped(rota::mutex& mutex, rota::shared_mutex& shared, rota::semaphore& semaphore, rota::sender<int>& tx) {
  co_await mutex.lock();                                // finds: dropped-guard
  co_await shared.lock_shared();                        // finds: dropped-guard
  if (mutex.is_locked()) co_await semaphore.acquire();  // finds: dropped-guard
  co_await tx.reserve();                                // finds: dropped-guard
}

// ---- right

task<> kept(rota::mutex& mutex, rota::semaphore& semaphore) {
  auto guard = co_await mutex.lock();
  const auto permits = co_await semaphore.acquire(2);
  co_await get_int();
  (void)co_await mutex.lock();  // says that it is meant: to wait until the mutex was free
}
