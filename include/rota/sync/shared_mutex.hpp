// shared_mutex: one task of a loop that writes, or any number that read.
#pragma once

#include <coroutine>
#include <cstddef>
#include <string>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/holder.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
enum class access : bool { reads, writes };
template <access How>
class shared_mutex_guard;
template <access How>
class shared_mutex_awaiter;
class shared_mutex_wait;
}  // namespace detail

/// For tasks of one loop. Exact FIFO among readers and writers, so that neither can starve the other; readers that stand
/// behind each other go in together. No allocation.
class shared_mutex : public detail::unlocked_by_a_guard, detail::wait_list {
  using access = detail::access;

 public:
  using guard = detail::shared_mutex_guard<access::writes>;
  using shared_guard = detail::shared_mutex_guard<access::reads>;

  shared_mutex() noexcept : wait_list("shared_mutex", &withdrawn) {}
  /// Ends the program when the mutex is locked.
  ~shared_mutex() {
    if (is_locked() || readers_ != 0) [[unlikely]]
      destroyed_locked();
  }

  /// `auto guard = co_await m.lock();`, to write, or lock_shared(), to read. Throws rota::cancelled, without the lock;
  /// usage_error (would_deadlock) when this task writes already. A task that reads must not lock again: it would wait for
  /// itself, or behind a writer that waits for it, and nobody notices, for readers are only counted.
  [[nodiscard(ROTA_UNAWAITED)]] detail::shared_mutex_awaiter<access::writes> lock() noexcept;
  [[nodiscard(ROTA_UNAWAITED)]] detail::shared_mutex_awaiter<access::reads> lock_shared() noexcept;
  /// An empty guard when that would have to wait. Tasks, and callbacks of the loop.
  [[nodiscard]] guard try_lock(detail::line_mark where = ROTA_CALLERS_LINE) noexcept;
  [[nodiscard]] shared_guard try_lock_shared() noexcept;

  /// Somebody writes.
  bool is_locked() const noexcept { return !writer_.empty(); }
  /// How many read.
  std::size_t readers() const noexcept { return readers_; }
  /// For people: who writes; "nobody".
  std::string holder() const { return writer_.describe().c_str(); }
  /// How many tasks wait.
  std::size_t waiting() const noexcept { return size(); }

 private:
  template <access How>
  friend class detail::shared_mutex_guard;
  template <access How>
  friend class detail::shared_mutex_awaiter;
  friend detail::shared_mutex_wait;

  // Where nobody is inside, nobody waits.
  bool is_free_for(access how) const noexcept {
    return !is_locked() && (how == access::writes ? readers_ == 0 : empty());
  }
  void take(access how, detail::task_state* task, detail::line_mark where) noexcept {
    if (how == access::writes)
      writer_.set(task, where);
    else
      ++readers_;
  }
  void take(detail::shared_mutex_wait& wait) noexcept;
  void release(access how) noexcept {
    used_here();
    if (how == access::writes)
      writer_.clear();
    else
      --readers_;
    if (!empty()) [[unlikely]]
      serve();
  }
  void serve() noexcept;
  // Readers that stood behind a writer may go in.
  static void withdrawn(wait_list& self) noexcept { static_cast<shared_mutex&>(self).serve(); }

  [[noreturn]] ROTA_COLD void refuse_own(detail::task_state& task) const {
    detail::throw_usage_error(usage_error::kind::would_deadlock,
                              "%s, waits for a shared_mutex that it has locked itself: held by %s",
                              detail::describe(task).c_str(), writer_.describe().c_str());
  }
  [[noreturn]] ROTA_COLD void destroyed_locked() const noexcept {
    if (readers_ != 0)
      detail::trap("a shared_mutex was destroyed while %zu tasks read, and %zu waited for it", readers_, waiting());
    detail::trap("a shared_mutex was destroyed while it was held by %s, and %zu waited for it",
                 writer_.describe().c_str(), waiting());
  }

  std::size_t readers_ = 0;
  detail::holder writer_;
};

namespace detail {

/// The lock itself: whoever has the guard has the lock. May be moved, to another task of the loop even.
template <access How>
class [[nodiscard("a guard that is dropped unlocks at once")]] shared_mutex_guard {
 public:
  /// Holds nothing.
  shared_mutex_guard() noexcept = default;
  shared_mutex_guard(shared_mutex_guard&& other) noexcept { take_over(other); }
  shared_mutex_guard& operator=(shared_mutex_guard&& other) noexcept {
    if (this != &other) {
      drop();
      take_over(other);
    }
    return *this;
  }
  ~shared_mutex_guard() { drop(); }

  /// Before the end of the guard's life. Throws usage_error (not_held) when the guard holds nothing.
  void unlock() {
    check();
    drop();
  }
  /// From now on it only reads: no writer comes between, and readers that wait in front of the first writer come in. Leaves
  /// this guard empty. Throws usage_error (not_held) when the guard holds nothing.
  [[nodiscard]] shared_mutex::shared_guard downgrade()
    requires(How == access::writes);

  bool owns_lock() const noexcept { return mutex_ != nullptr; }
  explicit operator bool() const noexcept { return owns_lock(); }

 private:
  friend shared_mutex;
  template <access>
  friend class shared_mutex_guard;
  template <access>
  friend class shared_mutex_awaiter;
  shared_mutex_guard(shared_mutex& locked, const void* in_frame) noexcept : mutex_(&locked) {
    if (How == access::writes) locked.writer_.guard_is_at(this, in_frame);
  }

  void take_over(shared_mutex_guard& other) noexcept {
    mutex_ = std::exchange(other.mutex_, nullptr);
    if (How == access::writes && mutex_) mutex_->writer_.was_moved();
  }
  void check() const {
    if (!mutex_) [[unlikely]]
      throw usage_error(usage_error::kind::not_held, "unlock() or downgrade() of a guard that holds no shared_mutex");
  }
  void drop() noexcept {
    if (mutex_) std::exchange(mutex_, nullptr)->release(How);
  }

  shared_mutex* mutex_ = nullptr;
};

// A place in the queue.
class shared_mutex_wait : public list_wait {
 public:
  shared_mutex_wait(shared_mutex& m, access h) noexcept : mutex_(m), how_(h) {}

 protected:
  ROTA_NOINLINE bool wait(task_state& me, void* its_frame) {
    refuse_own(me);
    return wait_in(mutex_, me, its_frame);
  }
  void refuse_own(task_state& me) const {
    if (mutex_.is_locked() && mutex_.writer_.is(me)) mutex_.refuse_own(me);
  }

  shared_mutex& mutex_;

 private:
  friend shared_mutex;
  access how_;
};

template <access How>
class [[nodiscard(ROTA_UNAWAITED)]] shared_mutex_awaiter : public shared_mutex_wait {
 public:
  explicit shared_mutex_awaiter(shared_mutex& m) noexcept : shared_mutex_wait(m, How) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, mutex_);
    if (mutex_.is_free_for(How) && !me.is_cancelled()) [[likely]] {
      mutex_.take(How, &me, where);
      return me.exec->takes_turns(handle.address());
    }
    return wait(me, handle.address());
  }
  shared_mutex_guard<How> await_resume() {
    check();
    return shared_mutex_guard<How>(mutex_, this);
  }

  // For select.
  bool try_now() {
    if (!mutex_.is_free_for(How)) {
      refuse_own(*task);
      return false;
    }
    mutex_.take(*this);
    return true;
  }
  wait_list& list() noexcept { return mutex_; }
  const void* channel() const noexcept { return &mutex_; }
};

template <access How>
shared_mutex::shared_guard shared_mutex_guard<How>::downgrade()
  requires(How == access::writes)
{
  check();
  shared_mutex& mutex = *std::exchange(mutex_, nullptr);
  mutex.take(access::reads, nullptr, nullptr);
  mutex.release(access::writes);
  return shared_mutex::shared_guard(mutex, nullptr);
}

}  // namespace detail

inline detail::shared_mutex_awaiter<detail::access::writes> shared_mutex::lock() noexcept {
  return detail::shared_mutex_awaiter<access::writes>(*this);
}
inline detail::shared_mutex_awaiter<detail::access::reads> shared_mutex::lock_shared() noexcept {
  return detail::shared_mutex_awaiter<access::reads>(*this);
}

inline shared_mutex::guard shared_mutex::try_lock(detail::line_mark where) noexcept {
  used_here();
  if (!is_free_for(access::writes)) return guard();
  detail::task_state* const task = detail::running_task();
  take(access::writes, task, where);
  return guard(*this, task ? task->frame() : nullptr);
}
inline shared_mutex::shared_guard shared_mutex::try_lock_shared() noexcept {
  used_here();
  if (!is_free_for(access::reads)) return shared_guard();
  take(access::reads, nullptr, nullptr);
  return shared_guard(*this, nullptr);
}

inline void shared_mutex::take(detail::shared_mutex_wait& wait) noexcept {
  take(wait.how_, wait.task, detail::line_mark_of(detail::promise_of(wait.frame).waits_at));
}

// From the front, whoever may go in now.
ROTA_NOINLINE inline void shared_mutex::serve() noexcept {
  while (!empty() && !is_locked()) {
    auto& next = static_cast<detail::shared_mutex_wait&>(*first());
    if (next.how_ == access::writes && readers_ != 0) return;
    if (!claim(next)) continue;
    take(next);
    grant(next);
  }
}

}  // namespace rota
