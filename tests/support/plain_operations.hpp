// Drives a reactor without coroutines: requests that count their completions, and the same case on every backend.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/reactor/open_reactor.hpp>
#include <rota/testing/faulty_reactor.hpp>
#include <rota/testing/simulated_reactor.hpp>

#include "support/catch.hpp"
#include "support/far_end.hpp"
#include "support/sockets.hpp"

namespace rota_test {

using rota::detail::nanoseconds;
using rota::detail::opcode;
using rota::detail::reactor;

/// An operation that notes what happens to it.
struct request : rota::detail::operation {
  using operation::operation;
  request(opcode what, int on, void* data, std::size_t bytes) noexcept : operation(what, on) {
    buffer = data;
    size = static_cast<std::uint32_t>(bytes);
  }
  request(opcode what, int on, std::string& data) noexcept : request(what, on, data.data(), data.size()) {}

  int completions = 0;
  bool done() const noexcept { return completions != 0; }
};

/// `entries` of the ring. `decorated`: behind a faulty_reactor, without faults.
struct reactor_kind {
  const char* name;
  unsigned entries;
  bool decorated = false;
  static constexpr unsigned epoll = 0;
  static constexpr unsigned simulated = ~0u;

  std::unique_ptr<reactor> make() const {
    if (!decorated) return make_plain();
    return std::make_unique<rota::testing::faulty_reactor>(make_plain(), rota::testing::faulty_options());
  }
  std::unique_ptr<reactor> make_plain() const {
    if (entries == simulated)
      return std::make_unique<rota::detail::simulated_reactor>(rota::testing::simulation_options());
    if (entries == epoll) return std::make_unique<rota::detail::epoll_reactor>();
#if ROTA_HAS_LIBURING
    return std::make_unique<rota::detail::io_uring_reactor>(entries);
#else
    throw std::system_error(ENOSYS, std::generic_category());
#endif
  }
};

/// The backends that work here; the small ring meets its limits in ordinary cases.
inline const std::vector<reactor_kind>& reactor_kinds() {
  static const std::vector<reactor_kind> kinds = [] {
    std::vector<reactor_kind> found{{"epoll", reactor_kind::epoll}};
    try {
      for (const reactor_kind ring : {reactor_kind{"io_uring", 1024}, reactor_kind{"io_uring with 16 entries", 16}}) {
        (void)ring.make();
        found.push_back(ring);
      }
    } catch (const std::system_error& e) {
      std::fprintf(stderr, "  io_uring is not available here (%s): epoll only\n", e.what());
    }
    return found;
  }();
  return kinds;
}

inline nanoseconds now() noexcept { return rota::detail::sys::now(); }
constexpr nanoseconds milliseconds(int n) { return nanoseconds{n} * 1'000'000; }

/// One wait(); notes what completed.
inline std::size_t collect(reactor& r, nanoseconds deadline = 0) {
  rota::detail::completion_list done;
  r.wait(deadline, done);
  std::size_t n = 0;
  while (rota::detail::operation* op = done.pop()) {
    CHECK_FALSE(op->in_flight);
    ++static_cast<request*>(op)->completions;
    ++n;
  }
  return n;
}

inline void submit(reactor& r, request& op) {
  if (r.submit(op) == reactor::submitted::completed) ++op.completions;
}

/// Waits until the condition holds; fails the test when that takes suspiciously long.
template <class Condition>
void wait_until(reactor& r, Condition condition) {
  const nanoseconds give_up = now() + milliseconds(5'000);
  while (!condition()) {
    REQUIRE(now() < give_up);
    collect(r, now() + milliseconds(1));  // the condition may depend on more than the reactor
  }
}
inline void wait_for(reactor& r, request& op) {
  wait_until(r, [&] { return op.done(); });
}
/// Submits and waits; the result.
inline std::int32_t perform(reactor& r, request& op) {
  submit(r, op);
  wait_for(r, op);
  return op.result;
}
/// The next bytes of the socket.
inline std::string receive(reactor& r, int fd, std::size_t most = 64) {
  std::string text(most, '.');
  request op(opcode::recv, fd, text);
  const int n = perform(r, op);
  REQUIRE(n >= 0);
  return text.substr(0, static_cast<std::size_t>(n));
}
/// Whatever was going to complete by itself has completed afterwards.
inline void settle(reactor& r) {
  for (int i = 0; i != 4; ++i) collect(r);
}

/// Submits the operation and makes sure that it waits.
inline void submit_waiting(reactor& r, request& op) {
  submit(r, op);
  settle(r);
  REQUIRE_FALSE(op.done());
}

/// Makes the descriptor known, in the mode that the backend wants.
inline int adopt(reactor& r, rota::unique_fd fd) {
  set_nonblocking(fd.get(), r.wants_nonblocking());
  r.adopt(fd.get());
  return fd.release();
}

/// A socket that the reactor works with, and the other end of its connection.
struct connected {
  int mine;
  far_end theirs;
};
inline connected connect_pair(reactor& r, descriptor_pair pair) {
  return {adopt(r, std::move(pair.first)), far_end(std::move(pair.second))};
}
inline connected connect_pair(reactor& r) {
  rota::detail::virtual_network* const network = network_of(r);
  if (!network) return connect_pair(r, make_socket_pair());
  const rota::address any_port("127.0.0.1", 0);
  const int listener = network->socket(0, AF_INET, SOCK_STREAM);
  REQUIRE(network->bind(*network->find(0, listener), any_port) == 0);
  REQUIRE(network->listen(*network->find(0, listener), 1) == 0);
  const int mine = network->socket(0, AF_INET, SOCK_STREAM);
  REQUIRE(network->connect(*network->find(0, mine), network->find(0, listener)->local) == -EAGAIN);
  network->run_due();
  const int theirs = network->accept(*network->find(0, listener));
  REQUIRE(theirs >= 0);
  network->close(0, listener);
  r.adopt(mine);
  return {mine, far_end(*network, theirs)};
}

/// A connection with a read of its near end, which is to be submitted; the end closes at the end of the block.
struct connected_reader : connected {
  explicit connected_reader(reactor& r, std::size_t bytes = 8)
      : connected(connect_pair(r)), owner(r), buffer(bytes, '.'), op(opcode::recv, mine, buffer) {}
  connected_reader(const connected_reader&) = delete;
  connected_reader& operator=(const connected_reader&) = delete;
  ~connected_reader() { owner.close(mine); }

  reactor& owner;
  std::string buffer;
  request op;
};

// ---- sockets made by the reactor's own calls

inline int open_socket(reactor& r) {
  const int fd = r.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (r.wants_nonblocking() ? SOCK_NONBLOCK : 0));
  REQUIRE(fd >= 0);
  r.adopt(fd);
  return fd;
}

inline int open_listener(reactor& r, rota::address& at, int backlog = 64) {
  const int fd = open_socket(r);
  REQUIRE(r.bind(fd, at.data(), at.size()) == 0);
  REQUIRE(r.listen(fd, backlog) == 0);
  socklen_t size = rota::address::capacity;
  REQUIRE(r.local_address(fd, at.data(), &size) == 0);
  REQUIRE(at.port() != 0);
  return fd;
}

struct connect_request : request {
  connect_request(int on, const rota::address& where) : request(opcode::connect, on), to(where) {
    address = to.data();
    address_size = to.size();
  }
  rota::address to;
};

template <class F>
void on_backend(const reactor_kind& kind, F test) {
  INFO("on " << kind.name << (kind.decorated ? ", decorated" : ""));
  const descriptor_balance nothing_left;
  const std::unique_ptr<reactor> r = kind.make();
  test(*r);
  REQUIRE(r->in_flight() == 0);
  REQUIRE(r->descriptors() == 0);
  REQUIRE(r->statistics().submitted == r->statistics().completed);
}

/// Runs `test(reactor&)` on each backend that has a kernel, also behind a decorator. It has to close what it made the
/// reactor adopt.
template <class F>
void on_each_backend(F test) {
  for (reactor_kind kind : reactor_kinds()) {
    on_backend(kind, test);
    kind.decorated = true;
    on_backend(kind, test);
  }
}
/// And on the simulated one: for all that needs no descriptor of the kernel.
template <class F>
void on_all_backends(F test) {
  on_each_backend(test);
  on_backend({"simulated", reactor_kind::simulated}, test);
}

}  // namespace rota_test
