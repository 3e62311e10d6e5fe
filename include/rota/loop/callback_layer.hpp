// What rota::event_loop offers to code without coroutines: asyncio's callbacks, by the same names.
#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <source_location>
#include <utility>

#include <rota/base/owned.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/describe.hpp>
#include <rota/loop/call_arguments.hpp>
#include <rota/loop/exception_context.hpp>

namespace rota {

class event_loop;
class call_handle;
class prepared_call;

namespace detail {
struct loop_access;
/// What only some loops have.
struct loop_part {
  virtual ~loop_part() = default;
};
}  // namespace detail

/// A part of event_loop. Its functions are for the loop's own thread, except call_soon_threadsafe().
///
/// f is called as f(args...) in a later iteration, never within the call that is described. f and args are stored,
/// decayed (std::ref keeps a reference), and may be movable only. An exception of f goes to the exception handler; the
/// loop and the other callbacks go on. All that store a callback throw std::bad_alloc, and usage_error once the loop has
/// been shut down, and for a null function pointer, an empty std::function and the like.
class callback_layer {
 public:
  // ---- soon, or at a time (loop/calls.hpp)

  /// Behind what is ready now, first come first called.
  template <class F>
  call_handle call_soon(F&& f, std::source_location where = std::source_location::current());
  template <class F, class A>
  call_handle call_soon(F&& f, A&& a, std::source_location where = std::source_location::current());
  template <class F, class A, class B>
  call_handle call_soon(F&& f, A&& a, B&& b, std::source_location where = std::source_location::current());

  /// The same from any thread; wakes the loop. The loop must be alive when the call begins (f may end its life); what
  /// comes after its shutdown is dropped. Any thread may have a copy of the handle. Not for signal handlers: it allocates.
  template <class F>
  call_handle call_soon_threadsafe(F&& f, std::source_location where = std::source_location::current());
  template <class F, class A>
  call_handle call_soon_threadsafe(F&& f, A&& a, std::source_location where = std::source_location::current());
  template <class F, class A, class B>
  call_handle call_soon_threadsafe(F&& f, A&& a, B&& b, std::source_location where = std::source_location::current());
  /// Calls what was prepared. Any thread, and signal handlers; never fails. False: it is on its way already, and that
  /// call will do for both.
  bool call_soon_threadsafe(prepared_call& call) noexcept;

  /// Once `delay` (any std::chrono duration) has passed. Zero or less: in the next iteration, behind what is ready then.
  /// Equal deadlines: first come first called. Far too large ones saturate; NaN throws usage_error.
  template <class F, class... Args>
  call_handle call_later(detail::call_delay delay, F&& f, Args&&... args);
  /// Once the loop's clock has reached `when` (a time_point of rota::clock).
  template <class F, class... Args>
  call_handle call_at(detail::call_time when, F&& f, Args&&... args);

  // ---- readiness of a descriptor (loop/fd_watch.hpp)

  /// Calls f(args...) in every iteration in which `fd` is readable (or has an error, or its peer has gone), until
  /// remove_reader(fd); replaces an earlier reader. The descriptor stays the caller's: remove first, then close it. A
  /// watch whose descriptor was closed, or became another file, ends with a word to the exception handler when it is
  /// noticed; until then the file stays open.
  /// Throws usage_error for a descriptor that a stream of this loop owns, std::system_error for one that is not open or
  /// when the process has none left (a watch needs one of its own).
  template <class F, class... Args>
  void add_reader(detail::call_number fd, F&& f, Args&&... args);
  /// The same for writing.
  template <class F, class... Args>
  void add_writer(detail::call_number fd, F&& f, Args&&... args);
  /// f is not called any more, and destroyed. False: there was none.
  bool remove_reader(int fd);
  bool remove_writer(int fd);

  // ---- signals (loop/signals.hpp)

  /// Calls f(args...) in this loop when the process gets the signal; several signals before the loop comes to it are one
  /// call. Replaces an earlier handler of this loop. System calls are restarted (SA_RESTART). Throws usage_error for
  /// a number that is no signal or cannot be handled so (SIGKILL, SIGSTOP, and the faults SIGSEGV, SIGBUS, SIGFPE and
  /// SIGILL), and when another loop handles the signal. While run_main runs, a handler for SIGINT or SIGTERM that is added
  /// takes its place until it is removed.
  template <class F, class... Args>
  void add_signal_handler(detail::call_number signal, F&& f, Args&&... args);
  /// Restores what the signal did before, unless somebody else has changed it meanwhile. False: there was none.
  bool remove_signal_handler(int signal);

  // ---- errors

  /// From now on f(const exception_context&) hears of errors that have nobody to be thrown at: of callbacks, of tasks that
  /// nobody looked at, of serve()'s connections, during the shutdown. If f throws, the default handler hears of both
  /// errors. (An error that is found when this loop does not run goes to the default handler.)
  template <class F>
    requires std::invocable<F&, const exception_context&>
  void set_exception_handler(F f);
  /// Back to the default.
  void set_exception_handler(std::nullptr_t);
  /// One line to report(): the message and the exception's text.
  static void default_exception_handler(const exception_context& context) noexcept {
    report("%s: %s", context.message, detail::describe(context.exception).c_str());
  }
  /// Tells the exception handler.
  void call_exception_handler(const exception_context& context) noexcept;

 protected:
  callback_layer() noexcept = default;
  ~callback_layer() = default;
  callback_layer(const callback_layer&) = delete;
  callback_layer& operator=(const callback_layer&) = delete;

  void drop_watches_and_signals() noexcept {
    signal_handlers_ = detail::owned<detail::loop_part>();
    fd_watches_ = detail::owned<detail::loop_part>();
  }
  void forget_remote_tasks() noexcept { remote_tasks_ = detail::owned<detail::loop_part>(); }

 private:
  friend detail::loop_access;

  event_loop& self() noexcept;
  void replace_receiver(detail::exception_receiver* by) noexcept {
    receiver_ = detail::owned<detail::exception_receiver>(by);
    receiver_replaced_ = true;
  }

  detail::owned<detail::exception_receiver> receiver_;  // null: the default
  bool receiver_replaced_ = false;
  detail::owned<detail::loop_part> fd_watches_;       // detail::fd_watches; null until it is needed, like
  detail::owned<detail::loop_part> signal_handlers_;  // detail::signal_handlers
  detail::owned<detail::loop_part> remote_tasks_;     // detail::remote_tasks (adapt/spawn_threadsafe.hpp)
};

inline void callback_layer::call_exception_handler(const exception_context& context) noexcept {
  if (!receiver_) {
    default_exception_handler(context);
    return;
  }
  // It may replace itself while it runs; errors of its own go to the default.
  detail::owned<detail::exception_receiver> mine = std::move(receiver_);
  receiver_replaced_ = false;
  try {
    mine->receive(context);
  } catch (...) {
    default_exception_handler(context);
    exception_context own;
    own.message = "the exception handler of an event loop failed";
    own.exception = std::current_exception();
    default_exception_handler(own);
  }
  if (!receiver_replaced_) receiver_ = std::move(mine);
}

}  // namespace rota
