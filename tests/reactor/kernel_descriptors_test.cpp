// What the backends promise about descriptors that only a kernel has: pipes, files, duplicates, flags.
#include <rota/reactor/reactor.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "support/plain_operations.hpp"

using namespace rota_test;

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

      (void)fill(r, to);
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
