// Measures the physical limit of completion: a hand-written echo server on io_uring, recv then send.
//
// One multishot accept; per connection one plain recv, then one plain send. One io_uring_enter per iteration
// submits everything that the previous batch asked for, and waits for the next batch.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <liburing.h>

#include "server.hpp"

namespace {

struct connection {
  int fd;
  bool sending = false;
  std::size_t size = 0;  // bytes in the buffer
  std::size_t sent = 0;  // of these, already sent
  std::array<char, echo::buffer_size> buffer;

  explicit connection(int accepted) : fd(accepted) {}
};

io_uring ring;

io_uring_sqe* next_sqe() {
  if (io_uring_sqe* const sqe = io_uring_get_sqe(&ring)) return sqe;
  io_uring_submit(&ring);  // the queue is full: hand it over now
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
  if (sqe == nullptr) echo::fail("io_uring_get_sqe");
  return sqe;
}

void accept_many(int listener) {
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_multishot_accept(sqe, listener, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data(sqe, nullptr);
}

void receive(connection* peer) {
  peer->sending = false;
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_recv(sqe, peer->fd, peer->buffer.data(), peer->buffer.size(), 0);
  io_uring_sqe_set_data(sqe, peer);
}

void send_rest(connection* peer) {
  peer->sending = true;
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_send(sqe, peer->fd, peer->buffer.data() + peer->sent, peer->size - peer->sent, MSG_NOSIGNAL);
  io_uring_sqe_set_data(sqe, peer);
}

void drop(connection* peer) {
  close(peer->fd);
  delete peer;
}

void accepted(int listener, const io_uring_cqe& cqe) {
  if (cqe.res >= 0) {
    echo::set_no_delay(cqe.res);
    receive(new connection(cqe.res));
  }
  if (!(cqe.flags & IORING_CQE_F_MORE)) accept_many(listener);
}

void completed(connection* peer, int result) {
  if (result <= 0) return drop(peer);
  const auto bytes = static_cast<std::size_t>(result);
  if (!peer->sending) {
    peer->size = bytes;
    peer->sent = 0;
    return send_rest(peer);
  }
  peer->sent += bytes;
  if (peer->sent < peer->size) return send_rest(peer);
  receive(peer);
}

// The best mode that this kernel has.
void open_ring() {
  constexpr unsigned entries = 4096;
  constexpr unsigned always = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
  constexpr std::array modes = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | always,
                                IORING_SETUP_COOP_TASKRUN | always, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP};
  int error = 0;
  for (const unsigned mode : modes) {
    io_uring_params parameters{};
    parameters.flags = mode;
    parameters.cq_entries = 8 * entries;
    error = io_uring_queue_init_params(entries, &ring, &parameters);
    if (error == 0) return;
    if (error != -EINVAL) break;
  }
  errno = -error;
  echo::fail("io_uring_setup");
}

}  // namespace

int main(int argc, char** argv) {
  const echo::options options = echo::parse(argc, argv);
  echo::raise_descriptor_limit();
  open_ring();
  io_uring_register_ring_fd(&ring);  // saves a lookup per enter; an old kernel refuses, which is fine
  const int listener = echo::listen_on(options.port, 0);
  accept_many(listener);

  for (;;) {
    const int error = io_uring_submit_and_wait(&ring, 1);
    if (error < 0 && error != -EINTR && error != -EBUSY) {
      errno = -error;
      echo::fail("io_uring_enter");
    }
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring, head, cqe) {
      ++count;
      if (auto* const peer = static_cast<connection*>(io_uring_cqe_get_data(cqe)))
        completed(peer, cqe->res);
      else
        accepted(listener, *cqe);
    }
    io_uring_cq_advance(&ring, count);
  }
}
