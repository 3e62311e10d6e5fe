// What every backend promises, with plain operations and no coroutine: the same cases on each in one program.
#include <rota/reactor/reactor.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "support/plain_operations.hpp"

using namespace rota_test;

namespace {

/// Fills the socket or pipe until it takes no more; how many bytes that were.
std::size_t fill(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  set_nonblocking(fd);
  const std::string block(4096, 'x');
  std::size_t total = 0;
  for (ssize_t n = 0; (n = ::write(fd, block.data(), block.size())) > 0;) total += static_cast<std::size_t>(n);
  REQUIRE(::fcntl(fd, F_SETFL, flags) == 0);
  return total;
}

void drain(int fd, std::size_t bytes) {
  std::string block(65536, '\0');
  while (bytes != 0) {
    const ssize_t n = ::read(fd, block.data(), std::min(block.size(), bytes));
    REQUIRE(n > 0);
    bytes -= static_cast<std::size_t>(n);
  }
}

}  // namespace

// ---- every opcode

TEST_CASE("recv gives the bytes that are there already") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 16);
    write_text(c.theirs.get(), "hello");
    CHECK(perform(r, c.op) == 5);
    CHECK(c.buffer == "hello...........");
  });
}

TEST_CASE("recv waits for bytes that come later") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 16);
    submit_waiting(r, c.op);
    REQUIRE(r.in_flight() == 1);
    write_text(c.theirs.get(), "later");
    wait_for(r, c.op);
    CHECK(c.op.result == 5);
    CHECK(c.buffer.substr(0, 5) == "later");
  });
}

TEST_CASE("send puts bytes on the socket") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string text = "from here";
    request op(opcode::send, c.mine, text);
    CHECK(perform(r, op) == 9);
    CHECK(read_text(c.theirs.get()) == "from here");
    r.close(c.mine);
  });
}

TEST_CASE("send to a full socket waits for room") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(c.mine);
    std::string text = "more";
    request op(opcode::send, c.mine, text);
    submit_waiting(r, op);
    drain(c.theirs.get(), full);
    wait_for(r, op);
    CHECK(op.result == 4);
    CHECK(read_text(c.theirs.get()) == "more");
    r.close(c.mine);
  });
}

TEST_CASE("send of everything goes on until everything is written") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string text(1'000'000, '\0');
    for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i * 7 >> 3);
    request op(opcode::send, c.mine, text);
    op.all = true;
    submit(r, op);
    std::string received;
    wait_until(r, [&] {
      received += read_text(c.theirs.get(), 30'011);
      return received.size() == text.size();
    });
    wait_for(r, op);
    CHECK(op.result == static_cast<int>(text.size()));
    CHECK(received == text);
    r.close(c.mine);
  });
}

TEST_CASE("send to a peer that has gone fails with EPIPE and raises no signal") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    c.theirs.reset();
    std::string text = "lost";
    request op(opcode::send, c.mine, text);
    CHECK(perform(r, op) == -EPIPE);
    r.close(c.mine);
  });
}

TEST_CASE("read and write work on pipes") {
  on_each_backend([](reactor& r) {
    descriptor_pair pipe = make_pipe();
    const int from = adopt(r, std::move(pipe.first));
    const int to = adopt(r, std::move(pipe.second));
    std::string buffer(8, '.');
    request reading(opcode::read, from, buffer);
    submit_waiting(r, reading);
    std::string text = "pipe";
    request writing(opcode::write, to, text);
    CHECK(perform(r, writing) == 4);
    wait_for(r, reading);
    CHECK(reading.result == 4);
    CHECK(buffer == "pipe....");
    r.close(from);
    r.close(to);
  });
}

TEST_CASE("write of everything into a full pipe goes on as the reader empties it") {
  on_each_backend([](reactor& r) {
    descriptor_pair pipe = make_pipe();
    const int to = adopt(r, std::move(pipe.second));
    std::string text(300'000, 'w');
    text.back() = '!';
    request op(opcode::write, to, text);
    op.all = true;
    submit(r, op);
    std::string received;
    wait_until(r, [&] {
      received += read_text(pipe.first.get(), 10'000);
      return received.size() == text.size();
    });
    wait_for(r, op);
    CHECK(op.result == 300'000);
    CHECK(received == text);
    r.close(to);
  });
}

TEST_CASE("recvmsg and sendmsg scatter and gather") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string a = "abc", b = "defgh";
    std::array<iovec, 2> parts{iovec{a.data(), 3}, iovec{b.data(), 5}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = 2;
    request sending(opcode::sendmsg, c.mine);
    sending.message = &message;
    CHECK(perform(r, sending) == 8);
    CHECK(read_text(c.theirs.get()) == "abcdefgh");

    std::string x(2, '.'), y(10, '.');
    std::array<iovec, 2> into{iovec{x.data(), 2}, iovec{y.data(), 10}};
    msghdr incoming{};
    incoming.msg_iov = into.data();
    incoming.msg_iovlen = 2;
    request receiving(opcode::recvmsg, c.mine);
    receiving.message = &incoming;
    submit_waiting(r, receiving);
    write_text(c.theirs.get(), "123456");
    wait_for(r, receiving);
    CHECK(receiving.result == 6);
    CHECK(x == "12");
    CHECK(y == "3456......");
    r.close(c.mine);
  });
}

TEST_CASE("accept gives a new descriptor that is closed on exec, and the peer's address") {
  on_each_backend([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = adopt(r, make_listener(at));
    rota::address peer;
    request op(opcode::accept, listener);
    op.address = peer.data();
    op.address_size = rota::address::capacity;
    submit_waiting(r, op);
    const rota::unique_fd client = connect_to(at);
    wait_for(r, op);
    REQUIRE(op.result >= 0);
    const rota::unique_fd accepted(op.result);
    CHECK((::fcntl(accepted.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(peer.host() == "127.0.0.1");
    rota::address own;
    socklen_t size = rota::address::capacity;
    REQUIRE(::getsockname(client.get(), own.data(), &size) == 0);
    CHECK(peer == own);
    r.close(listener);
  });
}

TEST_CASE("an accepted descriptor has the mode that the backend wants") {
  on_each_backend([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = adopt(r, make_listener(at));
    const rota::unique_fd client = connect_to(at);
    request op(opcode::accept, listener);
    const rota::unique_fd accepted(perform(r, op));
    REQUIRE(accepted);
    CHECK(((::fcntl(accepted.get(), F_GETFL) & O_NONBLOCK) != 0) == r.wants_nonblocking());
    r.close(listener);
  });
}

TEST_CASE("connect connects, and is refused where nobody listens") {
  on_each_backend([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    rota::unique_fd listener = make_listener(at);
    const int fd = adopt(r, rota::unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    request op(opcode::connect, fd);
    op.address = at.data();
    op.address_size = at.size();
    CHECK(perform(r, op) == 0);
    const rota::unique_fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(accepted);
    std::string text = "hi";
    request sending(opcode::send, fd, text);
    CHECK(perform(r, sending) == 2);
    CHECK(read_text(accepted.get()) == "hi");
    r.close(fd);

    listener.reset();
    const int again = adopt(r, rota::unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    request refused(opcode::connect, again);
    refused.address = at.data();
    refused.address_size = at.size();
    CHECK(perform(r, refused) == -ECONNREFUSED);
    r.close(again);
  });
}

TEST_CASE("poll tells what is there and waits for what is not") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    request writable(opcode::poll, c.mine);
    writable.size = POLLOUT;
    const int events = perform(r, writable);
    CHECK((events & POLLOUT) != 0);

    request readable(opcode::poll, c.mine);
    readable.size = POLLIN;
    submit_waiting(r, readable);
    write_text(c.theirs.get(), "x");
    wait_for(r, readable);
    CHECK((readable.result & POLLIN) != 0);
    CHECK(read_text(c.mine) == "x");  // it only looked
    r.close(c.mine);
  });
}

TEST_CASE("poll sees bytes that an earlier short read left behind or that came after it") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    write_text(c.theirs.get(), "ab");
    std::string buffer(8, '.');
    request reading(opcode::recv, c.mine, buffer);
    CHECK(perform(r, reading) == 2);
    write_text(c.theirs.get(), "c");
    request polling(opcode::poll, c.mine);
    polling.size = POLLIN;
    CHECK((perform(r, polling) & POLLIN) != 0);
    r.close(c.mine);
  });
}

TEST_CASE("poll for both directions ends when either is ready") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(c.mine);
    request op(opcode::poll, c.mine);
    op.size = POLLIN | POLLOUT;
    submit_waiting(r, op);
    write_text(c.theirs.get(), "x");
    wait_for(r, op);
    CHECK((op.result & POLLIN) != 0);
    CHECK((op.result & POLLOUT) == 0);
    request again(opcode::poll, c.mine);
    again.size = POLLIN | POLLOUT;
    CHECK((perform(r, again) & POLLIN) != 0);
    CHECK(read_text(c.mine) == "x");
    request third(opcode::poll, c.mine);
    third.size = POLLIN | POLLOUT;
    submit_waiting(r, third);
    drain(c.theirs.get(), full);
    wait_for(r, third);
    CHECK((third.result & POLLOUT) != 0);
    r.close(c.mine);
  });
}

TEST_CASE("a poll that finds nothing does not hide bytes from the next read") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r, make_tcp_pair());
    write_text(c.theirs.get(), "here");
    request op(opcode::poll, c.mine);
    op.size = POLLRDHUP;
    submit_waiting(r, op);
    r.cancel(op);
    wait_for(r, op);
    std::string buffer(8, '.');
    request reading(opcode::recv, c.mine, buffer);
    CHECK(perform(r, reading) == 4);
    r.close(c.mine);
  });
}

TEST_CASE("poll ends with a hang-up when the writer of a pipe goes") {
  on_each_backend([](reactor& r) {
    descriptor_pair pipe = make_pipe();
    const int from = adopt(r, std::move(pipe.first));
    request op(opcode::poll, from);
    op.size = POLLIN;
    submit_waiting(r, op);
    pipe.second.reset();
    wait_for(r, op);
    CHECK((op.result & POLLHUP) != 0);
    r.close(from);
  });
}

// ---- completion

TEST_CASE("an operation completes exactly once") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(4, '.');
    request early(opcode::recv, c.mine, buffer);
    write_text(c.theirs.get(), "1234");
    (void)perform(r, early);
    request late(opcode::recv, c.mine, buffer);
    submit(r, late);
    settle(r);
    write_text(c.theirs.get(), "5678");
    wait_for(r, late);
    write_text(c.theirs.get(), "unread");
    settle(r);
    CHECK(early.completions == 1);
    CHECK(late.completions == 1);
    r.close(c.mine);
  });
}

TEST_CASE("a short read is followed by the bytes that come later") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(64, '.');
    write_text(c.theirs.get(), "one");
    request first(opcode::recv, c.mine, buffer);
    CHECK(perform(r, first) == 3);
    for (int round = 0; round != 20; ++round) {
      request before(opcode::recv, c.mine, buffer);  // waits before the bytes come
      submit_waiting(r, before);
      write_text(c.theirs.get(), "two");
      wait_for(r, before);
      REQUIRE(before.result == 3);
      write_text(c.theirs.get(), "four");  // asks after they have come
      request after(opcode::recv, c.mine, buffer);
      REQUIRE(perform(r, after) == 4);
    }
    r.close(c.mine);
  });
}

TEST_CASE("bytes and the end of the stream in one edge are both seen") {
  on_each_backend([](reactor& r) {
    for (const bool armed : {false, true}) {
      for (const int kind : {0, 1, 2}) {
        INFO("kind " << kind << ", a read " << (armed ? "waits" : "does not wait") << " when they come");
        descriptor_pair pair = kind == 0 ? make_tcp_pair() : kind == 1 ? make_socket_pair() : make_pipe();
        const opcode code = kind == 2 ? opcode::read : opcode::recv;
        const int mine = adopt(r, std::move(pair.first));
        std::string buffer(64, '.');
        request first(code, mine, buffer);
        if (armed) {
          submit_waiting(r, first);
        }
        write_text(pair.second.get(), "1");
        pair.second.reset();
        if (!armed) submit(r, first);
        wait_for(r, first);
        CHECK(first.result == 1);
        request second(code, mine, buffer);
        CHECK(perform(r, second) == 0);
        request third(code, mine, buffer);  // the end stays
        CHECK(perform(r, third) == 0);
        r.close(mine);
      }
    }
  });
}

TEST_CASE("the end of the stream that comes after a short read is seen") {
  on_each_backend([](reactor& r) {
    for (const bool asks_first : {false, true}) {
      connected c = connect_pair(r, make_tcp_pair());
      std::string buffer(64, '.');
      request first(opcode::recv, c.mine, buffer);
      submit(r, first);
      settle(r);
      write_text(c.theirs.get(), "1");
      wait_for(r, first);
      request second(opcode::recv, c.mine, buffer);
      if (asks_first) {
        submit_waiting(r, second);
      }
      c.theirs.reset();
      if (!asks_first) submit(r, second);
      wait_for(r, second);
      CHECK(second.result == 0);
      r.close(c.mine);
    }
  });
}

TEST_CASE("urgent data in the middle of a stream does not hide the bytes behind it") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r, make_tcp_pair());
    std::string buffer(64, '.');
    request first(opcode::recv, c.mine, buffer);
    submit(r, first);
    settle(r);
    write_text(c.theirs.get(), "w");
    wait_for(r, first);
    // A read stops short of the urgent byte although there is more.
    write_text(c.theirs.get(), "abc");
    REQUIRE(::send(c.theirs.get(), "!", 1, MSG_OOB) == 1);
    write_text(c.theirs.get(), "def");
    request before(opcode::recv, c.mine, buffer);
    CHECK(perform(r, before) == 3);
    CHECK(buffer.substr(0, 3) == "abc");
    request behind(opcode::recv, c.mine, buffer);
    CHECK(perform(r, behind) == 3);
    CHECK(buffer.substr(0, 3) == "def");
    r.close(c.mine);
  });
}

TEST_CASE("a read and a write wait on one descriptor at the same time") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(c.mine);
    std::string buffer(16, '.'), text = "out";
    request reading(opcode::recv, c.mine, buffer);
    request writing(opcode::send, c.mine, text);
    submit(r, reading);
    submit(r, writing);
    settle(r);
    REQUIRE_FALSE(reading.done());
    REQUIRE_FALSE(writing.done());
    REQUIRE(r.in_flight() == 2);
    write_text(c.theirs.get(), "in");
    wait_for(r, reading);
    CHECK(reading.result == 2);
    settle(r);
    REQUIRE_FALSE(writing.done());
    drain(c.theirs.get(), full);
    wait_for(r, writing);
    CHECK(writing.result == 3);
    CHECK(read_text(c.theirs.get()) == "out");
    r.close(c.mine);
  });
}

TEST_CASE("a write that waits does not miss a read that was first") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.'), text = "out";
    const std::size_t full = fill(c.mine);
    request writing(opcode::send, c.mine, text);  // enters the epoll set for output first
    submit(r, writing);
    settle(r);
    request reading(opcode::recv, c.mine, buffer);
    submit_waiting(r, reading);
    drain(c.theirs.get(), full);
    write_text(c.theirs.get(), "in");
    wait_until(r, [&] { return reading.done() && writing.done(); });
    CHECK(reading.result == 2);
    CHECK(writing.result == 3);
    r.close(c.mine);
  });
}

// ---- refusals

TEST_CASE("a second reader is refused with EBUSY and the first one goes on") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.'), other(16, '.');
    request first(opcode::recv, c.mine, buffer);
    submit(r, first);
    request second(opcode::recv, c.mine, other);
    submit(r, second);
    REQUIRE(second.done());  // at once
    CHECK(second.result == -EBUSY);
    write_text(c.theirs.get(), "mine");
    wait_for(r, first);
    CHECK(first.result == 4);
    CHECK(other == std::string(16, '.'));
    r.close(c.mine);
  });
}

TEST_CASE("a second writer is refused with EBUSY and the first one goes on") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(c.mine);
    std::string text = "first", other = "second";
    request first(opcode::send, c.mine, text);
    submit(r, first);
    request second(opcode::send, c.mine, other);
    submit(r, second);
    REQUIRE(second.done());
    CHECK(second.result == -EBUSY);
    drain(c.theirs.get(), full);
    wait_for(r, first);
    CHECK(read_text(c.theirs.get()) == "first");
    r.close(c.mine);
  });
}

TEST_CASE("an operation on a descriptor that nobody adopted is refused with EBADF") {
  on_each_backend([](reactor& r) {
    const descriptor_pair pair = make_socket_pair();
    std::string buffer(4, '.');
    for (const int fd : {pair.first.get(), 100'000, -1}) {
      request op(opcode::recv, fd, buffer);
      submit(r, op);
      REQUIRE(op.done());
      CHECK(op.result == -EBADF);
    }
    CHECK(r.close(pair.first.get()));  // does nothing
    CHECK(is_open(pair.first.get()));
  });
}

TEST_CASE("a regular file is read and written, or refused in so many words") {
  char name[] = "/tmp/rota_XXXXXX";
  const rota::unique_fd file(::mkostemp(name, O_CLOEXEC));
  REQUIRE(file);
  ::unlink(name);
  write_text(file.get(), "0123456789");
  on_each_backend([&](reactor& r) {
    REQUIRE(::lseek(file.get(), 0, SEEK_SET) == 0);
    const int fd = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
    r.adopt(fd);
    std::string buffer(6, '.');
    // A file is never "not ready": 6 bytes, 4 bytes, then the end or the refusal.
    for (const int expected : {6, 4}) {
      request op(opcode::read, fd, buffer);
      CHECK(perform(r, op) == expected);
    }
    request op(opcode::read, fd, buffer);
    const int end = perform(r, op);
    if (r.kind() == rota::backend::epoll)
      CHECK((end == 0 || end == -EOPNOTSUPP));
    else
      CHECK(end == 0);
    r.close(fd);
  });
}

// ---- cancel

TEST_CASE("a cancelled read completes once with ECANCELED and takes no bytes") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 16);
    submit(r, c.op);
    settle(r);
    r.cancel(c.op);
    wait_for(r, c.op);
    CHECK(c.op.result == -ECANCELED);
    settle(r);
    CHECK(c.op.completions == 1);
    write_text(c.theirs.get(), "kept");
    request next(opcode::recv, c.mine, c.buffer);
    CHECK(perform(r, next) == 4);
    CHECK(c.buffer.substr(0, 4) == "kept");
  });
}

TEST_CASE("an operation that was cancelled before the first wait completes once") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 16);
    submit(r, c.op);
    r.cancel(c.op);
    wait_for(r, c.op);
    CHECK(c.op.result == -ECANCELED);
    settle(r);
    CHECK(c.op.completions == 1);
  });
}

TEST_CASE("cancelling twice is like cancelling once") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 16);
    submit(r, c.op);
    settle(r);
    r.cancel(c.op);
    r.cancel(c.op);
    wait_for(r, c.op);
    r.cancel(c.op);
    settle(r);
    CHECK(c.op.completions == 1);
    CHECK(c.op.result == -ECANCELED);
  });
}

TEST_CASE("a cancel after the completion changes nothing, for the next operation either") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.');
    write_text(c.theirs.get(), "done");
    request op(opcode::recv, c.mine, buffer);
    (void)perform(r, op);
    request next(opcode::recv, c.mine, buffer);
    submit(r, next);
    r.cancel(op);
    settle(r);
    CHECK(op.result == 4);
    CHECK(op.completions == 1);
    REQUIRE_FALSE(next.done());
    write_text(c.theirs.get(), "next!");
    wait_for(r, next);
    CHECK(next.result == 5);
    r.close(c.mine);
  });
}

TEST_CASE("a cancel that finds its operation completed does not reach the next one at the same address") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.');
    alignas(request) unsigned char place[sizeof(request)];
    for (int round = 0; round != 50; ++round) {
      auto* op = new (place) request(opcode::recv, c.mine, buffer);
      submit(r, *op);
      settle(r);
      write_text(c.theirs.get(), "x");
      r.cancel(*op);  // races with the byte
      wait_for(r, *op);
      const bool had_it = op->result == 1;
      if (!had_it) REQUIRE(op->result == -ECANCELED);
      auto* next = new (place) request(opcode::recv, c.mine, buffer);
      submit(r, *next);
      if (had_it) {
        settle(r);
        REQUIRE_FALSE(next->done());
        write_text(c.theirs.get(), "y");
      }
      wait_for(r, *next);
      REQUIRE(next->result == 1);
    }
    r.close(c.mine);
  });
}

TEST_CASE("a cancel that comes after the bytes gives them, or leaves them for the next read") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 16);
    submit(r, c.op);
    settle(r);
    write_text(c.theirs.get(), "bytes");
    r.cancel(c.op);
    wait_for(r, c.op);
    if (c.op.result != 5) {
      CHECK(c.op.result == -ECANCELED);
      request next(opcode::recv, c.mine, c.buffer);
      CHECK(perform(r, next) == 5);
    }
    CHECK(c.buffer.substr(0, 5) == "bytes");
  });
}

TEST_CASE("cancelling one direction leaves the other alone") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(c.mine);
    std::string buffer(16, '.'), text = "out";
    request reading(opcode::recv, c.mine, buffer);
    request writing(opcode::send, c.mine, text);
    submit(r, reading);
    submit(r, writing);
    settle(r);
    r.cancel(writing);
    wait_for(r, writing);
    CHECK(writing.result == -ECANCELED);
    settle(r);
    REQUIRE_FALSE(reading.done());
    write_text(c.theirs.get(), "in");
    wait_for(r, reading);
    CHECK(reading.result == 2);
    drain(c.theirs.get(), full);
    CHECK(read_text(c.theirs.get()).empty());  // "out" never left
    r.close(c.mine);
  });
}

TEST_CASE("a cancelled accept takes no connection") {
  on_each_backend([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = adopt(r, make_listener(at));
    request op(opcode::accept, listener);
    submit(r, op);
    settle(r);
    r.cancel(op);
    wait_for(r, op);
    CHECK(op.result == -ECANCELED);
    const rota::unique_fd client = connect_to(at);
    request next(opcode::accept, listener);
    const rota::unique_fd accepted(perform(r, next));
    CHECK(accepted);
    r.close(listener);
  });
}

TEST_CASE("a connect that waits can be cancelled") {
  on_each_backend([](reactor& r) {
    // A listener whose backlog is full takes no further connection, so the next one waits.
    rota::address at("127.0.0.1", 0);
    const rota::unique_fd listener = make_listener(at, 0);
    std::vector<rota::unique_fd> clients;
    for (int i = 0; i != 4; ++i) {
      clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)::connect(clients.back().get(), at.data(), at.size());
    }
    const int fd = adopt(r, rota::unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    request op(opcode::connect, fd);
    op.address = at.data();
    op.address_size = at.size();
    submit_waiting(r, op);
    r.cancel(op);
    wait_for(r, op);
    CHECK(op.result == -ECANCELED);
    r.close(fd);
  });
}

TEST_CASE("a poll that waits can be cancelled") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    request op(opcode::poll, c.mine);
    op.size = POLLIN;
    submit(r, op);
    settle(r);
    r.cancel(op);
    wait_for(r, op);
    CHECK(op.result == -ECANCELED);
    r.close(c.mine);
  });
}

// ---- close

TEST_CASE("an idle descriptor closes at once") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    CHECK_FALSE(r.is_closed(c.mine));
    CHECK(r.close(c.mine));
    CHECK(r.is_closed(c.mine));
    CHECK_FALSE(is_open(c.mine));
    CHECK(::read(c.theirs.get(), std::string(1, '.').data(), 1) == 0);
  });
}

TEST_CASE("closing ends what is in flight with EBADF, and only then closes the descriptor") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    (void)fill(c.mine);
    std::string buffer(16, '.'), text = "out";
    request reading(opcode::recv, c.mine, buffer);
    request writing(opcode::send, c.mine, text);
    submit(r, reading);
    submit(r, writing);
    settle(r);
    REQUIRE_FALSE(r.close(c.mine));
    REQUIRE(is_open(c.mine));
    REQUIRE_FALSE(r.is_closed(c.mine));

    request late(opcode::recv, c.mine, buffer);  // refused while it closes
    submit(r, late);
    REQUIRE(late.done());
    CHECK(late.result == -EBADF);

    wait_until(r, [&] { return r.is_closed(c.mine); });
    CHECK(reading.completions == 1);
    CHECK(writing.completions == 1);
    CHECK(reading.result == -EBADF);
    CHECK(writing.result == -EBADF);
    CHECK_FALSE(is_open(c.mine));
  });
}

TEST_CASE("closing before the first wait, and while a cancel is under way, ends the operation once") {
  on_each_backend([](reactor& r) {
    for (const bool cancelled_before : {false, true}) {
      connected c = connect_pair(r);
      std::string buffer(16, '.');
      request op(opcode::recv, c.mine, buffer);
      submit(r, op);
      if (cancelled_before) r.cancel(op);
      REQUIRE_FALSE(r.close(c.mine));
      wait_until(r, [&] { return r.is_closed(c.mine); });
      settle(r);
      CHECK(op.completions == 1);
      CHECK(op.result == -EBADF);
    }
  });
}

TEST_CASE("bytes that arrive together with the closing are given, or the read ends with EBADF") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    settle(r);
    write_text(c.theirs.get(), "bytes");
    (void)r.close(c.mine);
    wait_until(r, [&] { return r.is_closed(c.mine); });
    CHECK(op.completions == 1);
    CHECK((op.result == 5 || op.result == -EBADF));
  });
}

TEST_CASE("a connection that was accepted for a listener that is being closed is closed") {
  on_each_backend([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = adopt(r, make_listener(at));
    request op(opcode::accept, listener);
    submit(r, op);
    settle(r);
    const rota::unique_fd client = connect_to(at);
    (void)r.close(listener);
    wait_until(r, [&] { return r.is_closed(listener); });
    CHECK(op.result == -EBADF);
    // Whether it was accepted or not, the client sees an end. (The fd count is checked as well.)
    char byte = 0;
    CHECK(::read(client.get(), &byte, 1) <= 0);
  });
}

TEST_CASE("a descriptor is adopted once, until it is closed") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    try {
      r.adopt(c.mine);
      FAIL("it was adopted twice");
    } catch (const rota::usage_error& error) {
      CHECK(error.which() == rota::usage_error::kind::invalid_argument);
      CHECK(std::string(error.what()).find("already") != std::string::npos);
    }
    CHECK(r.descriptors() == 1);
    const int number = c.mine;
    CHECK(r.close(number));
    connected next = connect_pair(r);
    CHECK(next.mine == number);
    CHECK(r.close(next.mine));
  });
}

TEST_CASE("disown gives a descriptor up without closing it") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(4, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    settle(r);
    r.cancel(op);
    wait_for(r, op);
    r.disown(c.mine);
    CHECK(r.is_closed(c.mine));
    CHECK(is_open(c.mine));
    write_text(c.theirs.get(), "x");
    settle(r);
    CHECK(read_text(c.mine) == "x");
    ::close(c.mine);
  });
}

TEST_CASE("the next owner of a descriptor's number sees nothing of the one before") {
  on_each_backend([](reactor& r) {
    for (const bool duplicated : {false, true}) {
      INFO("duplicated " << duplicated);
      connected old = connect_pair(r);
      std::string buffer(16, '.');
      request op(opcode::recv, old.mine, buffer);
      submit(r, op);
      settle(r);
      r.cancel(op);
      wait_for(r, op);
      // A duplicate keeps the old socket, and so what the kernel watches, alive beyond the close.
      const rota::unique_fd duplicate(duplicated ? ::fcntl(old.mine, F_DUPFD_CLOEXEC, 0) : -1);
      write_text(old.theirs.get(), "stale");  // an event is pending now
      const int number = old.mine;
      REQUIRE(r.close(number));

      descriptor_pair fresh = make_socket_pair();
      if (fresh.first.get() != number) {
        REQUIRE(fresh.second.get() != number);
        REQUIRE(::fcntl(fresh.first.get(), F_DUPFD_CLOEXEC, number) == number);
        fresh.first.reset(number);
      }
      connected c = connect_pair(r, std::move(fresh));
      REQUIRE(c.mine == number);
      request next(opcode::recv, c.mine, buffer);
      submit(r, next);
      if (duplicated) write_text(old.theirs.get(), "more");
      settle(r);
      REQUIRE_FALSE(next.done());
      write_text(c.theirs.get(), "fresh");
      wait_for(r, next);
      CHECK(next.result == 5);
      CHECK(buffer.substr(0, 5) == "fresh");
      r.close(c.mine);
    }
  });
}

// ---- descriptors that come in the other mode

TEST_CASE("a descriptor with O_NONBLOCK is waited for all the same") {
  on_each_backend([](reactor& r) {
    for (const bool is_pipe : {false, true}) {
      INFO((is_pipe ? "pipe" : "socket"));
      descriptor_pair pair = is_pipe ? make_pipe() : make_socket_pair();
      const int from = adopt(r, std::move(pair.first));
      set_nonblocking(from);
      std::string buffer(16, '.');
      const opcode code = is_pipe ? opcode::read : opcode::recv;
      for (int round = 0; round != 3; ++round) {
        request op(code, from, buffer);
        submit_waiting(r, op);
        write_text(pair.second.get(), "data");
        wait_for(r, op);
        CHECK(op.result == 4);
      }
      request cancelled(code, from, buffer);
      submit(r, cancelled);
      settle(r);
      r.cancel(cancelled);
      wait_for(r, cancelled);
      CHECK(cancelled.result == -ECANCELED);
      request op(code, from, buffer);
      submit(r, op);
      settle(r);
      pair.second.reset();
      wait_for(r, op);
      CHECK(op.result == 0);
      r.close(from);
    }
  });
}

TEST_CASE("everything is written to a full descriptor with O_NONBLOCK") {
  on_each_backend([](reactor& r) {
    for (const bool is_pipe : {false, true}) {
      INFO((is_pipe ? "pipe" : "socket"));
      descriptor_pair pair = is_pipe ? make_pipe() : make_socket_pair();
      const int to = adopt(r, std::move(pair.second));
      set_nonblocking(to);
      std::string text(500'000, 't');
      text.back() = '!';
      request op(is_pipe ? opcode::write : opcode::send, to, text);
      op.all = true;
      submit(r, op);
      std::string received;
      wait_until(r, [&] {
        received += read_text(pair.first.get(), 20'000);
        return received.size() == text.size();
      });
      wait_for(r, op);
      CHECK(op.result == 500'000);
      CHECK(received == text);

      (void)fill(to);
      request stuck(is_pipe ? opcode::write : opcode::send, to, text);
      submit_waiting(r, stuck);
      REQUIRE_FALSE(r.close(to));  // while it waits for readiness
      wait_until(r, [&] { return r.is_closed(to); });
      CHECK(stuck.result == -EBADF);
    }
  });
}

TEST_CASE("a listener and a connecting socket with O_NONBLOCK are waited for all the same") {
  on_each_backend([](reactor& r) {
    rota::address at("127.0.0.1", 0);
    const int listener = adopt(r, make_listener(at));
    set_nonblocking(listener);
    request accepting(opcode::accept, listener);
    submit_waiting(r, accepting);
    const int fd = adopt(r, rota::unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    set_nonblocking(fd);
    request connecting(opcode::connect, fd);
    connecting.address = at.data();
    connecting.address_size = at.size();
    CHECK(perform(r, connecting) == 0);
    wait_for(r, accepting);
    REQUIRE(accepting.result >= 0);
    ::close(accepting.result);
    r.close(fd);
    r.close(listener);
  });
}
