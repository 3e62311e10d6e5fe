// semaphore: a stock of permits, of which tasks of one loop take some and give them back.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
class semaphore_awaiter;

/// Permits that somebody holds; given back at the end of its life. May be moved, to another task even.
template <class Semaphore>
class [[nodiscard("permits that are dropped are given back at once")]] held_permits {
 public:
  /// Holds nothing.
  held_permits() noexcept = default;
  held_permits(held_permits&& other) noexcept
      : semaphore_(std::exchange(other.semaphore_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  held_permits& operator=(held_permits&& other) noexcept {
    if (this != &other) {
      drop();
      semaphore_ = std::exchange(other.semaphore_, nullptr);
      count_ = std::exchange(other.count_, 0);
    }
    return *this;
  }
  ~held_permits() { drop(); }

  std::size_t count() const noexcept { return count_; }
  explicit operator bool() const noexcept { return semaphore_ != nullptr; }

  /// Gives them back now. Throws usage_error (not_held) when it holds nothing.
  void release() {
    checked().give_back(std::exchange(count_, 0));
    semaphore_ = nullptr;
  }
  /// Takes them out of the semaphore for good, or until release(). Throws usage_error (not_held) when it holds nothing.
  void forget() {
    checked().forget(std::exchange(count_, 0));
    semaphore_ = nullptr;
  }

 private:
  friend Semaphore;
  friend typename Semaphore::awaiter;
  explicit held_permits(Semaphore& of, std::size_t n) noexcept : semaphore_(&of), count_(n) {}

  Semaphore& checked() const {
    if (!semaphore_) [[unlikely]]
      throw usage_error(usage_error::kind::not_held, "permits were given back twice, or moved from");
    return *semaphore_;
  }
  void drop() noexcept {
    if (semaphore_) semaphore_->give_back(count_);
  }

  Semaphore* semaphore_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace detail

/// For tasks of one loop. Exact FIFO, for requests of any size: whoever wants five is not passed by those who want one.
/// No allocation.
class semaphore : detail::wait_list {
 public:
  using permits = detail::held_permits<semaphore>;

  /// With so many permits; `limit`: there are never more, in stock and held together. Throws usage_error when there are
  /// more to begin with.
  explicit semaphore(std::size_t available, std::size_t limit = SIZE_MAX)
      : wait_list("semaphore", &withdrawn), available_(available), limit_(limit) {
    if (available > limit)
      detail::throw_usage_error(usage_error::kind::invalid_argument, "a semaphore of %zu permits with a limit of %zu",
                                available, limit);
  }
  /// Ends the program when somebody waits, or holds permits.
  ~semaphore() {
    if (held_ != 0 && empty()) [[unlikely]]
      detail::trap("a semaphore was destroyed while %zu permits of it were held", held_);
  }

  /// `auto permit = co_await s.acquire();`. Throws rota::cancelled, without a permit; std::system_error (errc::closed);
  /// usage_error for more than the limit, at once.
  [[nodiscard(ROTA_UNAWAITED)]] detail::semaphore_awaiter acquire(std::size_t n = 1);
  /// Holds nothing when there are too few, somebody waits, or the semaphore is closed. Tasks, and callbacks of the loop.
  [[nodiscard]] permits try_acquire(std::size_t n = 1) noexcept;
  /// Adds permits: those that permits::forget() took out, or new ones. Throws usage_error (not_held), and adds none, when
  /// there would be more than the limit.
  void release(std::size_t n = 1) {
    used_here();
    if (n > limit_ - available_ - held_) [[unlikely]]
      refuse_release(n);
    available_ += n;
    serve();
  }
  /// Who waits, and who comes later, gets errc::closed. Permits that are held can be given back as before.
  void close() noexcept;

  bool is_closed() const noexcept { return closed_; }
  std::size_t available() const noexcept { return available_; }
  /// How many permits somebody holds.
  std::size_t held() const noexcept { return held_; }
  std::size_t limit() const noexcept { return limit_; }
  /// How many tasks wait.
  std::size_t waiting() const noexcept { return size(); }

 private:
  using awaiter = detail::semaphore_awaiter;
  friend permits;
  friend awaiter;

  bool try_take(std::size_t n) noexcept {
    if (n > available_ || closed_ || !empty()) return false;
    take(n);
    return true;
  }
  void take(std::size_t n) noexcept {
    available_ -= n;
    held_ += n;
  }
  void give_back(std::size_t n) noexcept {
    used_here();
    available_ += n;
    held_ -= n;
    if (!empty()) serve();
  }
  void forget(std::size_t n) noexcept {
    used_here();
    held_ -= n;
  }
  void serve() noexcept;
  // Whoever stood behind one that wanted many may have what there is.
  static void withdrawn(wait_list& self) noexcept {
    auto& s = static_cast<semaphore&>(self);
    if (!s.closed_) s.serve();  // else close() refuses them all
  }

  [[noreturn]] ROTA_COLD void refuse_release(std::size_t n) const {
    detail::throw_usage_error(
        usage_error::kind::not_held,
        "%zu permits were released to a semaphore with a limit of %zu, of which %zu are available and %zu held", n,
        limit_, available_, held_);
  }

  std::size_t available_;
  std::size_t limit_;  // between the two: GCC would store both as one vector, which takes longer to read
  std::size_t held_ = 0;
  bool closed_ = false;
};

namespace detail {

class [[nodiscard(ROTA_UNAWAITED)]] semaphore_awaiter : public list_wait {
 public:
  explicit semaphore_awaiter(semaphore& s, std::size_t n) noexcept : semaphore_(s), count_(n) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, semaphore_);
    if (!me.is_cancelled() && semaphore_.try_take(count_)) [[likely]]
      return me.exec->takes_turns(handle.address());
    return wait(me, handle.address());
  }
  semaphore::permits await_resume() {
    check();
    if (refused_) [[unlikely]]
      throw_error(errc::closed, "acquire");
    return semaphore::permits(semaphore_, count_);
  }

  // For select.
  bool try_now() noexcept {
    refused_ = semaphore_.is_closed();
    return refused_ || semaphore_.try_take(count_);
  }
  wait_list& list() noexcept { return semaphore_; }
  const void* channel() const noexcept { return &semaphore_; }

 private:
  friend semaphore;

  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    if (!semaphore_.is_closed() || me.is_cancelled()) return wait_in(semaphore_, me, its_frame);
    refused_ = true;
    return me.exec->takes_turns(its_frame);
  }

  semaphore& semaphore_;
  std::size_t count_;
  bool refused_ = false;
};

}  // namespace detail

inline detail::semaphore_awaiter semaphore::acquire(std::size_t n) {
  if (n > limit_) [[unlikely]]
    detail::throw_usage_error(usage_error::kind::invalid_argument,
                              "%zu permits were asked of a semaphore with a limit of %zu", n, limit_);
  return detail::semaphore_awaiter(*this, n);
}

inline semaphore::permits semaphore::try_acquire(std::size_t n) noexcept {
  used_here();
  return try_take(n) ? permits(*this, n) : permits();
}

// From the front, whoever may have what there is.
ROTA_NOINLINE inline void semaphore::serve() noexcept {
  while (!empty()) {
    auto& next = static_cast<detail::semaphore_awaiter&>(*first());
    if (next.count_ > available_) return;
    if (!claim(next)) continue;
    take(next.count_);
    grant(next);
  }
}

inline void semaphore::close() noexcept {
  used_here();
  closed_ = true;
  while (detail::waiter* next = claim_first()) {
    static_cast<detail::semaphore_awaiter&>(*next).refused_ = true;
    grant(*next);
  }
}

}  // namespace rota
