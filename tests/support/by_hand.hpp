// Drives a coroutine step by step, without an event loop.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

#include <rota/coro/executor.hpp>
#include <rota/coro/task.hpp>

namespace rota_test {

/// Suspends whoever awaits it until by_hand::resume(it): for coroutines without an event loop.
class manual_awaiter {
  struct awaiter {
    explicit awaiter(manual_awaiter& w) noexcept : owner(w) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { owner.suspended_ = handle.address(); }
    void await_resume() const noexcept {}
    manual_awaiter& owner;
  };

 public:
  manual_awaiter() noexcept = default;
  manual_awaiter(const manual_awaiter&) = delete;
  manual_awaiter& operator=(const manual_awaiter&) = delete;

  awaiter operator co_await() noexcept { return awaiter(*this); }
  bool waiting() const noexcept { return suspended_ != nullptr; }
  void* take() noexcept { return std::exchange(suspended_, nullptr); }

 private:
  void* suspended_ = nullptr;
};

/// Owns a task and drives it by hand, without an event loop. It may be destroyed while it is suspended.
template <class T>
class by_hand {
 public:
  explicit by_hand(rota::task<T> t) : frame_(rota::detail::task_access::release(t)) {
    frame_.promise().state = &state_;
    frame_.promise().outcome = &outcome_;
  }
  by_hand(const by_hand&) = delete;
  by_hand& operator=(const by_hand&) = delete;
  ~by_hand() { destroy(); }

  /// Runs it to its end, or to its next suspension.
  void start() { hand_.run(state_, frame_.address()); }
  /// The same, from where it suspended.
  void resume(manual_awaiter& at) { hand_.run(state_, at.take()); }
  bool done() const noexcept { return state_.has(rota::detail::task_state::finished); }
  T take() { return outcome_.take(); }
  /// Before its end: then it has freed itself.
  void destroy() {
    if (frame_ && !done()) std::exchange(frame_, nullptr).destroy();
  }

 private:
  class hand final : public rota::executor {
   public:
    hand() : executor(false) {}
    void run(rota::detail::task_state& task, void* frame) {
      const running_here here(*this);
      run_frame(task, frame);
    }
    void post(rota::detail::posted&) noexcept override {}
    void cancel_wait(rota::detail::task_state&) noexcept override {}
    void task_finished(rota::detail::task_state& task) noexcept override { task.end(); }
  };

  std::coroutine_handle<rota::detail::task_promise<T>> frame_;
  hand hand_;
  rota::detail::task_state state_{&hand_, frame_.address()};
  rota::detail::task_outcome<T> outcome_;
};

}  // namespace rota_test
