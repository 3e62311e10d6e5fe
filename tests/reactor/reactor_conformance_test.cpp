// What every backend promises, with plain operations and no coroutine: the same cases on io_uring, epoll and the simulated
// one, in one program. TCP as such is in socket_conformance_test.cpp, what only a kernel has in kernel_descriptors_test.cpp.
#include <rota/reactor/reactor.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "support/plain_operations.hpp"

using namespace rota_test;

// ---- every opcode

TEST_CASE("recv gives the bytes that are there already") {
  on_all_backends([](reactor& r) {
    connected_reader c(r, 16);
    write_text(c.theirs, "hello");
    CHECK(perform(r, c.op) == 5);
    CHECK(c.buffer == "hello...........");
  });
}

TEST_CASE("recv waits for bytes that come later") {
  on_all_backends([](reactor& r) {
    connected_reader c(r, 16);
    submit_waiting(r, c.op);
    REQUIRE(r.in_flight() == 1);
    write_text(c.theirs, "later");
    wait_for(r, c.op);
    CHECK(c.op.result == 5);
    CHECK(c.buffer.substr(0, 5) == "later");
  });
}

TEST_CASE("send puts bytes on the socket") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string text = "from here";
    request op(opcode::send, c.mine, text);
    CHECK(perform(r, op) == 9);
    CHECK(read_text(c.theirs) == "from here");
    r.close(c.mine);
  });
}

TEST_CASE("send to a full socket waits for room") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(r, c.mine);
    std::string text = "more";
    request op(opcode::send, c.mine, text);
    submit_waiting(r, op);
    drain(c.theirs, full);
    wait_for(r, op);
    CHECK(op.result == 4);
    CHECK(read_text(c.theirs) == "more");
    r.close(c.mine);
  });
}

TEST_CASE("send of everything goes on until everything is written") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string text(1'000'000, '\0');
    for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i * 7 >> 3);
    request op(opcode::send, c.mine, text);
    op.all = true;
    submit(r, op);
    std::string received;
    wait_until(r, [&] {
      received += read_text(c.theirs, 30'011);
      return received.size() == text.size();
    });
    wait_for(r, op);
    CHECK(op.result == static_cast<int>(text.size()));
    CHECK(received == text);
    r.close(c.mine);
  });
}

TEST_CASE("recvmsg and sendmsg scatter and gather") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string a = "abc", b = "defgh";
    std::array<iovec, 2> parts{iovec{a.data(), 3}, iovec{b.data(), 5}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = 2;
    request sending(opcode::sendmsg, c.mine);
    sending.message = &message;
    CHECK(perform(r, sending) == 8);
    CHECK(read_text(c.theirs) == "abcdefgh");

    std::string x(2, '.'), y(10, '.');
    std::array<iovec, 2> into{iovec{x.data(), 2}, iovec{y.data(), 10}};
    msghdr incoming{};
    incoming.msg_iov = into.data();
    incoming.msg_iovlen = 2;
    request receiving(opcode::recvmsg, c.mine);
    receiving.message = &incoming;
    submit_waiting(r, receiving);
    write_text(c.theirs, "123456");
    wait_for(r, receiving);
    CHECK(receiving.result == 6);
    CHECK(x == "12");
    CHECK(y == "3456......");
    r.close(c.mine);
  });
}

TEST_CASE("poll tells what is there and waits for what is not") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    request writable(opcode::poll, c.mine);
    writable.size = POLLOUT;
    const int events = perform(r, writable);
    CHECK((events & POLLOUT) != 0);

    request readable(opcode::poll, c.mine);
    readable.size = POLLIN;
    submit_waiting(r, readable);
    write_text(c.theirs, "x");
    wait_for(r, readable);
    CHECK((readable.result & POLLIN) != 0);
    CHECK(receive(r, c.mine) == "x");  // it only looked
    r.close(c.mine);
  });
}

TEST_CASE("poll sees bytes that an earlier short read left behind or that came after it") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    write_text(c.theirs, "ab");
    std::string buffer(8, '.');
    request reading(opcode::recv, c.mine, buffer);
    CHECK(perform(r, reading) == 2);
    write_text(c.theirs, "c");
    request polling(opcode::poll, c.mine);
    polling.size = POLLIN;
    CHECK((perform(r, polling) & POLLIN) != 0);
    r.close(c.mine);
  });
}

TEST_CASE("poll for both directions ends when either is ready") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(r, c.mine);
    request op(opcode::poll, c.mine);
    op.size = POLLIN | POLLOUT;
    submit_waiting(r, op);
    write_text(c.theirs, "x");
    wait_for(r, op);
    CHECK((op.result & POLLIN) != 0);
    CHECK((op.result & POLLOUT) == 0);
    request again(opcode::poll, c.mine);
    again.size = POLLIN | POLLOUT;
    CHECK((perform(r, again) & POLLIN) != 0);
    CHECK(receive(r, c.mine) == "x");
    request third(opcode::poll, c.mine);
    third.size = POLLIN | POLLOUT;
    submit_waiting(r, third);
    drain(c.theirs, full);
    wait_for(r, third);
    CHECK((third.result & POLLOUT) != 0);
    r.close(c.mine);
  });
}

TEST_CASE("a poll that finds nothing does not hide bytes from the next read") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    write_text(c.theirs, "here");
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

// ---- completion

TEST_CASE("an operation completes exactly once") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(4, '.');
    request early(opcode::recv, c.mine, buffer);
    write_text(c.theirs, "1234");
    (void)perform(r, early);
    request late(opcode::recv, c.mine, buffer);
    submit(r, late);
    settle(r);
    write_text(c.theirs, "5678");
    wait_for(r, late);
    write_text(c.theirs, "unread");
    settle(r);
    CHECK(early.completions == 1);
    CHECK(late.completions == 1);
    r.close(c.mine);
  });
}

TEST_CASE("a short read is followed by the bytes that come later") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(64, '.');
    write_text(c.theirs, "one");
    request first(opcode::recv, c.mine, buffer);
    CHECK(perform(r, first) == 3);
    for (int round = 0; round != 20; ++round) {
      request before(opcode::recv, c.mine, buffer);  // waits before the bytes come
      submit_waiting(r, before);
      write_text(c.theirs, "two");
      wait_for(r, before);
      REQUIRE(before.result == 3);
      write_text(c.theirs, "four");  // asks after they have come
      request after(opcode::recv, c.mine, buffer);
      REQUIRE(perform(r, after) == 4);
    }
    r.close(c.mine);
  });
}

TEST_CASE("the end of the stream that comes after a short read is seen") {
  on_all_backends([](reactor& r) {
    for (const bool asks_first : {false, true}) {
      connected c = connect_pair(r);
      std::string buffer(64, '.');
      request first(opcode::recv, c.mine, buffer);
      submit(r, first);
      settle(r);
      write_text(c.theirs, "1");
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

TEST_CASE("a read and a write wait on one descriptor at the same time") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(r, c.mine);
    std::string buffer(16, '.'), text = "out";
    request reading(opcode::recv, c.mine, buffer);
    request writing(opcode::send, c.mine, text);
    submit(r, reading);
    submit(r, writing);
    settle(r);
    REQUIRE_FALSE(reading.done());
    REQUIRE_FALSE(writing.done());
    REQUIRE(r.in_flight() == 2);
    write_text(c.theirs, "in");
    wait_for(r, reading);
    CHECK(reading.result == 2);
    settle(r);
    REQUIRE_FALSE(writing.done());
    drain(c.theirs, full);
    wait_for(r, writing);
    CHECK(writing.result == 3);
    CHECK(read_text(c.theirs) == "out");
    r.close(c.mine);
  });
}

TEST_CASE("a write that waits does not miss a read that was first") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.'), text = "out";
    const std::size_t full = fill(r, c.mine);
    request writing(opcode::send, c.mine, text);  // enters the epoll set for output first
    submit(r, writing);
    settle(r);
    request reading(opcode::recv, c.mine, buffer);
    submit_waiting(r, reading);
    drain(c.theirs, full);
    write_text(c.theirs, "in");
    wait_until(r, [&] { return reading.done() && writing.done(); });
    CHECK(reading.result == 2);
    CHECK(writing.result == 3);
    r.close(c.mine);
  });
}

// ---- refusals

TEST_CASE("a second reader is refused with EBUSY and the first one goes on") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.'), other(16, '.');
    request first(opcode::recv, c.mine, buffer);
    submit(r, first);
    request second(opcode::recv, c.mine, other);
    submit(r, second);
    REQUIRE(second.done());  // at once
    CHECK(second.result == -EBUSY);
    write_text(c.theirs, "mine");
    wait_for(r, first);
    CHECK(first.result == 4);
    CHECK(other == std::string(16, '.'));
    r.close(c.mine);
  });
}

TEST_CASE("a second writer is refused with EBUSY and the first one goes on") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(r, c.mine);
    std::string text = "first", other = "second";
    request first(opcode::send, c.mine, text);
    submit(r, first);
    request second(opcode::send, c.mine, other);
    submit(r, second);
    REQUIRE(second.done());
    CHECK(second.result == -EBUSY);
    drain(c.theirs, full);
    wait_for(r, first);
    CHECK(read_text(c.theirs) == "first");
    r.close(c.mine);
  });
}

TEST_CASE("an operation on a descriptor that nobody adopted is refused with EBADF") {
  on_all_backends([](reactor& r) {
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

// ---- cancel

TEST_CASE("a cancelled read completes once with ECANCELED and takes no bytes") {
  on_all_backends([](reactor& r) {
    connected_reader c(r, 16);
    submit(r, c.op);
    settle(r);
    r.cancel(c.op);
    wait_for(r, c.op);
    CHECK(c.op.result == -ECANCELED);
    settle(r);
    CHECK(c.op.completions == 1);
    write_text(c.theirs, "kept");
    request next(opcode::recv, c.mine, c.buffer);
    CHECK(perform(r, next) == 4);
    CHECK(c.buffer.substr(0, 4) == "kept");
  });
}

TEST_CASE("an operation that was cancelled before the first wait completes once") {
  on_all_backends([](reactor& r) {
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
  on_all_backends([](reactor& r) {
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
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.');
    write_text(c.theirs, "done");
    request op(opcode::recv, c.mine, buffer);
    (void)perform(r, op);
    request next(opcode::recv, c.mine, buffer);
    submit(r, next);
    r.cancel(op);
    settle(r);
    CHECK(op.result == 4);
    CHECK(op.completions == 1);
    REQUIRE_FALSE(next.done());
    write_text(c.theirs, "next!");
    wait_for(r, next);
    CHECK(next.result == 5);
    r.close(c.mine);
  });
}

TEST_CASE("a cancel that finds its operation completed does not reach the next one at the same address") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.');
    alignas(request) unsigned char place[sizeof(request)];
    for (int round = 0; round != 50; ++round) {
      auto* op = new (place) request(opcode::recv, c.mine, buffer);
      submit(r, *op);
      settle(r);
      write_text(c.theirs, "x");
      r.cancel(*op);  // races with the byte
      wait_for(r, *op);
      const bool had_it = op->result == 1;
      if (!had_it) REQUIRE(op->result == -ECANCELED);
      auto* next = new (place) request(opcode::recv, c.mine, buffer);
      submit(r, *next);
      if (had_it) {
        settle(r);
        REQUIRE_FALSE(next->done());
        write_text(c.theirs, "y");
      }
      wait_for(r, *next);
      REQUIRE(next->result == 1);
    }
    r.close(c.mine);
  });
}

TEST_CASE("a cancel that comes after the bytes gives them, or leaves them for the next read") {
  on_all_backends([](reactor& r) {
    connected_reader c(r, 16);
    submit(r, c.op);
    settle(r);
    write_text(c.theirs, "bytes");
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
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    const std::size_t full = fill(r, c.mine);
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
    write_text(c.theirs, "in");
    wait_for(r, reading);
    CHECK(reading.result == 2);
    drain(c.theirs, full);
    CHECK(read_text(c.theirs).empty());  // "out" never left
    r.close(c.mine);
  });
}

TEST_CASE("a poll that waits can be cancelled") {
  on_all_backends([](reactor& r) {
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
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    CHECK_FALSE(r.is_closed(c.mine));
    CHECK(r.close(c.mine));
    CHECK(r.is_closed(c.mine));
    CHECK_FALSE(is_open(r, c.mine));
    settle(r);
    CHECK(at_end(c.theirs));
  });
}

TEST_CASE("closing ends what is in flight with EBADF, and only then closes the descriptor") {
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    (void)fill(r, c.mine);
    std::string buffer(16, '.'), text = "out";
    request reading(opcode::recv, c.mine, buffer);
    request writing(opcode::send, c.mine, text);
    submit(r, reading);
    submit(r, writing);
    settle(r);
    REQUIRE_FALSE(r.close(c.mine));
    REQUIRE(is_open(r, c.mine));
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
    CHECK_FALSE(is_open(r, c.mine));
  });
}

TEST_CASE("closing before the first wait, and while a cancel is under way, ends the operation once") {
  on_all_backends([](reactor& r) {
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
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(16, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    settle(r);
    write_text(c.theirs, "bytes");
    (void)r.close(c.mine);
    wait_until(r, [&] { return r.is_closed(c.mine); });
    CHECK(op.completions == 1);
    CHECK((op.result == 5 || op.result == -EBADF));
  });
}

TEST_CASE("a descriptor is adopted once, until it is closed") {
  on_all_backends([](reactor& r) {
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
  on_all_backends([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(4, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    settle(r);
    r.cancel(op);
    wait_for(r, op);
    r.disown(c.mine);
    CHECK(r.is_closed(c.mine));
    CHECK(is_open(r, c.mine));
    write_text(c.theirs, "x");
    settle(r);
    r.adopt(c.mine);  // it is as good as new
    CHECK(receive(r, c.mine) == "x");
    r.close(c.mine);
  });
}
