// The io_uring backend: operations go to the kernel as they are; one io_uring_enter per loop iteration submits,
// waits, and carries the deadline.
//
// user_data is the operation's address with a 16-bit generation on top, so that a cancel can never reach the next
// operation at the same address; 0 marks completions that nobody waits for (cancels, discarded wake-ups).
// A completion is the operation's own: what the cancel request itself answers is ignored (rule R2).
#pragma once

#include <liburing.h>
#include <poll.h>

#include <system_error>

#include <rota/base/sanitizer.hpp>
#include <rota/base/unique_fd.hpp>
#include <rota/reactor/io_uring/prepare.hpp>
#include <rota/reactor/reactor.hpp>

namespace rota::detail {

class io_uring_reactor final : public reactor {
 public:
  static constexpr unsigned usual_entries = 1024;

  /// Throws std::system_error: ENOSYS or EPERM where io_uring is forbidden, EINVAL where the kernel is too old.
  /// `is_polled`: somebody will wait for pollable().
  explicit io_uring_reactor(unsigned entries = usual_entries, bool is_polled = false) : wake_(sys::eventfd()) {
    if (!wake_) throw std::system_error(-wake_.get(), std::generic_category(), "eventfd");
    set_up(entries, is_polled);
    io_uring_ring_dontfork(&ring_);
  }
  ~io_uring_reactor() override {
    if (forked()) return;  // the memory is not mapped here, and the descriptor closes with the process
    if (wake_armed_) withdraw_wake();
    kernel_release(ring_memory());
    io_uring_queue_exit(&ring_);
  }

  backend kind() const noexcept override { return backend::io_uring; }
  bool wants_nonblocking() const noexcept override { return false; }

  void wait(nanoseconds deadline, completion_list& done) override {
    check_not_forked();
    retry_postponed();
    // Without DEFER_TASKRUN completions arrive at any time: what is there already, a wake-up too, must not be waited for.
    const bool woken = reap(done);
    arm_wake();
    const bool all_known = wake_armed_ && postponed_.empty() && !cancels_waiting_;  // to the kernel
    enter(done.empty() && !woken && all_known ? deadline : 0);
    reap(done);
  }

  void wake() noexcept override { signal(wake_.get()); }

  int pollable() override { return ring_.ring_fd; }
  bool flush() override {
    check_not_forked();
    retry_postponed();
    arm_wake();
    if (io_uring_sq_ready(&ring_) != 0) io_uring_submit(&ring_);  // EBUSY, EAGAIN: reap first
    return wake_armed_ && io_uring_sq_ready(&ring_) == 0 && io_uring_cq_ready(&ring_) == 0 && postponed_.empty() &&
           cancelled_.empty() && !cancels_waiting_;
  }

 protected:
  submitted start(operation& op, descriptor&) noexcept override {
    op.generation = ++generation_;
    op.phase = phase_kernel;
    check_memory(op, "submission");
    kernel_release(&op);
    if (io_uring_sqe* entry = next_entry()) {
      prepare(entry, op);
      io_uring_sqe_set_data64(entry, key_of(op));
    } else {
      postpone(op);
    }
    return submitted::pending;
  }

  void stop(operation& op) noexcept override {
    if (op.phase == phase_postponed) {  // the kernel has not seen it yet
      op.result = -ECANCELED;
      return;  // retry_postponed() hands it back
    }
    if (io_uring_sqe* entry = next_entry()) {
      io_uring_prep_cancel64(entry, key_of(op), 0);
      io_uring_sqe_set_data64(entry, 0);
    } else {
      cancels_waiting_ = true;  // retry_postponed() looks for operations that want it
    }
  }

  void forget(int, descriptor&) noexcept override {}

 private:
  static constexpr std::uint8_t phase_kernel = 1;     // the kernel has the operation
  static constexpr std::uint8_t phase_polling = 2;    // it answered EAGAIN: the kernel has a poll in its place
  static constexpr std::uint8_t phase_postponed = 3;  // no room in the submission queue: in postponed_
  static constexpr std::uint64_t wake_key = 1;

  static std::uint64_t key_of(const operation& op) noexcept {
    return reinterpret_cast<std::uintptr_t>(&op) | (std::uint64_t{op.generation} << 48);
  }
  static operation* operation_of(std::uint64_t key) noexcept {
    return reinterpret_cast<operation*>(key & 0xffff'ffff'ffffu);
  }

  // Each step down is taken only when the kernel does not know a flag. Entries are halved on ENOMEM (before 5.12
  // rings count against RLIMIT_MEMLOCK).
  void set_up(unsigned entries, bool is_polled) {
    constexpr unsigned base = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
    constexpr unsigned ladder[] = {
        base | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,  // 6.1
        base | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,                                // 5.19
        base,                                                                                      // 5.6
    };
    int error = -EINVAL;
    for (const unsigned flags : ladder) {
      // While completions are deferred nobody who waits for the ring is woken (Linux 6.18). A registered eventfd is no way
      // out: it misses completions that another eventfd causes, all but the first (seen there too).
      if (is_polled && (flags & IORING_SETUP_DEFER_TASKRUN) != 0) continue;
      for (unsigned size = entries; size >= 16; size /= 2) {
        io_uring_params parameters{};
        parameters.flags = flags;
        parameters.cq_entries = size * 4;
        error = io_uring_queue_init_params(size, &ring_, &parameters);
        if (error != -ENOMEM) break;
      }
      if (error == 0) {
        // Without EXT_ARG (5.11) a deadline would need entries of its own, and NODROP (5.5) keeps every completion.
        if ((ring_.features & IORING_FEAT_EXT_ARG) != 0 && (ring_.features & IORING_FEAT_NODROP) != 0) {
          kernel_acquire(ring_memory());
          return;
        }
        io_uring_queue_exit(&ring_);
        error = -EINVAL;
      }
      if (error != -EINVAL) break;
    }
    throw std::system_error(-error, std::generic_category(), "io_uring_queue_init");
  }

  // ThreadSanitizer does not see that liburing unmaps a ring: a ring of another thread may be mapped to its place.
  static void* ring_memory() noexcept {
    static char all_rings;
    return &all_rings;
  }
  io_uring_sqe* next_entry() noexcept {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry) return entry;
    io_uring_submit(&ring_);  // EBUSY and EAGAIN: the kernel wants its completions reaped first
    return io_uring_get_sqe(&ring_);
  }

  void postpone(operation& op) noexcept {
    op.phase = phase_postponed;
    op.result = 0;
    postponed_.push(op);
  }

  void retry_postponed() noexcept {
    if (!postponed_.empty()) [[unlikely]] {
      completion_list waiting = postponed_;
      postponed_ = {};
      while (operation* op = waiting.pop()) {
        if (op->result == -ECANCELED)
          cancelled_.push(*op);
        else
          start(*op, *descriptors_.find(op->fd));
      }
    }
    if (cancels_waiting_) [[unlikely]] {
      cancels_waiting_ = false;
      descriptors_.for_each([this](int, descriptor& d) {
        for (operation* op : {d.reader, d.writer})
          if (op && op->cancel_requested && op->phase != phase_postponed) stop(*op);
      });
    }
  }

  void arm_wake() noexcept {
    if (wake_armed_) return;
    io_uring_sqe* entry = next_entry();
    if (!entry) return;  // the next round: this one does not wait
    io_uring_prep_poll_add(entry, wake_.get(), POLLIN);
    io_uring_sqe_set_data64(entry, wake_key);
    wake_armed_ = true;
  }

  void enter(nanoseconds deadline) {
    ++statistics_.waits;
    int error = 0;
    // ThreadSanitizer keeps a signal's handler until a call that it knows, and liburing's wait is none: the handler may be
    // what wakes us. So now and then it gets the chance.
    if (const nanoseconds soon = ROTA_TSAN ? deadline_after(now(), 50'000'000) : never; deadline > soon)
      deadline = soon;
    if (deadline == never && cancelled_.empty()) {
      error = io_uring_submit_and_wait(&ring_, 1);
    } else {
      const nanoseconds left = deadline <= 0 || !cancelled_.empty() ? 0 : time_left(deadline);
      if (left == 0) {
        error = io_uring_submit_and_get_events(&ring_);
      } else {
        __kernel_timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
        io_uring_cqe* first = nullptr;
        error = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
      }
    }
    // EINTR: a signal handler may have posted. ETIME: the deadline. EBUSY, EAGAIN: reap first, submit next time.
    if (error < 0 && error != -EINTR && error != -ETIME && error != -EBUSY && error != -EAGAIN)
      throw std::system_error(-error, std::generic_category(), "io_uring_enter");
  }

  /// Returns whether somebody called wake().
  bool reap(completion_list& done) noexcept {
    bool woken = false;
    while (operation* op = cancelled_.pop()) finish(*op, done);
    io_uring_cqe* completion = nullptr;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, completion) {
      ++seen;
      const std::uint64_t key = completion->user_data;
      if (key == wake_key) {
        wake_armed_ = false;
        woken = true;
        std::uint64_t count = 0;
        sys::read(wake_.get(), &count, sizeof count);
      } else if (key != 0) {
        operation& op = *operation_of(key);
        kernel_acquire(&op);
        completed(op, completion->res, done);
      }
    }
    io_uring_cq_advance(&ring_, seen);
    return woken;
  }

  void completed(operation& op, int result, completion_list& done) noexcept {
    check_memory(op, "completion");
    if (result == -EAGAIN || result == -EINTR) {
      // An adopted non-blocking descriptor, or a spurious wake-up: wait until it is ready, then ask again.
      if (op.cancel_requested) {
        result = -ECANCELED;
      } else {
        poll_instead(op);
        return;
      }
    }
    if (op.phase == phase_polling && result >= 0 && op.code != opcode::poll) {
      if (!op.cancel_requested) {
        start(op, *descriptors_.find(op.fd));
        return;
      }
      result = -ECANCELED;
    }
    // The connection died while it was queued: there may be a living one behind it.
    if (op.code == opcode::accept && (result == -ECONNABORTED || result == -EPROTO)) result = -ECANCELED;
    if (result == -ECANCELED && !op.cancel_requested) {
      start(op, *descriptors_.find(op.fd));  // nobody asked: the kernel gave up with a thread that ended
      return;
    }
    if ((op.code == opcode::send || op.code == opcode::write) && result >= 0) {
      op.transferred += static_cast<std::uint32_t>(result);
      if (op.all && result > 0 && op.transferred < op.size && !op.cancel_requested) {
        start(op, *descriptors_.find(op.fd));
        return;
      }
      result = op.all && op.transferred < op.size ? -ECANCELED : static_cast<int>(op.transferred);
      if (op.all && op.size == 0) result = 0;
    }
    op.result = result;
    finish(op, done);
  }

  void poll_instead(operation& op) noexcept {
    op.phase = phase_polling;
    io_uring_sqe* entry = next_entry();
    if (!entry) {
      postpone(op);
      return;
    }
    io_uring_prep_poll_add(entry, op.fd, op.way() == direction::in ? POLLIN : POLLOUT);
    io_uring_sqe_set_data64(entry, key_of(op));
  }

  // The poll of the event descriptor must not outlive the ring's owner.
  void withdraw_wake() noexcept {
    io_uring_sync_cancel_reg request{};
    request.addr = wake_key;
    request.timeout.tv_sec = -1;
    request.timeout.tv_nsec = -1;
    io_uring_submit(&ring_);
    io_uring_register_sync_cancel(&ring_, &request);
  }

  static void check_memory([[maybe_unused]] const operation& op, [[maybe_unused]] const char* when) noexcept {
#if ROTA_ASAN
    switch (op.code) {
      case opcode::recvmsg:
      case opcode::sendmsg:
        check_kernel_memory(op.message, sizeof(msghdr), when);
        check_kernel_memory(op.message->msg_iov, op.message->msg_iovlen * sizeof(iovec), when);
        for (std::size_t i = 0; i != op.message->msg_iovlen; ++i)
          check_kernel_memory(op.message->msg_iov[i].iov_base, op.message->msg_iov[i].iov_len, when);
        break;
      case opcode::accept:
      case opcode::connect: check_kernel_memory(op.address, op.address_size, when); break;
      case opcode::poll: break;
      default: check_kernel_memory(op.buffer, op.size, when);
    }
#endif
  }

  unique_fd wake_;
  io_uring ring_{};
  completion_list postponed_;  // found no room in the submission queue
  completion_list cancelled_;  // of those, the ones that were cancelled before the kernel saw them
  std::uint16_t generation_ = 0;
  bool cancels_waiting_ = false;
  bool wake_armed_ = false;
};

}  // namespace rota::detail
