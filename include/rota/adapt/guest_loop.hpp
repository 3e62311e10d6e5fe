// guest_loop: rota inside somebody else's loop, which polls a descriptor, keeps a time and calls step().
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <source_location>
#include <string_view>
#include <utility>

#include <rota/base/clock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/spawn.hpp>

namespace rota {

/// An event loop that another loop drives: Qt, GTK, libuv, a game, or a plain poll(2).
///
///     pollfd p{guest.fd(), POLLIN, 0};
///     poll(&p, 1, guest.timeout_ms());  // with the host's own descriptors, and the host's own timeout if it is shorter
///     guest.step();
///
/// All members are for the thread that made it. Several guests on one thread are independent; one may not be stepped
/// inside another's step, or inside a running event_loop. The destructor is event_loop's: it cancels the tasks and waits
/// for their end.
class guest_loop {
 public:
  /// Throws what event_loop's constructor throws.
  explicit guest_loop(const event_loop_options& options = event_loop_options())
      : loop_(for_guest(options)), fd_(detail::loop_access::kernel(loop_).pollable()) {}
  guest_loop(const guest_loop&) = delete;
  guest_loop& operator=(const guest_loop&) = delete;

  /// Readable (POLLIN, level-triggered) when step() has something to do. The same for the guest's whole life; may be put
  /// into an epoll set. With io_uring a wait of the host may end with EINTR when something has completed: it is to be
  /// repeated, as after a signal.
  int fd() const noexcept { return fd_; }

  /// How long the host may wait for fd(): zero when there is something to do now, duration::max() when nothing is due.
  /// To be asked after everything else that the host does with the guest, right before it waits: it also hands to the
  /// kernel what was requested since the last step.
  duration timeout() {
    detail::loop_access::check_caller(loop_);
    return duration(detail::loop_access::time_to_next_step(loop_));
  }
  /// The same for poll and epoll_wait: rounded up, -1 when nothing is due.
  int timeout_ms() {
    const duration left = timeout();
    if (left == duration::max()) return -1;
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    constexpr int most = std::numeric_limits<int>::max();
    return milliseconds > most ? most : static_cast<int>(milliseconds);
  }

  /// Takes what has completed and runs, once, everything that is ready then; never waits. Throws usage_error inside a
  /// running loop or on another thread, std::system_error when the kernel refuses to be polled. What callbacks and
  /// posted functions throw goes to the loop's exception handler.
  void step() {
    detail::loop_access::step(loop_);
    (void)timeout();  // for hosts that do not ask
  }

  /// rota::spawn for the host, between steps.
  template <class F, class... Args>
  auto spawn(F&& f, Args&&... args) {
    detail::loop_access::check_caller(loop_);
    return detail::start_task(loop_, detail::loop_access::root(loop_), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// Calls f() as if it ran in the loop: rota::spawn and the rest of the library find the loop there. Gives what f gives.
  template <std::invocable F>
  decltype(auto) call(F&& f) {
    const inside here(loop_);
    return std::forward<F>(f)();
  }

  /// Tasks that have not ended.
  std::size_t tasks() const noexcept { return loop_.statistics().tasks; }
  /// Cancels every task, and each that is still spawned; goes on stepping is the host's part, until tasks() is 0.
  void cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) noexcept {
    detail::loop_access::check_thread(loop_, "guest_loop::cancel() was called");
    detail::scope_tree::cancel(detail::loop_access::root(loop_), cancel_kind::shutdown, reason, where);
  }
  /// Cancels every task and waits, in the kernel, until all have ended or shutdown_deadline has passed; how many are left.
  std::size_t shutdown() { return loop_.shutdown(); }

  /// For post() from other threads, statistics, and functions that take a loop. It cannot be run.
  event_loop& loop() noexcept { return loop_; }

 private:
  class inside {
   public:
    explicit inside(event_loop& loop) : before_(event_loop::current()) {
      detail::loop_access::check_caller(loop);
      if (before_ && before_ != &loop)
        throw usage_error(usage_error::kind::loop_already_running, "a guest loop was used inside another loop");
      detail::this_thread::loop() = &loop;
    }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() { detail::this_thread::loop() = before_; }

   private:
    event_loop* before_;
  };

  static event_loop_options for_guest(event_loop_options options) noexcept {
    options.is_guest = true;
    return options;
  }

  event_loop loop_;
  const int fd_;
};

}  // namespace rota
