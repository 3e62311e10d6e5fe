// A stream over a descriptor that came from elsewhere: a pipe, a terminal, an inherited socket.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <system_error>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/io/byte_stream.hpp>

namespace rota {

/// Reads and writes with read(2) and write(2). Move-only; one reader and one writer at a time; the rules of
/// byte_stream hold for buffers, cancel and closing. A write to a pipe without a reader raises SIGPIPE unless the
/// program ignores it.
class fd_stream {
 public:
  /// Takes the descriptor over for the current loop. On the epoll backend it becomes non-blocking, which everybody
  /// sees who shares it. Regular files are refused there (errc::not_supported): they are never "not ready".
  static fd_stream adopt(unique_fd fd) {
    event_loop& loop = detail::loop_access::current();
    if (detail::loop_access::kernel(loop).wants_nonblocking()) {
      struct stat info{};
      detail::sys::fstat(fd.get(), &info);
      if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))
        throw std::system_error(make_error_code(errc::not_supported),
                                "a regular file on the epoll backend; io_uring can read and write it");
      const int flags = detail::sys::fcntl(fd.get(), F_GETFL, 0);
      if (flags >= 0 && (flags & O_NONBLOCK) == 0) detail::sys::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK);
    }
    return fd_stream(detail::descriptor_owner(loop, std::move(fd)));
  }

  detail::transfer_awaiter read_some(mutable_buffer buffer) noexcept {
    return {detail::opcode::read, fd_.loop(), fd_.get(), buffer.data(), buffer.size()};
  }
  detail::transfer_awaiter write_some(const_buffer buffer) noexcept {
    return {detail::opcode::write, fd_.loop(), fd_.get(), const_cast<std::byte*>(buffer.data()), buffer.size()};
  }
  detail::transfer_awaiter write_all(const_buffer buffer) noexcept {
    return {detail::opcode::write, fd_.loop(), fd_.get(), const_cast<std::byte*>(buffer.data()), buffer.size(), true};
  }
  detail::close_awaiter close() { return fd_.close(); }
  bool is_open() const noexcept { return fd_.is_open(); }
  int native_handle() const noexcept { return fd_.get(); }

 private:
  explicit fd_stream(detail::descriptor_owner fd) noexcept : fd_(std::move(fd)) {}
  detail::descriptor_owner fd_;
};

}  // namespace rota
