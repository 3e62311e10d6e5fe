// Holds a mutex for a block; <mutex> would cost every program more to compile than all that is kept under one.
#pragma once

#include <pthread.h>

namespace rota::detail {

class mutex_lock {
 public:
  explicit mutex_lock(pthread_mutex_t& mutex) noexcept : mutex_(mutex) { pthread_mutex_lock(&mutex_); }
  mutex_lock(const mutex_lock&) = delete;
  mutex_lock& operator=(const mutex_lock&) = delete;
  ~mutex_lock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t& mutex_;
};

}  // namespace rota::detail
