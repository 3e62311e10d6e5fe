// How a reactor waits: deadlines, wake-ups from threads and signal handlers, and a child that inherits it.
#include <rota/reactor/reactor.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/plain_operations.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;

namespace {

// The contract lets a wait end early with nothing, and virtual machines make use of it; but it must not spin.
void wait_until(reactor& r, nanoseconds deadline) {
  int waits = 0;
  do {
    CHECK(collect(r, deadline) == 0);
    ++waits;
  } while (now() < deadline);
  CHECK(waits < 10);
}

}  // namespace

TEST_CASE("waits with a deadline reach it without spinning") {
  on_each_backend([](reactor& r) {
    for (const nanoseconds length : {nanoseconds{1}, nanoseconds{50'000}, milliseconds(1), milliseconds(3)}) {
      const nanoseconds deadline = now() + length;
      wait_until(r, deadline);
    }
  });
}

TEST_CASE("a wait with a deadline in the past does not wait") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::string buffer(4, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    for (const nanoseconds deadline : {nanoseconds{0}, nanoseconds{-1}, now() - 1, nanoseconds{INT64_MIN}})
      CHECK(collect(r, deadline) == 0);
    r.close(c.mine);
    settle(r);
  });
}

TEST_CASE("a wait without a deadline ends with the first completion") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 4);
    submit(r, c.op);
    settle(r);
    std::thread peer([&] { (void)!::write(c.theirs.get(), "x", 1); });
    while (!c.op.done()) collect(r, rota::detail::never);
    peer.join();
    CHECK(c.op.result == 1);
  });
}

TEST_CASE("a wait does not wait when a completion is there already") {
  on_each_backend([](reactor& r) {
    connected_reader c(r, 4);
    submit(r, c.op);
    r.cancel(c.op);
    while (!c.op.done()) collect(r, rota::detail::never);  // would hang
    CHECK(c.op.result == -ECANCELED);
  });
}

TEST_CASE("a wake-up before the wait ends that wait") {
  on_each_backend([](reactor& r) {
    for (int round = 0; round != 5; ++round) {
      r.wake();
      r.wake();  // two are one
      CHECK(collect(r, rota::detail::never) == 0);
    }
  });
}

TEST_CASE("a wake-up is used up by one wait") {
  on_each_backend([](reactor& r) {
    r.wake();
    collect(r, rota::detail::never);
    settle(r);
    wait_until(r, now() + milliseconds(1));
  });
}

TEST_CASE("a wake-up from another thread ends a wait") {
  on_each_backend([](reactor& r) {
    for (int round = 0; round != 100; ++round) {
      std::thread other([&] { r.wake(); });
      collect(r, rota::detail::never);
      other.join();
      settle(r);
    }
  });
}

TEST_CASE("no wake-up of several threads is lost") {
  on_each_backend([](reactor& r) {
    constexpr int threads = 4, each = 500;
    std::atomic<int> asked{0};
    std::vector<std::thread> others;
    for (int t = 0; t != threads; ++t)
      others.emplace_back([&] {
        for (int i = 0; i != each; ++i) {
          asked.fetch_add(1);
          r.wake();
        }
      });
    // Whoever has asked wakes the wait that follows; the last one too.
    while (asked.load() != threads * each) collect(r, rota::detail::never);
    for (std::thread& t : others) t.join();
    collect(r, now() + milliseconds(1));
    settle(r);
  });
}

TEST_CASE("completions go on arriving while somebody wakes all the time") {
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    std::atomic<bool> over{false};
    std::thread noise([&] {
      while (!over.load()) r.wake();
    });
    std::string buffer(4, '.');
    for (int round = 0; round != 200; ++round) {
      request op(opcode::recv, c.mine, buffer);
      submit(r, op);
      write_text(c.theirs.get(), "x");
      while (!op.done()) collect(r, rota::detail::never);
      REQUIRE(op.result == 1);
    }
    over = true;
    noise.join();
    r.close(c.mine);
  });
}

// ---- signals

namespace {

std::atomic<int> signals_seen{0};
std::atomic<reactor*> to_wake{nullptr};

void count_signal(int) {
  signals_seen.fetch_add(1);
  if (reactor* r = to_wake.load()) r->wake();
}

/// Handles a signal, without SA_RESTART.
class handled_signal {
 public:
  explicit handled_signal(int number) : number_(number) {
    struct sigaction action{};
    action.sa_handler = &count_signal;
    ::sigaction(number, &action, &previous_);
    signals_seen = 0;
  }
  ~handled_signal() { ::sigaction(number_, &previous_, nullptr); }
  handled_signal(const handled_signal&) = delete;
  handled_signal& operator=(const handled_signal&) = delete;

 private:
  int number_;
  struct sigaction previous_{};
};

}  // namespace

TEST_CASE("signals during waits are no errors and lose nothing") {
  const handled_signal alarms(SIGALRM);
  on_each_backend([](reactor& r) {
    connected c = connect_pair(r);
    const itimerval storm{{0, 100}, {0, 100}};  // every 0.1 ms
    ::setitimer(ITIMER_REAL, &storm, nullptr);
    std::string buffer(4, '.');
    for (int round = 0; round != 100; ++round) {
      request op(opcode::recv, c.mine, buffer);
      submit(r, op);
      const nanoseconds deadline = now() + 300'000;
      while (now() < deadline) collect(r, deadline);
      REQUIRE_FALSE(op.done());
      REQUIRE(::send(c.theirs.get(), "x", 1, 0) == 1);
      wait_for(r, op);
      REQUIRE(op.result == 1);
    }
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    CHECK(signals_seen > 10);
    r.close(c.mine);
  });
}

TEST_CASE("a signal handler may wake the reactor") {
  const handled_signal alarms(SIGUSR1);
  on_each_backend([](reactor& r) {
    to_wake = &r;
    const pthread_t me = ::pthread_self();
    for (int round = 0; round != 20; ++round) {
      std::thread other([me] { ::pthread_kill(me, SIGUSR1); });
      collect(r, rota::detail::never);
      other.join();
      settle(r);
    }
    to_wake = nullptr;
    CHECK(signals_seen >= 20);
    signals_seen = 0;
  });
}

// ---- fork

TEST_CASE("a child process may not use its parent's reactor, and the parent goes on") {
  on_each_backend([](reactor& r) {
    connected_reader c(r);
    submit(r, c.op);
    settle(r);
    const child_outcome child = run_in_child([&] {
      if (!r.forked()) return 1;
      std::string other(8, '.');
      request mine(opcode::send, c.mine, other);
      if (r.submit(mine) != reactor::submitted::completed || mine.result != -ECHILD) return 2;
      r.cancel(c.op);
      if (c.op.cancel_requested) return 3;
      if (!r.close(c.mine) || !is_open(c.mine)) return 4;
      try {
        collect(r);
        return 5;
      } catch (const rota::usage_error& error) {
        if (error.which() != rota::usage_error::kind::forked) return 6;
      }
      try {
        r.adopt(c.theirs.get());
        return 7;
      } catch (const rota::usage_error& error) {
        if (error.which() != rota::usage_error::kind::forked) return 8;
      }
      return 0;
    });
    INFO(child.output);
    CHECK(child.exit_code() == 0);
    REQUIRE_FALSE(c.op.done());
    write_text(c.theirs.get(), "parent's");
    wait_for(r, c.op);
    CHECK(c.op.result == 8);
    CHECK(c.buffer == "parent's");
  });
}

TEST_CASE("a child process may destroy its parent's reactor, and make one of its own") {
  for (const reactor_kind& kind : reactor_kinds()) {
    INFO("on " << kind.name);
    const descriptor_balance nothing_left;
    std::unique_ptr<reactor> inherited = kind.make();
    connected c = connect_pair(*inherited);
    std::string buffer(8, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(*inherited, op);
    settle(*inherited);
    const child_outcome child = run_in_child([&] {
      inherited.reset();
      std::unique_ptr<reactor> own = kind.make();
      connected mine = connect_pair(*own);
      request reading(opcode::recv, mine.mine, buffer);
      submit(*own, reading);
      write_text(mine.theirs.get(), "own");
      wait_for(*own, reading);
      return reading.result == 3 ? 0 : 1;
    });
    INFO(child.output);
    CHECK(child.exit_code() == 0);
    write_text(c.theirs.get(), "still");
    wait_for(*inherited, op);
    CHECK(op.result == 5);
    inherited->close(c.mine);
  }
}
