// pool.spawn(f, args...) and its handle.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/coro/describe.hpp>
#include <rota/pool/pool_call.hpp>

namespace rota {

namespace detail {

/// A spawned task or function of a pool, shared by its handle and the pool; each may be the last one to know it.
class spawned_base {
 public:
  spawned_base(thread_pool& pool, strand::step begin) : root_(*this, pool, begin) {}
  spawned_base(const spawned_base&) = delete;
  spawned_base& operator=(const spawned_base&) = delete;

  void start() noexcept { pool_access::roots(root_.pool).start(root_); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (!retrieved_) report_lost();
    destroy();
  }
  bool done() const noexcept {
    const mutex_lock guard(mutex_);
    return done_;
  }
  bool cancel(std::string_view reason, std::source_location where) {
    const mutex_lock guard(mutex_);
    if (done_ || cancel_asked_) return false;
    reason_ = reason;
    cancel_asked_ = true;
    root_.cancel.reason = reason_;
    root_.cancel.where = where;
    root_.cancel.send(root_);
    return true;
  }

  /// In a list; false: it has ended already.
  bool add(remote_waiter& waiter) noexcept {
    const mutex_lock guard(mutex_);
    if (done_) return false;
    waiter.next = std::exchange(waiters_, &waiter);
    return true;
  }
  /// False: it is about to be told.
  bool remove(remote_waiter& waiter) noexcept {
    const mutex_lock guard(mutex_);
    if (done_) return false;
    posted** link = &waiters_;
    while (*link != &waiter) link = &(*link)->next;
    *link = waiter.next;
    return true;
  }
  void set_retrieved() noexcept { retrieved_ = true; }

 protected:
  virtual ~spawned_base() { pthread_mutex_destroy(&mutex_); }
  static spawned_base& of(strand& s) noexcept { return static_cast<root&>(pool_root::of(s)).owner; }
  strand& runs() noexcept { return root_.runs; }
  /// What a strand does as the last thing.
  static void ended(strand& s) noexcept {
    spawned_base& self = of(s);
    posted* waiter = nullptr;
    {
      const mutex_lock guard(self.mutex_);
      self.done_ = true;
      waiter = std::exchange(self.waiters_, nullptr);
    }
    while (waiter) static_cast<remote_waiter*>(std::exchange(waiter, waiter->next))->wake();
    pool_access::roots(self.root_.pool).remove(self.root_);
    self.release();
  }
  virtual const std::exception_ptr* error() const noexcept = 0;

 private:
  struct root : pool_root {
    root(spawned_base& o, thread_pool& p, strand::step begin)
        : pool_root(pool_access::core(p), begin, &spawned_base::ended, std::source_location()), owner(o), pool(p) {}
    spawned_base& owner;
    thread_pool& pool;
    cancel_message cancel;
  };

  virtual void destroy() noexcept { delete this; }
  ROTA_COLD void report_lost() const noexcept {
    const std::exception_ptr* const failure = error();
    if (!failure || is_cancellation(*failure)) return;
    const std::source_location at = root_.subject();
    report("a task of a thread_pool, %s at %s:%u, ended with an exception that nobody retrieved: %s",
           at.function_name(), at.file_name(), static_cast<unsigned>(at.line()), describe(*failure).c_str());
  }

  root root_;
  atomic<int> references_{2};
  bool retrieved_ = false;                                     // the handle's own
  mutable pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;  // of the rest
  bool done_ = false;
  bool cancel_asked_ = false;
  posted* waiters_ = nullptr;
  std::string reason_;
};

/// With the type of what comes out.
template <class T>
class spawned : public spawned_base {
 public:
  using spawned_base::spawned_base;
  virtual task_outcome<T>& outcome() noexcept = 0;
  virtual bool was_cancelled() const noexcept = 0;
};

template <class F, class... Args>
class spawned_call final : public spawned<typename stored_call<F, Args...>::value> {
  using stored = stored_call<F, Args...>;
  using value = typename stored::value;

 public:
  template <class G, class... As>
  explicit spawned_call(thread_pool& pool, G&& f, As&&... args)
      : spawned<value>(pool, &begin), call_(static_cast<G&&>(f), static_cast<As&&>(args)...) {}

  task_outcome<value>& outcome() noexcept override { return call_.outcome; }
  bool was_cancelled() const noexcept override { return call_.was_cancelled(); }

 private:
  static void begin(strand& s) noexcept {
    auto& self = static_cast<spawned_call&>(spawned_call::of(s));
    if constexpr (stored::result::is_coroutine) {
      self.call_.begin_task(s);
    } else {
      if (!s.state.is_cancelled()) self.call_.call_plain();
      s.end();
    }
  }
  const std::exception_ptr* error() const noexcept override { return call_.outcome.error(); }

  stored call_;
};

template <class T>
class [[nodiscard]] handle_awaiter {
 public:
  explicit handle_awaiter(spawned<T>& task) noexcept : task_(task) {}
  handle_awaiter(const handle_awaiter&) = delete;
  handle_awaiter& operator=(const handle_awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    waiter_.me = &me;
    if (task_.done()) return false;
    if (me.is_cancelled()) {
      withdrawn_ = true;
      return false;
    }
    waiter_.begin(me, handle.address(), this, [](custom_wait& wait) noexcept {
      auto& self = *static_cast<handle_awaiter*>(static_cast<remote_waiter::cancellable&>(wait).owner);
      if (!self.task_.remove(self.waiter_)) return;
      self.withdrawn_ = true;
      make_ready(wait.frame);
    });
    if (task_.add(waiter_)) return true;
    me.wait = 0;
    return false;
  }
  T await_resume() {
    if (withdrawn_) throw_cancelled(*waiter_.me);
    task_.set_retrieved();
    if (task_.was_cancelled()) throw std::system_error(make_error_code(errc::task_cancelled));
    return task_.outcome().take();
  }

 private:
  spawned<T>& task_;
  remote_waiter waiter_;
  bool withdrawn_ = false;
};

}  // namespace detail

/// Owns the outcome of what pool.spawn() started. Move-only; used by one thread at a time, whichever it is.
template <class T = void>
class [[nodiscard]] pool_handle {
 public:
  pool_handle() noexcept = default;
  pool_handle(pool_handle&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  pool_handle& operator=(pool_handle&& other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~pool_handle() {
    if (task_) task_->release();
  }

  bool valid() const noexcept { return task_ != nullptr; }

  /// Waits, on any executor, until the task has ended; moves its result out, or throws its exception, or std::system_error
  /// with errc::task_cancelled. Once. When the waiter is cancelled it stops waiting; the task goes on.
  detail::handle_awaiter<T> operator co_await() & { return detail::handle_awaiter<T>(checked()); }
  detail::handle_awaiter<T> operator co_await() && { return detail::handle_awaiter<T>(checked()); }

  /// Cancels the task: see thread_pool::run. False when it has ended or was cancelled before. `reason` is copied.
  bool cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) {
    return task_ && task_->cancel(reason, where);
  }
  bool done() const noexcept { return task_ && task_->done(); }

 private:
  friend thread_pool;
  explicit pool_handle(detail::spawned<T>& task) noexcept : task_(&task) {}
  detail::spawned<T>& checked() {
    if (!task_) throw usage_error(usage_error::kind::invalid_task, "an empty pool_handle was awaited");
    return *task_;
  }

  detail::spawned<T>* task_ = nullptr;
};

template <class F, class... Args>
auto thread_pool::spawn(F&& f, Args&&... args) {
  using call = detail::spawned_call<std::decay_t<F>, std::decay_t<Args>...>;
  detail::refuse_unless_callable<std::decay_t<F>, std::decay_t<Args>...>();
  detail::refuse_empty(f, "thread_pool::spawn()");
  auto* task = new call(*this, std::forward<F>(f), std::forward<Args>(args)...);
  pool_handle<typename detail::stored_call<std::decay_t<F>, std::decay_t<Args>...>::value> handle(*task);
  task->start();
  return handle;
}

}  // namespace rota
