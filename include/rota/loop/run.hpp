// rota::run and rota::run_main: a program in one call.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/loop/event_loop.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/loop/task_dump.hpp>

namespace rota {

namespace detail {

// SIGINT and SIGTERM while run_main runs: the first cancels the main task, the second ends the process at once.
struct interrupt_request : posted {
  event_loop* loop = nullptr;
  task_state* main = nullptr;
};

class interrupt_watch {
  using request = interrupt_request;

 public:
  interrupt_watch(event_loop& loop, task_state& main) noexcept {
    request_.loop = &loop;
    request_.main = &main;
    request_.run = [](posted& self) noexcept {
      auto& r = static_cast<request&>(self);
      if (r.main && !r.main->has(task_state::finished))
        scope_tree::cancel(*r.main, cancel_kind::interrupt, signal_name(received_.load()), {});
    };
    received_.store(0);
    current_.store(&request_);
    for (std::size_t i = 0; i != std::size(signals); ++i) {
      struct sigaction now{};
      ::sigaction(signals[i], nullptr, &now);
      previous_[i] = now;
      // Somebody who ignores or handles the signal keeps doing so.
      if (now.sa_handler != SIG_DFL || (now.sa_flags & SA_SIGINFO) != 0) continue;
      now.sa_handler = &on_signal;
      sigemptyset(&now.sa_mask);
      now.sa_flags = SA_RESTART;
      ::sigaction(signals[i], &now, nullptr);
    }
  }
  ~interrupt_watch() {
    for (std::size_t i = 0; i != std::size(signals); ++i) {
      struct sigaction now{};
      ::sigaction(signals[i], nullptr, &now);  // the program may have put a handler of its own there
      if ((now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == &on_signal)
        ::sigaction(signals[i], &previous_[i], nullptr);
    }
    current_.store(nullptr);
    wait_briefly([] { return handlers_.load() == 0; });  // another thread may have got the signal
    request_.main = nullptr;                             // a post of it may still be on its way
  }
  interrupt_watch(const interrupt_watch&) = delete;
  interrupt_watch& operator=(const interrupt_watch&) = delete;

  /// The signal that came, or 0.
  static int received() noexcept { return received_.load(); }
  static const char* signal_name(int number) noexcept { return number == SIGTERM ? "SIGTERM" : "SIGINT"; }

 private:
  static constexpr int signals[] = {SIGINT, SIGTERM};

  // Async-signal-safe: lock-free atomics, and a write to the loop's event descriptor.
  static void on_signal(int number) noexcept {
    const int saved = errno;
    int none = 0;
    if (!received_.compare_exchange_strong(none, number)) ::_exit(128 + number);
    handlers_.fetch_add(1);
    if (request* r = current_.load()) r->loop->post(*r);
    handlers_.fetch_sub(1);
    errno = saved;
  }

  struct sigaction previous_[2] = {};
  static inline request request_;  // outlives the watch: its loop may run it as the last thing
  static inline std::atomic<request*> current_{nullptr};
  static inline std::atomic<int> received_{0};
  static inline std::atomic<int> handlers_{0};  // that may be using the request
};

}  // namespace detail

namespace detail {

// Runs `main` on a new loop and takes the loop down; gives the finished task. `during(loop, task)` makes what must
// live while the loop runs.
template <class T, class During, class Outcome>
decltype(auto) run_program(task<T> given, const event_loop_options& options, During during, Outcome outcome) {
  taken_task<T> main(std::move(given));
  loop_access::check_may_block();
  event_loop loop(options);
  prepare_dumps(loop.debug());
  join_handle<T> handle = start_given(loop, main);
  bool was_stopped = false;
  {
    [[maybe_unused]] const auto meanwhile = during(loop, handle.task());
    loop_access::run_until_finished(loop, handle.task());
    was_stopped = !handle.done();
    loop.shutdown();
  }
  if (was_stopped && (!handle.done() || handle.cancelled()))
    throw std::system_error(make_error_code(errc::loop_stopped));
  return outcome(handle);
}

}  // namespace detail

/// Makes an event loop, runs the task on it, and takes the loop down in order: every task that is left is cancelled
/// and runs to its end, errors that nobody retrieved are reported, the loop goes. Then the task's value is
/// returned, or its exception thrown (rota::cancelled too); std::system_error with errc::loop_stopped when
/// event_loop::stop() ended the run and the task by that.
template <class T>
T run(task<T> main, const event_loop_options& options = event_loop_options()) {
  return detail::run_program(
      std::move(main), options, [](event_loop&, detail::task_state&) { return 0; },
      [](join_handle<T>& handle) -> T {
        if (!handle.cancelled()) return handle.take();
        if (const std::exception_ptr error = handle.exception()) std::rethrow_exception(error);
        throw cancelled(nullptr, nullptr);  // it never began
      });
}

template <class F>
  requires std::is_invocable_v<F&>
void run(F&&, const event_loop_options& = event_loop_options()) {
  static_assert(!std::is_same_v<F, F>, "run() takes a task: call the coroutine function, rota::run(f())");
}

template <class F>
  requires std::is_invocable_v<F&>
int run_main(F&&, const event_loop_options& = event_loop_options()) {
  static_assert(!std::is_same_v<F, F>,
                "run_main() takes a task: call the coroutine function, return rota::run_main(f())");
  return 1;
}

/// What main() returns: runs the task as rota::run does, and turns its outcome into an exit code. The value of a
/// task<int>, 0 after a task<>; 1 after an exception, which is printed, and after event_loop::stop(); 128 + n when SIGINT
/// or SIGTERM (n) cancelled the task and it ended by that. A task that catches rota::cancelled, finishes and returns has
/// ended well, whatever signal came: its value counts. A second signal ends the process at once. Signals that the
/// program ignores or handles itself are left alone.
template <class T>
[[nodiscard("it is the exit code of the program: return it from main()")]] int run_main(
    task<T> main, const event_loop_options& options = event_loop_options()) {
  using detail::interrupt_watch;
  static_assert(std::is_void_v<T> || std::is_same_v<T, int>,
                "run_main() takes a task<>, or a task<int>, whose value is the program's exit code; run() takes any");
  try {
    return detail::run_program(
        std::move(main), options,
        [](event_loop& loop, detail::task_state& task) { return interrupt_watch(loop, task); },
        [](join_handle<T>& handle) {
          if (handle.cancelled()) {
            if (const int signal = interrupt_watch::received()) return 128 + signal;
            report("error: the program's task ended: %s", detail::describe(handle.exception()).c_str());
            return EXIT_FAILURE;
          }
          if constexpr (std::is_void_v<T>) {
            handle.take();
            return EXIT_SUCCESS;
          } else {
            return handle.take();
          }
        });
  } catch (...) {
    report("error: %s", detail::describe(std::current_exception()).c_str());
    return EXIT_FAILURE;
  }
}

}  // namespace rota
