// The epoll backend: tries each operation, waits for the descriptor's edge when it would block.
//
// A descriptor enters the epoll set at the first operation that must wait, once, edge-triggered, for input and
// hang-up; output is added by one MOD at the first write that must wait. From then on readiness is remembered in
// the descriptor's entry, so that a wait costs no system call of its own:
//   maybe_readable  cleared by EAGAIN and by a short read, set by an edge. After a short read the next read does
//                   not try: data that arrives later makes an edge. But data and FIN may share one edge; so once
//                   RDHUP, HUP or ERR was seen, a short read proves nothing and reading goes on to the end. The
//                   same holds after PRI: a read stops short of an urgent byte, whatever lies behind it.
// A read that fills its buffer says nothing about what is left. Where the next one found nothing (peers that wait for
// our answer), later ones are tried only when no event comes or a few waits have passed: that saves a call in vain.
// Stale events: the event carries the descriptor's generation, which changes whenever the number changes hands.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <system_error>
#include <vector>

#include <rota/base/unique_fd.hpp>
#include <rota/reactor/epoll/perform.hpp>
#include <rota/reactor/reactor.hpp>

namespace rota::detail {

class epoll_reactor final : public reactor {
 public:
  /// Throws std::system_error when the process has no descriptors left.
  epoll_reactor() : epoll_(checked(sys::epoll_create(), "epoll_create1")), wake_(checked(sys::eventfd(), "eventfd")) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = wake_key;
    checked(sys::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event), "epoll_ctl");
    untried_.reserve(most_untried);
  }

  backend kind() const noexcept override { return backend::epoll; }
  bool wants_nonblocking() const noexcept override { return true; }

  void wait(nanoseconds deadline, completion_list& done) override {
    check_not_forked();
    while (operation* op = postponed_.pop()) finish(*op, done);
    epoll_event events[capacity];
    ++statistics_.waits;
    const int n = wait_for_events(events, done.empty() && untried_.empty() ? deadline : 0);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == wake_key) {
        std::uint64_t count = 0;
        sys::read(wake_.get(), &count, sizeof count);
      } else {
        handle(events[i], done);
      }
    }
    if (!untried_.empty() && (n == 0 || ++waits_untried_ == most_waits_untried)) try_reads(done);
  }

  void wake() noexcept override { signal(wake_.get()); }

  int pollable() override { return epoll_.get(); }
  bool flush() override { return postponed_.empty(); }

 protected:
  submitted start(operation& op, descriptor& d) noexcept override {
    const bool reads = op.way() == direction::in;
    bool& maybe_ready = reads ? d.maybe_readable : d.maybe_writable;
    if (maybe_ready || op.code == opcode::poll) {
      if (d.read_was_full && d.full_is_all && d.watched && op.code == opcode::recv && untried_.size() < most_untried) {
        d.untried = true;
        untried_.push_back(key_of(op.fd, d));
        return submitted::pending;
      }
      const progress p = perform(op);
      if (op.code == opcode::recv) note_read(op, p, d);
      if (is_exhausted(op, p, d)) maybe_ready = false;
      if (p != progress::would_block) return submitted::completed;
    }
    return watch(op, d, reads);
  }

  void stop(operation& op) noexcept override {
    // Nothing of ours is in the kernel, so it can end now; handed back by the next wait().
    op.result = op.transferred > 0 && !op.all ? static_cast<std::int32_t>(op.transferred) : -ECANCELED;
    descriptor& d = *descriptors_.find(op.fd);
    // A connect that was given up leaves a socket of unknown state; its owner closes it.
    postponed_.push(op);
    d.slot(op.way()) = &op;  // stays taken until then
    op.phase = cancelled_phase;
  }

  void forget(int fd, descriptor& d) noexcept override {
    if (!d.watched) return;
    // close() alone does not remove a descriptor that was duplicated.
    sys::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    d.watched = false;
  }

 private:
  static constexpr int capacity = 256;
  static constexpr std::uint64_t wake_key = ~std::uint64_t{0};
  static constexpr std::uint8_t cancelled_phase = 0xff;
  static constexpr std::size_t most_untried = 1024;  // further ones are tried at once
  static constexpr unsigned most_waits_untried = 8;

  static int checked(int result, const char* what) {
    if (result < 0) throw std::system_error(-result, std::generic_category(), what);
    return result;
  }

  /// A poll proves nothing: it may look for other things than those that are remembered.
  static bool is_exhausted(const operation& op, progress p, const descriptor& d) noexcept {
    return op.code != opcode::poll && (p == progress::would_block || (p == progress::drained && !d.hung_up));
  }

  submitted watch(operation& op, descriptor& d, bool reads) noexcept {
    if (d.watched && (reads || d.watched_out)) return submitted::pending;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | (reads && !d.watched_out ? 0u : EPOLLOUT);
    event.data.u64 = key_of(op.fd, d);
    const int error = sys::epoll_ctl(epoll_.get(), d.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, op.fd, &event);
    if (error == -EPERM) {
      // A regular file is always ready, and cannot be watched.
      op.result = -EOPNOTSUPP;
      return submitted::completed;
    }
    if (error < 0) {
      op.result = error;
      return submitted::completed;
    }
    d.watched = true;
    d.watched_out = d.watched_out || !reads;
    return submitted::pending;
  }

  void handle(const epoll_event& event, completion_list& done) noexcept {
    descriptor* d = find(event.data.u64);
    if (!d) return;
    if ((event.events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) d->hung_up = true;
    if ((event.events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      d->maybe_readable = true;
      retry(d->reader, *d, done);
      if (d->writer && d->writer->code == opcode::poll) retry(d->writer, *d, done);  // it may look for both
    }
    if (!d->open) return;
    if ((event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
      d->maybe_writable = true;
      retry(d->writer, *d, done);
    }
  }

  static std::uint64_t key_of(int fd, const descriptor& d) noexcept {
    return (std::uint64_t{d.generation} << 32) | static_cast<std::uint32_t>(fd);
  }
  descriptor* find(std::uint64_t key) noexcept {
    descriptor* d = descriptors_.find(static_cast<int>(key & 0xffffffffu));
    return d && d->generation == static_cast<std::uint32_t>(key >> 32) ? d : nullptr;
  }

  // A read that was tried unasked.
  static void note_read(const operation& op, progress p, descriptor& d) noexcept {
    if (d.read_was_full) d.full_is_all = p == progress::would_block;
    d.read_was_full = p == progress::complete && op.result > 0;
  }
  void try_reads(completion_list& done) noexcept {
    waits_untried_ = 0;
    for (const std::uint64_t key : untried_) {
      descriptor* d = find(key);
      if (!d || !std::exchange(d->untried, false)) continue;  // an event came
      retry(d->reader, *d, done);
      if (!d->open) continue;
      d->full_is_all = !d->maybe_readable;
    }
    untried_.clear();
  }

  void retry(operation* op, descriptor& d, completion_list& done) noexcept {
    if (!op || op->phase == cancelled_phase) return;
    bool& maybe_ready = op->way() == direction::in ? d.maybe_readable : d.maybe_writable;
    const progress p = perform(*op);
    if (op->code == opcode::recv) {
      d.untried = false;
      d.read_was_full = p == progress::complete && op->result != 0;
    }
    if (is_exhausted(*op, p, d)) maybe_ready = false;
    if (p != progress::would_block) finish(*op, done);
  }

  int wait_for_events(epoll_event* events, nanoseconds deadline) {
    for (;;) {
      int n = 0;
      const nanoseconds left = deadline == never ? never : deadline <= 0 ? 0 : time_left(deadline);
      if (left == 0) {
        n = sys::epoll_wait(epoll_.get(), events, capacity, 0);
      } else if (left == never) {
        n = sys::epoll_wait(epoll_.get(), events, capacity, -1);
      } else if (!no_pwait2_) {
        const timespec timeout{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
        n = sys::epoll_wait_until(epoll_.get(), events, capacity, &timeout);
        if (n == -ENOSYS || n == -EPERM) {  // before Linux 5.11, or filtered
          no_pwait2_ = true;
          continue;
        }
      } else {
        // Rounded up: waking early would spin until the deadline.
        const nanoseconds milliseconds = left < 1'000'000'000'000'000 ? left / 1'000'000 + 1 : 1'000'000'000;
        n = sys::epoll_wait(epoll_.get(), events, capacity, static_cast<int>(milliseconds));
      }
      if (n == -EINTR) return 0;  // a signal handler may have posted: the loop looks
      if (n < 0) throw std::system_error(-n, std::generic_category(), "epoll_wait");
      return n;
    }
  }

  unique_fd epoll_;
  unique_fd wake_;
  completion_list postponed_;           // cancelled: handed back by the next wait()
  std::vector<std::uint64_t> untried_;  // never grows
  unsigned waits_untried_ = 0;
  bool no_pwait2_ = false;
};

}  // namespace rota::detail
