// The kernel's side of a loop, as one abstract interface: requests go in, completions come out. (Strictly a
// proactor: it reports what is done, not what could be done.)
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <rota/base/clock.hpp>
#include <rota/base/report.hpp>
#include <rota/base/sys.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/reactor/descriptor_table.hpp>
#include <rota/reactor/fork_guard.hpp>
#include <rota/reactor/operation.hpp>
#include <rota/reactor/socket_calls.hpp>

namespace rota {

/// Which kernel interface a loop uses.
enum class backend : std::uint8_t {
  automatic,  ///< only as a wish: io_uring if the kernel allows it, else epoll
  epoll,
  io_uring,
  simulated,
};

inline std::string_view to_string(backend b) noexcept {
  switch (b) {
    case backend::automatic: return "auto";
    case backend::epoll: return "epoll";
    case backend::io_uring: return "io_uring";
    case backend::simulated: return "simulated";
  }
  return "?";
}

namespace detail {

/// Counts since the reactor was made.
struct reactor_statistics {
  std::uint64_t submitted = 0;  // operations
  std::uint64_t completed = 0;
  std::uint64_t waits = 0;    // kernel calls that wait or poll
  std::uint64_t wakeups = 0;  // asked for by wake()
};

class reactor : public socket_calls {
 public:
  /// `first_descriptor`: the smallest number that a descriptor of this reactor can have.
  explicit reactor(int first_descriptor = 0) noexcept : descriptors_(first_descriptor) {}
  reactor(const reactor&) = delete;
  reactor& operator=(const reactor&) = delete;
  virtual ~reactor() = default;

  virtual backend kind() const noexcept = 0;
  /// The loop's time in nanoseconds; simulated reactors have their own.
  virtual nanoseconds now() noexcept { return sys::now(); }
  /// Descriptors of this backend want O_NONBLOCK (epoll) or must not have it (io_uring, where a non-blocking
  /// descriptor completes with EAGAIN instead of waiting).
  virtual bool wants_nonblocking() const noexcept = 0;
  /// The loop has signals of its own, which are not the process's: a simulated host.
  virtual bool has_own_signals() const noexcept { return false; }

  /// Makes `fd` known; operations may then be submitted on it. Throws std::bad_alloc; std::system_error for a number
  /// that can be no descriptor; usage_error for one that was adopted and not closed.
  void adopt(int fd) {
    check_not_forked();
    if (!descriptors_.can_hold(fd)) throw std::system_error(EBADF, std::generic_category(), "adopt");
    if (descriptors_.find(fd)) [[unlikely]]
      throw usage_error(
          usage_error::kind::invalid_argument,
          "a stream or listener of this event loop has this descriptor already; one owns it and closes it");
    descriptors_.open(fd);
  }

  enum class submitted : bool { pending, completed };
  /// Starts the operation. `completed`: op.result is there already and the reactor does not keep the operation.
  /// `pending`: a later wait() hands it back. Never fails otherwise: errors are results.
  submitted submit(operation& op) noexcept {
    if (forked()) return refuse(op, ECHILD);
    descriptor* d = descriptors_.find(op.fd);
    if (!d || d->closing) return refuse(op, EBADF);
    operation*& slot = d->slot(op.way());
    if (slot) return refuse(op, EBUSY);
    slot = &op;
    op.in_flight = true;
    ++in_flight_;
    ++statistics_.submitted;
    if (start(op, *d) == submitted::pending) return submitted::pending;
    finish(op);
    return submitted::completed;
  }

  /// Asks a pending operation to end early; it completes by itself, with success or -ECANCELED.
  void cancel(operation& op) noexcept {
    if (!op.in_flight || op.cancel_requested || forked()) return;
    op.cancel_requested = true;
    stop(op);
  }

  /// Gives up a descriptor. Operations on it end with -EBADF; when the last has completed (at once, without any)
  /// the descriptor is closed. Returns true when it is closed already.
  bool close(int fd) noexcept {
    descriptor* d = descriptors_.find(fd);
    if (!d || d->closing || forked()) return true;
    d->closing = true;
    for (operation* op : {d->reader, d->writer}) {
      if (!op) continue;
      op->closing = true;
      cancel(*op);
    }
    return close_if_idle(fd, *d);
  }
  bool is_closed(int fd) noexcept { return descriptors_.find(fd) == nullptr; }

  /// Gives up a descriptor without closing it; nothing may be in flight on it.
  void disown(int fd) noexcept {
    if (descriptor* d = descriptors_.find(fd)) {
      ROTA_ASSERT(!d->reader && !d->writer);
      forget(fd, *d);
      descriptors_.close(fd);
    }
  }

  /// Moves what has completed into `done`; if nothing has, waits for it until `deadline` (never: no limit; 0 or
  /// the past: does not wait), or until wake(). May return early with nothing.
  virtual void wait(nanoseconds deadline, completion_list& done) = 0;
  /// Ends a wait(), or the next one. Any thread, and signal handlers.
  virtual void wake() noexcept = 0;

  // For who waits with another loop's poll or epoll instead of wait().

  /// A descriptor that is readable when wait() has something to do, once flush() was called; always the same. Throws
  /// std::system_error; ENOTSUP: this reactor has none.
  virtual int pollable() { throw std::system_error(ENOTSUP, std::generic_category(), "pollable"); }
  /// Hands all requests to the kernel. False: wait() must be called at once, something is to do that pollable() does
  /// not tell.
  virtual bool flush() { return true; }

  std::size_t in_flight() const noexcept { return in_flight_; }
  std::size_t descriptors() const noexcept { return descriptors_.size(); }
  const reactor_statistics& statistics() const noexcept { return statistics_; }

  bool forked() const noexcept { return fork_guard::generation() != born_in_; }
  void check_not_forked() const {
    if (forked()) [[unlikely]]
      throw usage_error(usage_error::kind::forked,
                        "a child process used the event loop of its parent; make a loop of its own after fork()");
  }

 protected:
  // The backend's part. start() may complete at once; stop() is called once per operation; forget() is called when
  // nothing is in flight on the descriptor.
  virtual submitted start(operation& op, descriptor& d) noexcept = 0;
  virtual void stop(operation& op) noexcept = 0;
  virtual void forget(int fd, descriptor& d) noexcept = 0;

  /// Makes an event descriptor readable. (EAGAIN: it is, its count is full.)
  static void signal(int event_descriptor) noexcept {
    const std::uint64_t one = 1;
    while (sys::write(event_descriptor, &one, sizeof one) == -EINTR) {
    }
  }

  nanoseconds time_left(nanoseconds deadline) noexcept {
    const nanoseconds time = now();
    return deadline > time ? deadline - time : 0;
  }

  /// For the backend: op.result is final. Frees the descriptor's slot.
  void finish(operation& op) noexcept {
    op.in_flight = false;
    --in_flight_;
    ++statistics_.completed;
    descriptor& d = *descriptors_.find(op.fd);
    d.slot(op.way()) = nullptr;
    if (d.closing) {
      // An accepted connection has no owner any more.
      if (op.code == opcode::accept && op.result >= 0) close_number(op.result);
      if (op.result < 0 || op.code == opcode::accept) op.result = -EBADF;
      close_if_idle(op.fd, d);
    }
  }
  void finish(operation& op, completion_list& done) noexcept {
    finish(op);
    done.push(op);
  }

  descriptor_table descriptors_;
  reactor_statistics statistics_;

 private:
  submitted refuse(operation& op, int error) noexcept {
    op.result = -error;
    return submitted::completed;
  }
  bool close_if_idle(int fd, descriptor& d) noexcept {
    if (d.reader || d.writer) return false;
    forget(fd, d);
    descriptors_.close(fd);
    close_number(fd);
    return true;
  }

  std::size_t in_flight_ = 0;
  const std::uint32_t born_in_ = fork_guard::watch();
};

}  // namespace detail
}  // namespace rota
