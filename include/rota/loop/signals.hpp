// add_signal_handler: a callback in the loop when the process gets a signal.
//
// Signals belong to the process: one table for all loops says which callback a signal asks for. The kernel may run the
// handler on any thread, so who takes a callback out of the table waits until no handler is under way.
//
// A simulated host is a process of its own: its loop has a table for itself, and raise() takes the kernel's place.
#pragma once

#include <signal.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <source_location>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/sys.hpp>
#include <rota/loop/calls.hpp>

namespace rota {

namespace detail {

struct signal_entry {
  std::atomic<notified_call*> call{nullptr};
  std::atomic<event_loop*> owner{nullptr};
  struct sigaction previous{};  // the owner's, as are changes of `call`
};

/// The signal handlers of one loop.
class signal_handlers final : public loop_part {
 public:
  explicit signal_handlers(event_loop& loop) noexcept : loop_(loop) {}
  ~signal_handlers() override {
    for (int number = 1; number != signals; ++number) remove(number);
  }

  template <class F>
  static void add(event_loop& loop, call_number signal, F&& f) {
    loop_access::check_caller(loop);
    loop_access::check_open(loop);
    signal_entry& slot = checked(signal.value);
    owned<loop_part>& part = loop_access::signal_handlers_of(loop);
    if (!part) part = owned<signal_handlers>(new signal_handlers(loop));
    notified_call& made = make_call<notified_call>(std::forward<F>(f), signal.where);
    if (loop_access::kernel(loop).has_own_signals()) {
      static_cast<signal_handlers&>(*part).put(signal.value, &made);
      return;
    }
    if (slot.owner.load() == &loop) {
      forget(slot.call.exchange(&made));
      return;
    }
    event_loop* nobody = nullptr;
    if (!slot.owner.compare_exchange_strong(nobody, &loop)) {
      made.destroy();
      throw usage_error(usage_error::kind::wrong_loop, "another event loop handles this signal");
    }
    slot.call.store(&made);
    struct sigaction action{};
    action.sa_handler = &on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    if (::sigaction(signal.value, &action, &slot.previous) == 0) return;
    const int error = errno;  // a number that the C library keeps for itself
    forget(slot.call.exchange(nullptr));
    slot.owner.store(nullptr);
    throw_errno(error, "sigaction");
  }

  static bool remove(event_loop& loop, int number) {
    loop_access::check_caller(loop);
    const owned<loop_part>& part = loop_access::signal_handlers_of(loop);
    return part && static_cast<signal_handlers&>(*part).remove(number);
  }

  /// For a loop with signals of its own: it gets one. False: it does not handle it.
  static bool raise(event_loop& loop, int number) {
    (void)checked(number);
    const owned<loop_part>& part = loop_access::signal_handlers_of(loop);
    notified_call* const call = part ? static_cast<signal_handlers&>(*part).own_[number] : nullptr;
    if (call) call->notify(loop);
    return call != nullptr;
  }

 private:
  static constexpr int signals = 65;  // Linux has 1 to 64

  void put(int number, notified_call* call) noexcept {
    if (notified_call* const before = std::exchange(own_[number], call)) before->disown();
  }
  bool remove(int number) noexcept {
    if (number <= 0 || number >= signals) return false;
    if (own_[number]) {
      put(number, nullptr);
      return true;
    }
    signal_entry& slot = table_[number];
    if (slot.owner.load() != &loop_) return false;
    struct sigaction now{};
    if (::sigaction(number, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == &on_signal)
      ::sigaction(number, &slot.previous, nullptr);
    forget(slot.call.exchange(nullptr));
    slot.owner.store(nullptr);
    return true;
  }

  static signal_entry& checked(int number) {
    for (const int other : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
      if (number == other)
        throw usage_error(usage_error::kind::invalid_argument, "this signal cannot be handled by an event loop");
    if (number <= 0 || number >= signals)
      throw usage_error(usage_error::kind::invalid_argument, "there is no signal of this number");
    return table_[number];
  }

  // Async-signal-safe: lock-free atomics, and a write to the loop's event descriptor.
  static void on_signal(int number) noexcept {
    const int saved = errno;
    under_way_.fetch_add(1);
    signal_entry& slot = table_[number];
    if (notified_call* call = slot.call.load()) call->notify(*slot.owner.load());
    under_way_.fetch_sub(1);
    errno = saved;
  }
  static void forget(notified_call* call) noexcept {
    wait_briefly([] { return under_way_.load() == 0; });
    call->disown();
  }

  event_loop& loop_;
  notified_call* own_[signals] = {};
  static inline signal_entry table_[signals];
  static inline std::atomic<int> under_way_{0};  // calls of on_signal, on all threads
};

}  // namespace detail

template <class F, class... Args>
void callback_layer::add_signal_handler(detail::call_number signal, F&& f, Args&&... args) {
  detail::signal_handlers::add(self(), signal, detail::bind_often(std::forward<F>(f), std::forward<Args>(args)...));
}
inline bool callback_layer::remove_signal_handler(int signal) {
  return detail::signal_handlers::remove(self(), signal);
}

}  // namespace rota
