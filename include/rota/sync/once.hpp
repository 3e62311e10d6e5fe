// once: something that is done once, by whichever task of a loop needs it first; the others wait for it.
#pragma once

#include <coroutine>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/holder.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

namespace detail {
class once_turn;
}

/// For tasks of one loop.
class once {
 public:
  once() noexcept = default;
  once(const once&) = delete;
  once& operator=(const once&) = delete;
  // Destroyed while somebody waits, it ends the program.

  /// When it returns, f() has ended well, here or in another task. `f` is a plain function, or returns something to be
  /// awaited; what it gives is dropped. When f() throws, or is cancelled, its caller gets that, and the next one in the
  /// queue calls its own. Throws rota::cancelled while it waits; usage_error (would_deadlock) from within its own f().
  ///
  /// A named callable is kept by reference and must live until the await ends; any other is moved.
  template <class F>
    requires std::is_invocable_v<F&>
  task<> call(F&& f, detail::line_mark where = ROTA_CALLERS_LINE) {
    ROTA_REFUSE_OWNING_CLOSURE(F);
    detail::refuse_empty(f, "once::call()");
    return run<F>(std::forward<F>(f), where);
  }

  bool is_done() const noexcept { return done_; }
  /// For people: who is at it; "nobody".
  std::string runner() const { return runner_.describe().c_str(); }
  /// How many tasks wait.
  std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  friend detail::once_turn;

  // Whichever way f() ends.
  struct attempt {
    once& owner;
    ~attempt() { owner.ended(); }
  };
  template <class F>
  task<> run(F f, detail::line_mark where);
  void ended() noexcept {
    runner_.clear();
    if (done_) return waiters_.grant_all();
    if (waiters_.empty()) return;
    auto& next = static_cast<detail::list_wait&>(*waiters_.first());
    runner_.set(next.task, detail::line_mark_of(detail::promise_of(next.frame).waits_at));
    waiters_.grant(next);
  }

  detail::wait_list waiters_{"once"};
  detail::holder runner_;
  bool done_ = false;
};

namespace detail {

// Gives true when it is this task's turn to do it, false when it has been done.
class [[nodiscard(ROTA_UNAWAITED)]] once_turn : public list_wait {
 public:
  explicit once_turn(once& o, line_mark called_at) noexcept : once_(o), called_at_(called_at) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    task_state& me = begin_at(handle, called_at_, once_.waiters_);
    if (!me.is_cancelled()) {
      if (once_.done_) return me.exec->takes_turns(handle.address());
      if (once_.runner_.empty()) {
        once_.runner_.set(&me, called_at_);
        return me.exec->takes_turns(handle.address());
      }
      if (once_.runner_.is(me))
        throw_usage_error(usage_error::kind::would_deadlock, "%s, called a once within itself", describe(me).c_str());
    }
    return wait_in(once_.waiters_, me, handle.address());
  }
  bool await_resume() const {
    check();
    return !once_.done_;
  }

 private:
  once& once_;
  line_mark called_at_;  // the user's line: the one that awaits is in this file
};

}  // namespace detail

template <class F>
task<> once::run(F f, detail::line_mark where) {
  const bool is_mine = co_await detail::once_turn(*this, where);
  if (!is_mine) co_return;
  const attempt here{*this};
  if constexpr (awaitable<std::invoke_result_t<F&>>)
    (void)co_await f();
  else
    (void)f();
  done_ = true;
}

}  // namespace rota
