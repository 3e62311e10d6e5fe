// System calls that fail: what is answered, and that nothing is lost. epoll's calls go through a policy.
#include "support/faulty_sys.hpp"

#include <rota/reactor/epoll/epoll_reactor.hpp>

#include <string>

#include "support/plain_operations.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using rota::detail::epoll_reactor;

namespace {

/// Real calls again at the end of the block.
struct clean_policy {
  clean_policy() { faulty_sys::reset(); }
  ~clean_policy() { faulty_sys::reset(); }
  clean_policy(const clean_policy&) = delete;
  clean_policy& operator=(const clean_policy&) = delete;
};

constexpr call transfers[] = {call::recv, call::send, call::recvmsg, call::sendmsg, call::read, call::write};

std::string read_exactly(int fd, std::size_t size) {
  std::string text(size, '.');
  REQUIRE(::recv(fd, text.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
  return text;
}

}  // namespace

TEST_CASE("a reactor that cannot be made says which call failed, and leaves nothing behind") {
  struct {
    call which;
    int error;
    const char* name;
  } const cases[] = {{call::epoll_create, EMFILE, "epoll_create1"},
                     {call::epoll_create, ENFILE, "epoll_create1"},
                     {call::eventfd, EMFILE, "eventfd"},
                     {call::eventfd, ENODEV, "eventfd"},
                     {call::epoll_ctl, ENOSPC, "epoll_ctl"},
                     {call::epoll_ctl, ENOMEM, "epoll_ctl"}};
  for (const auto& c : cases) {
    INFO(c.name << " fails with " << c.error);
    const clean_policy policy;
    const descriptor_balance nothing_left;
    faulty_sys::fail(c.which, c.error);
    std::string text;
    std::error_code code;
    try {
      const epoll_reactor r;
    } catch (const std::system_error& e) {
      text = e.what();
      code = e.code();
    }
    CHECK(code == std::error_code(c.error, std::generic_category()));
    CHECK(text.find(c.name) != std::string::npos);
  }
}

TEST_CASE("a ring whose wake-up descriptor cannot be made says so") {
  for (const reactor_kind& kind : reactor_kinds()) {
    const clean_policy policy;
    const descriptor_balance nothing_left;
    faulty_sys::fail(call::eventfd, EMFILE);
    const std::error_code code = error_code_of([&] { return kind.make(); });
    CHECK(code == std::errc::too_many_files_open);
  }
}

TEST_CASE("every call may be interrupted by a signal, and nobody notices") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  for (const std::uint64_t every : {std::uint64_t{2}, std::uint64_t{3}}) {
    for (const call which : transfers) faulty_sys::plan(which).eintr_every = every;
    for (const call which : {call::accept, call::poll, call::epoll_wait, call::epoll_wait_until, call::getsockopt})
      faulty_sys::plan(which).eintr_every = every;

    connected c = connect_pair(r, make_tcp_pair());
    std::string text(200'000, 'i'), buffer(1'000, '.');
    request writing(opcode::send, c.mine, text);
    writing.all = true;
    submit(r, writing);
    std::string received;
    wait_until(r, [&] {
      received += read_text(c.theirs.get(), 10'000);
      return received.size() == text.size();
    });
    wait_for(r, writing);
    CHECK(writing.result == 200'000);
    CHECK(received == text);
    for (int i = 0; i != 20; ++i) {
      request reading(opcode::recv, c.mine, buffer);
      submit(r, reading);
      settle(r);
      write_text(c.theirs.get(), "bytes");
      wait_for(r, reading);
      REQUIRE(reading.result == 5);
    }
    r.close(c.mine);

    rota::address at("127.0.0.1", 0);
    const int listener = adopt(r, make_listener(at));
    for (int i = 0; i != 5; ++i) {
      const int fd = adopt(r, rota::unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
      request connecting(opcode::connect, fd);
      connecting.address = at.data();
      connecting.address_size = at.size();
      REQUIRE(perform(r, connecting) == 0);
      request accepting(opcode::accept, listener);
      const rota::unique_fd accepted(perform(r, accepting));
      REQUIRE(accepted);
      request polling(opcode::poll, fd);
      polling.size = POLLOUT;
      REQUIRE((perform(r, polling) & POLLOUT) != 0);
      r.close(fd);
    }
    r.close(listener);
  }
}

TEST_CASE("a connect that is interrupted goes on by itself and is waited for") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  rota::address at("127.0.0.1", 0);
  const rota::unique_fd listener = make_listener(at);
  const int fd = adopt(r, rota::unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  request op(opcode::connect, fd);
  op.address = at.data();
  op.address_size = at.size();
  // What EINTR means for connect(2): it is under way.
  (void)::connect(fd, at.data(), at.size());
  faulty_sys::fail(call::connect, EINTR);
  CHECK(perform(r, op) == 0);
  r.close(fd);
}

TEST_CASE("everything is written however little the kernel takes at a time") {
  for (const std::size_t most : {std::size_t{1}, std::size_t{500}, std::size_t{999}}) {
    INFO("at most " << most << " bytes per call");
    const clean_policy policy;
    const descriptor_balance nothing_left;
    epoll_reactor r;
    connected c = connect_pair(r, make_tcp_pair());
    std::string text(1'000, '\0');
    for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i);
    for (const opcode code : {opcode::send, opcode::write}) {
      const call which = code == opcode::send ? call::send : call::write;
      faulty_sys::plan(which).most = most;
      request all(code, c.mine, text);
      all.all = true;
      CHECK(perform(r, all) == 1'000);
      CHECK(read_exactly(c.theirs.get(), 1'000) == text);
      request some(code, c.mine, text);
      CHECK(perform(r, some) == static_cast<int>(most));
      CHECK(read_exactly(c.theirs.get(), most) == text.substr(0, most));
      faulty_sys::plan(which).most = SIZE_MAX;
    }
    r.close(c.mine);
  }
}

TEST_CASE("everything is written when the kernel blocks after each part") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  connected c = connect_pair(r);
  std::string text(100'000, '\0');
  for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i * 3);
  request op(opcode::send, c.mine, text);
  op.all = true;
  faulty_sys::plan(call::send).most = 333;
  submit(r, op);
  std::string received;
  wait_until(r, [&] {
    received += read_text(c.theirs.get(), 777);
    return received.size() == text.size();
  });
  wait_for(r, op);
  CHECK(op.result == 100'000);
  CHECK(received == text);
  r.close(c.mine);
}

TEST_CASE("an operation whose descriptor cannot be watched ends with the error of that") {
  for (const int error : {ENOMEM, ENOSPC}) {
    const clean_policy policy;
    const descriptor_balance nothing_left;
    epoll_reactor r;
    connected c = connect_pair(r);
    std::string buffer(8, '.');
    faulty_sys::fail(call::epoll_ctl, error);
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    REQUIRE(op.done());
    CHECK(op.result == -error);
    CHECK(r.in_flight() == 0);
    request again(opcode::recv, c.mine, buffer);  // the next one is watched
    submit_waiting(r, again);
    write_text(c.theirs.get(), "x");
    wait_for(r, again);
    CHECK(again.result == 1);
    r.close(c.mine);
  }
}

TEST_CASE("a writer that cannot be watched leaves the reader that is") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  connected c = connect_pair(r);
  std::string buffer(8, '.'), text = "w";
  request reading(opcode::recv, c.mine, buffer);
  submit(r, reading);
  faulty_sys::fail(call::send, EAGAIN);
  faulty_sys::fail(call::epoll_ctl, ENOMEM);
  request writing(opcode::send, c.mine, text);
  submit(r, writing);
  REQUIRE(writing.done());
  CHECK(writing.result == -ENOMEM);
  REQUIRE_FALSE(reading.done());
  write_text(c.theirs.get(), "r");
  wait_for(r, reading);
  CHECK(reading.result == 1);
  request again(opcode::send, c.mine, text);
  CHECK(perform(r, again) == 1);
  r.close(c.mine);
}

TEST_CASE("without epoll_pwait2 deadlines are kept in milliseconds") {
  for (const int error : {ENOSYS, EPERM}) {
    const clean_policy policy;
    epoll_reactor r;
    faulty_sys::fail(call::epoll_wait_until, error, 1'000);
    for (int i = 0; i != 3; ++i) {
      const nanoseconds deadline = now() + 100'000;
      while (now() < deadline) collect(r, deadline);
    }
    CHECK(faulty_sys::calls(call::epoll_wait_until) == 1);  // it is asked once
    connected_reader c(r);
    submit(r, c.op);
    write_text(c.theirs.get(), "x");
    CHECK(collect(r, now() + milliseconds(3'600'000)) == 1);
  }
}

TEST_CASE("an interrupted wait returns early, with nothing and without an error") {
  const clean_policy policy;
  epoll_reactor r;
  faulty_sys::fail(call::epoll_wait, EINTR);
  CHECK(collect(r, rota::detail::never) == 0);
  faulty_sys::fail(call::epoll_wait_until, EINTR);
  CHECK(collect(r, now() + milliseconds(3'600'000)) == 0);
}

TEST_CASE("a wait that fails for good is an exception, and the operations stay") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  connected_reader c(r);
  submit(r, c.op);
  faulty_sys::fail(call::epoll_wait, EINVAL);
  const std::error_code code = error_code_of([&] { return collect(r); });
  CHECK(code == std::errc::invalid_argument);
  write_text(c.theirs.get(), "x");
  wait_for(r, c.op);
  CHECK(c.op.result == 1);
}

TEST_CASE("the errors of a transfer are its result") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  connected c = connect_pair(r);
  std::string buffer(8, '.');
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  struct {
    opcode code;
    call which;
  } const cases[] = {{opcode::recv, call::recv},   {opcode::send, call::send},       {opcode::read, call::read},
                     {opcode::write, call::write}, {opcode::recvmsg, call::recvmsg}, {opcode::sendmsg, call::sendmsg}};
  for (const auto& [code, which] : cases) {
    for (const int error : {ECONNRESET, EPIPE, ENOBUFS, ENOMEM, EIO}) {
      faulty_sys::fail(which, error);
      request op(code, c.mine, buffer);
      if (code == opcode::recvmsg || code == opcode::sendmsg) op.message = &message;
      CHECK(perform(r, op) == -error);
    }
  }
  r.close(c.mine);
}

TEST_CASE("connections that died in the backlog are passed over") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  epoll_reactor r;
  rota::address at("127.0.0.1", 0);
  const int listener = adopt(r, make_listener(at));
  const rota::unique_fd client = connect_to(at);
  faulty_sys::plan(call::accept).errors = {ECONNABORTED, EINTR, EPROTO, ECONNABORTED};
  request op(opcode::accept, listener);
  const rota::unique_fd accepted(perform(r, op));
  CHECK(accepted);
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    faulty_sys::fail(call::accept, error);
    request refused(opcode::accept, listener);
    CHECK(perform(r, refused) == -error);
  }
  r.close(listener);
}

namespace {

// A connection on which full reads were seen to leave nothing, so that the next read is not tried at once.
struct learned {
  epoll_reactor r;
  connected c = connect_pair(r, make_tcp_pair());
  std::string buffer = std::string(100, '.');

  learned() {
    for (int i = 0; i != 2; ++i) full_read();
    // This one is tried in vain, and remembered.
    request next(opcode::recv, c.mine, buffer);
    submit(r, next);
    collect(r);
    CHECK_FALSE(next.done());
    say(100);
    wait_for(r, next);
  }
  ~learned() { r.close(c.mine); }
  void say(std::size_t bytes) {
    const std::string text(bytes, 'x');
    REQUIRE(::send(c.theirs.get(), text.data(), bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes));
  }
  void full_read() {
    say(100);
    request op(opcode::recv, c.mine, buffer);
    REQUIRE(perform(r, op) == 100);
  }
};

}  // namespace

TEST_CASE("where full reads leave nothing behind, the next read is not tried in vain") {
  const clean_policy policy;
  learned l;
  const std::uint64_t before = faulty_sys::plan(call::recv).again;
  for (int i = 0; i != 20; ++i) {
    request op(opcode::recv, l.c.mine, l.buffer);
    submit(l.r, op);
    CHECK_FALSE(op.done());
    l.say(100);
    wait_for(l.r, op);
    CHECK(op.result == 100);
  }
  CHECK(faulty_sys::plan(call::recv).again == before);
}

TEST_CASE("what a full read left behind is given although no event comes") {
  const clean_policy policy;
  learned l;
  request first(opcode::recv, l.c.mine, l.buffer);
  submit(l.r, first);
  l.say(350);
  wait_for(l.r, first);
  CHECK(first.result == 100);
  for (const int expected : {100, 100, 50}) {
    request op(opcode::recv, l.c.mine, l.buffer);
    CHECK(perform(l.r, op) == expected);
  }
}

TEST_CASE("what a full read left behind is given while events for others keep coming") {
  const clean_policy policy;
  learned l;
  request first(opcode::recv, l.c.mine, l.buffer);
  submit(l.r, first);
  l.say(200);
  wait_for(l.r, first);
  connected other = connect_pair(l.r, make_tcp_pair());
  request op(opcode::recv, l.c.mine, l.buffer);
  submit(l.r, op);
  int waits = 0;
  for (; !op.done() && waits != 100; ++waits) {
    char byte = 'x';
    request busy(opcode::recv, other.mine, &byte, 1);
    submit(l.r, busy);
    REQUIRE(::send(other.theirs.get(), &byte, 1, MSG_NOSIGNAL) == 1);
    while (!busy.done()) collect(l.r);
  }
  CHECK(op.result == 100);
  CHECK(waits < 20);
  l.r.close(other.mine);
}

TEST_CASE("a read that is not tried at once ends with the stream, a cancel or a close") {
  for (const int how : {0, 1, 2}) {
    INFO("way " << how);
    const clean_policy policy;
    const descriptor_balance nothing_left;
    learned l;
    request op(opcode::recv, l.c.mine, l.buffer);
    submit(l.r, op);
    REQUIRE_FALSE(op.done());
    if (how == 0) l.c.theirs.reset();
    if (how == 1) l.r.cancel(op);
    if (how == 2) l.r.close(l.c.mine);
    wait_for(l.r, op);
    CHECK(op.result == (how == 0 ? 0 : how == 1 ? -ECANCELED : -EBADF));
    settle(l.r);
    CHECK(op.completions == 1);
  }
}
