// More operations than the kernel's queues have room for: nothing is lost, nothing completes twice.
#include <rota/reactor/reactor.hpp>

#include <sys/eventfd.h>

#include <deque>
#include <string>
#include <vector>

#include "support/plain_operations.hpp"

using namespace rota_test;

namespace {

/// Many descriptors that become readable when the test says so.
struct many_events {
  std::vector<int> fds;
  std::vector<std::uint64_t> values;
  std::deque<request> reads;

  many_events(reactor& r, std::size_t n) : values(n) {
    for (std::size_t i = 0; i != n; ++i) fds.push_back(adopt(r, rota::unique_fd(::eventfd(0, EFD_CLOEXEC))));
  }
  void submit_reads(reactor& r) {
    reads.clear();
    for (std::size_t i = 0; i != fds.size(); ++i)
      submit(r, reads.emplace_back(opcode::read, fds[i], &values[i], sizeof values[i]));
  }
  void make_ready(std::size_t i) const {
    const std::uint64_t value = i + 1;
    REQUIRE(::write(fds[i], &value, sizeof value) == sizeof value);
  }
  std::size_t completed() const {
    std::size_t n = 0;
    for (const request& op : reads) n += op.done();
    return n;
  }
  void close(reactor& r) const {
    for (const int fd : fds) r.close(fd);
  }
};

constexpr std::size_t many = 5'000;

}  // namespace

TEST_CASE("five thousand operations wait at a time, and each gets its own result once") {
  const std::size_t n = allow_descriptors(many);
  on_each_backend([n](reactor& r) {
    many_events events(r, n);
    for (int round = 0; round != 2; ++round) {
      events.submit_reads(r);
      settle(r);
      REQUIRE(r.in_flight() == n);
      REQUIRE(events.completed() == 0);
      for (std::size_t i = 0; i != n; ++i) events.make_ready(n - 1 - i);
      wait_until(r, [&] { return r.in_flight() == 0; });
      settle(r);
      for (std::size_t i = 0; i != n; ++i) {
        REQUIRE(events.reads[i].completions == 1);
        REQUIRE(events.reads[i].result == sizeof(std::uint64_t));
        REQUIRE(events.values[i] == i + 1);
      }
    }
    events.close(r);
  });
}

TEST_CASE("operations that are ready when they are submitted all complete, whatever the room in the queues") {
  const std::size_t n = allow_descriptors(many);
  on_each_backend([n](reactor& r) {
    many_events events(r, n);
    for (std::size_t i = 0; i != n; ++i) events.make_ready(i);
    events.submit_reads(r);
    wait_until(r, [&] { return r.in_flight() == 0; });
    settle(r);
    for (std::size_t i = 0; i != n; ++i) {
      REQUIRE(events.reads[i].completions == 1);
      REQUIRE(events.values[i] == i + 1);
    }
    events.close(r);
  });
}

TEST_CASE("a storm of cancels ends every operation once") {
  const std::size_t n = allow_descriptors(many);
  on_each_backend([n](reactor& r) {
    many_events events(r, n);
    for (const bool submitted_before : {true, false}) {
      events.submit_reads(r);
      if (submitted_before) settle(r);
      for (request& op : events.reads) r.cancel(op);
      for (request& op : events.reads) r.cancel(op);
      wait_until(r, [&] { return r.in_flight() == 0; });
      settle(r);
      for (const request& op : events.reads) {
        REQUIRE(op.completions == 1);
        REQUIRE(op.result == -ECANCELED);
      }
    }
    events.close(r);
  });
}

TEST_CASE("cancels that race with readiness: each operation has its value or leaves it there") {
  const std::size_t n = allow_descriptors(many);
  on_each_backend([n](reactor& r) {
    many_events events(r, n);
    events.submit_reads(r);
    settle(r);
    for (std::size_t i = 0; i != n; ++i) {
      if (i % 3 == 0) r.cancel(events.reads[i]);
      events.make_ready(i);
      if (i % 3 == 1) r.cancel(events.reads[i]);
    }
    wait_until(r, [&] { return r.in_flight() == 0; });
    settle(r);
    std::size_t had = 0;
    for (std::size_t i = 0; i != n; ++i) {
      REQUIRE(events.reads[i].completions == 1);
      std::uint64_t value = events.values[i];
      if (events.reads[i].result == -ECANCELED) {
        request next(opcode::read, events.fds[i], &value, sizeof value);
        REQUIRE(perform(r, next) == sizeof value);
      } else {
        REQUIRE(events.reads[i].result == sizeof value);
        ++had;
      }
      REQUIRE(value == i + 1);
      events.values[i] = 0;
    }
    CHECK(had >= n / 3);  // those that nobody cancelled
    events.close(r);
  });
}

TEST_CASE("closing thousands of descriptors with operations on them ends all of it") {
  const std::size_t n = allow_descriptors(many);
  on_each_backend([n](reactor& r) {
    many_events events(r, n);
    events.submit_reads(r);
    settle(r);
    for (const int fd : events.fds) REQUIRE_FALSE(r.close(fd));
    wait_until(r, [&] { return r.descriptors() == 0; });
    for (const request& op : events.reads) {
      REQUIRE(op.completions == 1);
      REQUIRE(op.result == -EBADF);
    }
  });
}

TEST_CASE("completions keep their order on one descriptor") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(1, '.');
    for (int i = 0; i != 2'000; ++i) {
      const char byte = static_cast<char>(i);
      REQUIRE(::write(c.theirs.get(), &byte, 1) == 1);
      request op(opcode::recv, c.mine, buffer);
      REQUIRE(perform(r, op) == 1);
      REQUIRE(buffer[0] == byte);
    }
    r.close(c.mine);
  });
}

TEST_CASE("a reactor is destroyed with thousands of operations in the kernel") {
  const std::size_t n = allow_descriptors(many);
  for (const reactor_kind& kind : reactor_kinds()) {
    INFO("on " << kind.name);
    const descriptor_balance nothing_left;
    std::unique_ptr<reactor> r = kind.make();
    many_events events(*r, n);
    events.submit_reads(*r);
    settle(*r);
    for (request& op : events.reads) r->cancel(op);
    r.reset();  // the requests are still alive
    for (const int fd : events.fds) ::close(fd);
  }
}
