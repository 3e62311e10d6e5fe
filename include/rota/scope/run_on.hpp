// run_on(loop, f, args...): calls f on another event loop, and comes back. docs/design/0015-several-loops.md.
#pragma once

#include <coroutine>
#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/callable.hpp>
#include <rota/base/error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/pool/pool_call.hpp>
#include <rota/pool/thread_pool.hpp>

namespace rota {

namespace detail {

/// The await of a call on another loop. The call and a cancel are messages to that loop, and each of them must be back before
/// the awaiter goes: `open_` counts them, and who brings it to zero wakes the caller.
template <class F, class... Args>
class [[nodiscard(ROTA_UNAWAITED)]] loop_call {
  using stored = stored_call<F, Args...>;
  using value = typename stored::value;

 public:
  template <class G, class... As>
  explicit loop_call(event_loop& loop, G&& f, As&&... args)
      : loop_(loop), call_(static_cast<G&&>(f), static_cast<As&&>(args)...) {}
  loop_call(const loop_call&) = delete;
  loop_call& operator=(const loop_call&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, where), handle.address());
  }
  value await_resume() {
    task_state& me = *waiter_.me;
    if (withdrawn_) throw_cancelled(me);
    if (call_.was_cancelled()) [[unlikely]] {
      if (me.is_cancelled()) throw_cancelled(me);
      throw std::system_error(make_error_code(errc::task_cancelled), "run_on");
    }
    return call_.outcome.take();
  }

 private:
  struct message : posted {
    loop_call* call = nullptr;
  };
  struct at_end : end_hook {
    loop_call* call = nullptr;
  };

  // The caller's thread.

  bool start(task_state& me, void* frame) noexcept {
    waiter_.me = &me;
    if (me.is_cancelled()) {
      withdrawn_ = true;
      return false;
    }
    waiter_.begin(me, frame, this, [](custom_wait& wait) noexcept {
      auto& self = *static_cast<loop_call*>(static_cast<remote_waiter::cancellable&>(wait).owner);
      wait.cancel = nullptr;
      self.send_cancel();
    });
    begin_.call = cancel_.call = this;
    begin_.run = [](posted& m) noexcept { static_cast<message&>(m).call->begin(); };
    cancel_.run = [](posted& m) noexcept { static_cast<message&>(m).call->cancel(); };
    loop_.post(begin_);
    return true;
  }
  void send_cancel() noexcept {
    int open = open_.load(std::memory_order_relaxed);
    do {
      if (open == 0) return;  // the caller is about to be woken
    } while (!open_.compare_exchange_weak(open, open + 1, std::memory_order_relaxed, std::memory_order_relaxed));
    cancel_asked_.store(true, std::memory_order_relaxed);
    loop_.post(cancel_);
  }

  // The loop's thread.

  void begin() noexcept {
    if (cancel_asked_.load(std::memory_order_relaxed) || loop_access::root(loop_).is_cancelled()) return one_is_back();
    if constexpr (stored::result::is_coroutine) {
      try {
        task_ = &start_task(loop_, loop_access::root(loop_), &carry, this).task();
        at_end_.call = this;
        at_end_.ended = [](end_hook& hook) noexcept {
          loop_call& self = *static_cast<at_end&>(hook).call;
          self.task_ = nullptr;
          self.one_is_back();
        };
        task_->add_joiner(at_end_);
        return;
      } catch (...) {
        call_.outcome.set_exception();
      }
    } else {
      call_.call_plain();
    }
    one_is_back();
  }
  void cancel() noexcept {
    if (task_) scope_tree::cancel(*task_, cancel_kind::requested, "the task that awaits it was cancelled", {});
    one_is_back();
  }
  void one_is_back() noexcept {
    if (open_.fetch_sub(1, std::memory_order_acq_rel) == 1) waiter_.wake();
  }
  // A cancellation stays on its thread: its record is counted without atomics. The caller finds no outcome.
  static task<> carry(loop_call* self) {
    try {
      if constexpr (std::is_void_v<value>) {
        co_await subject(self->call_.make_task());
        self->call_.outcome.set_state(outcome_base::value);
      } else {
        decltype(auto) result = co_await subject(self->call_.make_task());
        if constexpr (std::is_reference_v<value>)
          self->call_.outcome.emplace(std::addressof(result));
        else
          self->call_.outcome.emplace(std::move(result));
      }
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      self->call_.outcome.set_exception();
    }
  }

  event_loop& loop_;
  stored call_;
  remote_waiter waiter_;
  bool withdrawn_ = false;
  atomic<int> open_{1};
  atomic<bool> cancel_asked_{false};
  message begin_;
  message cancel_;
  at_end at_end_;
  task_state* task_ = nullptr;  // while it runs; of the loop's thread
};

}  // namespace detail

/// `co_await run_on(loop, f, args...)`: calls f on the loop's thread, in its next poll, and gives what comes out of it, value
/// or exception, on the caller's own executor, whichever that is. f returns a task, which then runs there, or is a plain
/// function. f and args are stored, decayed, until it has ended. The loop must live that long: those of a loop_group do.
///
/// When the caller is cancelled, a call that has not begun is dropped, a task is cancelled and waited for; a result is given
/// all the same. When the loop goes down first: std::system_error with errc::task_cancelled.
template <class F, class... Args>
auto run_on(event_loop& loop, F&& f, Args&&... args) {
  if constexpr (detail::can_be_started<F, Args...>()) {
    ROTA_REFUSE_OWNING_CLOSURE(F);
    detail::refuse_empty(f, "run_on()");
    return detail::loop_call<std::decay_t<F>, std::decay_t<Args>...>(loop, std::forward<F>(f),
                                                                     std::forward<Args>(args)...);
  }
}
/// The same for a pool: pool.run(f, args...).
template <class F, class... Args>
auto run_on(thread_pool& pool, F&& f, Args&&... args) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  return pool.run(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace rota
