// A mutex for short sections, without <mutex>, which would cost every file that includes rota.
#pragma once

#include <pthread.h>

namespace rota::detail {

class thread_mutex {
 public:
  constexpr thread_mutex() noexcept = default;
  thread_mutex(const thread_mutex&) = delete;
  thread_mutex& operator=(const thread_mutex&) = delete;

  void lock() noexcept { pthread_mutex_lock(&mutex_); }
  void unlock() noexcept { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

class thread_lock {
 public:
  explicit thread_lock(thread_mutex& m) noexcept : mutex_(m) { mutex_.lock(); }
  ~thread_lock() { mutex_.unlock(); }
  thread_lock(const thread_lock&) = delete;
  thread_lock& operator=(const thread_lock&) = delete;

 private:
  thread_mutex& mutex_;
};

}  // namespace rota::detail
