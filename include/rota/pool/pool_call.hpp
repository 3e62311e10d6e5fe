// pool.run(f, args...): there and back.
#pragma once

#include <coroutine>
#include <optional>
#include <source_location>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/task.hpp>
#include <rota/pool/pool_root.hpp>
#include <rota/pool/thread_pool.hpp>

namespace rota {

namespace detail {

template <class R>
struct value_on_pool {
  using type = R;
  static constexpr bool is_coroutine = false;
};
template <class T>
struct value_on_pool<task<T>> {
  using type = T;
  static constexpr bool is_coroutine = true;
};

/// A callable with its arguments, for one call, and what comes out of it. On the pool's threads.
template <class F, class... Args>
class stored_call {
 public:
  using result = value_on_pool<std::invoke_result_t<F, Args...>>;
  using value = typename result::type;

  template <class G, class... As>
  explicit stored_call(G&& f, As&&... args) : given_(std::in_place, static_cast<G&&>(f), static_cast<As&&>(args)...) {}

  void call_plain() noexcept {
    try {
      if constexpr (std::is_void_v<value>) {
        invoke_stored();
        outcome.set_state(outcome_base::value);
      } else if constexpr (std::is_reference_v<value>) {
        outcome.emplace(std::addressof(invoke_stored()));
      } else {
        outcome.emplace(invoke_stored());
      }
    } catch (...) {
      outcome.set_exception();
    }
  }
  /// The first step of the task.
  void begin_task(strand& on) noexcept {
    if (on.state.is_cancelled()) {
      on.end();
      return;
    }
    outcome.awaited_by(on.end_frame(), outcome_base::suspended);
    void* frame = nullptr;
    try {
      task<value> made = invoke_stored();
      const auto handle = task_access::release(made);
      handle.promise().state = &on.state;
      handle.promise().outcome = &outcome;
      pool_root::of(on).is_about(handle.promise().waits_at);
      on.worker().runs(handle.promise().waits_at);
      frame = handle.address();
    } catch (...) {
      outcome.set_exception();
      on.end();
      return;
    }
    on.enter(frame);
  }
  /// Did it come to nothing, because it was cancelled or never began?
  bool was_cancelled() const noexcept {
    const std::exception_ptr* error = outcome.error();
    return error ? is_cancellation(*error) : !outcome.is_done();
  }

  F& function() noexcept { return given_->f; }
  /// It has ended, or will not begin: what it was given may be what others wait for to go.
  void forget() noexcept { given_.reset(); }
  task<value> make_task()
    requires result::is_coroutine
  {
    return invoke_stored();
  }

  task_outcome<value> outcome;

 private:
  decltype(auto) invoke_stored() {
    return std::apply(
        [this](Args&... args) -> decltype(auto) { return detail::invoke(std::move(given_->f), std::move(args)...); },
        given_->args);
  }

  struct given {
    template <class G, class... As>
    explicit given(G&& g, As&&... as) : f(static_cast<G&&>(g)), args(static_cast<As&&>(as)...) {}
    F f;
    std::tuple<Args...> args;
  };
  std::optional<given> given_;
};

/// Whoever waits for something that happens on another thread: it is told by a post to its executor.
struct remote_waiter : posted {
  struct cancellable : custom_wait {
    void* owner = nullptr;
  };

  void begin(task_state& task, void* frame, void* owner, void (*on_cancel)(custom_wait&) noexcept) noexcept {
    me = &task;
    wait.owner = owner;
    wait.frame = frame;
    wait.cancel = on_cancel;
    run = [](posted& self) noexcept { make_ready(static_cast<remote_waiter&>(self).wait.frame); };
    task.waits_for(static_cast<custom_wait*>(&wait), wait_kind::custom);
  }
  /// Another thread; touches nothing afterwards.
  void wake() noexcept { me->exec->post(*this); }

  task_state* me = nullptr;
  cancellable wait;
};

template <class F, class... Args>
class [[nodiscard(ROTA_UNAWAITED)]] pool_call {
  using stored = stored_call<F, Args...>;
  using value = typename stored::value;
  static constexpr bool is_coroutine = stored::result::is_coroutine;

 public:
  static constexpr bool may_leave_strand = true;
  template <class G, class... As>
  explicit pool_call(thread_pool& pool, G&& f, As&&... args)
      : pool_(pool), call_(static_cast<G&&>(f), static_cast<As&&>(args)...) {
    if constexpr (!is_coroutine) new (&function_) function(*this);
  }
  pool_call(const pool_call&) = delete;
  pool_call& operator=(const pool_call&) = delete;
  ~pool_call() {
    if constexpr (is_coroutine)
      if (started_) root_.~root();
  }

  bool await_ready() const noexcept { return false; }
  // Out of line, and nothing is touched after another thread may have it: clang 16 keeps locals of an inlined one in the
  // frame.
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, where), handle.address(), where);
  }
  value await_resume() {
    task_state& me = *waiter_.me;
    if (withdrawn_) throw_cancelled(me);
    if (call_.was_cancelled()) [[unlikely]] {
      if (me.is_cancelled()) throw_cancelled(me);
      throw std::system_error(make_error_code(errc::task_cancelled), "thread_pool::run");
    }
    return call_.outcome.take();
  }

 private:
  struct root : pool_root {
    root(pool_call& call, std::source_location made_at)
        : pool_root(pool_access::core(call.pool_), &begin, &ended, made_at), owner(call) {}
    static void begin(strand& s) noexcept { of(s).owner.call_.begin_task(s); }
    static void ended(strand& s) noexcept {
      pool_call& call = of(s).owner;
      pool_access::roots(call.pool_).remove(of(s));
      call.waiter_.wake();
    }
    static root& of(strand& s) noexcept { return static_cast<root&>(pool_root::of(s)); }
    pool_call& owner;
    cancel_message cancel;
  };
  struct function : pool_job {
    explicit function(pool_call& call) noexcept : owner(call) {
      run = [](pool_job& self, pool_worker&) noexcept {
        pool_call& mine = static_cast<function&>(self).owner;
        mine.call_.call_plain();
        mine.waiter_.wake();
      };
      drop = [](pool_job& self) noexcept { static_cast<function&>(self).owner.waiter_.wake(); };
    }
    pool_call& owner;
  };

  bool start(task_state& me, void* frame, line_mark where) {
    waiter_.me = &me;
    if (me.is_cancelled()) {
      withdrawn_ = true;
      return false;
    }
    if constexpr (is_coroutine) {
      new (&root_) root(*this, source_line(where));
      started_ = true;
      waiter_.begin(me, frame, this, [](custom_wait& wait) noexcept {
        auto& self = from(wait);
        self.root_.cancel.reason = "the task that awaits it was cancelled";
        self.root_.cancel.send(self.root_);
        wait.cancel = nullptr;
      });
      if (!pool_access::roots(pool_).start(root_)) {
        me.wait = 0;
        return false;
      }
    } else {
      waiter_.begin(me, frame, this, [](custom_wait& wait) noexcept {
        auto& self = from(wait);
        if (!pool_access::core(self.pool_).remove(self.function_)) return;  // it runs, or has run
        self.withdrawn_ = true;
        make_ready(wait.frame);
      });
      if (!pool_access::core(pool_).submit(function_)) {
        me.wait = 0;
        return false;
      }
    }
    return true;
  }
  static pool_call& from(custom_wait& wait) noexcept {
    return *static_cast<pool_call*>(static_cast<remote_waiter::cancellable&>(wait).owner);
  }

  thread_pool& pool_;
  stored call_;
  remote_waiter waiter_;
  bool withdrawn_ = false;
  bool started_ = false;
  union {
    root root_;  // made when it starts
    function function_;
  };
};

}  // namespace detail

template <class F, class... Args>
auto thread_pool::run(F&& f, Args&&... args) {
  if constexpr (detail::can_be_started<F, Args...>()) {
    ROTA_REFUSE_OWNING_CLOSURE(F);
    detail::refuse_empty(f, "thread_pool::run()");
    return detail::pool_call<std::decay_t<F>, std::decay_t<Args>...>(*this, std::forward<F>(f),
                                                                     std::forward<Args>(args)...);
  }
}

}  // namespace rota
