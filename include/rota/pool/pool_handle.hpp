// pool.spawn(f, args...) and its handle.
#pragma once

#include <pthread.h>

#include <coroutine>
#include <cstddef>
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
#include <rota/coro/frame_memory.hpp>
#include <rota/pool/pool_call.hpp>

namespace rota {

namespace detail {

/// A spawned task or function of a pool, shared by its handle and the pool; each may be the last one to know it. Mostly it ends
/// before anybody waits for it, and then it takes no lock.
class spawned_base {
 public:
  spawned_base() noexcept = default;
  spawned_base(const spawned_base&) = delete;
  spawned_base& operator=(const spawned_base&) = delete;
  static void* operator new(std::size_t size) { return frame_memory::allocate_for_any_thread(size); }
  static void operator delete(void* block, std::size_t size) noexcept {
    frame_memory::deallocate_on_any_thread(block, size);
  }

  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (!retrieved_) report_lost();
    delete this;
  }
  bool done() const noexcept { return state_.load(std::memory_order_acquire) == state::done; }
  /// By the handle's owner.
  bool cancel(std::string_view reason, std::source_location where) {
    if (done() || cancel_asked_) return false;
    cancel_asked_ = true;
    stop(reason, where);
    return true;
  }

  /// In a list; false: it has ended already.
  bool add(remote_waiter& waiter) noexcept {
    const mutex_lock guard(mutex_);
    state before = state::alone;
    if (!state_.compare_exchange_strong(before, state::awaited, std::memory_order_acq_rel, std::memory_order_acquire) &&
        before == state::done)
      return false;
    waiter.next = std::exchange(waiters_, &waiter);
    return true;
  }
  /// False: it is about to be told.
  bool remove(remote_waiter& waiter) noexcept {
    const mutex_lock guard(mutex_);
    if (done()) return false;
    posted** link = &waiters_;
    while (*link != &waiter) link = &(*link)->next;
    *link = waiter.next;
    return true;
  }
  /// False: for the second time.
  bool set_retrieved() noexcept { return !std::exchange(retrieved_, true); }

 protected:
  virtual ~spawned_base() { pthread_mutex_destroy(&mutex_); }
  void tell_waiters() noexcept {
    state before = state::alone;
    if (state_.compare_exchange_strong(before, state::done, std::memory_order_acq_rel, std::memory_order_relaxed))
      return;
    posted* waiter = nullptr;
    {
      const mutex_lock guard(mutex_);
      state_.store(state::done, std::memory_order_release);
      waiter = std::exchange(waiters_, nullptr);
    }
    while (waiter) static_cast<remote_waiter*>(std::exchange(waiter, waiter->next))->wake();
  }

 private:
  enum class state : unsigned char { alone, awaited, done };

  virtual void stop(std::string_view reason, std::source_location where) = 0;
  virtual const std::exception_ptr* error() const noexcept = 0;
  virtual std::source_location subject() const noexcept = 0;
  ROTA_COLD void report_lost() const noexcept {
    const std::exception_ptr* const failure = error();
    if (!failure || is_cancellation(*failure)) return;
    const std::source_location at = subject();
    report("a task of a thread_pool, %s at %s:%u, ended with an exception that nobody retrieved: %s",
           at.function_name(), at.file_name(), static_cast<unsigned>(at.line()), describe(*failure).c_str());
  }

  atomic<int> references_{2};
  atomic<state> state_{state::alone};
  bool retrieved_ = false;     // the handle's own, as the next one
  bool cancel_asked_ = false;  // once is enough
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  posted* waiters_ = nullptr;  // under the mutex
};

/// With the type of what comes out.
template <class T>
class spawned : public spawned_base {
 public:
  virtual task_outcome<T>& outcome() noexcept = 0;
  virtual bool was_cancelled() const noexcept = 0;
};

template <class F, class... Args>
class spawned_call : public spawned<typename stored_call<F, Args...>::value> {
 public:
  using stored = stored_call<F, Args...>;
  using value = typename stored::value;

  template <class G, class... As>
  explicit spawned_call(G&& f, As&&... args) : call_(static_cast<G&&>(f), static_cast<As&&>(args)...) {}
  task_outcome<value>& outcome() noexcept override { return call_.outcome; }
  bool was_cancelled() const noexcept override { return call_.was_cancelled(); }

 protected:
  stored call_;

 private:
  const std::exception_ptr* error() const noexcept override { return call_.outcome.error(); }
};

template <class F, class... Args>
class spawned_task final : public spawned_call<F, Args...> {
 public:
  template <class... As>
  explicit spawned_task(thread_pool& pool, As&&... f_and_args)
      : spawned_call<F, Args...>(static_cast<As&&>(f_and_args)...), root_(*this, pool) {}
  void start() noexcept {
    if (pool_access::roots(root_.pool).start(root_)) return;
    this->call_.forget();  // it came to nothing
    this->tell_waiters();
    this->release();
  }

 private:
  struct root : pool_root {
    root(spawned_task& o, thread_pool& p)
        : pool_root(pool_access::core(p), &begin, &ended, std::source_location()), owner(o), pool(p) {}
    static spawned_task& of(strand& s) noexcept { return static_cast<root&>(pool_root::of(s)).owner; }
    static void begin(strand& s) noexcept { of(s).call_.begin_task(s); }
    static void ended(strand& s) noexcept {
      spawned_task& self = of(s);
      self.call_.forget();
      self.tell_waiters();
      pool_access::roots(self.root_.pool).remove(self.root_);
      self.release();
    }
    spawned_task& owner;
    thread_pool& pool;
    cancel_message cancel;
  };

  void stop(std::string_view reason, std::source_location where) override {
    reason_ = reason;
    root_.cancel.reason = reason_;
    root_.cancel.where = where;
    root_.cancel.send(root_);  // it may have ended; then nobody hears
  }
  std::source_location subject() const noexcept override { return root_.subject(); }

  root root_;
  std::string reason_;
};

template <class F, class... Args>
class spawned_function final : public spawned_call<F, Args...> {
 public:
  template <class... As>
  explicit spawned_function(thread_pool& pool, As&&... f_and_args)
      : spawned_call<F, Args...>(static_cast<As&&>(f_and_args)...), job_(*this, pool) {}
  void start() noexcept {
    if (!pool_access::core(job_.pool).submit(job_)) job_.drop(job_);
  }

 private:
  struct job : pool_job {
    job(spawned_function& o, thread_pool& p) noexcept : owner(o), pool(p) {
      run = [](pool_job& self, pool_worker&) noexcept {
        static_cast<job&>(self).owner.call_.call_plain();
        self.drop(self);
      };
      drop = [](pool_job& self) noexcept {
        spawned_function& mine = static_cast<job&>(self).owner;
        mine.call_.forget();
        mine.tell_waiters();
        mine.release();
      };
    }
    spawned_function& owner;
    thread_pool& pool;
  };

  void stop(std::string_view, std::source_location) override {
    if (pool_access::core(job_.pool).remove(job_)) job_.drop(job_);
  }
  std::source_location subject() const noexcept override { return {}; }

  job job_;
};

template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] handle_awaiter {
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
    if (!task_.set_retrieved()) [[unlikely]]
      throw_usage_error(usage_error::kind::invalid_task,
                        "%s, awaited a pool_handle twice: the first await took what there was",
                        describe(*waiter_.me).c_str());
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
  static constexpr bool may_leave_strand = true;  // detail::may_leave
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
  /// The body has ended, one way or another. Throws usage_error of an empty handle.
  bool done() const { return checked().done(); }

 private:
  friend thread_pool;
  explicit pool_handle(detail::spawned<T>& task) noexcept : task_(&task) {}
  detail::spawned<T>& checked() const {
    if (!task_) throw usage_error(usage_error::kind::invalid_task, "an empty pool_handle was awaited or asked");
    return *task_;
  }

  detail::spawned<T>* task_ = nullptr;
};

template <class F, class... Args>
auto thread_pool::spawn(F&& f, Args&&... args) {
  if constexpr (detail::can_be_started<F, Args...>()) {
    using stored = detail::stored_call<std::decay_t<F>, std::decay_t<Args>...>;
    using call =
        std::conditional_t<stored::result::is_coroutine, detail::spawned_task<std::decay_t<F>, std::decay_t<Args>...>,
                           detail::spawned_function<std::decay_t<F>, std::decay_t<Args>...>>;
    detail::refuse_empty(f, "thread_pool::spawn()");
    auto* task = new call(*this, std::forward<F>(f), std::forward<Args>(args)...);
    pool_handle<typename stored::value> handle(*task);
    task->start();
    return handle;
  }
}

}  // namespace rota
