// Chooses the backend at run time (rule R8). The only header that knows the backends.
#pragma once

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

#include <rota/base/config.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/report.hpp>
#include <rota/reactor/epoll/epoll_reactor.hpp>
#if ROTA_HAS_LIBURING
#include <rota/reactor/io_uring/io_uring_reactor.hpp>
#endif

namespace rota::detail {

/// Makes the backend that the core does not have; testing/simulated_backend.hpp sets it before any loop is made.
inline owned<reactor> (*open_simulated_reactor)() = nullptr;

/// ROTA_BACKEND=io_uring|epoll|auto, when set, beats the program's wish. Throws std::invalid_argument on another
/// value: a misspelt backend must not go unnoticed.
inline backend wished_backend(backend wish) {
  const char* name = std::getenv("ROTA_BACKEND");
  if (!name || !*name) return wish;
  for (const backend b : {backend::automatic, backend::epoll, backend::io_uring})
    if (to_string(b) == name) return b;
  if (open_simulated_reactor && to_string(backend::simulated) == name) return backend::simulated;
  throw std::invalid_argument(std::string("ROTA_BACKEND is '") + name + "'; it can be io_uring, epoll or auto");
}

/// A reactor of the wished kind. `automatic` falls back to epoll where the kernel or a container forbids io_uring
/// (ENOSYS, EPERM, EINVAL), and says so once per process; every other failure, and a wish that cannot be met,
/// throws std::system_error.
inline owned<reactor> open_reactor(backend wish, [[maybe_unused]] bool is_polled = false) {
  wish = wished_backend(wish);
  if (wish == backend::simulated) {
    if (open_simulated_reactor) return open_simulated_reactor();
    throw std::system_error(ENOSYS, std::generic_category(),
                            "the simulated backend needs <rota/testing/simulated_backend.hpp>");
  }
  if (wish == backend::epoll) return owned<reactor>(new epoll_reactor);
#if ROTA_HAS_LIBURING
  try {
    return owned<reactor>(new io_uring_reactor(io_uring_reactor::usual_entries, is_polled));
  } catch (const std::system_error& e) {
    const int error = e.code().value();
    if (wish == backend::io_uring || (error != ENOSYS && error != EPERM && error != EINVAL)) throw;
    static std::atomic<bool> said{false};
    if (!said.exchange(true, std::memory_order_relaxed))
      report("io_uring is not available (%s): using epoll", std::strerror(error));
  }
#else
  if (wish == backend::io_uring)
    throw std::system_error(ENOSYS, std::generic_category(), "rota was built without liburing: no io_uring backend");
#endif
  return owned<reactor>(new epoll_reactor);
}

}  // namespace rota::detail
