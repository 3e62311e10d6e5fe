// The reactor of one simulated host: operations meet virtual sockets in virtual time. No kernel, no thread.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include <rota/base/atomic.hpp>
#include <rota/base/sys.hpp>
#include <rota/base/unique_fd.hpp>
#include <rota/reactor/reactor.hpp>
#include <rota/testing/virtual_network.hpp>

namespace rota::testing {

/// Every task is blocked, no time would free it, and no outside_work is announced: the program would hang for ever.
class deadlock : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rota::testing

namespace rota::detail {

inline std::string_view to_string(opcode code) noexcept {
  switch (code) {
    case opcode::read: return "read";
    case opcode::write: return "write";
    case opcode::recv: return "recv";
    case opcode::send: return "send";
    case opcode::recvmsg: return "recvmsg";
    case opcode::sendmsg: return "sendmsg";
    case opcode::accept: return "accept";
    case opcode::connect: return "connect";
    case opcode::poll: return "poll";
  }
  return "?";
}

class simulated_reactor : public reactor, private socket_user {
 public:
  /// Who moves the time.
  enum class mode : std::uint8_t {
    alone,    // wait() does: the only host of its network, and the loop runs as on any other backend
    driven,   // somebody else does, who calls wait() when there is something to do; it never waits
    leaving,  // the host is gone; what its tasks still do while they are taken down takes place outside of time
  };

  /// A host of its own network.
  explicit simulated_reactor(const testing::simulation_options& options)
      : simulated_reactor(std::make_unique<virtual_network>(options)) {}
  /// A host of a network that outlives it.
  simulated_reactor(virtual_network& network, std::size_t host)
      : reactor(virtual_network::first_number), mode_(mode::driven), network_(network), host_(host) {
    network_.host(host_).user = this;
  }
  ~simulated_reactor() override {
    if (network_.host(host_).user == this) network_.host(host_).user = nullptr;
  }

  backend kind() const noexcept override { return backend::simulated; }
  bool wants_nonblocking() const noexcept override { return false; }
  bool has_own_signals() const noexcept override { return mode_ != mode::alone; }
  nanoseconds now() noexcept override {
    if (mode_ == mode::leaving) return private_time_ += look_takes;
    const nanoseconds t = network_.clock.now();
    return t < stalled_until_ ? frozen_at_ : t;
  }
  virtual_network& network() noexcept { return network_; }

  void leave() noexcept {
    private_time_ = network_.clock.now();
    stalled_until_ = 0;
    mode_ = mode::leaving;
    network_.host(host_).user = nullptr;
  }

  void wait(nanoseconds deadline, completion_list& done) override {
    check_not_forked();
    ++statistics_.waits;
    network_.run_due();
    if (is_interrupted()) return;
    hand_over(done);
    if (deadline == 0 && mode_ == mode::alone)
      network_.clock.move_to(network_.clock.now() + network_.options.busy_turn.count());
    if (take_wakeup() || !done.empty() || deadline <= now()) return;
    if (mode_ == mode::leaving) {
      if (deadline == never) throw testing::deadlock("a task of a host that is taken down is blocked for ever");
      private_time_ = deadline;
    } else if (mode_ == mode::alone) {
      let_time_pass(deadline, done);
    }
  }

  void wake() noexcept override {
    woken_.store(true, std::memory_order_release);
    if (!alarm_) return;
    const std::uint64_t one = 1;
    sys::write(alarm_.get(), &one, sizeof one);
  }

  // ---- for who drives it

  bool has_completions() const noexcept { return !completed_.empty(); }
  /// When the host's clock shows `deadline`, in the network's time.
  nanoseconds due_at(nanoseconds deadline) const noexcept {
    return deadline == never || deadline > stalled_until_ ? deadline : stalled_until_;
  }

  // ---- socket calls

  int socket(int family, int type) noexcept override {
    if (mode_ == mode::leaving) return -ENETDOWN;
    const int result = network_.socket(host_, family, type);
    note("socket", result);
    return result;
  }
  int bind(int fd, const sockaddr* at, socklen_t size) noexcept override {
    return call("bind", fd, [&](endpoint& e) { return network_.bind(e, to_address(at, size)); });
  }
  int listen(int fd, int backlog) noexcept override {
    return call("listen", fd, [&](endpoint& e) { return network_.listen(e, backlog); });
  }
  int set_option(int fd, int level, int name, const void* value, socklen_t size) noexcept override {
    endpoint* const e = network_.find(host_, fd);
    return e ? network_.set_option(*e, level, name, value, size) : -EBADF;
  }
  int local_address(int fd, sockaddr* at, socklen_t* size) noexcept override {
    endpoint* const e = network_.find(host_, fd);
    return e ? give_address(e->bound ? e->local : address(), at, size) : -EBADF;
  }
  int peer_address(int fd, sockaddr* at, socklen_t* size) noexcept override {
    endpoint* const e = network_.find(host_, fd);
    if (!e) return -EBADF;
    return e->is == endpoint::state::connected ? give_address(e->peer, at, size) : -ENOTCONN;
  }
  int shutdown(int fd, int how) noexcept override {
    return call("shutdown", fd, [&](endpoint& e) { return network_.shutdown(e, how); });
  }
  void close_number(int fd) noexcept override {
    if (mode_ == mode::leaving) return;
    note("close", fd);
    network_.close(host_, fd);
  }

 protected:
  submitted start(operation& op, descriptor&) noexcept override {
    op.generation = ++tickets_;
    op.phase = 0;
    begin_note(op).word("").number(op.size).end();
    if (network_.faults.strikes(testing::fault::delay)) {
      op.phase = delayed;
      network_.wake_at(later(testing::fault::delay, network_.options.longest_delay), host_, op.fd, op.generation);
      return submitted::pending;
    }
    if (!attempt(op)) return submitted::pending;
    note_result(op);
    return submitted::completed;
  }

  void stop(operation& op) noexcept override {
    if (op.phase == completed) return;
    begin_note(op).word("cancel").end();
    if (mode_ != mode::leaving) {
      if (network_.faults.strikes(testing::fault::beaten_cancel) && attempt(op)) {
        complete(op);
        return;
      }
      if (network_.faults.strikes(testing::fault::late_cancel)) {
        const nanoseconds t = later(testing::fault::late_cancel, network_.options.longest_delay);
        network_.wake_at(t, host_, op.fd, op.generation | cancel_ticket);
        return;
      }
    }
    end_cancelled(op);
  }

  void forget(int, descriptor&) noexcept override {}

 private:
  static constexpr std::uint8_t connecting = 1;  // bits of operation::phase
  static constexpr std::uint8_t delayed = 2;
  static constexpr std::uint8_t completed = 0xff;
  static constexpr std::uint32_t cancel_ticket = 1u << 16;
  // A host that is taken down, and busy: each look at its clock takes so long, for it has to come to its shutdown_deadline
  // when a task does not stop. A busy loop looks every 64 steps.
  static constexpr nanoseconds look_takes = 1'000'000;

  explicit simulated_reactor(std::unique_ptr<virtual_network> network)
      : reactor(virtual_network::first_number),
        mode_(mode::alone),
        own_(std::move(network)),
        network_(*own_),
        host_(network_.add_host("host")),
        alarm_(sys::eventfd()) {
    network_.host(host_).user = this;
  }

  // ---- operations

  /// True: op.result is final.
  bool attempt(operation& op) noexcept {
    endpoint* const e = network_.find(host_, op.fd);
    if (!e || mode_ == mode::leaving) {
      op.result = -ENETDOWN;
      return true;
    }
    std::int64_t n = 0;
    switch (op.code) {
      case opcode::read:
      case opcode::recv: {
        const iovec part{op.buffer, op.size};
        n = network_.receive(*e, &part, 1);
        break;
      }
      case opcode::recvmsg: n = network_.receive(*e, op.message->msg_iov, op.message->msg_iovlen); break;
      case opcode::write:
      case opcode::send: n = send(op, *e); break;
      case opcode::sendmsg: n = network_.send(*e, op.message->msg_iov, op.message->msg_iovlen); break;
      case opcode::accept: n = accept(op, *e); break;
      case opcode::connect:
        n = (op.phase & connecting) != 0 ? network_.connect_result(*e)
                                         : network_.connect(*e, to_address(op.address, op.address_size));
        op.phase |= connecting;
        break;
      case opcode::poll:
        n = network_.events_of(*e) & (static_cast<int>(op.size) | POLLERR | POLLHUP);
        if (n == 0) n = -EAGAIN;
        break;
    }
    if (n == -EAGAIN) return false;
    op.result = static_cast<std::int32_t>(n);
    return true;
  }

  std::int64_t send(operation& op, endpoint& e) noexcept {
    const iovec rest{static_cast<char*>(op.buffer) + op.transferred, op.size - op.transferred};
    const std::int64_t n = network_.send(e, &rest, 1);
    if (n < 0) return n;
    op.transferred += static_cast<std::uint32_t>(n);
    if (!op.all || op.transferred == op.size) return op.transferred;
    if ((network_.events_of(e) & POLLOUT) != 0)  // it was cut short by a fault
      network_.wake_at(later(testing::fault::short_write, network_.options.longest_delay), host_, op.fd, op.generation);
    return -EAGAIN;
  }
  int accept(operation& op, endpoint& e) noexcept {
    const int number = network_.accept(e);
    if (number >= 0 && op.address) give_address(network_.find(host_, number)->peer, op.address, &op.address_size);
    return number;
  }

  void retry(operation* op) noexcept {
    if (op && op->phase != completed && (op->phase & delayed) == 0 && attempt(*op)) complete(*op);
  }
  void socket_changed(int number) noexcept override {
    descriptor* const d = descriptors_.find(number);
    if (!d) return;
    retry(d->reader);
    retry(d->writer);
  }
  void woken(int number, std::uint32_t ticket) noexcept override {
    descriptor* const d = descriptors_.find(number);
    if (!d) return;
    for (operation* op : {d->reader, d->writer}) {
      if (!op || op->phase == completed || op->generation != (ticket & 0xffff)) continue;
      if ((ticket & cancel_ticket) != 0) {
        end_cancelled(*op);
      } else {
        op->phase = static_cast<std::uint8_t>(op->phase & ~delayed);
        retry(op);
      }
    }
  }

  void end_cancelled(operation& op) noexcept {
    op.result = op.transferred > 0 && !op.all ? static_cast<std::int32_t>(op.transferred) : -ECANCELED;
    complete(op);
  }
  void complete(operation& op) noexcept {
    op.phase = completed;
    completed_.push_back(&op);
  }
  void hand_over(completion_list& done) noexcept {
    if (network_.options.shuffle) {
      for (std::size_t i = completed_.size(); i > 1; --i)
        std::swap(completed_[i - 1], completed_[static_cast<std::size_t>(network_.order.below(i))]);
    }
    for (operation* op : completed_) {
      note_result(*op);
      finish(*op, done);
    }
    completed_.clear();
  }

  // ---- time

  void let_time_pass(nanoseconds deadline, completion_list& done) {
    for (;;) {
      const nanoseconds due = due_at(deadline);
      const nanoseconds t = due < network_.next_event() ? due : network_.next_event();
      if (t == never) {  // only another thread or a signal can go on from here
        pollfd p{alarm_.get(), POLLIN, 0};
        sys::poll(&p, 1, -1);
        take_wakeup();
        return;
      }
      if (t > network_.clock.now()) network_.clock.move_to(t);
      network_.run_due();
      hand_over(done);
      if (take_wakeup() || !done.empty() || now() >= deadline) return;
    }
  }
  bool take_wakeup() noexcept {
    if (!woken_.load(std::memory_order_relaxed) || !woken_.exchange(false, std::memory_order_acquire)) return false;
    std::uint64_t count = 0;
    if (alarm_) sys::read(alarm_.get(), &count, sizeof count);
    return true;
  }
  // A wait that a signal ended; and the moment at which a clock may begin to stall.
  bool is_interrupted() {
    if (mode_ == mode::leaving) return false;
    const nanoseconds t = now();
    if (network_.faults.strikes(testing::fault::clock_stall)) {
      frozen_at_ = t;
      stalled_until_ = later(testing::fault::clock_stall, network_.options.longest_stall);
      network_.note(host_).word("clock stalls").end();
    }
    was_interrupted_ = !was_interrupted_ && network_.faults.strikes(testing::fault::interrupted);
    return was_interrupted_;
  }
  nanoseconds later(testing::fault kind, duration at_most) const noexcept {
    const auto most = static_cast<std::uint64_t>(at_most.count() > 0 ? at_most.count() : 0);
    return network_.clock.now() + static_cast<nanoseconds>(network_.faults.amount(kind, most + 1));
  }

  // ---- the trace

  static std::int64_t shown(int fd) noexcept { return std::int64_t{fd} - virtual_network::first_number; }
  testing::trace& begin_note(const operation& op) noexcept {
    return network_.note(host_).word(to_string(op.code)).word("#").number(shown(op.fd));
  }
  void note_result(const operation& op) noexcept {
    const bool is_number = op.code == opcode::accept && op.result >= 0;
    begin_note(op).word(is_number ? "= #" : "= ").number(is_number ? shown(op.result) : op.result).end();
  }
  void note(std::string_view what, int number) noexcept {
    const bool is_number = number >= virtual_network::first_number;
    network_.note(host_).word(what).word(is_number ? "#" : "= ").number(is_number ? shown(number) : number).end();
  }
  template <class F>
  int call(std::string_view what, int fd, F f) noexcept {
    endpoint* const e = network_.find(host_, fd);
    if (!e || mode_ == mode::leaving) return -EBADF;
    const int result = f(*e);
    network_.note(host_).word(what).word("#").number(shown(fd)).word("= ").number(result).end();
    return result;
  }

  static address to_address(const sockaddr* at, socklen_t size) noexcept {
    address result;
    std::memcpy(result.data(), at, size < address::capacity ? size : address::capacity);
    return result;
  }
  static int give_address(const address& from, sockaddr* at, socklen_t* size) noexcept {
    std::memcpy(at, const_cast<address&>(from).data(), *size < from.size() ? *size : from.size());
    *size = from.size();
    return 0;
  }

  mode mode_;
  std::unique_ptr<virtual_network> own_;  // when alone
  virtual_network& network_;
  const std::size_t host_;
  unique_fd alarm_;  // when alone: ends a wait that virtual time cannot end
  atomic<bool> woken_{false};
  std::vector<operation*> completed_;  // to be handed over by the next wait()
  std::uint16_t tickets_ = 0;
  bool was_interrupted_ = false;
  nanoseconds stalled_until_ = 0;
  nanoseconds frozen_at_ = 0;
  nanoseconds private_time_ = 0;
};

}  // namespace rota::detail
