// Tasks that a pool runs for others: known to it, so that its destructor can cancel them and wait.
#pragma once

#include <pthread.h>

#include <atomic>
#include <bit>
#include <cstddef>
#include <source_location>
#include <string_view>

#include <rota/base/clock.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/sys.hpp>
#include <rota/coro/describe.hpp>
#include <rota/pool/fork.hpp>
#include <rota/pool/strand_child.hpp>

namespace rota::detail {

class root_list;

/// A strand whose task has no parent on the pool.
struct pool_root {
  pool_root(pool_core& pool, strand::step begin, strand::step ended, std::source_location made_at) noexcept
      : runs(pool, begin, ended, made_at), subject_(std::bit_cast<line_mark>(made_at)) {
    runs.context = this;
  }
  /// For `begin` and `ended`.
  static pool_root& of(strand& s) noexcept { return *static_cast<pool_root*>(s.context); }

  /// The line that reports are about: who awaits it, or the coroutine that it is. Any thread.
  void is_about(std::source_location line) noexcept {
    subject_.store(std::bit_cast<line_mark>(line), std::memory_order_relaxed);
  }
  std::source_location subject() const noexcept { return source_line(subject_.load(std::memory_order_relaxed)); }

  /// On any thread, while the root cannot end: each kind of message once.
  struct cancel_message : posted {
    pool_root* root = nullptr;
    cancel_kind kind = cancel_kind::requested;
    std::string_view reason;
    std::source_location where;

    void send(pool_root& to) noexcept {
      root = &to;
      run = [](posted& self) noexcept {
        auto& me = static_cast<cancel_message&>(self);
        scope_tree::cancel(me.root->runs.state, me.kind, me.reason, me.where);
      };
      to.runs.post(*this);
    }
  };

  strand runs;
  cancel_message shutdown;
  pool_root* next = nullptr;  // in the pool's list, under its mutex
  pool_root* previous = nullptr;

 private:
  std::atomic<line_mark> subject_;
};

/// All roots of a pool that have not ended.
class root_list {
 public:
  root_list() noexcept = default;
  root_list(const root_list&) = delete;
  root_list& operator=(const root_list&) = delete;
  ~root_list() {
    pthread_cond_destroy(&emptied_);
    pthread_mutex_destroy(&mutex_);
  }

  /// Adds it and queues it; a pool that is going down cancels it first. False: it is down.
  [[nodiscard]] bool start(pool_root& root) noexcept {
    {
      const mutex_lock guard(mutex_);
      if (closed_) return false;
      root.next = first_;
      root.previous = nullptr;
      if (first_) first_->previous = &root;
      first_ = &root;
      if (is_closing()) tell(root);
    }
    root.runs.pool().submit(root.runs);
    return true;
  }
  void remove(pool_root& root) noexcept {
    const mutex_lock guard(mutex_);
    (root.previous ? root.previous->next : first_) = root.next;
    if (root.next) root.next->previous = root.previous;
    if (!first_) pthread_cond_broadcast(&emptied_);
  }

  /// f(root) for all of them; none goes meanwhile. False: `only_if_free`, and somebody has the lock.
  template <class F>
  bool look(bool only_if_free, F f) noexcept {
    if (only_if_free ? pthread_mutex_trylock(&mutex_) != 0 : pthread_mutex_lock(&mutex_) != 0) return false;
    for (pool_root* root = first_; root; root = root->next) f(*root);
    pthread_mutex_unlock(&mutex_);
    return true;
  }
  /// Cancels all of them, now and later.
  void close() noexcept {
    const mutex_lock guard(mutex_);
    if (is_closing()) return;  // they were told
    closing_.store(true, std::memory_order_relaxed);
    for (pool_root* root = first_; root; root = root->next) tell(*root);
  }
  bool is_closing() const noexcept { return closing_.load(std::memory_order_relaxed); }
  /// Until all have ended. Those that have not by the deadline are named, and waited for all the same.
  void wait_until_empty(nanoseconds limit) noexcept {
    const mutex_lock guard(mutex_);
    const nanoseconds until = deadline_after(sys::now(), limit);
    timespec at{};
    at.tv_sec = static_cast<time_t>(until / 1'000'000'000);
    at.tv_nsec = static_cast<long>(until % 1'000'000'000);
    while (first_)
      if (pthread_cond_clockwait(&emptied_, &mutex_, CLOCK_MONOTONIC, &at) != 0) break;
    for (pool_root* root = first_; root; root = root->next) {
      const std::source_location line = root->subject();
      report("a thread_pool is being destroyed, but its task, %s at %s:%u, does not stop; waiting for it",
             line.function_name(), line.file_name(), static_cast<unsigned>(line.line()));
    }
    while (first_) pthread_cond_wait(&emptied_, &mutex_);
    closed_ = true;
  }

 private:
  static void tell(pool_root& root) noexcept {
    root.shutdown.kind = cancel_kind::shutdown;
    root.shutdown.reason = "the thread_pool is being destroyed";
    root.shutdown.send(root);
  }

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t emptied_ = PTHREAD_COND_INITIALIZER;
  pool_root* first_ = nullptr;
  std::atomic<bool> closing_{false};  // written under the mutex
  bool closed_ = false;               // nothing is left, and nothing will come
};

}  // namespace rota::detail
