// Generates the echo load: C connections, each sends N bytes, waits for them to come back, and sends again at once.
//
// One thread, edge-triggered epoll, one recv and one send per request. Every reply is checked: the sequence number
// always, all bytes during the warm-up and of every 64th reply after it. Prints one line of JSON:
//   requests, seconds, p50_us and p99_us of the measured window, and the CPU seconds that the server used in it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

namespace {

struct options {
  std::uint16_t port = 0;
  std::size_t connections = 50;
  std::size_t bytes = 64;
  double seconds = 2.0;
  double warm_up = 0.3;
  pid_t server_pid = 0;
};

struct connection {
  int fd = -1;
  std::uint64_t sequence = 0;  // the first eight bytes of each message
  std::size_t sent = 0;        // of the current request
  std::size_t received = 0;    // of its reply
  std::int64_t started = 0;    // when the current request was sent
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

[[noreturn]] void refuse(const char* message) {
  std::fprintf(stderr, "echo_load: %s\n", message);
  std::exit(1);
}

options parse(int argc, char** argv) {
  options result;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    char* const value = argv[i + 1];
    if (name == "--port")
      result.port = static_cast<std::uint16_t>(std::atoi(value));
    else if (name == "--connections")
      result.connections = static_cast<std::size_t>(std::atoll(value));
    else if (name == "--bytes")
      result.bytes = static_cast<std::size_t>(std::atoll(value));
    else if (name == "--seconds")
      result.seconds = std::atof(value);
    else if (name == "--warm-up")
      result.warm_up = std::atof(value);
    else if (name == "--server-pid")
      result.server_pid = std::atoi(value);
    else
      refuse("unknown option");
  }
  if (result.port == 0) refuse("--port is missing");
  if (result.bytes < sizeof(std::uint64_t)) refuse("--bytes must be at least 8");
  return result;
}

std::int64_t nanoseconds(clockid_t clock) {
  timespec now{};
  if (clock_gettime(clock, &now) != 0) fail("clock_gettime");
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Latencies, in buckets of at most 1/16 relative width.
class histogram {
 public:
  void add(std::int64_t value) {
    ++counts_[bucket(static_cast<std::uint64_t>(std::max<std::int64_t>(value, 0)))];
    ++total_;
  }
  void clear() {
    counts_.fill(0);
    total_ = 0;
  }
  double quantile(double share) const {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > wanted) return middle(i);
    }
    return 0;
  }
  std::uint64_t total() const { return total_; }

 private:
  static std::size_t bucket(std::uint64_t value) {
    if (value < 16) return value;
    const auto shift = static_cast<std::size_t>(std::bit_width(value)) - 5;
    return (shift << 4) + (value >> shift);
  }
  static double middle(std::size_t index) {
    if (index < 32) return static_cast<double>(index);
    const std::size_t shift = (index >> 4) - 1;
    return (static_cast<double>(16 + (index & 15)) + 0.5) * static_cast<double>(std::uint64_t{1} << shift);
  }

  std::array<std::uint64_t, 64 * 16> counts_{};
  std::uint64_t total_ = 0;
};

class generator {
 public:
  explicit generator(const options& chosen)
      : options_(chosen), connections_(chosen.connections), message_(chosen.bytes), inbound_(chosen.bytes) {
    for (std::size_t i = 0; i < message_.size(); ++i) message_[i] = static_cast<char>(i * 131 + (i >> 8));
    poll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd_ < 0) fail("epoll_create1");
    for (std::size_t i = 0; i < connections_.size(); ++i) connect_one(i);
  }

  int run() {
    now_ = nanoseconds(CLOCK_MONOTONIC);
    for (connection& peer : connections_) start_request(peer);
    run_for(options_.warm_up);
    check_everything_ = false;
    latencies_.clear();
    const std::int64_t begin = now_ = nanoseconds(CLOCK_MONOTONIC);
    const std::int64_t cpu_begin = server_cpu();
    run_for(options_.seconds);
    const std::int64_t cpu = server_cpu() - cpu_begin;
    const std::int64_t elapsed = nanoseconds(CLOCK_MONOTONIC) - begin;
    std::printf(
        "{\"requests\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"server_cpu_seconds\": %.6f}\n",
        static_cast<unsigned long long>(latencies_.total()), static_cast<double>(elapsed) * 1e-9,
        latencies_.quantile(0.50) * 1e-3, latencies_.quantile(0.99) * 1e-3, static_cast<double>(cpu) * 1e-9);
    return latencies_.total() > 0 ? 0 : 1;
  }

 private:
  void connect_one(std::size_t index) {
    connection& peer = connections_[index];
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer.fd < 0) fail("socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(peer.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
    const int on = 1;
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const linger reset{1, 0};  // close without TIME_WAIT, so that runs in a row do not use up the ports
    setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    peer.sequence = index << 40;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = index;
    if (epoll_ctl(poll_fd_, EPOLL_CTL_ADD, peer.fd, &event) != 0) fail("epoll_ctl");
  }

  void start_request(connection& peer) {
    ++peer.sequence;
    peer.sent = 0;
    peer.received = 0;
    peer.started = now_;
    send_rest(peer);
  }

  void send_rest(connection& peer) {
    std::memcpy(message_.data(), &peer.sequence, sizeof peer.sequence);
    const ssize_t sent =
        send(peer.fd, message_.data() + peer.sent, message_.size() - peer.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
      peer.sent += static_cast<std::size_t>(sent);
    else if (errno != EAGAIN)
      fail("send");
  }

  // Edge-triggered: bytes that arrive after this recv raise a new event, and no more than one reply is on its way.
  void receive(connection& peer) {
    const ssize_t size = recv(peer.fd, inbound_.data(), message_.size() - peer.received, MSG_DONTWAIT);
    if (size == 0) refuse("the server closed a connection");
    if (size < 0) {
      if (errno == EAGAIN) return;
      fail("recv");
    }
    check(peer, static_cast<std::size_t>(size));
    peer.received += static_cast<std::size_t>(size);
    if (peer.received < message_.size()) return;
    now_ = nanoseconds(CLOCK_MONOTONIC);
    latencies_.add(now_ - peer.started);
    start_request(peer);
  }

  void check(const connection& peer, std::size_t size) {
    const bool all = check_everything_ || (peer.sequence & 63) == 0;
    const std::size_t end = all ? size : std::min(size, sizeof peer.sequence);
    std::memcpy(message_.data(), &peer.sequence, sizeof peer.sequence);
    const bool in_question = all || peer.received == 0;
    if (in_question && std::memcmp(inbound_.data(), message_.data() + peer.received, end) != 0)
      refuse("a reply differs from its request");
  }

  void run_for(double seconds) {
    const std::int64_t end = now_ + static_cast<std::int64_t>(seconds * 1e9);
    std::array<epoll_event, 1024> events;
    while (now_ < end) {
      const int count = epoll_wait(poll_fd_, events.data(), static_cast<int>(events.size()), 5000);
      if (count < 0 && errno != EINTR) fail("epoll_wait");
      if (count == 0) refuse("no reply for five seconds");
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        connection& peer = connections_[event.data.u64];
        if (peer.sent < message_.size() && (event.events & EPOLLOUT)) send_rest(peer);
        if (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) receive(peer);
      }
      now_ = nanoseconds(CLOCK_MONOTONIC);
    }
  }

  // User plus system time of all the server's threads.
  std::int64_t server_cpu() const {
    if (options_.server_pid == 0) return 0;
    clockid_t clock{};
    if (clock_getcpuclockid(options_.server_pid, &clock) != 0) refuse("the server is gone");
    return nanoseconds(clock);
  }

  options options_;
  std::vector<connection> connections_;
  std::vector<char> message_;
  std::vector<char> inbound_;
  histogram latencies_;
  std::int64_t now_ = 0;
  int poll_fd_ = -1;
  bool check_everything_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
  return generator(parse(argc, argv)).run();
}
