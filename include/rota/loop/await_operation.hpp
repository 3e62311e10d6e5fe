// Awaits a kernel operation: fills it in, submits it, becomes its result. The operation lives in the awaiter, so
// in the frame of who awaits it: no allocation (rule R1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <system_error>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/reactor/operation.hpp>

namespace rota::detail {

[[noreturn]] ROTA_COLD inline void refuse_no_room(task_state& reader) {
  throw_usage_error(usage_error::kind::invalid_argument,
                    "%s, reads into an empty buffer: 0 bytes would look like the end of the stream",
                    describe(reader).c_str());
}

/// The part that does not depend on what the operation gives back.
class operation_awaiter {
 public:
  operation_awaiter(const operation_awaiter&) = delete;
  operation_awaiter& operator=(const operation_awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, where), handle.address());
  }
  /// It did not happen, because its scope was cancelled: await_resume() would throw rota::cancelled.
  bool withdrawn() const noexcept { return op_.result == -ECANCELED && (op_.cancel_requested || not_begun_); }

 protected:
  operation_awaiter(opcode code, event_loop* loop, int fd) noexcept : op_(code, fd), loop_(loop) {}
  ~operation_awaiter() {
    if (op_.in_flight)
      trap("%s, was destroyed while it waited for the kernel; a started task must be joined or cancelled",
           describe(task()).c_str());
  }

  /// The count, or throws: rota::cancelled if the operation did not happen because its scope was cancelled,
  /// std::system_error for every other failure. `what` names the operation.
  std::int32_t result_or_throw(const char* what) {
    if (op_.result >= 0) [[likely]]
      return op_.result;  // rule R2: even if a cancel was asked for meanwhile
    if (withdrawn()) throw_cancelled(task());
    if (op_.result == -ECHILD) loop_access::kernel(*loop_).check_not_forked();
    throw_error(code_of(-op_.result), what);
  }

  /// In op_.result, before the start: a read that was given no bytes to fill.
  static constexpr std::int32_t no_room = 1;
  static bool reads(opcode code) noexcept {
    return code == opcode::read || code == opcode::recv || code == opcode::recvmsg;
  }

  operation op_;

 private:
  // Out of line, and the last thing that touches the frame before the reactor has it (clang 16 may keep
  // locals of an inlined await_suspend in the frame).
  ROTA_NOINLINE bool start(task_state& task, void* frame) {
    op_.waiter = frame;
    if (task.exec != loop_) [[unlikely]] {
      if (loop_) wrong_loop(task);
      op_.result = -EBADF;  // closed or moved from: an error like any other, for as_result() too
      return false;
    }
    if (op_.result == no_room) [[unlikely]]
      refuse_no_room(task);
    event_loop& loop = *loop_;
    if (task.is_cancelled()) [[unlikely]] {
      op_.result = -ECANCELED;
      not_begun_ = true;
      return loop.takes_turns(frame);
    }
    if (loop_access::kernel(loop).submit(op_) == reactor::submitted::completed) return loop.takes_turns(frame);
    task.waits_for(&op_, wait_kind::operation);
    return true;
  }
  [[noreturn]] ROTA_COLD static void wrong_loop(task_state& task) {
    throw_usage_error(usage_error::kind::wrong_loop, "%s, used an I/O object of another event loop, or runs on none",
                      describe(task).c_str());
  }
  static std::error_code code_of(int error) noexcept {
    switch (error) {
      case EBUSY: return make_error_code(errc::busy);
      case EBADF: return make_error_code(errc::closed);
      case EOPNOTSUPP: return make_error_code(errc::not_supported);
      default: return {error, std::generic_category()};
    }
  }
  task_state& task() const noexcept { return *promise_of(op_.waiter).state; }

  event_loop* loop_;
  bool not_begun_ = false;
};

/// Gives a count of bytes.
class [[nodiscard(ROTA_UNAWAITED)]] transfer_awaiter : public operation_awaiter {
 public:
  transfer_awaiter(opcode code, event_loop* loop, int fd, void* data, std::size_t size, bool all = false) noexcept
      : operation_awaiter(code, loop, fd) {
    op_.buffer = data;
    op_.size = size > largest ? largest : static_cast<std::uint32_t>(size);
    op_.all = all;
    if (size == 0 && reads(code)) [[unlikely]]
      op_.result = no_room;
    if (all && size > largest) [[unlikely]]
      op_.result = -EMSGSIZE;  // a part of it would not be "everything"
  }
  bool await_ready() const noexcept { return op_.result < 0; }
  std::size_t await_resume() {
    return static_cast<std::size_t>(result_or_throw(op_.way() == direction::in ? "read" : "write"));
  }

  static constexpr std::uint32_t largest = 0x7ffff000;  // what Linux moves in one call
};

static_assert(sizeof(transfer_awaiter) <= 128, "the awaiter of a read is part of every connection's frame");

}  // namespace rota::detail
