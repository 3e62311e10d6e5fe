// guest_loop: rota driven by poll, by epoll, by hand.
#include <rota/adapt/guest_loop.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/rota_test.hpp"
#include "support/sockets.hpp"

namespace {

using namespace std::chrono_literals;
using rota::guest_loop;
using rota::task;
using rota_test::captured_reports;
using rota_test::usage_error_of;
using kind = rota::usage_error::kind;

// As a host must: again after EINTR.
int wait_for(pollfd* fds, nfds_t count, int milliseconds) {
  int n = 0;
  do {
    n = ::poll(fds, count, milliseconds);
  } while (n < 0 && errno == EINTR);
  return n;
}

bool readable(const guest_loop& guest) {
  pollfd p{guest.fd(), POLLIN, 0};
  REQUIRE(::poll(&p, 1, 0) >= 0);
  return (p.revents & POLLIN) != 0;
}

// A host: a plain poll(2) loop. Fails rather than hangs.
template <class Condition>
void host_until(guest_loop& guest, Condition done) {
  for (int turns = 0; !done(); ++turns) {
    REQUIRE(turns < 100'000);
    pollfd p{guest.fd(), POLLIN, 0};
    const int timeout = guest.timeout_ms();
    const int n = wait_for(&p, 1, timeout < 0 ? 5'000 : timeout);
    REQUIRE(n >= 0);
    REQUIRE((n > 0 || timeout >= 0));  // a wake-up was lost
    guest.step();
  }
}

task<> sleeper(int& woken) {
  co_await rota::sleep_for(1ms);
  ++woken;
}
task<std::size_t> echo_once() {
  auto listener = rota::tcp_listener::bind({"127.0.0.1", 0});
  auto client = rota::spawn(
      [](rota::address to) -> task<std::size_t> {
        auto stream = co_await rota::tcp_stream::connect(to);
        std::array<std::byte, 100> data{};
        co_await stream.write_all(data);
        std::size_t got = 0;
        while (const std::size_t n = co_await stream.read_some(data)) got += n;
        co_return got;
      },
      listener.local_address());
  auto peer = co_await listener.accept();
  std::array<std::byte, 100> data{};
  std::size_t left = data.size();
  while (left != 0) {
    const std::size_t n = co_await peer.read_some(data);
    co_await peer.write_all(std::span(data).first(n));
    left -= n;
  }
  co_await peer.close();
  co_return co_await client;
}

}  // namespace

TEST_CASE("a guest with nothing to do is not readable and has no timeout") {
  guest_loop guest;
  guest.step();
  REQUIRE(guest.timeout() == rota::duration::max());
  REQUIRE(guest.timeout_ms() == -1);
  REQUIRE_FALSE(readable(guest));
  REQUIRE(guest.tasks() == 0);
}

TEST_CASE("a step runs what is ready once, and never waits") {
  guest_loop guest;
  int steps = 0;
  auto handle = guest.spawn(
      [](int& n) -> task<> {
        for (;;) {
          ++n;
          co_await rota::yield();
        }
      },
      std::ref(steps));
  REQUIRE(guest.timeout() == rota::duration::zero());
  REQUIRE(guest.timeout_ms() == 0);
  for (int i = 1; i != 5; ++i) {
    guest.step();
    REQUIRE(steps == i);
  }
  handle.cancel();
  guest.step();
  REQUIRE(handle.cancelled());
  REQUIRE(guest.timeout_ms() == -1);
}

TEST_CASE("timers of a guest fire in a poll loop") {
  guest_loop guest;
  int woken = 0;
  for (int i = 0; i != 3; ++i) (void)guest.spawn(sleeper, std::ref(woken));
  guest.step();
  REQUIRE(guest.timeout() > rota::duration::zero());
  REQUIRE(guest.timeout() <= 1ms);
  REQUIRE(guest.timeout_ms() <= 1);
  host_until(guest, [&] { return woken == 3; });
}

TEST_CASE("sockets of a guest work in a poll loop") {
  guest_loop guest;
  auto handle = guest.spawn(echo_once);
  host_until(guest, [&] { return handle.done(); });
  REQUIRE(handle.result() == 100);
  rota_test::require_quiescent(guest.loop());
}

TEST_CASE("a guest's descriptor works in an epoll set") {
  guest_loop guest;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  REQUIRE(epoll >= 0);
  const rota::unique_fd owner(epoll);
  epoll_event event{};
  event.events = EPOLLIN;
  REQUIRE(::epoll_ctl(epoll, EPOLL_CTL_ADD, guest.fd(), &event) == 0);
  auto handle = guest.spawn(echo_once);
  for (int turns = 0; !handle.done(); ++turns) {
    REQUIRE(turns < 10'000);
    const int timeout = guest.timeout_ms();
    int n = 0;
    do {
      n = ::epoll_wait(epoll, &event, 1, timeout < 0 ? 5'000 : timeout);
    } while (n < 0 && errno == EINTR);
    REQUIRE((n > 0 || timeout >= 0));
    guest.step();
  }
  REQUIRE(handle.result() == 100);
}

TEST_CASE("a completion makes the descriptor readable until a step takes it") {
  guest_loop guest;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const rota::unique_fd out(ends[1]);
  auto handle = guest.spawn(
      [](int fd) -> task<std::size_t> {
        auto in = rota::fd_stream::adopt(rota::unique_fd(fd));
        std::array<std::byte, 8> data;
        co_return co_await in.read_some(data);
      },
      ends[0]);
  guest.step();
  REQUIRE(guest.timeout_ms() == -1);
  REQUIRE_FALSE(readable(guest));
  REQUIRE(::write(out.get(), "abc", 3) == 3);
  REQUIRE(readable(guest));
  REQUIRE(readable(guest));  // looking does not take it
  while (!handle.done()) guest.step();
  REQUIRE(handle.result() == 3);
  REQUIRE_FALSE(readable(guest));
}

TEST_CASE("a post of another thread wakes the host") {
  guest_loop guest;
  for (int round = 0; round != 50; ++round) {
    bool ran = false;
    guest.step();
    std::thread other([&] { guest.loop().post([&] { ran = true; }); });
    host_until(guest, [&] { return ran; });
    other.join();
  }
  // Before the first step too.
  guest_loop fresh;
  bool ran = false;
  fresh.loop().post([&] { ran = true; });
  host_until(fresh, [&] { return ran; });
}

TEST_CASE("completions that another eventfd causes are told every time") {
  guest_loop guest;
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  REQUIRE(fd >= 0);
  const rota::unique_fd writer(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  int got = 0;
  (void)guest.spawn(
      [](int events, int& count) -> task<> {
        auto in = rota::fd_stream::adopt(rota::unique_fd(events));
        std::array<std::byte, 8> data;
        while (true) {
          const std::size_t n = co_await in.read_some(data);
          count += n == 8;
        }
      },
      fd, std::ref(got));
  for (int round = 1; round != 5; ++round) {
    guest.step();
    bool written = false;
    std::thread other([&] {
      const std::uint64_t one = 1;
      written = ::write(writer.get(), &one, sizeof one) == sizeof one;
    });
    host_until(guest, [&] { return got == round; });
    other.join();
    REQUIRE(written);
  }
}

TEST_CASE("callbacks, timers and watches that the host asks for between steps reach the kernel") {
  guest_loop guest;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const rota::unique_fd in(ends[0]);
  const rota::unique_fd out(ends[1]);
  guest.step();
  int called = 0;
  guest.call([&] {
    guest.loop().call_soon([&] { ++called; });
    guest.loop().add_reader(in.get(), [&] {
      char byte;
      called += ::read(in.get(), &byte, 1) == 1;
    });
  });
  host_until(guest, [&] { return called == 1; });
  guest.step();
  REQUIRE(::write(out.get(), "x", 1) == 1);
  host_until(guest, [&] { return called == 2; });
  guest.call([&] { guest.loop().remove_reader(in.get()); });
  host_until(guest, [&] { return guest.timeout_ms() == -1; });
}

TEST_CASE("a cancel by the host between steps ends the wait of a task") {
  guest_loop guest;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const rota::unique_fd out(ends[1]);
  auto reader = guest.spawn(
      [](int fd) -> task<> {
        auto in = rota::fd_stream::adopt(rota::unique_fd(fd));
        std::array<std::byte, 8> data;
        (void)co_await in.read_some(data);
      },
      ends[0]);
  guest.step();
  guest.step();
  reader.cancel();
  host_until(guest, [&] { return reader.done(); });
  REQUIRE(reader.cancelled());
}

TEST_CASE("call runs a function as if in the loop") {
  guest_loop guest;
  int woken = 0;
  auto handle = guest.call([&] {
    REQUIRE(rota::event_loop::current() == &guest.loop());
    return rota::spawn(sleeper, std::ref(woken));
  });
  REQUIRE(rota::event_loop::current() == nullptr);
  REQUIRE(usage_error_of([] { (void)rota::spawn(echo_once); }) == kind::no_event_loop);
  host_until(guest, [&] { return handle.done(); });
  REQUIRE(woken == 1);
  REQUIRE_THROWS_AS(guest.call([] { throw std::runtime_error("out"); }), std::runtime_error);
  REQUIRE(rota::event_loop::current() == nullptr);
}

TEST_CASE("two guests on one thread work side by side") {
  guest_loop first;
  guest_loop second;
  auto one = first.spawn(echo_once);
  auto two = second.spawn(echo_once);
  for (int turns = 0; !one.done() || !two.done(); ++turns) {
    REQUIRE(turns < 100'000);
    pollfd both[] = {{first.fd(), POLLIN, 0}, {second.fd(), POLLIN, 0}};
    const int left = first.timeout_ms() == 0 || second.timeout_ms() == 0 ? 0 : 5'000;
    REQUIRE((wait_for(both, 2, left) > 0 || left == 0));
    first.step();
    second.step();
  }
  REQUIRE(one.result() + two.result() == 200);
}

TEST_CASE("a guest is refused inside a running loop") {
  guest_loop guest;
  guest_loop other;
  std::optional<kind> step;
  std::optional<kind> call;
  const auto nested = [&]() -> task<> {
    step = usage_error_of([&] { guest.step(); });
    call = usage_error_of([&] { guest.call([] {}); });
    co_return;
  };
  rota::run(nested());
  REQUIRE(step == kind::loop_already_running);
  REQUIRE(call == kind::loop_already_running);

  (void)other.spawn([&] { return nested(); });
  other.step();
  REQUIRE(step == kind::loop_already_running);
  guest.step();

  // Its own call is allowed within its own step; another thread is not.
  int woken = 0;
  (void)guest.spawn([&]() -> task<> {
    (void)guest.call([&] { return rota::spawn(sleeper, std::ref(woken)); });
    co_return;
  });
  host_until(guest, [&] { return woken == 1; });
  std::optional<kind> thread;
  std::thread([&] { thread = usage_error_of([&] { guest.step(); }); }).join();
  REQUIRE(thread == kind::wrong_thread);
}

TEST_CASE("an exception of a posted function is reported, and the guest goes on") {
  captured_reports reports;
  guest_loop guest;
  int woken = 0;
  (void)guest.spawn(sleeper, std::ref(woken));
  guest.loop().post([] { throw std::runtime_error("posted"); });
  guest.step();
  REQUIRE(reports.contains("posted"));
  host_until(guest, [&] { return woken == 1; });
}

TEST_CASE("a host ends its guest step by step, or at once") {
  guest_loop guest;
  const auto careful = [](int& ended) -> task<> {
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled&) {
      ++ended;
      throw;
    }
  };
  int ended = 0;
  for (int i = 0; i != 2; ++i) (void)guest.spawn(careful, std::ref(ended));
  guest.step();
  guest.cancel("the host is closing");
  REQUIRE(ended == 0);
  host_until(guest, [&] { return guest.tasks() == 0; });
  REQUIRE(ended == 2);

  guest_loop second;
  (void)second.spawn(careful, std::ref(ended));
  second.step();
  REQUIRE(second.shutdown() == 0);
  REQUIRE(ended == 3);

  std::optional<guest_loop> third(std::in_place);
  (void)third->spawn(careful, std::ref(ended));
  third->step();
  third.reset();
  REQUIRE(ended == 4);
}

TEST_CASE("a guest that is destroyed right after a post of another thread waits for the poster") {
  for (int i = 0; i != 100; ++i) {
    std::optional<guest_loop> guest(std::in_place);
    bool ran = false;
    guest->step();
    std::thread other([&] { guest->loop().post([&] { ran = true; }); });
    while (!ran) guest->step();
    guest.reset();
    other.join();
  }
}

TEST_CASE("the loop of a guest cannot be run, nor a guest be used by another thread") {
  guest_loop guest;
  const auto idle = []() -> task<> { co_return; };
  REQUIRE(usage_error_of([&] {
            guest.loop().run();
            return 0;
          }) == kind::loop_already_running);
  REQUIRE(usage_error_of([&] {
            guest.loop().run(idle());
            return 0;
          }) == kind::loop_already_running);
  std::optional<kind> run, spawn, call, timeout;
  std::thread([&] {
    run = usage_error_of([&] {
      guest.loop().run();
      return 0;
    });
    if (!ROTA_ASSERTIONS) return;
    spawn = usage_error_of([&] { return guest.spawn(idle); });
    call = usage_error_of([&] { return guest.call([] { return 0; }); });
    timeout = usage_error_of([&] { return guest.timeout(); });
  }).join();
  REQUIRE(run == kind::wrong_thread);
  if (!ROTA_ASSERTIONS) return;
  REQUIRE(spawn == kind::wrong_thread);
  REQUIRE(call == kind::wrong_thread);
  REQUIRE(timeout == kind::wrong_thread);
  const auto child = rota_test::run_in_child([] {
    guest_loop other;
    std::thread([&] { other.cancel(); }).join();
    return 0;
  });
  REQUIRE(child.signal() == SIGABRT);
  REQUIRE(child.says("guest_loop::cancel() was called on another thread than its event loop's"));
}

TEST_CASE("a task of another loop that spawns into a guest passes none of its values on") {
  static const rota::task_local<int> number;
  guest_loop guest;
  int seen = 0;
  const auto look = [&]() -> task<> {
    seen = number.get_or(-1);
    co_return;
  };
  guest.step();  // it has run on this thread
  const auto spawns = [&]() -> task<> {
    (void)guest.spawn(std::ref(look));
    co_return;
  };
  const auto main = [&]() -> task<> { co_await rota::with_value(number, 5, spawns()); };
  rota::run(main());
  guest.step();
  REQUIRE(seen == -1);
}
