// add_reader, add_writer: callbacks while a descriptor is ready.
#include <rota/loop/fd_watch.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support/rota_test.hpp"
#include "support/sockets.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;

void run_once(rota::event_loop& loop) {
  loop.stop();
  loop.run();
}

/// Until what was removed has left the reactor, too.
task<> settle(rota::event_loop& loop) {
  while (loop.statistics().descriptors != 0 || loop.statistics().operations != 0) co_await rota::sleep_for(0ms);
}

/// Runs `body(loop)`; afterwards neither the loop nor the process may have anything left of it.
template <class F>
void on_a_loop(F body) {
  const rota_test::descriptor_balance no_descriptors;
  const rota_test::frame_balance no_frames;
  rota::event_loop loop;
  body(loop);
  rota_test::run_on(loop, settle(loop));
}

/// Runs the loop until stop(), which somebody calls.
void run(rota::event_loop& loop) { loop.run(); }

/// A descriptor that can be read, and will be.
rota::unique_fd readable() {
  rota::unique_fd fd(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  REQUIRE(fd);
  return fd;
}

void fill(int fd) {
  rota_test::set_nonblocking(fd);
  const std::string block(65536, 'x');
  while (::write(fd, block.data(), block.size()) > 0) {
  }
}

}  // namespace

TEST_CASE("a reader is called in every iteration in which there is something to read, and not otherwise") {
  on_a_loop([](rota::event_loop& loop) {
    const rota_test::descriptor_pair pipe = rota_test::make_pipe();
    int calls = 0;
    loop.add_reader(pipe.first.get(), [&] {
      if (++calls == 5) REQUIRE(rota_test::read_text(pipe.first.get()) == "abc");
    });
    for (int i = 0; i != 3; ++i) run_once(loop);
    REQUIRE(calls == 0);
    rota_test::write_text(pipe.second.get(), "abc");
    for (int i = 0; i != 5; ++i) {
      run_once(loop);
      REQUIRE(calls == i + 1);
    }
    for (int i = 0; i != 3; ++i) run_once(loop);
    REQUIRE(calls == 5);
    REQUIRE(loop.remove_reader(pipe.first.get()));
  });
}

TEST_CASE("a reader wakes a loop that sleeps") {
  on_a_loop([](rota::event_loop& loop) {
    const rota_test::descriptor_pair pair = rota_test::make_socket_pair();
    std::string got;
    loop.add_reader(pair.first.get(), [&] {
      got = rota_test::read_text(pair.first.get());
      loop.stop();
    });
    loop.call_later(1ms, [&] { rota_test::write_text(pair.second.get(), "hello"); });
    run(loop);
    REQUIRE(got == "hello");
    REQUIRE(loop.remove_reader(pair.first.get()));
  });
}

TEST_CASE("the end of the stream makes a reader ready, and a broken pipe a writer") {
  on_a_loop([](rota::event_loop& loop) {
    rota_test::descriptor_pair one = rota_test::make_pipe();
    rota_test::descriptor_pair other = rota_test::make_pipe();
    fill(other.second.get());
    int ends = 0;
    loop.add_reader(one.first.get(), [&] {
      ++ends;
      loop.remove_reader(one.first.get());
    });
    loop.add_writer(other.second.get(), [&] {
      ++ends;
      loop.remove_writer(other.second.get());
    });
    run_once(loop);
    REQUIRE(ends == 0);
    one.second.reset();
    other.first.reset();
    run_once(loop);
    REQUIRE(ends == 2);
  });
}

TEST_CASE("a writer is called while there is room") {
  on_a_loop([](rota::event_loop& loop) {
    const rota_test::descriptor_pair pipe = rota_test::make_pipe();
    int calls = 0;
    loop.add_writer(pipe.second.get(), [&] {
      if (++calls == 3) fill(pipe.second.get());
    });
    for (int i = 0; i != 6; ++i) run_once(loop);
    REQUIRE(calls == 3);
    REQUIRE(rota_test::read_text(pipe.first.get(), 1 << 20).size() > 4096);
    run_once(loop);
    REQUIRE(calls == 4);
    REQUIRE(loop.remove_writer(pipe.second.get()));
  });
}

TEST_CASE("both directions of one descriptor are watched, and removed, independently") {
  on_a_loop([](rota::event_loop& loop) {
    const rota_test::descriptor_pair pair = rota_test::make_socket_pair();
    int reads = 0;
    int writes = 0;
    loop.add_reader(pair.first.get(), [&] { ++reads; });
    loop.add_writer(pair.first.get(), [&] { ++writes; });
    run_once(loop);
    REQUIRE(reads == 0);
    REQUIRE(writes == 1);
    rota_test::write_text(pair.second.get(), "x");
    run_once(loop);
    REQUIRE(reads == 1);
    REQUIRE(writes == 2);
    REQUIRE(loop.remove_writer(pair.first.get()));
    REQUIRE_FALSE(loop.remove_writer(pair.first.get()));
    run_once(loop);
    REQUIRE(reads == 2);
    REQUIRE(writes == 2);
    REQUIRE(loop.remove_reader(pair.first.get()));
    run_once(loop);
    REQUIRE(reads == 2);
  });
}

TEST_CASE("a new reader replaces the old one, whose function is destroyed at once") {
  on_a_loop([](rota::event_loop& loop) {
    const rota::unique_fd fd = readable();
    auto old = std::make_shared<int>(0);
    int calls = 0;
    loop.add_reader(fd.get(), [old] { ++*old; });
    run_once(loop);
    REQUIRE(*old == 1);
    loop.add_reader(fd.get(), [&calls](int n) { calls += n; }, 10);
    REQUIRE(old.use_count() == 1);
    run_once(loop);
    run_once(loop);
    REQUIRE(*old == 1);
    REQUIRE(calls == 20);
    REQUIRE(loop.remove_reader(fd.get()));
  });
}

TEST_CASE("remove says whether there was something") {
  on_a_loop([](rota::event_loop& loop) {
    REQUIRE_FALSE(loop.remove_reader(0));
    REQUIRE_FALSE(loop.remove_writer(-1));
    const rota::unique_fd fd = readable();
    loop.add_reader(fd.get(), [] {});
    REQUIRE_FALSE(loop.remove_writer(fd.get()));
    REQUIRE_FALSE(loop.remove_reader(1'000'000));
    REQUIRE(loop.remove_reader(fd.get()));
    REQUIRE_FALSE(loop.remove_reader(fd.get()));
  });
}

TEST_CASE("a reader may remove itself, replace itself, and remove one that is ready in the same iteration") {
  on_a_loop([](rota::event_loop& loop) {
    const rota::unique_fd one = readable();
    const rota::unique_fd two = readable();
    std::string log;
    auto kept = std::make_shared<int>(0);
    loop.add_reader(one.get(), [&log, &loop, &one, &two, kept] {
      log += 'a';
      loop.add_reader(one.get(), [&] {
        log += 'b';
        loop.remove_reader(one.get());
      });
      REQUIRE(kept.use_count() == 2);  // what runs lives until it returns
      loop.remove_reader(two.get());
    });
    loop.add_reader(two.get(), [&] { log += '!'; });
    run_once(loop);
    REQUIRE(kept.use_count() == 1);
    for (int i = 0; i != 3; ++i) run_once(loop);
    REQUIRE(log == "ab");
  });
}

TEST_CASE("after remove the descriptor may be closed at once, and its number used again") {
  on_a_loop([](rota::event_loop& loop) {
    int calls = 0;
    for (int i = 0; i != 50; ++i) {
      rota_test::descriptor_pair pipe = rota_test::make_pipe();
      loop.add_reader(pipe.first.get(), [] { FAIL("nothing can be read"); });
      if (i % 2 == 0) run_once(loop);  // in the reactor, or not yet
      REQUIRE(loop.remove_reader(pipe.first.get()));
      const int number = pipe.first.get();
      pipe.first.reset();
      const rota::unique_fd next = readable();
      REQUIRE(next.get() == number);
      loop.add_reader(number, [&] {
        ++calls;
        loop.remove_reader(number);
      });
      run_once(loop);
    }
    REQUIRE(calls == 50);
  });
}

TEST_CASE("after remove nobody keeps the file open") {
  on_a_loop([](rota::event_loop& loop) {
    rota_test::descriptor_pair pipe = rota_test::make_pipe();
    fill(pipe.second.get());
    loop.add_writer(pipe.second.get(), [] { FAIL("there is no room"); });
    run_once(loop);
    REQUIRE(loop.remove_writer(pipe.second.get()));
    pipe.second.reset();
    rota_test::run_on(loop, settle(loop));
    while (!rota_test::read_text(pipe.first.get(), 65536).empty()) {
    }
    char byte = 0;
    REQUIRE(::read(pipe.first.get(), &byte, 1) == 0);  // the end, not a wait
  });
}

TEST_CASE("a descriptor that is closed while it is watched ends the watch with a word about it") {
  on_a_loop([](rota::event_loop& loop) {
    const captured_reports reports;
    rota::unique_fd fd = readable();
    const int number = fd.get();
    int calls = 0;
    const auto line = std::to_string(__LINE__ + 1);
    loop.add_reader(number, [&] {
      ++calls;
      fd.reset();
    });
    for (int i = 0; i != 3; ++i) run_once(loop);
    INFO(reports.all());
    REQUIRE(calls == 1);
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("descriptor " + std::to_string(number)));
    REQUIRE(reports.contains("fd_watch_test.cpp:" + line));
    REQUIRE(reports.contains("Bad file descriptor"));
    REQUIRE_FALSE(loop.remove_reader(number));
  });
}

TEST_CASE("a watch does not follow a number to another file") {
  on_a_loop([](rota::event_loop& loop) {
    const captured_reports reports;
    rota_test::descriptor_pair one = rota_test::make_pipe();
    rota_test::descriptor_pair other = rota_test::make_pipe();
    const int number = one.first.get();
    int calls = 0;
    loop.add_reader(number, [&] { ++calls; });
    run_once(loop);
    REQUIRE(::dup2(other.first.get(), number) == number);
    rota_test::write_text(other.second.get(), "for nobody");
    run_once(loop);
    REQUIRE(calls == 0);
    rota_test::write_text(one.second.get(), "for the old one");
    run_once(loop);
    REQUIRE(calls == 0);
    REQUIRE(reports.size() == 1);
    REQUIRE_FALSE(loop.remove_reader(number));
    loop.add_reader(number, [&] { ++calls; });
    run_once(loop);
    REQUIRE(calls == 1);
    REQUIRE(loop.remove_reader(number));
  });
}

TEST_CASE("a descriptor that a stream or listener of the loop owns is refused, and one that is not open") {
  on_a_loop([](rota::event_loop& loop) {
    const auto body = [&]() -> task<> {
      rota::tcp_listener listener = rota::tcp_listener::bind(rota::address("127.0.0.1", 0));
      const int owned = listener.native_handle();
      REQUIRE(rota_test::usage_error_of([&] { loop.add_reader(owned, [] {}); }) ==
              rota::usage_error::kind::invalid_argument);
      REQUIRE(rota_test::usage_error_of([&] { loop.add_writer(owned, [] {}); }) ==
              rota::usage_error::kind::invalid_argument);
      REQUIRE_FALSE(loop.remove_reader(owned));
      REQUIRE(rota_test::error_code_of([&] { loop.add_reader(-1, [] {}); }) == std::errc::bad_file_descriptor);
      REQUIRE(rota_test::error_code_of([&] { loop.add_writer(999'999, [] {}); }) == std::errc::bad_file_descriptor);
      co_await listener.close();
    };
    rota_test::run_on(loop, body());
  });
}

TEST_CASE("without a free descriptor a watch is refused, and the old one goes on") {
  on_a_loop([](rota::event_loop& loop) {
    const rota::unique_fd fd = readable();
    int calls = 0;
    loop.add_reader(fd.get(), [&] { ++calls; });
    run_once(loop);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit none = before;
    none.rlim_cur = 0;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const std::error_code error = rota_test::error_code_of([&] { loop.add_reader(fd.get(), [] { FAIL(); }); });
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE(error);
    run_once(loop);
    REQUIRE(calls == 2);
    REQUIRE(loop.remove_reader(fd.get()));
  });
}

TEST_CASE("a regular file is always ready, on both backends") {
  on_a_loop([](rota::event_loop& loop) {
    const rota::unique_fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    REQUIRE(file);
    int calls = 0;
    loop.add_reader(file.get(), [&] {
      if (++calls == 3) loop.remove_reader(file.get());
    });
    for (int i = 0; i != 5; ++i) run_once(loop);
    REQUIRE(calls == 3);
  });
}

TEST_CASE("an exception out of a reader is told, and the reader goes on") {
  on_a_loop([](rota::event_loop& loop) {
    const captured_reports reports;
    const rota::unique_fd fd = readable();
    int calls = 0;
    loop.add_reader(fd.get(), [&] {
      if (++calls < 3) throw std::runtime_error("cannot read");
    });
    for (int i = 0; i != 4; ++i) run_once(loop);
    INFO(reports.all());
    REQUIRE(calls == 4);
    REQUIRE(reports.count("cannot read") == 2);
    REQUIRE(reports.count("fd_watch_test.cpp:") == 2);
    REQUIRE(loop.remove_reader(fd.get()));
  });
}

TEST_CASE("readers do not starve tasks, and tasks do not starve readers") {
  on_a_loop([](rota::event_loop& loop) {
    const rota::unique_fd fd = readable();
    int calls = 0;
    loop.add_reader(fd.get(), [&] { ++calls; });
    const auto body = [&]() -> task<> {
      for (int i = 0; i != 100; ++i) co_await rota::yield();
    };
    loop.run(body());
    REQUIRE(calls >= 99);
    REQUIRE(calls <= 102);
    REQUIRE(loop.remove_reader(fd.get()));
  });
}

TEST_CASE("a thousand watches, removed in another order") {
  const std::size_t count = rota_test::allow_descriptors(4'000) / 4;
  on_a_loop([count](rota::event_loop& loop) {
    std::vector<rota::unique_fd> fds;
    std::size_t calls = 0;
    for (std::size_t i = 0; i != count; ++i) {
      fds.push_back(readable());
      loop.add_reader(fds.back().get(), [&] { ++calls; });
    }
    run_once(loop);
    REQUIRE(calls == count);
    for (std::size_t i = 0; i != count; ++i) REQUIRE(loop.remove_reader(fds[i * 7919 % count].get()));
    run_once(loop);
    REQUIRE(calls == count);
  });
}

TEST_CASE("the shutdown ends every watch, in whatever state, and a new one is refused") {
  const rota_test::descriptor_balance no_descriptors;
  const rota_test::frame_balance no_frames;
  const rota::unique_fd fd = readable();
  const rota_test::descriptor_pair pipe = rota_test::make_pipe();
  auto kept = std::make_shared<int>(0);
  {
    rota::event_loop loop;
    loop.add_reader(pipe.first.get(), [kept] { FAIL("nothing can be read"); });
    loop.add_reader(fd.get(), [kept] { ++*kept; });
    run_once(loop);
    loop.add_writer(pipe.second.get(), [kept] { ++*kept; });
    loop.shutdown();
    REQUIRE(kept.use_count() == 1);
    rota_test::require_quiescent(loop);
    REQUIRE(rota_test::usage_error_of([&] { loop.add_reader(fd.get(), [] {}); }) ==
            rota::usage_error::kind::loop_shut_down);
    REQUIRE_FALSE(loop.remove_reader(fd.get()));
  }
}
