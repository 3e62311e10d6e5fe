// select: one of several things happens, the others provably not.
#include <rota/scope/select.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;
using namespace rota_test;
using rota::task;

namespace {

task<int> number_after(rota::duration d, int n) {
  co_await rota::sleep_for(d);
  co_return n;
}
task<> fail_after(rota::duration d) {
  co_await rota::sleep_for(d);
  throw std::runtime_error("failed");
}

}  // namespace

TEST_CASE("a select takes what is there, and nothing else") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(4);
    auto [tb, rb] = rota::channel<std::string>(4);
    co_await tb.send("the only item, longer than fifteen");
    auto first = co_await rota::select(ra.receive(), rb.receive());
    REQUIRE(first.index() == 1);
    REQUIRE(!first.has<0>());
    REQUIRE(first.get<1>() == "the only item, longer than fifteen");
    REQUIRE(usage_error_of([&] { (void)first.get<0>(); }) == rota::usage_error::kind::no_value);
    co_await ta.send(1);
    co_await tb.send("stays");
    auto second = co_await rota::select_biased(ra.receive(), rb.receive());
    REQUIRE(second.index() == 0);
    REQUIRE(second.get<0>() == 1);
    REQUIRE(rb.statistics().size == 1);
  });
}

TEST_CASE("a select that waits is granted once, and its other cases are out of their lists in the same moment") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(0);
    auto [tb, rb] = rota::channel<int>(0);
    const auto choose = [](rota::receiver<int> a, rota::receiver<int> b) -> task<int> {
      auto r = co_await rota::select(a.receive(), b.receive());
      co_return r.index() == 0 ? r.get<0>() : r.get<1>();
    };
    rota::join_handle<int> choosing = rota::spawn(choose, ra.clone(), rb.clone());
    co_await rota::yield();
    REQUIRE(ra.statistics().waiting_receivers == 1);
    REQUIRE(rb.statistics().waiting_receivers == 1);
    REQUIRE(tb.try_send(7));
    REQUIRE(!ta.try_send(8));  // although the task has not run yet
    REQUIRE(!tb.try_send(9));
    const int got = co_await choosing;
    REQUIRE(got == 7);
  });
}

TEST_CASE("a send that loses a select has not happened, and its item is where it was") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<std::unique_ptr<int>>(0);
    auto [tb, rb] = rota::channel<int>(1);
    auto item = std::make_unique<int>(5);
    const auto offer = [](rota::sender<std::unique_ptr<int>> to, rota::receiver<int> from,
                          std::unique_ptr<int>& what) -> task<std::size_t> {
      const auto r = co_await rota::select(to.send(std::move(what)), from.receive());
      co_return r.index();
    };
    rota::join_handle<std::size_t> offering = rota::spawn(offer, ta.clone(), rb.clone(), std::ref(item));
    co_await rota::yield();
    REQUIRE(ra.statistics().waiting_senders == 1);
    co_await tb.send(1);
    std::size_t which = co_await offering;
    REQUIRE(which == 1);
    REQUIRE(item);
    REQUIRE(!ra.try_receive());
    offering = rota::spawn(offer, ta.clone(), rb.clone(), std::ref(item));
    co_await rota::yield();
    const auto got = ra.try_receive();
    REQUIRE(got);
    REQUIRE(**got == 5);
    which = co_await offering;
    REQUIRE(which == 0);
    REQUIRE(!item);
  });
}

TEST_CASE("among cases that are ready a select is fair, and a biased one takes the first") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(1000);
    auto [tb, rb] = rota::channel<int>(1000);
    for (int i = 0; i != 1000; ++i) {
      co_await ta.send(i);
      co_await tb.send(i);
    }
    std::array<int, 2> fair{};
    std::array<int, 2> biased{};
    for (int i = 0; i != 400; ++i) {
      const auto r = co_await rota::select(ra.receive(), rb.receive());
      ++fair[r.index()];
    }
    for (int i = 0; i != 400; ++i) {
      const auto r = co_await rota::select_biased(ra.receive(), rb.receive());
      ++biased[r.index()];
    }
    REQUIRE(fair[0] > 100);
    REQUIRE(fair[1] > 100);
    REQUIRE(biased[0] == 400);
  });
}

TEST_CASE("a timer in a select ends it when nothing came, and a channel is then as it was") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    auto late = co_await rota::select(rx.receive(), rota::sleep_for(1ms));
    REQUIRE(late.index() == 1);
    REQUIRE(late.has<1>());
    REQUIRE(rx.statistics().waiting_receivers == 0);
    co_await tx.send(3);
    auto early = co_await rota::select(rx.receive(), rota::sleep_for(1h));
    REQUIRE(early.index() == 0);
    REQUIRE(early.get<0>() == 3);
    // The item comes while the timer runs: the timer is cancelled and gone before the select goes on.
    const auto send_later = [](rota::sender<int> to) -> task<> {
      co_await rota::yield();
      co_await to.send(4);
    };
    (void)rota::spawn(send_later, tx.clone());
    auto in_time = co_await rota::select(rota::sleep_for(1h), rx.receive());
    REQUIRE(in_time.index() == 1);
    REQUIRE(in_time.get<1>() == 4);
    REQUIRE(!in_time.has<0>());
  });
}

TEST_CASE("tasks and callables are cases, too: the first decides, the others are cancelled and have ended") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    bool unwound = false;
    const auto slow = [&]() -> task<int> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        unwound = true;
        throw;
      }
      co_return 1;
    };
    auto r = co_await rota::select(rx.receive(), slow, number_after(1ms, 2));
    REQUIRE(r.index() == 2);
    REQUIRE(r.get<2>() == 2);
    REQUIRE(unwound);
    auto only_tasks = co_await rota::select(number_after(1h, 1), number_after(1ms, 2));
    REQUIRE(only_tasks.index() == 1);
    bool failed = false;
    try {
      (void)co_await rota::select(rx.receive(), fail_after(1ms), number_after(1h, 3));
    } catch (const std::runtime_error&) {
      failed = true;
    }
    REQUIRE(failed);
    REQUIRE(rx.statistics().waiting_receivers == 0);
  });
}

TEST_CASE(
    "a task that loses and succeeds all the same: its value is there, and if nobody looks at it, that is reported") {
  run([]() -> task<> {
    captured_reports reports;
    auto [tx, rx] = rota::channel<int>(1);
    const auto stubborn = []() -> task<std::string> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_return "done all the same, and longer than fifteen";
    };
    const auto send_later = [](rota::sender<int> to) -> task<> {
      co_await rota::yield();
      co_await to.send(4);
    };
    (void)rota::spawn(send_later, tx.clone());
    auto r = co_await rota::select(rx.receive(), stubborn);
    REQUIRE(r.index() == 0);
    REQUIRE(r.get<0>() == 4);
    REQUIRE(r.has<1>());
    REQUIRE(r.get<1>() == "done all the same, and longer than fifteen");
    (void)rota::spawn(send_later, tx.clone());
    {
      auto ignored = co_await rota::select(rx.receive(), stubborn);
      REQUIRE(ignored.get<0>() == 4);
      REQUIRE(reports.size() == 0);
    }
    INFO(reports.all());
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("case 1 of a select had succeeded although case 0 was first"));
  });
}

TEST_CASE("a select that is cancelled has done nothing") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(0);
    int got = 0;
    const auto choose = [](rota::receiver<int> from, int& into, bool with_timer) -> task<> {
      if (with_timer) {
        auto r = co_await rota::select(from.receive(), rota::sleep_for(1h));
        into = r.get<0>();
      } else {
        auto r = co_await rota::select(from.receive(), from.receive());
        into = 1;
      }
    };
    for (const bool with_timer : {false, true}) {
      rota::join_handle<> choosing = rota::spawn(choose, rx.clone(), std::ref(got), with_timer);
      co_await rota::yield();
      choosing.cancel();
      REQUIRE(!tx.try_send(1));
      while (!choosing.done()) co_await rota::yield();
      REQUIRE(choosing.cancelled());
      REQUIRE(got == 0);
    }
    rota::join_handle<> granted = rota::spawn(choose, rx.clone(), std::ref(got), true);
    co_await rota::yield();
    REQUIRE(tx.try_send(6));
    granted.cancel();  // too late
    while (!granted.done()) co_await rota::yield();
    REQUIRE(got == 6);
  });
}

TEST_CASE("the end of a stream, and a broken pipe, are what a select throws if their case is the one") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(1);
    auto [tb, rb] = rota::channel<int>(1);
    ta.close();
    std::error_code error;
    try {
      (void)co_await rota::select(ra.receive(), rb.receive());
    } catch (const std::system_error& e) {
      error = e.code();
    }
    REQUIRE(error == rota::errc::end_of_stream);
    auto ended = co_await rota::select(rb.receive(), ra.next());
    REQUIRE(ended.index() == 1);
    REQUIRE(!ended.get<1>());
  });
}

TEST_CASE("broadcasts, watches, queues and permits stand in a select") {
  run([]() -> task<> {
    rota::broadcast_sender<int> news = rota::broadcast<int>(4);
    rota::broadcast_receiver<int> reader = news.subscribe();
    auto [wtx, wrx] = rota::watch<int>(0);
    rota::queue<int> q(4);
    auto [tx, rx] = rota::channel<int>(1);
    co_await tx.send(1);  // full: no room to reserve
    const auto wake = [&](int which) -> task<> {
      co_await rota::yield();
      if (which == 0) news.send(1);
      if (which == 1) wtx.send(1);
      if (which == 2) co_await q.put(1);
      if (which == 3) (void)rx.try_receive();
    };
    for (int which = 0; which != 4; ++which) {
      rota::join_handle<> waking = rota::spawn(wake, which);
      auto r = co_await rota::select(reader.next(), wrx.changed(), q.get(), tx.reserve());
      REQUIRE(r.index() == static_cast<std::size_t>(which));
      if (which == 0) REQUIRE(r.get<0>()->item == 1);
      co_await waking;
    }
    REQUIRE(rx.statistics().reserved == 0);
  });
}

TEST_CASE("a select that would wait for itself is refused") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(0);
    bool refused = false;
    try {
      (void)co_await rota::select(tx.send(1), rx.receive());
    } catch (const rota::usage_error& error) {
      refused = error.which() == rota::usage_error::kind::invalid_argument;
    }
    REQUIRE(refused);
    REQUIRE(rx.statistics().waiting_senders == 0);
    REQUIRE(rx.statistics().waiting_receivers == 0);
  });
}

TEST_CASE("natural spellings of select: owning temporaries, within a timeout") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<std::string>(1);
    auto [tb, rb] = rota::channel<std::string>(1);
    auto sent = co_await rota::select(ta.send(std::string("a temporary, longer than fifteen")), rb.receive());
    REQUIRE(sent.index() == 0);
    const std::string kept = "a copy, and that is longer than fifteen";
    auto received = co_await rota::select(ra.receive(), tb.send(kept));
    REQUIRE((received.index() == 0 || received.index() == 1));
    auto limited = co_await rota::timeout(1h, rota::select(ra.next(), rb.next(), rota::sleep_for(1ms)));
    REQUIRE(limited.index() <= 2);
    if (auto r = co_await rota::select(ra.next(), rota::sleep_for(0ms)); r.index() == 0) REQUIRE(r.get<0>());
  });
}

TEST_CASE("a biased select hears an event and a deadline before a channel that is never empty") {
  run([]() -> task<> {
    auto [tx, rx] = rota::unbounded_channel<int>();
    tx.send(1);
    rota::event stop;
    const rota::time_point passed{};  // whatever the clock
    auto quiet = co_await rota::select_biased(stop.wait(), rx.next());
    REQUIRE(quiet.index() == 1);
    stop.set();
    tx.send(2);
    auto stopped = co_await rota::select_biased(stop.wait(), rx.next());
    REQUIRE(stopped.index() == 0);
    REQUIRE(stopped.has<0>());
    auto late = co_await rota::select_biased(rota::sleep_until(passed), rx.next());
    REQUIRE(late.index() == 0);
    REQUIRE(late.has<0>());
    auto zero = co_await rota::select_biased(rota::sleep_for(0ms), rx.next());
    REQUIRE(zero.index() == 0);
    auto first = co_await rota::select_biased(rx.next(), rota::sleep_until(passed));
    REQUIRE(first.index() == 0);
    rota::latch open(0);
    auto opened = co_await rota::select_biased(open.wait(), rx.next());
    REQUIRE(opened.index() == 0);
    std::array<int, 2> fair{};
    for (int i = 0; i != 200; ++i) {
      tx.send(i);
      const auto r = co_await rota::select(stop.wait(), rx.next());
      ++fair[r.index()];
    }
    REQUIRE(fair[0] > 40);
    REQUIRE(fair[1] > 40);
  });
}

TEST_CASE("an automatic event that loses a select is still set, and nothing was begun for it") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    rota::event one(rota::event_reset::automatic);
    const auto wake = [](rota::sender<int>& to, rota::event& then) -> task<> {
      co_await rota::yield();
      REQUIRE(then.waiting() == 1);
      REQUIRE(to.try_send(9));
      then.set();
    };
    rota::join_handle<> waking = rota::spawn(wake, std::ref(tx), std::ref(one));
    auto r = co_await rota::select(rx.next(), one.wait());
    REQUIRE(r.index() == 0);
    REQUIRE(!r.has<1>());
    REQUIRE(one.is_set());
    co_await waking;
    rota::join_handle<> setting = rota::spawn(
        [](rota::event& e) -> task<> {
          e.set();
          co_return;
        },
        std::ref(one));
    co_await setting;
    auto again = co_await rota::select(rx.next(), one.wait());
    REQUIRE(again.index() == 1);
    REQUIRE(!one.is_set());
  });
}

TEST_CASE("a case without a value that lost and had happened all the same is reported, unless somebody asks") {
  run([]() -> task<> {
    captured_reports reports;
    auto [tx, rx] = rota::channel<int>(1);
    const auto stubborn = []() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
    };
    const auto send_later = [](rota::sender<int> to) -> task<> {
      co_await rota::yield();
      co_await to.send(4);
    };
    (void)rota::spawn(send_later, tx.clone());
    {
      auto asked = co_await rota::select(rx.receive(), stubborn);
      REQUIRE(asked.index() == 0);
      REQUIRE(asked.has<1>());
    }
    REQUIRE(reports.size() == 0);
    (void)rota::spawn(send_later, tx.clone());
    {
      auto ignored = co_await rota::select(rx.receive(), stubborn);
      REQUIRE(ignored.get<0>() == 4);
    }
    REQUIRE(reports.size() == 1);
    REQUIRE(reports.contains("case 1 of a select had succeeded although case 0 was first"));
  });
}

TEST_CASE("a select of both sides of one channel is refused, also when one of them could be done at once") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    bool refused = false;
    try {
      (void)co_await rota::select(tx.send(1), rx.next());
    } catch (const rota::usage_error& error) {
      refused = error.which() == rota::usage_error::kind::invalid_argument;
    }
    REQUIRE(refused);
    REQUIRE(rx.statistics().sent == 0);
  });
}

namespace {

// Everything that a task can hold, and a channel.
struct holdings {
  rota::mutex m;
  rota::shared_mutex sm;
  rota::semaphore s{2};
  rota::capacity_limiter l{1};
  rota::event e{rota::event_reset::automatic};

  std::size_t waiting() const { return m.waiting() + sm.waiting() + s.waiting() + l.waiting() + e.waiting(); }
};

task<std::size_t> first_of(holdings& its, rota::receiver<int> rx) {
  const auto r = co_await rota::select(rx.receive(), its.m.lock(), its.sm.lock(), its.sm.lock_shared(),
                                       its.s.acquire(2), its.l.acquire(), its.e.wait());
  co_return r.index();
}

}  // namespace

TEST_CASE("locks, permits and tokens that lose a select were never held, and nothing was begun for them") {
  run([]() -> task<> {
    holdings its;
    auto [tx, rx] = rota::channel<int>(0);
    auto guard = co_await its.m.lock();
    auto writes = co_await its.sm.lock();
    auto permit = co_await its.s.acquire();
    auto token = co_await its.l.acquire();
    rota::join_handle<std::size_t> choosing = rota::spawn(first_of, std::ref(its), rx.clone());
    co_await rota::yield();
    REQUIRE(its.waiting() == 6);
    REQUIRE(tx.try_send(1));
    REQUIRE(its.waiting() == 0);  // although the task has not run yet
    guard.unlock();
    writes.unlock();
    permit.release();
    token.release();
    its.e.set();
    REQUIRE(!its.m.is_locked());
    REQUIRE(!its.sm.is_locked());
    REQUIRE(its.s.available() == 2);
    REQUIRE(its.l.borrowed() == 0);
    REQUIRE(its.e.is_set());
    const std::size_t which = co_await choosing;
    REQUIRE(which == 0);
  });
}

TEST_CASE("whichever lock, permit or token is free first is the one that a select has, at that moment") {
  run([]() -> task<> {
    holdings its;
    auto [tx, rx] = rota::channel<int>(0);
    for (std::size_t free = 1; free != 6; ++free) {
      auto guard = co_await its.m.lock();
      auto writes = co_await its.sm.lock();
      auto permit = co_await its.s.acquire();
      auto token = co_await its.l.acquire();
      rota::join_handle<std::size_t> choosing = rota::spawn(first_of, std::ref(its), rx.clone());
      co_await rota::yield();
      if (free == 1) guard.unlock();
      if (free == 2) writes.unlock();
      if (free == 3) permit.release();
      if (free == 4) token.release();
      if (free == 5) its.e.set();
      REQUIRE(its.waiting() == 0);
      REQUIRE(its.m.is_locked());
      REQUIRE(its.sm.is_locked());
      REQUIRE(its.s.available() < 2);
      REQUIRE(its.l.borrowed() == 1);
      const std::size_t which = co_await choosing;
      REQUIRE(which == (free < 3 ? free : free + 1));
    }
  });
}

TEST_CASE("of locks and permits that are free a biased select has the first, and a fair one each now and then") {
  run([]() -> task<> {
    holdings its;
    std::array<int, 4> fair{};
    for (int i = 0; i != 400; ++i) {
      const auto r = co_await rota::select(its.m.lock(), its.sm.lock(), its.s.acquire(), its.l.acquire());
      REQUIRE(its.m.is_locked() == (r.index() == 0));
      REQUIRE(its.l.borrowed() == (r.index() == 3 ? 1 : 0));
      ++fair[r.index()];
    }
    for (const int n : fair) REQUIRE(n > 50);
    auto guard = co_await its.m.lock();
    for (int i = 0; i != 100; ++i) {
      const auto r = co_await rota::select_biased(its.s.acquire(3), its.sm.lock(), its.l.acquire(), its.s.acquire());
      REQUIRE(r.index() == 1);
    }
  });
}

TEST_CASE("a semaphore that is closed ends a select that waits for it, and refuses those behind it, too") {
  run([]() -> task<> {
    rota::semaphore s(1), other(0);
    const auto wants = [](rota::semaphore& a, rota::semaphore& b, std::size_t n) -> task<std::error_code> {
      std::error_code code;
      try {
        const auto r = co_await rota::select(a.acquire(n), b.acquire(), a.acquire(n + 1));
      } catch (const std::system_error& error) {
        code = error.code();
      }
      co_return code;
    };
    auto big = rota::spawn(wants, std::ref(s), std::ref(other), std::size_t{2});
    co_await rota::yield();
    auto small = rota::spawn(wants, std::ref(s), std::ref(other), std::size_t{1});
    co_await rota::yield();
    REQUIRE(s.waiting() == 4);
    s.close();
    REQUIRE(s.waiting() == 0);
    REQUIRE(other.waiting() == 0);
    REQUIRE(s.available() == 1);
    const std::error_code first = co_await big;
    const std::error_code second = co_await small;
    const std::error_code later = co_await wants(s, other, 1);
    REQUIRE(first == rota::errc::closed);
    REQUIRE(second == rota::errc::closed);
    REQUIRE(later == rota::errc::closed);
  });
}

TEST_CASE("a select that waits for the lock that its own task has is an error") {
  run([]() -> task<> {
    holdings its;
    const auto guard = co_await its.m.lock();
    const auto writes = co_await its.sm.lock();
    int refused = 0;
    try {
      const auto r = co_await rota::select(its.m.lock(), its.e.wait());
    } catch (const rota::usage_error& error) {
      refused += error.which() == rota::usage_error::kind::would_deadlock;
    }
    try {
      const auto r = co_await rota::select(its.e.wait(), its.sm.lock_shared());
    } catch (const rota::usage_error& error) {
      refused += error.which() == rota::usage_error::kind::would_deadlock;
    }
    REQUIRE(refused == 2);
    REQUIRE(its.waiting() == 0);
  });
}

namespace {

struct shelf {
  rota::mutex m;
  rota::condition_variable filled, closed;
  std::size_t index = 99;
  bool had_lock = false;
};

task<> wait_at(shelf& its, rota::receiver<int> rx) {
  auto guard = co_await its.m.lock();
  try {
    const auto r = co_await rota::select(its.filled.wait(guard), its.closed.wait(guard), rx.receive());
    its.index = r.index();
  } catch (const rota::cancelled&) {
    its.had_lock = guard && its.m.is_locked();
    throw;
  }
  its.had_lock = guard && its.m.is_locked();
}

}  // namespace

TEST_CASE("conditions in a select let go of their mutex, once, and have it again whichever case was first") {
  run([]() -> task<> {
    shelf its;
    auto [tx, rx] = rota::channel<int>(0);
    for (std::size_t which = 0; which != 4; ++which) {
      its.had_lock = false;
      auto waits = rota::spawn(wait_at, std::ref(its), rx.clone());
      co_await rota::yield();
      REQUIRE(!its.m.is_locked());
      auto guard = co_await its.m.lock();
      if (which == 0) its.filled.notify_one();
      if (which == 1) its.closed.notify_all();
      if (which == 2) REQUIRE(tx.try_send(1));
      if (which == 3) waits.cancel();
      REQUIRE(its.filled.waiting() + its.closed.waiting() + rx.statistics().waiting_receivers == 0);
      REQUIRE(its.m.waiting() == 1);
      co_await rota::yield();
      REQUIRE(!waits.done());
      its.filled.notify_one();  // for nobody: the wait is over, and no second notification is taken
      guard.unlock();
      while (!waits.done()) co_await rota::yield();
      REQUIRE(its.had_lock);
      REQUIRE(!its.m.is_locked());
      if (which != 3) REQUIRE(its.index == which);
      REQUIRE(waits.cancelled() == (which == 3));
    }
  });
}

TEST_CASE(
    "a cancelled select that waits for its mutex has it before it goes on, although a child succeeded meanwhile") {
  run([]() -> task<> {
    rota::mutex m;
    rota::condition_variable condition;
    bool had_lock = false;
    const auto ignores_its_cancel = []() -> task<int> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_return 5;
    };
    const auto wait_at = [](rota::mutex& of, rota::condition_variable& at, bool& had, auto child) -> task<std::size_t> {
      auto guard = co_await of.lock();
      const auto r = co_await rota::select(at.wait(guard), child);
      had = guard && of.is_locked();
      co_return r.index();
    };
    auto waits = rota::spawn(wait_at, std::ref(m), std::ref(condition), std::ref(had_lock), ignores_its_cancel);
    for (int turns = 0; turns != 5; ++turns) co_await rota::yield();  // the child has begun
    auto mine = co_await m.lock();
    waits.cancel();
    for (int turns = 0; turns != 5; ++turns) co_await rota::yield();
    REQUIRE(!waits.done());
    REQUIRE(m.waiting() == 1);
    mine.unlock();
    const std::size_t which = co_await waits;
    REQUIRE(which == 1);
    REQUIRE(had_lock);
    REQUIRE(!m.is_locked());
  });
}

// A sends to B's taker, which stands for room in the other channel, too: as it leaves, somebody behind it gives A's select what
// it waits for there.
TEST_CASE("two selects that meet happen once each, although one of them makes way for somebody else") {
  run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(1);
    auto [tb, rb] = rota::channel<int>(1);
    auto room_in_a = co_await ta.reserve();
    auto room_in_b = co_await tb.reserve();
    const auto want_room = [](rota::sender<int> to) -> task<> { (void)co_await to.reserve(); };
    const auto give_or_take = [](rota::sender<int> a, rota::receiver<int> b) -> task<std::size_t> {
      const auto r = co_await rota::select(a.send(11), b.receive());
      co_return r.index();
    };
    const auto take_or_reserve = [](rota::receiver<int> a, rota::sender<int> b) -> task<int> {
      auto r = co_await rota::select(a.receive(), b.reserve());
      co_return r.index() == 0 ? r.get<0>() : -1;
    };
    const auto give = [](rota::sender<int> b) -> task<> { co_await b.send(22); };
    auto in_front = rota::spawn(want_room, ta.clone());
    co_await rota::yield();
    auto gives = rota::spawn(give_or_take, ta.clone(), rb.clone());
    auto takes = rota::spawn(take_or_reserve, ra.clone(), tb.clone());
    co_await rota::yield();
    auto behind = rota::spawn(give, tb.clone());
    co_await rota::yield();
    in_front.cancel();
    const int got = co_await takes;
    const std::size_t which = co_await gives;
    REQUIRE(got == 11);
    REQUIRE(which == 0);
    REQUIRE(rb.statistics().waiting_receivers == 0);
    room_in_b.send(33);  // the one behind has lost nothing
    const int first = co_await rb.receive();
    const int second = co_await rb.receive();
    REQUIRE(first == 33);
    REQUIRE(second == 22);
    co_await behind;
  });
}
