// The socket calls that never wait, so that they are no operations. Beside the operations they are all that streams and
// listeners ask of the kernel; a reactor without a kernel answers both.
#pragma once

#include <rota/base/sys.hpp>

namespace rota::detail {

/// As the system calls, but a failure is a negative errno. Made virtual for simulated reactors; none of them is called
/// per operation.
class socket_calls {
 public:
  virtual int socket(int family, int type) noexcept { return sys::socket(family, type, 0); }
  virtual int bind(int fd, const sockaddr* at, socklen_t size) noexcept { return sys::bind(fd, at, size); }
  virtual int listen(int fd, int backlog) noexcept { return sys::listen(fd, backlog); }
  virtual int set_option(int fd, int level, int name, const void* value, socklen_t size) noexcept {
    return sys::setsockopt(fd, level, name, value, size);
  }
  virtual int local_address(int fd, sockaddr* at, socklen_t* size) noexcept { return sys::getsockname(fd, at, size); }
  virtual int peer_address(int fd, sockaddr* at, socklen_t* size) noexcept { return sys::getpeername(fd, at, size); }
  virtual int shutdown(int fd, int how) noexcept { return sys::shutdown(fd, how); }
  /// Of a number that no operation uses: one that was accepted and that nobody took, or whose last operation has ended.
  virtual void close_number(int fd) noexcept { sys::close(fd); }

 protected:
  ~socket_calls() = default;
};

}  // namespace rota::detail
