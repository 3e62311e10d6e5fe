// select over everything that tasks of one loop wait for, in 10,000 worlds, with random pauses, time limits and cancels. The
// name of each test is what must be true in all of them.
#include <cstddef>
#include <optional>
#include <utility>

#include "support/races.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using rota::task;

namespace {

// Two or more of what a task can hold, or a notification; each may also be wanted alone.
struct holding_model {
  explicit holding_model(race& its) : r(its) {}

  task<> visit() {
    const std::size_t few = 1 + r.below(2);
    const std::size_t more = 1 + r.below(3);
    arrivals::place for_mutex(of_mutex);
    arrivals::place for_few(of_permits, few);
    arrivals::place for_more(of_permits, more);
    const auto has_mutex = [&] { return for_mutex.enter(m.waiting()), held(in_mutex); };
    const auto has_few = [&] { return for_few.enter(s.waiting()), have(few); };
    const auto has_more = [&] { return for_more.enter(s.waiting()), have(more); };
    switch (r.below(7)) {
      case 0: {
        const auto got =
            co_await rota::select(m.lock(), s.acquire(few), s.acquire(more), rota::sleep_for(r.some_time()));
        if (got.index() == 0) co_await has_mutex();
        if (got.index() == 1) co_await has_few();
        if (got.index() == 2) co_await has_more();
        break;
      }
      case 1: {
        const auto got = co_await rota::select_biased(s.acquire(few), l.acquire());
        if (got.index() == 0) co_await has_few();
        if (got.index() == 1) co_await held(in_limiter);
        break;
      }
      case 2: {
        const auto got = co_await rota::select(sm.lock(), m.lock(), l.acquire());
        if (got.index() == 0) co_await write();
        if (got.index() == 1) co_await has_mutex();
        if (got.index() == 2) co_await held(in_limiter);
        break;
      }
      case 3: {
        const auto got = co_await rota::select(sm.lock_shared(), e.wait(), sm.lock(), m.lock());
        if (got.index() == 0) co_await read();
        if (got.index() == 1) ++passed;
        if (got.index() == 2) co_await write();
        if (got.index() == 3) co_await has_mutex();
        break;
      }
      case 4: {
        if (!e.is_set()) ++may_pass;
        e.set();
        break;
      }
      case 5: {
        const auto permits = co_await s.acquire(few);
        co_await has_few();
        break;
      }
      default: {
        const auto guard = co_await m.lock();
        co_await has_mutex();
      }
    }
  }
  task<> held(int& inside) {
    r.expect(inside == 0, "one task has the mutex, or the only token");
    const counted_in here(inside);
    co_await r.pause();
  }
  task<> have(std::size_t n) {
    out += n;
    r.expect(out <= s.limit(), "no more permits are out than there are");
    const struct back {
      std::size_t& out;
      std::size_t n;
      ~back() { out -= n; }
    } later{out, n};
    co_await r.pause();
  }
  task<> write() {
    r.expect(writing == 0 && reading == 0, "who writes is alone");
    const counted_in here(writing);
    co_await r.pause();
  }
  task<> read() {
    r.expect(writing == 0, "nobody reads while one writes");
    const counted_in here(reading);
    co_await r.pause();
  }
  void finish() { r.expect(false, "everybody gets something"); }
  void look() {
    r.expect(!m.is_locked() && !sm.is_locked() && sm.readers() == 0, "in the end nobody has a lock");
    r.expect(s.available() == s.limit() && s.held() == 0, "in the end all permits are there");
    r.expect(l.borrowed() == 0, "in the end nobody has borrowed");
    r.expect(passed + (e.is_set() ? 1 : 0) == may_pass, "no set() is lost, and none counts twice");
    r.expect(m.waiting() + sm.waiting() + s.waiting() + l.waiting() + e.waiting() == 0, "in the end nobody waits");
  }

  race& r;
  arrivals of_mutex{r};
  arrivals of_permits{r};
  rota::mutex m;
  rota::shared_mutex sm;
  rota::semaphore s{3, 3};
  rota::capacity_limiter l{1};
  rota::event e{rota::event_reset::automatic};
  int in_mutex = 0;
  int in_limiter = 0;
  int writing = 0;
  int reading = 0;
  std::size_t out = 0;
  std::size_t may_pass = 0;
  std::size_t passed = 0;
};

// Two conditions of one mutex, waited for both at once or beside something else, each notified for one at a time.
struct condition_model {
  explicit condition_model(race& its) : r(its) {}

  task<> visit() {
    auto guard = co_await m.lock();
    locked = true;
    try {
      if (r.one_in(2)) {
        while (items == 2 && !closing) co_await wait(guard);
        if (items != 2) ++items;
        notify(not_empty);
      } else {
        while (items == 0 && !closing) co_await wait(guard);
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
  task<> wait(rota::mutex::guard& guard) {
    locked = false;
    const struct after {
      condition_model& its;
      rota::mutex::guard& guard;
      ~after() {
        its.r.expect(!its.locked && guard && its.m.is_locked(),
                     "whoever returns from a select, or throws, has the lock");
        its.locked = true;
      }
    } check{*this, guard};
    const std::size_t how = r.below(3);
    if (how == 0) {
      const auto first = co_await rota::select(not_full.wait(guard), not_empty.wait(guard));
      ++returned;
      r.expect(first.index() < 2, "one of them was notified");
    } else if (how == 1) {
      const auto first =
          co_await rota::select(not_full.wait(guard), rota::sleep_for(r.some_time()), not_empty.wait(guard));
      if (first.index() != 1) ++returned;
    } else {
      const auto first = co_await rota::select_biased(other.lock(), not_full.wait(guard), not_empty.wait(guard));
      if (first.index() != 0) ++returned;
      if (first.index() == 0) co_await rota::yield();  // holds both
    }
  }
  void notify(rota::condition_variable& cv) {
    if (cv.waiting() != 0) ++notified;
    cv.notify_one();
  }
  void finish() {
    closing = true;
    for (rota::condition_variable* cv : {&not_empty, &not_full}) {
      notified += cv->waiting();
      cv->notify_all();
    }
  }
  void look() {
    r.expect(!m.is_locked() && !other.is_locked(), "in the end nobody has a lock");
    r.expect(m.waiting() + other.waiting() + not_full.waiting() + not_empty.waiting() == 0, "in the end nobody waits");
    r.expect(returned == notified, "each notification lets one return, and nothing else does");
  }

  race& r;
  rota::mutex m, other;
  rota::condition_variable not_full, not_empty;
  bool locked = false;
  int items = 0;
  std::size_t notified = 0;
  std::size_t returned = 0;
  bool closing = false;
};

}  // namespace

TEST_CASE("race: a select holds what it says and nothing else, in order, and loses no lock, permit, token or set()") {
  explore_races<holding_model>(race_seeds());
}
TEST_CASE("race: a select of conditions returns with the lock, and takes one notification or none") {
  explore_races<condition_model>(race_seeds());
}
