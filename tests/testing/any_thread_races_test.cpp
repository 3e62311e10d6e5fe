// What is for any thread, among tasks of one loop in 10,000 worlds, with random pauses, time limits and cancels: the same promises
// as those of sync_races_test. Threads are for any_thread_stress_test and thread_channel_test.
#include <rota/sync/any_thread.hpp>

#include <cstddef>
#include <vector>

#include "support/races.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using rota::task;

namespace {

namespace any_thread = rota::any_thread;

struct mutex_model {
  explicit mutex_model(race& its) : r(its) {}

  task<> visit() {
    auto guard = r.one_in(5) ? m.try_lock() : any_thread::mutex::guard();
    if (!guard) {
      const std::size_t mine = ++came;
      guard = co_await m.lock();
      r.expect(mine > last_served, "whoever came first is served first");
      last_served = mine;
    }
    r.expect(inside == 0, "one task is inside");
    const counted_in here(inside);
    co_await r.pause();
  }
  void finish() { r.expect(false, "everybody gets the mutex"); }
  void look() { r.expect(!m.is_locked(), "in the end the mutex is free"); }

  race& r;
  any_thread::mutex m;
  std::size_t came = 0;
  std::size_t last_served = 0;
  int inside = 0;
};

/// Who was served when. Within one moment of the world it cannot be told: one that need not wait may go on while another one,
/// served before, has not run yet.
class in_order {
 public:
  void add(race& r, std::size_t number) {
    const rota::detail::nanoseconds now = rota::detail::loop_access::now(rota::detail::loop_access::current());
    if (now != moment_ && latest_ > before_) before_ = latest_;
    moment_ = now;
    r.expect(number > before_, "whoever came first is served first, whatever it wants");
    if (number > latest_) latest_ = number;
  }

 private:
  rota::detail::nanoseconds moment_ = 0;
  std::size_t latest_ = 0;
  std::size_t before_ = 0;  // the latest before this moment
};

struct semaphore_model {
  explicit semaphore_model(race& its) : r(its), limit(1 + r.below(5)), s(limit) {}

  task<> visit() {
    const std::size_t n = 1 + r.below(limit);
    any_thread::semaphore::permits permits;
    const std::size_t mine = ++came;
    if (r.one_in(5)) permits = s.try_acquire(n);
    if (!permits) permits = co_await s.acquire(n);
    served.add(r, mine);
    out += n;
    r.expect(out <= limit, "no more permits are out than there are");
    const struct back {
      std::size_t& out;
      std::size_t n;
      ~back() { out -= n; }
    } later{out, n};
    co_await r.pause();
    if (r.one_in(4)) {
      permits.forget();
      s.release(n);
    }
  }
  void finish() { r.expect(false, "everybody gets permits"); }
  void look() { r.expect(s.available() == limit, "in the end all permits are there"); }

  race& r;
  std::size_t limit;
  any_thread::semaphore s;
  std::size_t came = 0;
  in_order served;
  std::size_t out = 0;
};

struct event_model {
  explicit event_model(race& its) : r(its) {}

  struct place {
    explicit place(event_model& m) : all(m), may_pass(m.e.is_set()) { all.places.push_back(this); }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place() { std::erase(all.places, this); }
    event_model& all;
    bool may_pass;
  };

  task<> visit() {
    if (r.one_in(2)) {
      set();
      if (r.one_in(2)) e.reset();
      co_return;
    }
    const place here(*this);
    co_await e.wait();
    r.expect(here.may_pass, "nobody passes before it is set");
  }
  void set() {
    for (place* const one : places) one->may_pass = true;
    e.set();
  }
  // Every task that can run has run.
  void finish() {
    for (const place* const one : places) r.expect(!one->may_pass, "who waits when it is set passes");
    set();
  }
  void look() { r.expect(places.empty(), "in the end nobody waits"); }

  race& r;
  any_thread::event e;
  std::vector<place*> places;
};

}  // namespace

TEST_CASE("race: an any_thread::mutex has one owner at most, serves in order, and loses nobody") {
  explore_races<mutex_model>(race_seeds());
}
TEST_CASE("race: an any_thread::semaphore loses no permit, makes none up, and serves requests of any size in order") {
  explore_races<semaphore_model>(race_seeds());
}
TEST_CASE("race: an any_thread::event lets pass who waits when it is set, and nobody else") {
  explore_races<event_model>(race_seeds());
}
