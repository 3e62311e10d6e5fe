// sync_mutex: any thread; blocks. For data that several threads share, for as long as it takes to change them.
#pragma once

#include <pthread.h>

#include <cerrno>

#include <rota/base/config.hpp>
#include <rota/base/held_locks.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/line_mark.hpp>

namespace rota {

/// Any thread. What std::mutex is, and std::lock_guard and std::unique_lock work with it (but hide the line from the messages
/// below, which sync_mutex::guard does not); but in debug builds it knows its holder's thread. A task that awaits while its thread holds one ends the program with both lines: another task on that
/// thread could want the lock, and wait for ever, and a pool's task may go on elsewhere. (Over an await, mutex or
/// any_thread::mutex is what is meant.) So does an unlock() by a stranger, or a second lock(). With NDEBUG none of this is
/// noticed.
class sync_mutex {
 public:
  /// `const rota::sync_mutex::guard lock(m);`: from here to the end of the block.
  class [[nodiscard]] guard {
   public:
    explicit guard(sync_mutex& m, detail::line_mark where = ROTA_CALLERS_LINE) noexcept : mutex_(m) { m.lock(where); }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
    ~guard() { mutex_.unlock(); }

   private:
    sync_mutex& mutex_;
  };

  sync_mutex() noexcept = default;
  sync_mutex(const sync_mutex&) = delete;
  sync_mutex& operator=(const sync_mutex&) = delete;
  ~sync_mutex() {
    if (pthread_mutex_destroy(&mutex_) == EBUSY) [[unlikely]]
      detail::trap("a sync_mutex was destroyed while it was locked");
  }

  void lock(detail::line_mark where = ROTA_CALLERS_LINE) noexcept {
    if (pthread_mutex_lock(&mutex_) == EDEADLK) [[unlikely]]
      misuse("a thread locked a sync_mutex that it holds already, and would wait for ever", where);
    note_locked(where);
  }
  [[nodiscard]] bool try_lock(detail::line_mark where = ROTA_CALLERS_LINE) noexcept {
    if (pthread_mutex_trylock(&mutex_) != 0) return false;
    note_locked(where);
    return true;
  }
  void unlock(detail::line_mark where = ROTA_CALLERS_LINE) noexcept {
    if (pthread_mutex_unlock(&mutex_) == EPERM) [[unlikely]]
      misuse("a thread unlocked a sync_mutex that it does not hold", where);
#if ROTA_ASSERTIONS
    --detail::held_locks::here().count;
#endif
  }

 private:
  static void note_locked([[maybe_unused]] detail::line_mark where) noexcept {
#if ROTA_ASSERTIONS
    detail::held_locks& here = detail::held_locks::here();
    ++here.count;
    here.last_at = where;
#endif
  }
  [[noreturn]] ROTA_COLD static void misuse(const char* what, detail::line_mark where) noexcept {
    const std::source_location at = detail::source_line(where);
    detail::trap("%s, at %s:%u", what, at.file_name(), static_cast<unsigned>(at.line()));
  }

#if ROTA_ASSERTIONS
  pthread_mutex_t mutex_ = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
#else
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
#endif
};

}  // namespace rota
