// loop_group: one f on several loops; how they begin, reach each other, fail and end.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <rota/adapt/spawn_threadsafe.hpp>

#include "support/meeting.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::loop_group;
using rota::loop_member;
using rota::task;
using rota_test::at_end;
using rota_test::run;

task<> for_ever() {
  for (;;) co_await rota::sleep_for(1h);
}

/// Until all of f have begun: a cancel keeps those that have not from beginning.
task<> meet(std::atomic<int>& begun, loop_member here) {
  begun.fetch_add(1);
  while (begun.load() != static_cast<int>(here.size())) co_await rota::yield();
}

template <class T>
std::string errors_of(task<T> made) {
  try {
    rota_test::run(std::move(made));
  } catch (const rota::exception_group& group) {
    return group.what();
  }
  return "none";
}

TEST_CASE("f runs once on each loop, on a thread of its own, and knows which it is") {
  std::array<std::atomic<int>, 4> visits{};
  std::array<pthread_t, 4> threads{};
  std::atomic<int> wrong{0};
  const auto f = [&](loop_member here) -> task<> {
    co_await rota::yield();
    visits[here.index()].fetch_add(1);
    threads[here.index()] = pthread_self();
    wrong +=
        here.size() != 4 || &here.loop() != rota::event_loop::current() || &here.loop(here.index()) != &here.loop();
    wrong += rota_test::usage_error_of([&] { (void)here.loop(4); }) != rota::usage_error::kind::invalid_argument;
  };
  rota_test::run(loop_group(4, f));
  REQUIRE(wrong.load() == 0);
  for (std::size_t i = 0; i != 4; ++i) {
    REQUIRE(visits[i].load() == 1);
    REQUIRE_FALSE(pthread_equal(threads[i], pthread_self()));
    for (std::size_t k = 0; k != i; ++k) REQUIRE_FALSE(pthread_equal(threads[i], threads[k]));
  }
}

TEST_CASE("as many loops as the process may use CPUs, unless it says how many") {
  std::atomic<unsigned> count{0};
  const auto f = [&]() -> task<> {
    ++count;
    co_return;
  };
  rota::loop_group_options options;
  options.pin = true;
  rota_test::run(loop_group(options, f));
  REQUIRE(count.load() == rota::usable_cpus());
}

TEST_CASE("each loop has its own copies of the arguments, and std::ref shares one") {
  std::set<const void*> copies;
  std::atomic<int> shared{0};
  rota::sync_mutex mutex;
  const auto f = [&](const std::vector<int>& mine, std::atomic<int>& all) -> task<> {
    all.fetch_add(mine[0]);
    const std::lock_guard guard(mutex);
    copies.insert(mine.data());
    co_return;
  };
  rota_test::run(loop_group(3, f, std::vector<int>{7}, std::ref(shared)));
  REQUIRE(shared.load() == 21);
  REQUIRE(copies.size() == 3);
}

TEST_CASE("the first error cancels the other loops, and says where it comes from") {
  std::atomic<int> begun{0}, ended{0};
  const auto f = [&](loop_member here) -> task<> {
    const at_end counts(ended);
    co_await meet(begun, here);
    if (here.index() == 2) throw std::runtime_error("the third has had enough");
    co_await for_ever();
  };
  const std::string text = errors_of(loop_group(4, f));
  INFO(text);
  REQUIRE(ended.load() == 4);
  REQUIRE(text.find("loop_group_test.cpp") != text.npos);
  REQUIRE(text.find("failed with 1 error") != text.npos);
  REQUIRE(text.find("loop 2 of 4: std::runtime_error: the third has had enough") != text.npos);
}

TEST_CASE("errors of several loops come out together") {
  std::atomic<int> begun{0};
  const auto f = [&](loop_member here) -> task<> {
    begun.fetch_add(1);
    while (begun.load() != 3) std::this_thread::yield();
    if (here.index() != 1) throw std::runtime_error("number " + std::to_string(here.index()));
    co_return;
  };
  const std::string text = errors_of(loop_group(3, f));
  INFO(text);
  REQUIRE(text.find("loop 0 of 3: std::runtime_error: number 0") != text.npos);
  REQUIRE(text.find("loop 1") == text.npos);
  REQUIRE(text.find("loop 2 of 3: std::runtime_error: number 2") != text.npos);
}

TEST_CASE("a cancel of who awaits the group reaches every loop, and all have ended before it throws") {
  std::atomic<int> begun{0}, ended{0}, deadlines{0};
  const auto f = [&]() -> task<> {
    const at_end counts(ended);
    begun.fetch_add(1);
    try {
      co_await for_ever();
    } catch (const rota::cancelled& c) {
      deadlines += c.kind() == rota::cancel_kind::deadline;
      throw;
    }
  };
  for (auto limit = 1ms; begun.load() != 3; limit *= 2) {  // all of them have begun by then, on any machine
    begun = ended = deadlines = 0;
    run([&]() -> task<> {
      const bool in_time = co_await rota::move_on_after(limit, loop_group(3, f));
      REQUIRE_FALSE(in_time);
    });
    REQUIRE(begun.load() == ended.load());
    REQUIRE(deadlines.load() == ended.load());
  }
}

TEST_CASE("who is cancelled already makes no loop") {
  std::atomic<int> begun{0};
  const auto f = [&]() -> task<> {
    ++begun;
    co_return;
  };
  run([&]() -> task<> {
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await loop_group(2, f);
    };
    const bool done = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(done);
  });
  REQUIRE(begun.load() == 0);
}

TEST_CASE("what all of f did in spite of a cancel counts: the await returns, and the next one throws") {
  std::atomic<int> begun{0};
  std::atomic<bool> asked{false};
  bool returned = false, went_on = false;
  const auto f = [&]() -> task<> {
    begun.fetch_add(1);
    while (!asked.load()) std::this_thread::yield();
    co_return;
  };
  run([&]() -> task<> {
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      const auto cancels = [&]() -> task<> {
        while (begun.load() != 2) co_await rota::yield();
        scope.cancel();
        asked.store(true);
      };
      const rota::join_handle<> other = rota::spawn(cancels);
      co_await loop_group(2, f);
      returned = true;
      co_await rota::yield();
      went_on = true;
    };
    (void)co_await rota::with_cancel_scope(body);
  });
  REQUIRE(returned);
  REQUIRE_FALSE(went_on);
}

TEST_CASE("a member may end the group, which is no error") {
  std::atomic<int> begun{0}, ended{0};
  const auto f = [&](loop_member here) -> task<> {
    const at_end counts(ended);
    co_await meet(begun, here);
    if (here.index() == 1) here.stop_group();
    co_await for_ever();
  };
  rota_test::run(loop_group(3, f));
  REQUIRE(ended.load() == 3);
}

TEST_CASE("loops post to each other, until the last of f has ended, also to one whose f has ended") {
  constexpr int laps = 100;
  int round = 0;  // written by whoever has the post: TSan looks
  const auto pass_on = [&](auto self, loop_member from) -> void {
    if (++round == laps * 4) {
      from.stop_group();
      return;
    }
    const loop_member next = from;
    from.loop((static_cast<std::size_t>(round)) % 4).post([self, next] { self(self, next); });
  };
  const auto f = [&](loop_member here) -> task<> {
    if (here.index() == 0) here.loop(1).post([&, here] { pass_on(pass_on, here); });
    if (here.index() < 3) co_return;
    co_await for_ever();
  };
  rota_test::run(loop_group(4, f));
  REQUIRE(round == laps * 4);
}

TEST_CASE("a task of one loop awaits a task that it has started on another") {
  std::atomic<int> sum{0};
  const auto doubled_there = [](std::size_t n, rota::event_loop* there) -> task<int> {
    co_await rota::yield();
    co_return rota::event_loop::current() == there ? static_cast<int>(n * 2) : -100;
  };
  const auto f = [&](loop_member here) -> task<> {
    rota::event_loop& next = here.loop((here.index() + 1) % here.size());
    rota::task_future<int> asked = rota::spawn_threadsafe(next, doubled_there, here.index(), &next);
    const int answer = co_await rota::as_awaitable(std::move(asked));
    sum.fetch_add(answer);
  };
  rota_test::run(loop_group(4, f));
  REQUIRE(sum.load() == 12);
}

TEST_CASE("channels of any thread lead from loop to loop, and one pool serves all") {
  rota::thread_pool pool(2);
  std::atomic<int> sum{0};
  auto ends = rota::mpmc_channel<int>(4);
  auto second = ends.rx.clone();
  const auto sends = [&]() -> task<> {
    auto to = std::move(ends.tx);  // its end closes the channel
    for (int i = 1; i <= 100; ++i) co_await to.send(i);
  };
  const auto receives = [&](auto& from) -> task<> {
    for (;;) {
      const std::optional<int> item = co_await from.next();
      if (!item) break;
      const int square = co_await pool.run([](int n) { return n * n; }, *item);
      sum.fetch_add(square);
    }
  };
  const auto f = [&](loop_member here) -> task<> {
    if (here.index() == 0) co_await sends();
    if (here.index() == 1) co_await receives(ends.rx);
    if (here.index() == 2) co_await receives(second);
  };
  rota_test::run(loop_group(3, f));
  REQUIRE(sum.load() == 338'350);
}

TEST_CASE("what f has spawned is cancelled when all of f have ended, not before, and its loop waits for it") {
  std::atomic<int> ended{0}, too_early{0};
  std::atomic<bool> last{false};
  const auto left_behind = [&]() -> task<> {
    const at_end counts(ended);
    try {
      co_await for_ever();
    } catch (const rota::cancelled& c) {
      too_early += !last.load() || c.kind() != rota::cancel_kind::shutdown;
      throw;
    }
  };
  const auto f = [&](loop_member here) -> task<> {
    (void)rota::spawn(left_behind);
    co_await rota::yield();
    if (here.index() == 0) co_await rota::sleep_for(2ms);
    if (here.index() == 0) last.store(true);
  };
  rota_test::run(loop_group(3, f));
  REQUIRE(ended.load() == 3);
  REQUIRE(too_early.load() == 0);
}

TEST_CASE("what still ends is answered by a loop that has gone down already") {
  std::error_code first, later;
  const auto cleans_up = [&](rota::event_loop& other) -> task<> {
    while (!first) {
      try {
        co_await rota::run_on(other, [] {});
      } catch (const std::system_error& e) {
        first = e.code();
      }
    }
    co_await rota::sleep_for(
        1ms);  // the other one has nothing to wait for: it is down, or nearly; the answer is the same
    try {
      co_await rota::run_on(other, [] {});
    } catch (const std::system_error& e) {
      later = e.code();
    }
  };
  const auto left_behind = [&](loop_member here) -> task<> {
    try {
      co_await for_ever();
    } catch (const rota::cancelled&) {
    }
    co_await rota::shield(60s, cleans_up(here.loop(1)));
  };
  const auto f = [&](loop_member here) -> task<> {
    if (here.index() == 0) (void)rota::spawn(left_behind, here);
    co_await rota::yield();
  };
  rota_test::run(loop_group(2, f));
  REQUIRE(first == rota::errc::task_cancelled);
  REQUIRE(later == rota::errc::task_cancelled);
}

TEST_CASE("a task that ignores its cancel is named, and nothing that it asks another loop for finds that one gone") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    rota::loop_group_options options(4);
    options.loop.shutdown_deadline = 5ms;
    const auto asks_on = [](loop_member here) -> task<> {
      for (;;) {
        for (std::size_t i = 1; i != here.size(); ++i) here.loop(i).post([] {});
        co_await rota::yield();
      }
    };
    const auto stubborn = [&](loop_member here) -> task<> { co_await rota::shield(1h, asks_on(here)); };
    const auto f = [&](loop_member here) -> task<> {
      if (here.index() == 0) rota::spawn(stubborn, here).set_name("the stubborn");
      co_await rota::yield();
    };
    rota::run(loop_group(options, f));
    std::printf("the group has ended\n");
    return 0;
  });
  INFO(child.output);
  REQUIRE(child.says("'the stubborn'"));
  REQUIRE(child.says("did not stop"));
  REQUIRE_FALSE(child.says("AddressSanitizer"));
  if (ROTA_ASSERTIONS) {
    REQUIRE(child.signal() == SIGABRT);
  } else {
    REQUIRE(child.says("the group has ended"));
    REQUIRE(child.exit_code() == 0);
  }
}

TEST_CASE("calls from loop to loop, and their cancels, are answered while the loops go down") {
  std::atomic<int> begun{0}, ended{0};
  const auto calls = [&](loop_member here) -> task<> {
    const at_end counts(ended);
    begun.fetch_add(1);
    for (;;) {
      try {
        co_await rota::run_on(here.loop(1), [] {});
      } catch (const std::system_error&) {  // the other loop goes down; the own one will
      }
    }
  };
  const auto f = [&](loop_member here) -> task<> {
    if (here.index() != 0) co_return;
    for (int i = 0; i != 3; ++i) (void)rota::spawn(calls, here);
    co_await rota::yield();
    co_await rota::yield();
  };
  const std::size_t rounds = rota_test::scaled(300, 60, 60);
  for (std::size_t round = 0; round != rounds; ++round) rota_test::run(loop_group(2, f));
  REQUIRE(ended.load() == begun.load());
  REQUIRE(begun.load() == static_cast<int>(rounds) * 3);
}

TEST_CASE("a group can be awaited on a plain thread, on a pool, and within a group") {
  std::atomic<int> count{0};
  const auto f = [&]() -> task<> {
    ++count;
    co_return;
  };
  rota::sync_wait(loop_group(2, f));
  REQUIRE(count.load() == 2);
  rota::thread_pool pool(1);
  const auto on_pool = [&]() -> task<> { co_await loop_group(2, f); };
  rota::sync_wait(pool.run(on_pool));
  REQUIRE(count.load() == 4);
  const auto outer = [&]() -> task<> { co_await loop_group(2, f); };
  rota_test::run(loop_group(2, outer));
  REQUIRE(count.load() == 8);
}

TEST_CASE("a loop that is stopped is an error of its own") {
  const auto f = [](loop_member here) -> task<> {
    if (here.index() == 1) here.loop().stop();
    co_await for_ever();
  };
  std::error_code code;
  std::string where;
  try {
    rota_test::run(loop_group(2, f));
  } catch (const rota::exception_group& group) {
    where = group.members().at(0).where;
    if (const auto* error = group.only<std::system_error>()) code = error->code();
  }
  REQUIRE(code == rota::errc::loop_stopped);
  REQUIRE(where == "loop 1 of 2");
}

TEST_CASE("when a loop cannot be made no f begins") {
  std::atomic<int> begun{0};
  const auto f = [&]() -> task<> {
    ++begun;
    co_return;
  };
  const char* const set = ::getenv("ROTA_BACKEND");
  const std::string before = set ? set : "";
  std::string text;
  run([&]() -> task<> {
    ::setenv("ROTA_BACKEND", "nonsense", 1);
    try {
      co_await loop_group(2, f);
    } catch (const rota::exception_group& group) {
      text = group.what();
    }
  });
  set ? ::setenv("ROTA_BACKEND", before.c_str(), 1) : ::unsetenv("ROTA_BACKEND");
  INFO(text);
  REQUIRE(text.find("failed with 2 errors") != text.npos);
  REQUIRE(begun.load() == 0);
}

TEST_CASE("nothing to call is refused at once") {
  const std::function<task<>()> empty;
  REQUIRE(rota_test::usage_error_of([&] { (void)loop_group(2, empty); }) == rota::usage_error::kind::invalid_argument);
}

TEST_CASE("servers of all loops share a port; each connection is served by one of them") {
  const rota::shared_port port(rota::address("127.0.0.1", 0));
  REQUIRE(port.local_address().port() != 0);
  std::atomic<std::size_t> listening{0}, sessions{0};
  const auto session = [&](rota::tcp_stream peer) -> task<> {
    sessions.fetch_add(1);
    std::array<std::byte, 64> buffer;
    while (const std::size_t n = co_await peer.read_some(buffer)) co_await peer.write_all(std::span(buffer).first(n));
  };
  const auto client = [&](loop_member here) -> task<> {
    while (listening.load() != here.size()) co_await rota::yield();
    for (int i = 0; i != 30; ++i) {
      rota::tcp_stream stream = co_await rota::tcp_stream::connect(port.local_address());
      co_await stream.write_all(rota::as_bytes("ping"));
      std::array<std::byte, 64> answer;
      const std::size_t n = co_await stream.read_some(answer);
      if (n == 0) throw std::runtime_error("the server hung up");
    }
    here.stop_group();
  };
  const auto f = [&](loop_member here) -> task<> {
    rota::tcp_listener listener = port.listen();
    listening.fetch_add(1);
    rota::join_handle<> asks;
    if (here.index() == 0) asks = rota::spawn(client, here);
    co_await rota::serve(std::move(listener), session);
  };
  rota_test::run(loop_group(3, f));
  REQUIRE(sessions.load() == 30);
}

TEST_CASE("an address that cannot be shared is refused before a loop is made") {
  run([]() -> task<> {
    const rota::tcp_listener alone = rota::tcp_listener::bind(rota::address("127.0.0.1", 0));
    const std::error_code code = rota_test::error_code_of([&] { const rota::shared_port port(alone.local_address()); });
    REQUIRE(code == std::errc::address_in_use);
    co_return;
  });
}

TEST_CASE("groups that fail, are cancelled and end by themselves, at any moment, lose nothing") {
  std::atomic<int> begun{0}, ended{0};
  const auto f = [&](loop_member here, std::uint64_t seed) -> task<> {
    begun.fetch_add(1);
    const at_end counts(ended);
    rota::detail::random dice(seed * 7 + here.index());
    for (std::uint64_t turns = dice.below(50); turns != 0; --turns) {
      const std::size_t other = dice.below(here.size());
      here.loop(other).post([&] { (void)ended.load(); });
      co_await rota::yield();
    }
    if (dice.below(4) == 0) throw std::runtime_error("at random");
    if (dice.below(4) == 0) here.stop_group();
    if (dice.below(2) == 0) co_await for_ever();
  };
  const std::size_t rounds = rota_test::scaled(200, 60, 60);
  for (std::size_t round = 0; round != rounds; ++round) {
    run([&]() -> task<> {
      const auto group = [&]() -> task<> {
        try {
          co_await loop_group(1 + static_cast<unsigned>(round % 4), f, round);
        } catch (const rota::exception_group&) {
        }
      };
      (void)co_await rota::move_on_after(std::chrono::microseconds(round % 8 * 200 + 100), group());
    });
    REQUIRE(begun.load() == ended.load());
  }
}

}  // namespace
