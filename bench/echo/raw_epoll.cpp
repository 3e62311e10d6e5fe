// Measures the physical limit of readiness: a hand-written echo server, level-triggered epoll, recv then send.
//
// One buffer serves all connections, because a reply leaves before the next request is read.
// Only a connection whose peer does not drain its socket gets storage of its own.
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <unordered_map>

#include "server.hpp"

namespace {

int poll_fd;
std::array<char, echo::buffer_size> buffer;
std::unordered_map<int, std::string> unsent;  // by connection; nearly always empty

void watch(int operation, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(poll_fd, operation, fd, &event) != 0) echo::fail("epoll_ctl");
}

void drop(int fd) {
  unsent.erase(fd);
  close(fd);
}

void accept_all(int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      echo::fail("accept4");
    }
    echo::set_no_delay(fd);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

// The socket is full: keep the rest, and wait for room instead of for data.
void park(int fd, std::string rest) {
  unsent[fd] = std::move(rest);
  watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

void read_and_reply(int fd) {
  const ssize_t received = recv(fd, buffer.data(), buffer.size(), 0);
  if (received <= 0) {
    if (received < 0 && errno == EAGAIN) return;
    return drop(fd);
  }
  ssize_t sent = send(fd, buffer.data(), static_cast<std::size_t>(received), MSG_NOSIGNAL);
  if (sent == received) return;
  if (sent < 0) {
    if (errno != EAGAIN) return drop(fd);
    sent = 0;
  }
  park(fd, std::string(buffer.data() + sent, static_cast<std::size_t>(received - sent)));
}

void send_rest(int fd) {
  std::string& rest = unsent[fd];
  const ssize_t sent = send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN) return;
    return drop(fd);
  }
  rest.erase(0, static_cast<std::size_t>(sent));
  if (!rest.empty()) return;
  unsent.erase(fd);
  watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

}  // namespace

int main(int argc, char** argv) {
  const echo::options options = echo::parse(argc, argv);
  echo::raise_descriptor_limit();
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (poll_fd < 0) echo::fail("epoll_create1");
  const int listener = echo::listen_on(options.port, SOCK_NONBLOCK);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);

  std::array<epoll_event, 1024> events;
  for (;;) {
    const int count = epoll_wait(poll_fd, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) echo::fail("epoll_wait");
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener)
        accept_all(listener);
      else if (events[static_cast<std::size_t>(i)].events & EPOLLOUT)
        send_rest(fd);
      else
        read_and_reply(fd);
    }
  }
}
