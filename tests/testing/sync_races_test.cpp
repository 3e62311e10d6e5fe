// Every primitive of sync/ in 10,000 worlds, with random pauses, time limits and cancels. The name of each test is what
// must be true in all of them.
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/races.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using rota::task;

namespace {

struct mutex_model {
  explicit mutex_model(race& its) : r(its) {}

  task<> visit() {
    arrivals::place place(order);
    auto guard = r.one_in(5) ? m.try_lock() : rota::mutex::guard();
    if (!guard) guard = co_await m.lock();
    place.enter(m.waiting());
    r.expect(inside == 0, "one task is inside");
    const counted_in here(inside);
    co_await r.pause();
  }
  void finish() { r.expect(false, "everybody gets the mutex"); }
  void look() { r.expect(!m.is_locked() && m.waiting() == 0, "in the end the mutex is free"); }

  race& r;
  arrivals order{r};
  rota::mutex m;
  int inside = 0;
};

struct shared_mutex_model {
  explicit shared_mutex_model(race& its) : r(its) {}

  task<> visit() {
    if (!kept && r.one_in(10)) kept = m.try_lock_shared();
    const bool writes = r.one_in(2);
    arrivals::place place(order, writes ? 2 : 1);
    if (!writes) {
      const auto guard = co_await m.lock_shared();
      place.enter(m.waiting());
      co_await read();
    } else {
      auto guard = co_await m.lock();
      place.enter(m.waiting());
      co_await write();
      if (r.one_in(2)) {
        const auto reads = guard.downgrade();
        co_await read();
      }
    }
  }
  task<> read() {
    r.expect(writing == 0, "nobody reads while one writes");
    const counted_in here(reading);
    co_await r.pause();
  }
  task<> write() {
    r.expect(writing == 0 && reading == 0 && !kept, "who writes is alone");
    const counted_in here(writing);
    co_await r.pause();
  }
  void finish() {
    r.expect(kept && !order.empty() && order.first_wants() == 2, "readers wait only behind a writer that has to wait");
    kept = {};
  }
  void look() {
    kept = {};
    r.expect(!m.is_locked() && m.readers() == 0 && m.waiting() == 0, "in the end the shared_mutex is free");
  }

  race& r;
  arrivals order{r};
  rota::shared_mutex m;
  rota::shared_mutex::shared_guard kept;
  int writing = 0;
  int reading = 0;
};

struct semaphore_model {
  explicit semaphore_model(race& its) : r(its), limit(1 + r.below(5)), s(limit, limit), closes(r.one_in(20)) {}

  task<> visit() {
    const std::size_t n = 1 + r.below(limit);
    if (!kept && r.one_in(10)) kept = s.try_acquire();
    if (closes && r.one_in(10)) s.close();
    arrivals::place place(order, n);
    rota::semaphore::permits permits;
    if (r.one_in(5)) permits = s.try_acquire(n);
    if (!permits) {
      try {
        permits = co_await s.acquire(n);
      } catch (const std::system_error& error) {
        r.expect(closes && error.code() == rota::errc::closed, "only a closed semaphore refuses");
        co_return;
      }
    }
    place.enter(s.waiting());
    out += n;
    r.expect(out + kept.count() <= limit, "no more permits are out than there are");
    try {
      co_await r.pause();
    } catch (...) {
      out -= n;
      throw;
    }
    out -= n;
    if (r.one_in(4)) {
      permits.forget();
      s.release(n);
    }
  }
  void finish() {
    r.expect(kept && !order.empty() && order.first_wants() > s.available(), "nobody waits for what is there");
    kept = {};
  }
  void look() {
    kept = {};
    r.expect(s.available() == limit && s.held() == 0 && s.waiting() == 0, "in the end all permits are there");
  }

  race& r;
  arrivals order{r};
  std::size_t limit;
  rota::semaphore s;
  bool closes;
  rota::semaphore::permits kept;
  std::size_t out = 0;
};

struct limiter_model {
  explicit limiter_model(race& its) : r(its), limiter(r.below(4)) {}

  task<> visit() {
    if (r.one_in(4)) limiter.set_total(r.below(4));
    most = limiter.total() > limiter.borrowed() ? limiter.total() : limiter.borrowed();
    arrivals::place place(order);
    const auto token = co_await limiter.acquire();
    place.enter(limiter.waiting());
    r.expect(limiter.borrowed() <= most, "nobody gets in beyond the total");
    co_await r.pause();
    std::size_t lines = 0;
    for (const char c : limiter.borrowers() + "\n") lines += c == '\n';
    r.expect(lines == limiter.borrowed(), "the list of borrowers is complete");
  }
  void finish() {
    r.expect(limiter.available() == 0, "nobody waits while there is room");
    limiter.set_total(most = 3);
  }
  void look() { r.expect(limiter.borrowed() == 0 && limiter.waiting() == 0, "in the end nobody has borrowed"); }

  race& r;
  arrivals order{r};
  rota::capacity_limiter limiter;
  std::size_t most = 0;
};

struct event_model {
  event_model(race& its, rota::event_reset how) : r(its), automatic(how == rota::event_reset::automatic), e(how) {}

  task<> visit() {
    if (r.one_in(2)) {
      set();
      if (!automatic && r.one_in(2)) e.reset();
      co_return;
    }
    arrivals::place place(order);
    if (!automatic && e.is_set() && !rota::this_task::is_cancelled()) ++may_pass;
    co_await e.wait();
    place.enter(e.waiting());
    ++passed;
  }
  void set() {
    if (!automatic)
      may_pass += e.waiting();
    else if (!e.is_set())
      ++may_pass;
    e.set();
  }
  void finish() {
    r.expect(!e.is_set(), "nobody waits while the event is set");
    set();
  }
  void look() {
    const std::size_t left = automatic && e.is_set() ? 1 : 0;
    r.expect(passed + left == may_pass, "no set() is lost, and none counts twice");
    r.expect(e.waiting() == 0, "in the end nobody waits");
  }

  race& r;
  arrivals order{r};
  bool automatic;
  rota::event e;
  std::size_t may_pass = 0;
  std::size_t passed = 0;
};
struct manual_event_model : event_model {
  explicit manual_event_model(race& its) : event_model(its, rota::event_reset::manual) {}
};
struct automatic_event_model : event_model {
  explicit automatic_event_model(race& its) : event_model(its, rota::event_reset::automatic) {}
};

// A bounded buffer with two conditions, each notified for one at a time.
struct condition_model {
  explicit condition_model(race& its) : r(its) {}

  task<> visit() {
    auto guard = co_await m.lock();
    locked = true;
    try {
      if (r.one_in(2)) {
        while (items == 2 && !closing) co_await wait(not_full, guard);
        if (items != 2) ++items;
        notify(not_empty);
      } else {
        while (items == 0 && !closing) co_await wait(not_empty, guard);
        if (items != 0) --items;
        notify(not_full);
      }
      co_await r.pause();
    } catch (...) {
      locked = false;
      throw;
    }
    locked = false;
  }
  task<> wait(rota::condition_variable& cv, rota::mutex::guard& guard) {
    locked = false;
    const struct after {
      condition_model& its;
      rota::mutex::guard& guard;
      ~after() {
        its.r.expect(!its.locked && guard && its.m.is_locked(), "whoever returns from a wait, or throws, has the lock");
        its.locked = true;
      }
    } check{*this, guard};
    co_await cv.wait(guard);
    ++returned;
  }
  void notify(rota::condition_variable& cv) {
    if (cv.waiting() != 0) ++notified;
    cv.notify_one();
  }
  void finish() {
    r.expect(closing || items == 0 || not_empty.waiting() == 0, "no notification is lost with a cancelled waiter");
    r.expect(closing || items == 2 || not_full.waiting() == 0, "no notification is lost with a cancelled waiter");
    closing = true;
    notified += not_empty.waiting() + not_full.waiting();
    not_empty.notify_all();
    not_full.notify_all();
  }
  void look() {
    r.expect(!m.is_locked() && not_full.waiting() == 0 && not_empty.waiting() == 0, "in the end nobody is there");
    r.expect(returned == notified, "each notification lets one return, and nothing else does");
  }

  race& r;
  rota::mutex m;
  rota::condition_variable not_full, not_empty;
  bool locked = false;
  int items = 0;
  std::size_t notified = 0;
  std::size_t returned = 0;
  bool closing = false;
};

struct barrier_model {
  explicit barrier_model(race& its) : r(its), b(2 + r.below(3)), passed(b.parties()) {}

  task<> visit() {
    if (r.one_in(10)) b.reset();
    try {
      const std::size_t index = co_await b.wait();
      ++passed.at(index);
    } catch (const std::system_error& error) {
      r.expect(error.code() == rota::errc::broken_barrier, "a barrier throws nothing else");
    }
    r.expect(b.waiting() < b.parties(), "a barrier that is full opens");
  }
  void finish() {
    if (b.is_broken()) b.reset();
    b.abort();
  }
  void look() {
    for (const std::size_t n : passed) r.expect(n == passed[0], "each round gives each index once");
    r.expect(b.waiting() == 0, "in the end nobody waits");
  }

  race& r;
  rota::barrier b;
  std::vector<std::size_t> passed;
};

struct latch_model {
  explicit latch_model(race& its) : r(its), l(1 + r.below(4)) {}

  task<> visit() {
    if (r.one_in(2)) {
      if (!l.is_open()) count_down();
      co_return;
    }
    if (l.is_open() && !rota::this_task::is_cancelled()) ++may_pass;
    co_await l.wait();
    r.expect(l.is_open(), "nobody passes a latch that is closed");
    ++passed;
  }
  void count_down() {
    if (l.count() == 1) may_pass += l.waiting();
    l.count_down();
  }
  void finish() {
    r.expect(!l.is_open(), "nobody waits at an open latch");
    if (!l.is_open()) count_down();
  }
  void look() { r.expect(passed == may_pass, "whoever may pass a latch does"); }

  race& r;
  rota::latch l;
  std::size_t may_pass = 0;
  std::size_t passed = 0;
};

struct once_model {
  explicit once_model(race& its) : r(its) {}

  task<> work() {
    r.expect(running == 0 && done == 0, "one runs, and none after it has been done");
    const counted_in here(running);
    co_await r.pause();
    if (r.one_in(3)) throw std::runtime_error("no luck");
    ++done;
  }
  task<> visit() {
    arrivals::place place(order);
    const auto f = [&]() -> task<> {
      if (!o.is_done()) place.enter(o.waiting());
      return work();
    };
    try {
      co_await o.call(f);
      r.expect(done == 1 && o.is_done(), "call() returns when it has been done");
    } catch (const std::runtime_error&) {
    }
  }
  void finish() { r.expect(false, "everybody gets an answer"); }
  void look() { r.expect(running == 0 && o.waiting() == 0 && done <= 1, "in the end nobody is at it"); }

  race& r;
  arrivals order{r};
  rota::once o;
  int running = 0;
  int done = 0;
};

}  // namespace

TEST_CASE("race: a mutex has one owner at most, serves in order, and loses nobody") {
  explore_races<mutex_model>(race_seeds());
}
TEST_CASE("race: a shared_mutex has one writer or any readers, serves in order, and loses nobody") {
  explore_races<shared_mutex_model>(race_seeds());
}
TEST_CASE("race: a semaphore loses no permit, makes none up, and serves requests of any size in order") {
  explore_races<semaphore_model>(race_seeds());
}
TEST_CASE("race: a capacity_limiter keeps to its total while that changes, serves in order, and knows who is inside") {
  explore_races<limiter_model>(race_seeds());
}
TEST_CASE("race: an event lets pass who waits when it is set, and nobody else") {
  explore_races<manual_event_model>(race_seeds());
}
TEST_CASE("race: an automatic event lets one pass, in order, for each time it is set") {
  explore_races<automatic_event_model>(race_seeds());
}
TEST_CASE("race: a condition variable loses no notification, and its waiters return with the lock") {
  explore_races<condition_model>(race_seeds());
}
TEST_CASE("race: a barrier gives each index of a round once, and keeps nobody that a round let pass") {
  explore_races<barrier_model>(race_seeds());
}
TEST_CASE("race: a latch lets everybody pass when it is open and nobody before") {
  explore_races<latch_model>(race_seeds());
}
TEST_CASE("race: a once is done once, tried by one at a time in order, and nobody is left waiting") {
  explore_races<once_model>(race_seeds());
}
