// A stream over a descriptor that came from elsewhere: a pipe, a terminal, an inherited socket.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <system_error>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/io/byte_stream.hpp>

namespace rota {

/// Reads and writes with read(2) and write(2). Move-only; the rules of every stream hold (io/byte_stream.hpp). A write to a
/// pipe without a reader raises SIGPIPE unless the program ignores it.
class fd_stream : public detail::stream_by<detail::opcode::read, detail::opcode::write> {
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

 private:
  using stream_by::stream_by;
};

}  // namespace rota
