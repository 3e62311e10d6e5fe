#include <rota/io/fd_stream.hpp>

#include <signal.h>
#include <sys/eventfd.h>

#include <string>
#include <vector>

#include "support/streams.hpp"

using namespace rota_test;
using rota::as_bytes;
using rota::fd_stream;
using rota::unique_fd;

namespace {

/// A task that reads, when it waits for something to come.
rota::task<rota::join_handle<std::string>> waiting_reader(fd_stream& from) {
  auto reader = rota::spawn(
      [](fd_stream& stream) -> rota::task<std::string> {
        std::string text = co_await read_text(stream);
        co_return text;
      },
      std::ref(from));
  co_await settle_tasks();
  CHECK_FALSE(reader.done());
  co_return reader;
}

unique_fd temporary_file() {
  char name[] = "/tmp/rota_XXXXXX";
  unique_fd file(::mkostemp(name, O_CLOEXEC));
  REQUIRE(file);
  ::unlink(name);
  return file;
}

bool on_epoll() { return rota::event_loop::current()->backend() == rota::backend::epoll; }

}  // namespace

TEST_CASE("bytes go through a pipe, and its end is seen") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    fd_stream from = fd_stream::adopt(std::move(pipe.first));
    fd_stream to = fd_stream::adopt(std::move(pipe.second));
    auto reader = co_await waiting_reader(from);
    const std::size_t n = co_await to.write_some(as_bytes("through"));
    CHECK(n == 7);
    const std::string text = co_await reader;
    CHECK(text == "through");
    co_await to.write_all(as_bytes("the last"));
    co_await to.close();
    const std::string rest = co_await read_to_end(from);
    CHECK(rest == "the last");
    const std::string end = co_await read_text(from);
    CHECK(end.empty());
  });
}

TEST_CASE("a megabyte goes through a pipe although it holds less") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    fd_stream from = fd_stream::adopt(std::move(pipe.first));
    std::string text(1 << 20, '\0');
    for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i * 13 >> 4);
    auto writer = rota::spawn(
        [](unique_fd fd, const std::string& all) -> rota::task<std::size_t> {
          fd_stream to = fd_stream::adopt(std::move(fd));
          const std::size_t n = co_await to.write_all(as_bytes(all));
          co_return n;
        },
        std::move(pipe.second), std::cref(text));
    const std::string received = co_await read_to_end(from);
    CHECK(received == text);
    const std::size_t n = co_await writer;
    CHECK(n == text.size());
  });
}

TEST_CASE("a descriptor that somebody else made non-blocking is waited for") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    set_nonblocking(pipe.first.get());
    set_nonblocking(pipe.second.get());
    fd_stream from = fd_stream::adopt(std::move(pipe.first));
    fd_stream to = fd_stream::adopt(std::move(pipe.second));
    for (int i = 0; i != 3; ++i) {
      auto reader = co_await waiting_reader(from);
      co_await to.write_all(as_bytes("again"));
      const std::string text = co_await reader;
      CHECK(text == "again");
    }
    const std::string much(500'000, 'm');
    auto writer = rota::spawn(
        [](fd_stream& stream, const std::string& text) -> rota::task<> {
          co_await stream.write_all(as_bytes(text));
          co_await stream.close();
        },
        std::ref(to), std::cref(much));
    const std::string received = co_await read_to_end(from);
    CHECK(received == much);
    co_await writer;
  });
}

TEST_CASE("only the epoll backend changes the mode of what it adopts") {
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    const fd_stream from = fd_stream::adopt(std::move(pipe.first));
    const bool is_nonblocking = (::fcntl(from.native_handle(), F_GETFL) & O_NONBLOCK) != 0;
    CHECK(is_nonblocking == on_epoll());
    co_return;
  });
}

TEST_CASE("a socket, an eventfd and a terminal can be adopted") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pair = make_socket_pair();
    fd_stream one = fd_stream::adopt(std::move(pair.first));
    fd_stream other = fd_stream::adopt(std::move(pair.second));
    co_await one.write_all(as_bytes("there"));
    co_await other.write_all(as_bytes("and back"));
    const std::string there = co_await read_text(other);
    const std::string back = co_await read_text(one);
    CHECK(there == "there");
    CHECK(back == "and back");

    fd_stream counter = fd_stream::adopt(unique_fd(::eventfd(0, EFD_CLOEXEC)));
    std::uint64_t value = 3;
    co_await counter.write_all(std::as_bytes(std::span(&value, 1)));
    value = 0;
    const std::size_t n = co_await counter.read_some(std::as_writable_bytes(std::span(&value, 1)));
    CHECK(n == 8);
    CHECK(value == 3);

    const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) {
      WARN("no pseudo-terminal here");
      if (master >= 0) ::close(master);
      co_return;
    }
    fd_stream terminal = fd_stream::adopt(unique_fd(::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC)));
    auto reader = co_await waiting_reader(terminal);
    write_text(master, "typed\n");
    const std::string line = co_await reader;
    CHECK(line == "typed\n");
    co_await terminal.close();
    ::close(master);
  });
}

TEST_CASE("lines of a terminal and packets that arrive together are all read") {
  run([]() -> rota::task<> {
    int pair[2] = {-1, -1};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    const unique_fd sender(pair[1]);
    fd_stream packets = fd_stream::adopt(unique_fd(pair[0]));
    const unique_fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    const bool has_terminal = master && ::grantpt(master.get()) == 0 && ::unlockpt(master.get()) == 0;
    if (!has_terminal) WARN("no pseudo-terminal here");
    fd_stream terminal = fd_stream::adopt(
        unique_fd(has_terminal ? ::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC) : ::dup(sender.get())));
    const auto read_three = [](fd_stream& from) -> rota::task<std::string> {
      std::string all;
      for (int i = 0; i != 3; ++i) all += co_await read_text(from) + ";";
      co_return all;
    };
    for (int round = 0; round != 2; ++round) {
      auto reader = rota::spawn(read_three, std::ref(packets));
      co_await settle_tasks();  // it waits
      for (const char* packet : {"one", "two", "three"}) write_text(sender.get(), packet);
      const std::string got = co_await reader;
      CHECK(got == "one;two;three;");
      if (!has_terminal) continue;
      auto typist = rota::spawn(read_three, std::ref(terminal));
      co_await settle_tasks();
      write_text(master.get(), "one\ntwo\nthree\n");
      const std::string lines = co_await typist;
      CHECK(lines == "one\n;two\n;three\n;");
    }
  });
}

TEST_CASE("a regular file is read and written by io_uring, and refused by epoll with a text that says so") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    unique_fd file = temporary_file();
    const unique_fd same(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
    if (on_epoll()) {
      std::string text;
      std::error_code code;
      try {
        const fd_stream stream = fd_stream::adopt(std::move(file));
      } catch (const std::system_error& error) {
        code = error.code();
        text = error.what();
      }
      CHECK(code == rota::errc::not_supported);
      CHECK(text.find("regular file") != std::string::npos);
      CHECK(text.find("io_uring") != std::string::npos);
      co_return;
    }
    fd_stream stream = fd_stream::adopt(std::move(file));
    co_await stream.write_all(as_bytes("kept in a file"));
    const std::string end = co_await read_text(stream);
    CHECK(end.empty());
    REQUIRE(::lseek(same.get(), 5, SEEK_SET) == 5);
    const std::string rest = co_await read_to_end(stream);
    CHECK(rest == "in a file");
  });
}

TEST_CASE("what is no descriptor is an error and nothing is adopted") {
  run([]() -> rota::task<> {
    // The number is free: it was just closed.
    unique_fd stale(::dup(0));
    const int number = stale.get();
    ::close(number);
    std::error_code code;
    try {
      fd_stream stream = fd_stream::adopt(unique_fd(number));
      (void)stale.release();
      code = co_await error_of(read_text(stream));
    } catch (const std::system_error& error) {
      (void)stale.release();
      code = error.code();
    }
    CHECK(code == std::errc::bad_file_descriptor);
    CHECK(error_code_of([] { return fd_stream::adopt(unique_fd()).is_open(); }) == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("a directory cannot be read, on either backend") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    unique_fd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::error_code code;
    try {
      fd_stream stream = fd_stream::adopt(std::move(directory));
      code = co_await error_of(read_text(stream));
    } catch (const std::system_error& error) {
      code = error.code();
    }
    CHECK((code == rota::errc::not_supported || code == std::errc::is_a_directory));
  });
}

TEST_CASE("a descriptor that a stream has is not adopted again, and stays with that stream") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    const int number = pipe.first.get();
    fd_stream first = fd_stream::adopt(std::move(pipe.first));
    CHECK(usage_error_of([&] { return fd_stream::adopt(unique_fd(number)); }) ==
          rota::usage_error::kind::invalid_argument);
    CHECK(is_open(number));
    write_text(pipe.second.get(), "still here");
    const std::string text = co_await read_text(first);
    CHECK(text == "still here");
  });
}

TEST_CASE("adopting needs a loop, and without one the descriptor closes") {
  const descriptor_balance nothing_left;
  descriptor_pair pipe = make_pipe();
  CHECK(usage_error_of([&] { return fd_stream::adopt(std::move(pipe.first)); }) ==
        rota::usage_error::kind::no_event_loop);
  CHECK_FALSE(pipe.first);
}

TEST_CASE("one reader and one writer at a time") {
  run([]() -> rota::task<> {
    descriptor_pair pair = make_socket_pair();
    fd_stream stream = fd_stream::adopt(std::move(pair.first));
    auto reader = rota::spawn(
        [](fd_stream& from) -> rota::task<std::string> {
          std::string text = co_await read_text(from);
          co_return text;
        },
        std::ref(stream));
    co_await settle_tasks();
    const std::error_code busy = co_await error_of(read_text(stream));
    CHECK(busy == rota::errc::busy);
    co_await stream.write_all(as_bytes("the other direction"));
    write_text(pair.second.get(), "for the first");
    const std::string text = co_await reader;
    CHECK(text == "for the first");
  });
}

TEST_CASE("closing ends a read that waits, and a closed stream is refused") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    fd_stream from = fd_stream::adopt(std::move(pipe.first));
    auto reader = rota::spawn(
        [](fd_stream& stream) -> rota::task<std::error_code> {
          const std::error_code code = co_await error_of(read_text(stream));
          co_return code;
        },
        std::ref(from));
    co_await settle_tasks();
    co_await from.close();
    const std::error_code code = co_await reader;
    CHECK(code == rota::errc::closed);
    CHECK_FALSE(from.is_open());
    const std::error_code again = co_await error_of(read_text(from));
    CHECK(again == rota::errc::closed);
  });
}

TEST_CASE("a close() that nobody awaits closes all the same") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    fd_stream from = fd_stream::adopt(std::move(pipe.first));
    (void)from.close();
    CHECK(rota::event_loop::current()->statistics().descriptors == 0);
    co_return;
  });
}

TEST_CASE("a cancelled read of a pipe takes no bytes") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    fd_stream from = fd_stream::adopt(std::move(pipe.first));
    for (int round = 0; round != 10; ++round) {
      std::string got;
      auto reader =
          rota::spawn([](fd_stream& stream, std::string& text) -> rota::task<> { text = co_await read_text(stream); },
                      std::ref(from), std::ref(got));
      for (int i = 0; i != round % 3; ++i) co_await rota::sleep_for(0s);
      if (round % 2 == 0) reader.cancel();
      write_text(pipe.second.get(), "kept");
      reader.cancel();
      (void)co_await rota::as_result(reader);
      if (got.empty()) got = co_await read_text(from);
      REQUIRE(got == "kept");
    }
  });
}

TEST_CASE("writing to a pipe without a reader is broken_pipe where SIGPIPE is ignored") {
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  run([]() -> rota::task<> {
    descriptor_pair pipe = make_pipe();
    pipe.first.reset();
    fd_stream to = fd_stream::adopt(std::move(pipe.second));
    const std::error_code code = co_await error_of(to.write_all(as_bytes("nobody reads")));
    CHECK(code == std::errc::broken_pipe);
  });
  ::signal(SIGPIPE, before);
}
