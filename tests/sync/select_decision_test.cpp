// select over what is for any thread, here among tasks of one loop, where the order is known: whoever gives something finds
// one winner, and what the losers could have had is where it was. tests/pool/select_stress_test.cpp has the threads.
#include <rota/sync/select_decision.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;
using namespace rota_test;
using rota::task;

namespace {

namespace any_thread = rota::any_thread;
using to = rota::thread_sender<int>;
using from = rota::thread_receiver<int, true>;

/// What a select has done.
struct choice {
  std::size_t index = 99;
  int item = 0;
};

template <class Result>
void keep(Result& r, choice& into) {
  into.index = r.index();
  if (r.index() == 0) into.item = r.template get<0>();
  if (r.index() == 1) into.item = r.template get<1>();
}
task<> receive_one(from& a, from& b, choice& into) {
  auto r = co_await rota::select(a.receive(), b.receive());
  keep(r, into);
}
task<> receive_plainly(from& a, int& into) {
  const int item = co_await a.receive();
  into = item;
}

/// Everything of any thread that a task can hold, and a channel.
struct holdings {
  any_thread::mutex m;
  any_thread::semaphore s{2};
  any_thread::event e;
};

task<> first_of(holdings& its, from& rx, choice& into) {
  const auto r = co_await rota::select(rx.receive(), its.m.lock(), its.s.acquire(2), its.e.wait());
  into.index = r.index();
}

}  // namespace

TEST_CASE("a select that one any-thread channel has given an item takes none of another one, although it has not run") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<int>(0);
    auto [tb, rb] = rota::mpmc_channel<int>(0);
    choice got;
    auto choosing = rota::spawn(receive_one, std::ref(ra), std::ref(rb), std::ref(got));
    co_await rota::yield();
    REQUIRE(ra.statistics().waiting_receivers == 1);
    REQUIRE(rb.statistics().waiting_receivers == 1);
    REQUIRE(tb.try_send(7));
    REQUIRE(!ta.try_send(8));
    REQUIRE(!tb.try_send(9));
    co_await choosing;
    REQUIRE(got.index == 1);
    REQUIRE(got.item == 7);
    REQUIRE(ra.statistics().waiting_receivers == 0);
  });
}

TEST_CASE("a giver that finds a select decided goes on to the next who waits, in order") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<int>(0);
    auto [tb, rb] = rota::mpmc_channel<int>(0);
    choice got;
    int second = 0, third = 0;
    auto choosing = rota::spawn(receive_one, std::ref(ra), std::ref(rb), std::ref(got));
    co_await rota::yield();
    auto next = rota::spawn(receive_plainly, std::ref(ra), std::ref(second));
    auto last = rota::spawn(receive_plainly, std::ref(ra), std::ref(third));
    co_await rota::yield();
    REQUIRE(tb.try_send(1));
    REQUIRE(ta.try_send(2));
    REQUIRE(ta.try_send(3));
    REQUIRE(!ta.try_send(4));
    co_await choosing;
    co_await next;
    co_await last;
    REQUIRE(got.item == 1);
    REQUIRE(second == 2);
    REQUIRE(third == 3);
  });
}

TEST_CASE("a send between threads that loses a select has not happened, and its item is where it was") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<std::unique_ptr<int>>(0);
    auto [tb, rb] = rota::mpmc_channel<int>(0);
    auto item = std::make_unique<int>(5);
    std::size_t which = 99;
    const auto offer = [](rota::thread_sender<std::unique_ptr<int>>& a, from& b, std::unique_ptr<int>& what,
                          std::size_t& index) -> task<> {
      const auto r = co_await rota::select(a.send(std::move(what)), b.receive());
      index = r.index();
    };
    auto offering = rota::spawn(offer, std::ref(ta), std::ref(rb), std::ref(item), std::ref(which));
    co_await rota::yield();
    REQUIRE(ra.statistics().waiting_senders == 1);
    REQUIRE(tb.try_send(1));
    REQUIRE(!ra.try_receive());  // although the task has not run
    co_await offering;
    REQUIRE(which == 1);
    REQUIRE(*item == 5);
    offering = rota::spawn(offer, std::ref(ta), std::ref(rb), std::ref(item), std::ref(which));
    co_await rota::yield();
    const auto got = ra.try_receive();
    REQUIRE(got);
    REQUIRE(**got == 5);
    REQUIRE(!tb.try_send(2));
    co_await offering;
    REQUIRE(which == 0);
    REQUIRE(!item);
  });
}

TEST_CASE("locks and permits of any thread that lose a select were never held; whichever is free first is had") {
  run([]() -> task<> {
    holdings its;
    auto [tx, rx] = rota::mpmc_channel<int>(0);
    for (std::size_t free = 0; free != 4; ++free) {
      choice got;
      auto guard = co_await its.m.lock();
      auto permit = co_await its.s.acquire();
      its.e.reset();
      auto choosing = rota::spawn(first_of, std::ref(its), std::ref(rx), std::ref(got));
      co_await rota::yield();
      if (free == 0) REQUIRE(tx.try_send(1));
      if (free == 1) guard.unlock();
      if (free == 2) permit.release();
      if (free == 3) its.e.set();
      // Now the others, before it has run.
      if (guard) guard.unlock();
      if (permit) permit.release();
      its.e.set();
      REQUIRE(!tx.try_send(2));
      REQUIRE(its.m.is_locked() == (free == 1));
      REQUIRE(its.s.available() == (free == 2 ? 0 : 2));
      co_await choosing;
      REQUIRE(got.index == free);
      REQUIRE(!its.m.is_locked());
      REQUIRE(its.s.available() == 2);
      REQUIRE(rx.statistics().waiting_receivers == 0);
    }
  });
}

TEST_CASE(
    "what can be done at once is done, by a biased select in the order in which it is written, and no waiting begins") {
  run([]() -> task<> {
    holdings its;
    auto [tx, rx] = rota::mpmc_channel<int>(1);
    REQUIRE(tx.try_send(1));
    auto a = co_await rota::select_biased(its.e.wait(), rx.next(), its.m.lock());
    REQUIRE(a.index() == 1);
    REQUIRE(*a.get<1>() == 1);
    REQUIRE(!its.m.is_locked());
    auto b = co_await rota::select_biased(its.e.wait(), rx.next(), its.s.acquire(3), its.m.lock());
    REQUIRE(b.index() == 3);
    REQUIRE(its.m.is_locked());
    its.e.set();
    REQUIRE(tx.try_send(2));
    std::array<int, 3> fair{};
    for (int i = 0; i != 300; ++i) {
      auto r = co_await rota::select(its.e.wait(), rx.next(), its.s.acquire());
      ++fair[r.index()];
      if (r.index() == 1) REQUIRE(tx.try_send(3));
    }
    for (const int n : fair) REQUIRE(n > 40);
    auto [alone_tx, alone] = rota::mpsc_channel<int>(8);
    for (int i = 0; i != 3; ++i) REQUIRE(alone_tx.try_send(i));
    for (int i = 0; i != 3; ++i) {  // from its stock
      auto r = co_await rota::select(alone.next(), its.s.acquire(3));
      REQUIRE(r.get<0>() == i);
    }
  });
}

TEST_CASE("a select behind which somebody waits for less lets it go on when another case was first") {
  run([]() -> task<> {
    any_thread::semaphore s(1);
    any_thread::event e;
    bool had = false;
    const auto want_many = [](any_thread::semaphore& many, any_thread::event& or_this) -> task<> {
      const auto r = co_await rota::select(many.acquire(5), or_this.wait());
      REQUIRE(r.index() == 1);
    };
    const auto want_one = [](any_thread::semaphore& one, bool& has) -> task<> {
      const auto permit = co_await one.acquire();
      has = true;
    };
    auto many = rota::spawn(want_many, std::ref(s), std::ref(e));
    co_await rota::yield();
    auto one = rota::spawn(want_one, std::ref(s), std::ref(had));
    co_await rota::yield();
    REQUIRE(!had);
    e.set();
    co_await many;
    co_await one;
    REQUIRE(had);
  });
}

TEST_CASE(
    "a select that sends and one that receives meet: both go on, with one item, and their other cases have lost") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<int>(0);
    auto [tb, rb] = rota::mpmc_channel<int>(0);
    // Crosswise: each could serve the other in both ways.
    const auto cross = [](to& give, from& take, int item, choice& into) -> task<> {
      auto r = co_await rota::select(give.send(item), take.receive());
      into.index = r.index();
      if (r.index() == 1) into.item = r.get<1>();
    };
    for (int i = 0; i != 100; ++i) {
      choice one, other;
      auto first = rota::spawn(cross, std::ref(ta), std::ref(rb), 10 + i, std::ref(one));
      if (i % 2 == 0) co_await rota::yield();
      auto second = rota::spawn(cross, std::ref(tb), std::ref(ra), 20 + i, std::ref(other));
      co_await first;
      co_await second;
      REQUIRE(one.index + other.index == 1);
      REQUIRE((one.index == 0 ? other.item == 10 + i : one.item == 20 + i));
      REQUIRE(ra.statistics().waiting_senders + ra.statistics().waiting_receivers == 0);
      REQUIRE(rb.statistics().waiting_senders + rb.statistics().waiting_receivers == 0);
    }
  });
}

TEST_CASE("two selects that both wait meet when what stood between them is gone: both, or none of them") {
  // A task that waits for room stands first; behind it a select that sends, on the other side one that receives.
  const auto wait_for_room = [](to& tx) -> task<> { (void)co_await tx.reserve(); };
  const auto give = [](to& tx, any_thread::event& e, std::size_t& index) -> task<> {
    const auto r = co_await rota::select(tx.send(4), e.wait());
    index = r.index();
  };
  const auto take = [](from& rx, any_thread::event& e, choice& into) -> task<> {
    auto r = co_await rota::select(rx.receive(), e.wait());
    into.index = r.index();
    if (r.index() == 0) into.item = r.get<0>();
  };
  for (const int lost : {0, 1, 2}) {  // nobody, the giver, the taker
    run([&]() -> task<> {
      auto [tx, rx] = rota::mpmc_channel<int>(1);
      any_thread::event giver_stops, taker_stops;
      auto room = co_await tx.reserve();
      auto waits = rota::spawn(wait_for_room, std::ref(tx));
      co_await rota::yield();
      std::size_t gave = 99;
      choice got;
      auto gives = rota::spawn(give, std::ref(tx), std::ref(giver_stops), std::ref(gave));
      auto takes = rota::spawn(take, std::ref(rx), std::ref(taker_stops), std::ref(got));
      co_await rota::yield();
      REQUIRE(rx.statistics().waiting_senders == 2);
      REQUIRE(rx.statistics().waiting_receivers == 1);
      if (lost == 1) giver_stops.set();
      if (lost == 2) taker_stops.set();
      waits.cancel();
      REQUIRE(rx.statistics().sent == (lost == 0 ? 1 : 0));
      giver_stops.set();
      taker_stops.set();
      co_await gives;
      co_await takes;
      REQUIRE(gave == (lost == 0 ? 0 : 1));
      REQUIRE(got.index == (lost == 0 ? 0 : 1));
      if (lost == 0) REQUIRE(got.item == 4);
      REQUIRE(rx.statistics().waiting_senders + rx.statistics().waiting_receivers == 0);
      while (!waits.done()) co_await rota::yield();
    });
  }
}

namespace {

struct both_kinds {
  rota::mutex m;
  rota::semaphore s{1};
  rota::event e{rota::event_reset::automatic};
  any_thread::event all;
};

task<> first_of_both(both_kinds& its, rota::receiver<int> near, from& far, choice& into) {
  const auto r = co_await rota::select(near.receive(), far.receive(), its.m.lock(), its.s.acquire(), its.e.wait());
  into.index = r.index();
}

}  // namespace

TEST_CASE("what is of one loop and what is for any thread stand in one select, and one of them has happened") {
  run([]() -> task<> {
    both_kinds its;
    auto [tn, near] = rota::channel<int>(0);
    auto [tf, far] = rota::mpmc_channel<int>(0);
    for (std::size_t first = 0; first != 5; ++first) {
      choice got;
      auto guard = co_await its.m.lock();
      auto permit = co_await its.s.acquire();
      auto choosing = rota::spawn(first_of_both, std::ref(its), near.clone(), std::ref(far), std::ref(got));
      co_await rota::yield();
      REQUIRE(near.statistics().waiting_receivers == 1);
      if (first == 0) REQUIRE(tn.try_send(1));
      if (first == 1) REQUIRE(tf.try_send(1));
      if (first == 2) guard.unlock();
      if (first == 3) permit.release();
      if (first == 4) its.e.set();
      // Everything else, before it has run: nobody is there for it.
      REQUIRE(!tn.try_send(2));
      REQUIRE(!tf.try_send(2));
      if (guard) guard.unlock();
      if (permit) permit.release();
      if (first != 4) {
        its.e.set();
        REQUIRE(its.e.is_set());
        its.e.reset();
      }
      REQUIRE(its.m.is_locked() == (first == 2));
      REQUIRE(its.s.available() == (first == 3 ? 0 : 1));
      co_await choosing;
      REQUIRE(got.index == first);
      REQUIRE(its.m.waiting() + its.s.waiting() + its.e.waiting() == 0);
      REQUIRE(near.statistics().waiting_receivers + far.statistics().waiting_receivers == 0);
    }
  });
}

TEST_CASE("on a channel of one loop, whoever waits behind a select that has something else is served in its place") {
  run([]() -> task<> {
    auto [tn, near] = rota::channel<int>(0);
    any_thread::event e;
    const auto choose = [](rota::receiver<int> rx, any_thread::event& or_this, std::size_t& index) -> task<> {
      const auto r = co_await rota::select(rx.receive(), or_this.wait());
      index = r.index();
    };
    const auto receive = [](rota::receiver<int> rx, int& into) -> task<> {
      const int item = co_await rx.receive();
      into = item;
    };
    std::size_t index = 99;
    int item = 0;
    auto choosing = rota::spawn(choose, near.clone(), std::ref(e), std::ref(index));
    co_await rota::yield();
    auto receiving = rota::spawn(receive, near.clone(), std::ref(item));
    co_await rota::yield();
    e.set();
    REQUIRE(tn.try_send(3));
    REQUIRE(!tn.try_send(4));
    co_await choosing;
    co_await receiving;
    REQUIRE(index == 1);
    REQUIRE(item == 3);
  });
}

TEST_CASE("of many selects that wait on one loop's event and for another thread each has one of both, in any order") {
  run([]() -> task<> {
    constexpr std::size_t count = 6;
    const auto choose = [](rota::event& near, any_thread::event& far, std::size_t& index) -> task<> {
      const auto r = co_await rota::select(near.wait(), far.wait());
      index = r.index();
    };
    for (unsigned gone = 0; gone != 1u << count; ++gone) {  // which of them another thread takes first
      rota::event near;
      std::array<any_thread::event, count> far;
      std::array<std::size_t, count> got{};
      std::vector<rota::join_handle<>> all;
      for (std::size_t i = 0; i != count; ++i)
        all.push_back(rota::spawn(choose, std::ref(near), std::ref(far[i]), std::ref(got[i])));
      co_await rota::yield();
      for (std::size_t i = count; i-- != 0;)
        if ((gone >> i & 1) != 0) far[i].set();
      if (gone % 3 == 0) co_await rota::yield();
      near.set();
      REQUIRE(near.waiting() == 0);
      for (std::size_t i = 0; i != count; ++i) {
        co_await all[i];
        REQUIRE(got[i] == (gone >> i & 1));
      }
    }
  });
}

TEST_CASE("givers of one loop that stand in a select, too, lose to another thread's event, and keep their item") {
  run([]() -> task<> {
    auto [tn, near] = rota::channel<std::unique_ptr<int>>(0);
    any_thread::event e;
    auto item = std::make_unique<int>(6);
    const auto offer = [](rota::sender<std::unique_ptr<int>>& tx, any_thread::event& or_this,
                          std::unique_ptr<int>& what) -> task<> {
      const auto r = co_await rota::select(tx.send(std::move(what)), or_this.wait());
      REQUIRE(r.index() == 1);
    };
    auto offering = rota::spawn(offer, std::ref(tn), std::ref(e), std::ref(item));
    co_await rota::yield();
    e.set();
    REQUIRE(!near.try_receive());
    co_await offering;
    REQUIRE(*item == 6);
  });
}

TEST_CASE("a condition in a select with another thread's event has its mutex again, whichever was first") {
  run([]() -> task<> {
    rota::mutex m;
    rota::condition_variable filled;
    any_thread::event e;
    choice got;
    const auto wait_at = [](rota::mutex& lock, rota::condition_variable& c, any_thread::event& or_this,
                            choice& into) -> task<> {
      auto guard = co_await lock.lock();
      const auto r = co_await rota::select(c.wait(guard), or_this.wait());
      into.index = r.index();
      into.item = guard && lock.is_locked();
    };
    for (const std::size_t which : {0u, 1u}) {
      e.reset();
      auto waits = rota::spawn(wait_at, std::ref(m), std::ref(filled), std::ref(e), std::ref(got));
      co_await rota::yield();
      auto guard = co_await m.lock();
      if (which == 0) filled.notify_one();
      e.set();
      filled.notify_one();  // for nobody
      co_await rota::yield();
      REQUIRE(!waits.done());
      guard.unlock();
      co_await waits;
      REQUIRE(got.index == which);
      REQUIRE(got.item == 1);
    }
  });
}

TEST_CASE("a cancelled select has taken nothing from any thread; one that had something first delivers it") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<int>(0);
    auto [tb, rb] = rota::mpmc_channel<int>(0);
    choice got;
    auto cancelled = rota::spawn(receive_one, std::ref(ra), std::ref(rb), std::ref(got));
    co_await rota::yield();
    cancelled.cancel();
    REQUIRE(!ta.try_send(1));
    REQUIRE(!tb.try_send(1));
    while (!cancelled.done()) co_await rota::yield();
    REQUIRE(cancelled.cancelled());
    auto granted = rota::spawn(receive_one, std::ref(ra), std::ref(rb), std::ref(got));
    co_await rota::yield();
    REQUIRE(ta.try_send(6));
    granted.cancel();  // too late
    while (!granted.done()) co_await rota::yield();
    REQUIRE(got.item == 6);
  });
}

TEST_CASE(
    "timers and tasks beside an any-thread channel: they are begun last, and have ended before the select goes on") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpmc_channel<int>(1);
    auto late = co_await rota::select(rx.receive(), rota::sleep_for(1ms));
    REQUIRE(late.index() == 1);
    REQUIRE(rx.statistics().waiting_receivers == 0);
    bool begun = false, unwound = false;
    const auto slow = [&]() -> task<int> {
      begun = true;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        unwound = true;
        throw;
      }
      co_return 1;
    };
    REQUIRE(tx.try_send(1));
    auto at_once = co_await rota::select(slow, rx.receive());
    REQUIRE(at_once.index() == 1);
    REQUIRE(!begun);
    const auto send_later = [](to& tx_later) -> task<> {
      for (int i = 0; i != 3; ++i) co_await rota::yield();
      REQUIRE(tx_later.try_send(2));
    };
    auto sending = rota::spawn(send_later, std::ref(tx));
    auto in_time = co_await rota::select(slow, rx.receive(), rota::sleep_for(1h));
    REQUIRE(in_time.index() == 1);
    REQUIRE(in_time.get<1>() == 2);
    REQUIRE(unwound);
    co_await sending;
    const auto soon = []() -> task<int> {
      co_await rota::yield();
      co_return 8;
    };
    auto by_task = co_await rota::select(rx.receive(), soon);
    REQUIRE(by_task.get<1>() == 8);
    REQUIRE(!by_task.has<0>());
    REQUIRE(rx.statistics().waiting_receivers == 0);
    bool failed = false;
    const auto fails = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("failed");
    };
    try {
      (void)co_await rota::select(rx.receive(), fails);
    } catch (const std::runtime_error&) {
      failed = true;
    }
    REQUIRE(failed);
    REQUIRE(rx.statistics().waiting_receivers == 0);
  });
}

TEST_CASE("the end of an any-thread stream, a broken pipe and a broken promise are thrown if their case is the one") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<int>(0);
    auto [tb, rb] = rota::mpmc_channel<int>(0);
    auto [one, value] = any_thread::oneshot<int>();
    std::error_code code;
    const auto receive = [](from& a, any_thread::oneshot_receiver<int>& b, std::error_code& error) -> task<> {
      try {
        (void)co_await rota::select(a.receive(), b.receive());
      } catch (const std::system_error& e) {
        error = e.code();
      }
    };
    const auto send = [](to& a, from& b, std::error_code& error) -> task<> {
      try {
        (void)co_await rota::select(a.send(1), b.receive());
      } catch (const std::system_error& e) {
        error = e.code();
      }
    };
    auto waits = rota::spawn(receive, std::ref(rb), std::ref(value), std::ref(code));
    co_await rota::yield();
    tb.close();
    co_await waits;
    REQUIRE(code == rota::errc::end_of_stream);
    auto [tc, rc] = rota::mpmc_channel<int>(0);
    waits = rota::spawn(receive, std::ref(rc), std::ref(value), std::ref(code));
    co_await rota::yield();
    {
      auto gone = std::move(one);
    }
    co_await waits;
    REQUIRE(code == rota::errc::broken_promise);
    waits = rota::spawn(send, std::ref(ta), std::ref(rc), std::ref(code));
    co_await rota::yield();
    ra.close();
    co_await waits;
    REQUIRE(code == std::errc::broken_pipe);
    auto [sends, receives] = any_thread::oneshot<int>();
    sends.send(4);
    auto r = co_await rota::select(rc.receive(), receives.receive());
    REQUIRE(r.get<1>() == 4);
  });
}

TEST_CASE("room that a select reserves between threads is held by the winner only") {
  run([]() -> task<> {
    auto [ta, ra] = rota::mpmc_channel<int>(1);
    auto [tb, rb] = rota::mpmc_channel<int>(1);
    REQUIRE(ta.try_send(1));
    REQUIRE(tb.try_send(1));
    const auto reserve = [](to& a, to& b) -> task<> {
      auto r = co_await rota::select(a.reserve(), b.reserve());
      REQUIRE(r.index() == 1);
      r.get<1>().send(5);
    };
    auto reserving = rota::spawn(reserve, std::ref(ta), std::ref(tb));
    co_await rota::yield();
    REQUIRE(rb.try_receive() == 1);
    REQUIRE(ra.try_receive() == 1);
    REQUIRE(ra.statistics().reserved == 0);
    REQUIRE(rb.statistics().reserved == 1);
    co_await reserving;
    REQUIRE(rb.try_receive() == 5);
  });
}

TEST_CASE("a select of both sides of one any-thread channel is refused") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpmc_channel<int>(1);
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

TEST_CASE("a task of a pool selects between threads") {
  auto [ta, ra] = rota::mpmc_channel<int>(0);
  auto [tb, rb] = rota::mpmc_channel<int>(0);
  choice got;
  rota::thread_pool pool(1);
  rota::pool_handle<> choosing = pool.spawn([&]() -> task<> { return receive_one(ra, rb, got); });
  tb.blocking_send(3);
  rota::sync_wait(choosing);
  REQUIRE(got.index == 1);
  REQUIRE(got.item == 3);
  REQUIRE(ra.statistics().waiting_receivers == 0);
}
