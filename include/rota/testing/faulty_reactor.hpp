// rota::testing::faulty_reactor: a real backend on a bad day. It stands between an event loop and the reactor that has the
// kernel, and makes operations fail, fall short, come late, and survive their cancel. The faults are the simulator's.
#pragma once

#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <rota/base/clock.hpp>
#include <rota/base/config.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/sys.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/run.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/reactor/open_reactor.hpp>
#include <rota/reactor/reactor.hpp>
#include <rota/testing/faults.hpp>

namespace rota::testing {

/// read, write (of any descriptor), recv, send, recvmsg, sendmsg (streams of sockets; the latter two for several buffers),
/// accept, connect, poll.
using operation_kind = detail::opcode;

/// The `nth` operation of its kind, counted from 1, fails with this errno instead of reaching the kernel.
struct failing_operation {
  operation_kind kind;
  std::uint64_t nth = 1;
  int error = 0;
};

/// What goes wrong.
struct faulty_options {
  faulty_options() noexcept {}
  faulty_options(const faulty_options&) = default;
  faulty_options& operator=(const faulty_options&) = default;
  // Out of line: GCC 12 at -O2 takes an empty script for one that was never initialised, and warns.
  ROTA_NOINLINE ~faulty_options() {}
  explicit faulty_options(std::uint64_t s) noexcept : seed(s) {}

  std::uint64_t seed = 1;
  fault_rates faults;                                     ///< drawn from the seed
  std::optional<std::vector<fault_at>> script;            ///< in their place: exactly these
  std::vector<failing_operation> failing;                 ///< besides
  duration longest_delay = std::chrono::milliseconds(2);  ///< of fault::delay and fault::late_cancel, in real time
  duration longest_stall = std::chrono::milliseconds(5);  ///< of fault::clock_stall
  rota::backend backend = rota::backend::automatic;       ///< ROTA_BACKEND beats it
};

/// For `event_loop loop(std::make_unique<faulty_reactor>(options))`. What it does is legal: everything could have come from a
/// kernel and a network, bytes stay in order, and a byte that was reported is a byte that was moved. Differs from the
/// simulator where a kernel is in the way: an error strikes when an operation begins, also one that would have waited; and a
/// reset is one for TCP only, other sockets are shut. Which opportunity is the n-th depends on what the kernel does, so a
/// seed repeats a run only as far as that does.
class faulty_reactor final : public detail::reactor {
 public:
  /// Over a backend that is opened as a loop does it; throws what that throws.
  explicit faulty_reactor(const faulty_options& options)
      : faulty_reactor(detail::open_reactor(options.backend), options) {}
  /// Over any other reactor that has no descriptors yet.
  faulty_reactor(detail::owned<detail::reactor> inner, const faulty_options& options)
      : inner_(std::move(inner)),
        plan_(options.seed, options.faults, options.script ? &*options.script : nullptr),
        failing_(options.failing),
        longest_delay_(options.longest_delay.count()),
        longest_stall_(options.longest_stall.count()) {}

  /// Those that have struck, in order; without options.failing. As options.script they strike again.
  const std::vector<fault_at>& struck() const noexcept { return plan_.struck(); }

  /// How many operations of a kind have begun: the next one's number is one more.
  std::uint64_t operations(operation_kind kind) const noexcept { return operations_[static_cast<std::size_t>(kind)]; }

  // ---- reactor

  backend kind() const noexcept override { return inner_->kind(); }
  bool wants_nonblocking() const noexcept override { return inner_->wants_nonblocking(); }
  detail::nanoseconds now() noexcept override {
    const detail::nanoseconds t = inner_->now();
    return t < stalled_until_ ? frozen_at_ : t;
  }

  void wait(detail::nanoseconds deadline, detail::completion_list& done) override {
    check_not_forked();
    ++statistics_.waits;
    if (is_interrupted()) return;
    start_what_is_due();
    while (detail::operation* op = ended_.pop()) finish(*op, done);
    const bool another_look = looks_ != 0;
    const bool waits = done.empty() && !another_look;
    detail::nanoseconds until = deadline == detail::never || deadline > stalled_until_ ? deadline : stalled_until_;
    if (next_due_ < until) until = next_due_;
    detail::completion_list completed;
    inner_->wait(waits ? until : 0, completed);
    while (detail::operation* op = completed.pop()) {
      forwarded& f = *static_cast<forwarded*>(op->waiter);
      if (take_result(f)) finish(*std::exchange(f.outer, nullptr), done);
    }
    if (another_look) cancel_after_the_look();
  }
  void wake() noexcept override { inner_->wake(); }
  int pollable() override { return inner_->pollable(); }
  bool flush() override { return inner_->flush() && ended_.empty() && next_due_ == detail::never && looks_ == 0; }

  int socket(int family, int type) noexcept override {
    if (plan_.strikes(fault::too_many_files)) return -EMFILE;
    if (plan_.strikes(fault::no_memory)) return -ENOMEM;
    return inner_->socket(family, type);
  }
  int bind(int fd, const sockaddr* at, socklen_t size) noexcept override { return inner_->bind(fd, at, size); }
  int listen(int fd, int backlog) noexcept override { return inner_->listen(fd, backlog); }
  int set_option(int fd, int level, int name, const void* value, socklen_t size) noexcept override {
    return inner_->set_option(fd, level, name, value, size);
  }
  int local_address(int fd, sockaddr* at, socklen_t* size) noexcept override {
    return inner_->local_address(fd, at, size);
  }
  int peer_address(int fd, sockaddr* at, socklen_t* size) noexcept override {
    return inner_->peer_address(fd, at, size);
  }
  int shutdown(int fd, int how) noexcept override { return inner_->shutdown(fd, how); }
  void close_number(int fd) noexcept override { inner_->close_number(fd); }

 protected:
  submitted start(detail::operation& op, detail::descriptor&) noexcept override {
    connection* const c = connection_of(op.fd);
    if (!c) return end(op, -ENOMEM);
    if (const int error = planned_error(op.code)) return end(op, -error);
    if (c->is_broken && moves_bytes(op.code)) return end(op, is_read(op.code) ? 0 : -EPIPE);
    if (const int error = fault_of(op, *c)) return end(op, -error);
    forwarded& f = c->of(op.way());
    f.outer = &op;
    if (plan_.strikes(fault::delay)) {
      f.start_at = later(fault::delay, longest_delay_);
      due(f.start_at);
      return submitted::pending;
    }
    if (!forward(f, *c)) return submitted::pending;
    f.outer = nullptr;
    return submitted::completed;
  }

  void stop(detail::operation& op) noexcept override {
    forwarded& f = connections_.find(op.fd)->second.of(op.way());
    if (!f.outer) return;               // it has ended, and waits to be handed back
    if (f.start_at != detail::never) {  // the kernel has not seen it
      f.start_at = detail::never;
      give_up(f, -ECANCELED);
    } else if (plan_.strikes(fault::beaten_cancel)) {
      f.cancel_after_look = true;
      ++looks_;
    } else if (plan_.strikes(fault::late_cancel)) {
      f.cancel_at = later(fault::late_cancel, longest_delay_);
      due(f.cancel_at);
    } else {
      inner_->cancel(f.op);
    }
  }

  void forget(int fd, detail::descriptor&) noexcept override {
    if (connections_.erase(fd) != 0) inner_->disown(fd);
  }

 private:
  static constexpr std::size_t most_parts = 16;

  // An operation of the loop, and the one that the kernel has in its place.
  struct forwarded {
    forwarded() noexcept {}
    detail::operation* outer = nullptr;  // null: none
    detail::operation op{detail::opcode::poll, -1};
    detail::nanoseconds start_at = detail::never;
    detail::nanoseconds cancel_at = detail::never;
    bool cancel_after_look = false;
    msghdr message{};
    std::array<iovec, most_parts> parts;
  };
  struct connection {
    forwarded in;
    forwarded out;
    bool is_stream = false;  // of bytes, which may come in any pieces
    bool is_broken = false;
    forwarded& of(detail::direction way) noexcept { return way == detail::direction::in ? in : out; }
  };

  static bool is_read(detail::opcode code) noexcept {
    return code == detail::opcode::read || code == detail::opcode::recv || code == detail::opcode::recvmsg;
  }
  static bool moves_bytes(detail::opcode code) noexcept {
    return code != detail::opcode::accept && code != detail::opcode::connect && code != detail::opcode::poll;
  }
  static submitted end(detail::operation& op, int result) noexcept {
    op.result = result;
    return submitted::completed;
  }

  /// The inner reactor learns of a descriptor with its first operation. Null: no memory.
  connection* connection_of(int fd) noexcept {
    const auto found = connections_.find(fd);
    if (found != connections_.end()) return &found->second;
    try {
      connection& c = connections_[fd];
      try {
        inner_->adopt(fd);
      } catch (...) {
        connections_.erase(fd);
        throw;
      }
      int type = 0;
      socklen_t size = sizeof type;
      struct stat status{};
      c.is_stream = detail::sys::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0
                        ? type == SOCK_STREAM
                        : detail::sys::fstat(fd, &status) != 0 || S_ISFIFO(status.st_mode);
      return &c;
    } catch (...) {
      return nullptr;
    }
  }

  int planned_error(detail::opcode code) noexcept {
    const std::uint64_t nth = ++operations_[static_cast<std::size_t>(code)];
    for (const failing_operation& f : failing_)
      if (f.kind == code && f.nth == nth) return f.error;
    return 0;
  }
  int fault_of(const detail::operation& op, connection& c) noexcept {
    switch (op.code) {
      case detail::opcode::accept: return plan_.strikes(fault::too_many_files) ? EMFILE : 0;
      case detail::opcode::connect: return plan_.strikes(fault::no_buffers) ? ENOBUFS : 0;
      case detail::opcode::poll: return 0;
      default: break;
    }
    if (plan_.strikes(is_read(op.code) ? fault::no_memory : fault::no_buffers))
      return is_read(op.code) ? ENOMEM : ENOBUFS;
    if (!c.is_stream || !plan_.strikes(fault::connection_reset)) return 0;
    break_connection(op.fd, c);
    return ECONNRESET;
  }
  void break_connection(int fd, connection& c) noexcept {
    c.is_broken = true;
    const sockaddr nowhere{AF_UNSPEC, {}};
    if (detail::sys::connect(fd, &nowhere, sizeof nowhere) < 0) inner_->shutdown(fd, SHUT_RDWR);  // TCP: a reset
    for (forwarded* f : {&c.in, &c.out}) {
      if (!f->outer) continue;
      if (f->start_at != detail::never) {
        f->start_at = detail::never;
        give_up(*f, -ECONNRESET);
      } else {
        inner_->cancel(f->op);
      }
    }
  }
  /// Without the kernel; handed back by the next wait().
  void give_up(forwarded& f, int result) noexcept {
    f.outer->result = result;
    ended_.push(*std::exchange(f.outer, nullptr));
  }

  /// True: the outer operation has its result.
  bool forward(forwarded& f, connection& c) noexcept {
    do {
      const detail::operation& outer = *f.outer;
      f.op = detail::operation(outer.code, outer.fd);
      f.op.waiter = &f;
      f.op.all = outer.all;
      f.op.buffer = outer.buffer;  // or whatever else is in the union
      f.op.size = outer.size;
      f.op.address_size = outer.address_size;
      if (is_write(outer.code)) {
        f.op.buffer = static_cast<char*>(outer.buffer) + outer.transferred;
        f.op.size -= outer.transferred;
      }
      if (c.is_stream) shorten(f);
      if (inner_->submit(f.op) == submitted::pending) return false;
    } while (!take_one_result(f, c));
    return true;
  }
  static bool is_write(detail::opcode code) noexcept {
    return code == detail::opcode::write || code == detail::opcode::send;
  }
  void shorten(forwarded& f) noexcept {
    if (!moves_bytes(f.op.code)) return;
    const fault kind = is_read(f.op.code) ? fault::short_read : fault::short_write;
    const bool in_parts = f.op.code == detail::opcode::recvmsg || f.op.code == detail::opcode::sendmsg;
    std::size_t size = f.op.size;
    if (in_parts) {
      if (f.op.message->msg_iovlen > most_parts) return;
      size = 0;
      for (std::size_t i = 0; i != f.op.message->msg_iovlen; ++i) size += f.op.message->msg_iov[i].iov_len;
    }
    if (size <= 1 || !plan_.strikes(kind)) return;
    std::size_t left = 1 + static_cast<std::size_t>(plan_.amount(kind, size - 1));
    if (!in_parts) {
      f.op.size = static_cast<std::uint32_t>(left);
      return;
    }
    f.message = *f.op.message;
    for (std::size_t i = 0; i != f.message.msg_iovlen; ++i) {
      f.parts[i] = f.message.msg_iov[i];
      if (f.parts[i].iov_len > left) f.parts[i].iov_len = left;
      left -= f.parts[i].iov_len;
    }
    f.message.msg_iov = f.parts.data();
    f.op.message = &f.message;
  }

  /// After an inner completion. True: the outer operation has its result; false: it goes on.
  bool take_result(forwarded& f) noexcept {
    connection& c = connections_.find(f.op.fd)->second;
    return take_one_result(f, c) || forward(f, c);
  }
  bool take_one_result(forwarded& f, const connection& c) noexcept {
    f.cancel_at = detail::never;
    if (std::exchange(f.cancel_after_look, false)) --looks_;
    detail::operation& outer = *f.outer;
    int result = f.op.result;
    if (c.is_broken && result < 0) result = -ECONNRESET;
    if (f.op.code == detail::opcode::recvmsg && f.op.message == &f.message) {
      outer.message->msg_flags = f.message.msg_flags;
      outer.message->msg_namelen = f.message.msg_namelen;
      outer.message->msg_controllen = f.message.msg_controllen;
    }
    outer.address_size = f.op.address_size;
    if (is_write(outer.code) && result >= 0) {
      outer.transferred += static_cast<std::uint32_t>(result);
      const bool is_part = outer.all && outer.transferred < outer.size;
      if (is_part && result > 0 && !outer.cancel_requested) return false;
      result = is_part ? -ECANCELED : static_cast<int>(outer.transferred);
    }
    outer.result = result;
    return true;
  }

  // ---- time

  detail::nanoseconds later(fault kind, detail::nanoseconds at_most) noexcept {
    const auto most = static_cast<std::uint64_t>(at_most > 0 ? at_most : 0);
    return inner_->now() + static_cast<detail::nanoseconds>(plan_.amount(kind, most + 1));
  }
  void due(detail::nanoseconds at) noexcept {
    if (at < next_due_) next_due_ = at;
  }
  void start_what_is_due() noexcept {
    if (next_due_ == detail::never) return;
    const detail::nanoseconds t = inner_->now();
    if (t < next_due_) return;
    next_due_ = detail::never;
    for (auto& [fd, c] : connections_) {
      for (forwarded* f : {&c.in, &c.out}) {
        if (f->start_at <= t) {
          f->start_at = detail::never;
          if (forward(*f, c)) ended_.push(*std::exchange(f->outer, nullptr));
        } else if (f->cancel_at <= t) {
          f->cancel_at = detail::never;
          inner_->cancel(f->op);
        }
        due(f->start_at);
        due(f->cancel_at);
      }
    }
  }
  void cancel_after_the_look() noexcept {
    looks_ = 0;
    for (auto& [fd, c] : connections_)
      for (forwarded* f : {&c.in, &c.out})
        if (std::exchange(f->cancel_after_look, false)) inner_->cancel(f->op);
  }
  // A wait that a signal ended; and the moment at which the clock may begin to stall.
  bool is_interrupted() noexcept {
    const detail::nanoseconds t = now();
    if (plan_.strikes(fault::clock_stall)) {
      frozen_at_ = t;
      stalled_until_ = later(fault::clock_stall, longest_stall_);
    }
    was_interrupted_ = !was_interrupted_ && plan_.strikes(fault::interrupted);
    return was_interrupted_;
  }

  detail::owned<detail::reactor> inner_;
  detail::fault_plan plan_;
  const std::vector<failing_operation> failing_;
  const detail::nanoseconds longest_delay_;
  const detail::nanoseconds longest_stall_;
  std::map<int, connection> connections_;
  std::array<std::uint64_t, 16> operations_{};    // by kind
  detail::completion_list ended_;                 // to be handed back by the next wait()
  detail::nanoseconds next_due_ = detail::never;  // of all start_at and cancel_at
  std::size_t looks_ = 0;                         // operations to be cancelled after the kernel was asked once more
  detail::nanoseconds stalled_until_ = 0;
  detail::nanoseconds frozen_at_ = 0;
  bool was_interrupted_ = false;
};

/// Runs f(args...), which returns a task<T>, on a loop of its own over a faulty backend; as rota::run otherwise.
template <class F, class... Args>
  requires std::invocable<F&, Args...>
auto run_with_faults(const faulty_options& options, F&& f, Args&&... args) {
  event_loop loop(detail::owned<detail::reactor>(new faulty_reactor(options)));
  return loop.run(std::invoke(f, std::forward<Args>(args)...));
}

}  // namespace rota::testing
