// Owner of a descriptor that a loop works with; what streams and listeners are made of.
#pragma once

#include <source_location>
#include <utility>

#include <rota/base/unique_fd.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota::detail {

/// Waits until nothing uses the descriptor any more and it is closed. A cancel does not end it early: closing
/// takes no longer than the kernel needs to give up what is in flight.
class [[nodiscard(ROTA_UNAWAITED)]] close_awaiter {
 public:
  close_awaiter(event_loop* loop, int fd) noexcept : loop_(loop) { wait_.fd = fd; }
  close_awaiter(const close_awaiter&) = delete;
  close_awaiter& operator=(const close_awaiter&) = delete;
  ~close_awaiter() {
    if (!begun_) begin();  // nobody awaited it
  }

  bool await_ready() noexcept { return begin(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& task = suspend_at(handle, where);
    wait_.frame = handle.address();
    task.waits_for(static_cast<custom_wait*>(&wait_), wait_kind::custom);
    loop_access::wait_until_closed(*loop_, wait_);
  }
  void await_resume() const noexcept {}

 private:
  // True: it is closed already.
  bool begin() noexcept {
    begun_ = true;
    return !loop_ || loop_access::kernel(*loop_).close(wait_.fd);
  }

  event_loop* loop_;
  bool begun_ = false;
  closing_wait wait_;
};

/// Move-only. The descriptor belongs to one loop and is closed with its owner; what is still in flight on it then
/// ends with errc::closed, and the kernel's part of the closing follows when that has completed.
class descriptor_owner {
 public:
  descriptor_owner() noexcept = default;
  /// Takes the descriptor over. Throws std::bad_alloc; the descriptor is closed then. Throws usage_error when the loop
  /// has it already; it then stays with its first owner.
  descriptor_owner(event_loop& loop, unique_fd fd) : loop_(&loop) {
    try {
      loop_access::kernel(loop).adopt(fd.get());
    } catch (const usage_error& error) {
      if (error.which() == usage_error::kind::invalid_argument) (void)fd.release();
      throw;
    }
    fd_ = fd.release();
  }
  descriptor_owner(descriptor_owner&& other) noexcept
      : loop_(std::exchange(other.loop_, nullptr)), fd_(std::exchange(other.fd_, -1)) {}
  descriptor_owner& operator=(descriptor_owner&& other) noexcept {
    if (this != &other) {
      drop();
      loop_ = std::exchange(other.loop_, nullptr);
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~descriptor_owner() { drop(); }

  bool is_open() const noexcept { return loop_ != nullptr; }
  event_loop* loop() const noexcept { return loop_; }
  int get() const noexcept { return fd_; }

  /// Throws usage_error on another loop than its own, and keeps the descriptor.
  close_awaiter close() {
    if (loop_ && event_loop::current() != loop_) [[unlikely]]
      throw_usage_error(usage_error::kind::wrong_loop, "an I/O object was closed%s on another event loop, or on none",
                        by_running_task().c_str());
    return close_awaiter(std::exchange(loop_, nullptr), std::exchange(fd_, -1));
  }

 private:
  void drop() noexcept {
    if (!loop_) return;
    loop_access::check_thread(*loop_, fd_);
    loop_access::kernel(*std::exchange(loop_, nullptr)).close(std::exchange(fd_, -1));
  }

  event_loop* loop_ = nullptr;  // null: owns nothing
  int fd_ = -1;
};

}  // namespace rota::detail
