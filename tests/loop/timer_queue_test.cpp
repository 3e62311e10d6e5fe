// The timing wheel alone, against a std::multimap.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include <rota/base/random.hpp>
#include <rota/loop/timer_queue.hpp>

#include "support/rota_test.hpp"

namespace {

using rota::detail::nanoseconds;
using rota::detail::never;
using rota::detail::timer;
using rota::detail::timer_queue;

std::vector<timer*> expired_by(timer_queue& queue, nanoseconds now) {
  std::vector<timer*> fired;
  queue.expire(now, [&](timer& t) { fired.push_back(&t); });
  return fired;
}

void arm(timer_queue& queue, timer& t, nanoseconds deadline) {
  t.deadline = deadline;
  queue.arm(t);
}

// The order that is promised: by deadline, then in the order of arming.
class model {
 public:
  void arm(timer& t) { positions_[&t] = by_deadline_.emplace(t.deadline, &t); }
  void cancel(timer& t) {
    by_deadline_.erase(positions_.at(&t));
    positions_.erase(&t);
  }
  std::vector<timer*> expire(nanoseconds now) {
    std::vector<timer*> fired;
    while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
      fired.push_back(by_deadline_.begin()->second);
      cancel(*fired.back());
    }
    return fired;
  }
  nanoseconds next() const { return by_deadline_.empty() ? never : by_deadline_.begin()->first; }
  std::size_t size() const { return by_deadline_.size(); }

 private:
  std::multimap<nanoseconds, timer*> by_deadline_;
  std::map<timer*, std::multimap<nanoseconds, timer*>::iterator> positions_;
};

}  // namespace

TEST_CASE("timers fire in the order of their deadlines, whatever the order of arming") {
  timer_queue queue(1000);
  timer t[6];
  const nanoseconds deadlines[6] = {5000, 1001, 900, 1'000'000'000, 5001, 4999};
  for (int i = 0; i != 6; ++i) arm(queue, t[i], deadlines[i]);
  REQUIRE(queue.size() == 6);
  const std::vector<timer*> fired = expired_by(queue, 2'000'000'000);
  REQUIRE(fired == std::vector<timer*>{&t[2], &t[1], &t[5], &t[0], &t[4], &t[3]});
  REQUIRE(queue.size() == 0);
}

TEST_CASE("every armed timer is visited once, and may be cancelled by that") {
  timer_queue queue(1000);
  timer t[6];
  const nanoseconds deadlines[6] = {5000, 1001, 900, 1'000'000'000, 5000, never - 1};
  for (int i = 0; i != 6; ++i) arm(queue, t[i], deadlines[i]);
  int visited = 0;
  queue.for_each([&](timer& visit) {
    ++visited;
    if (&visit != &t[1] && &visit != &t[4]) queue.cancel(visit);
  });
  REQUIRE(visited == 6);
  REQUIRE(queue.size() == 2);
  REQUIRE(expired_by(queue, 10'000) == std::vector<timer*>{&t[1], &t[4]});
}

TEST_CASE("nothing fires early") {
  timer_queue queue(0);
  timer t;
  arm(queue, t, 123'456'789);
  for (nanoseconds now = 1; now < 123'456'789; now = now * 3 + 1) REQUIRE(expired_by(queue, now).empty());
  REQUIRE(expired_by(queue, 123'456'788).empty());
  REQUIRE(expired_by(queue, 123'456'789).size() == 1);
}

TEST_CASE("equal deadlines fire in the order of arming, also when they were armed on different levels") {
  timer_queue queue(0);
  timer t[5];
  const nanoseconds deadline = 70'000'000'123;
  for (int i = 0; i != 5; ++i) {
    arm(queue, t[i], deadline);
    // Each step moves the earlier ones down one or more levels.
    REQUIRE(expired_by(queue, deadline - (nanoseconds{1} << (30 - 7 * i))).empty());
  }
  REQUIRE(expired_by(queue, deadline) == std::vector<timer*>{&t[0], &t[1], &t[2], &t[3], &t[4]});
}

TEST_CASE("a cancelled timer does not fire, and can be armed again") {
  timer_queue queue(0);
  timer a;
  timer b;
  arm(queue, a, 100);
  arm(queue, b, 100);
  queue.cancel(a);
  REQUIRE(queue.size() == 1);
  REQUIRE(a.next == nullptr);
  arm(queue, a, 50);
  REQUIRE(expired_by(queue, 200) == std::vector<timer*>{&a, &b});
  arm(queue, a, 10);  // in the past
  queue.cancel(a);
  REQUIRE(queue.next_deadline() == never);
  REQUIRE(expired_by(queue, 300).empty());
}

TEST_CASE("a timer may be cancelled, armed and destroyed from inside fire") {
  timer_queue queue(0);
  timer a;
  timer b;
  auto c = std::make_unique<timer>();
  timer d;
  arm(queue, a, 10);
  arm(queue, b, 20);
  arm(queue, *c, 20);
  arm(queue, d, 1000);
  std::vector<timer*> fired;
  queue.expire(20, [&](timer& t) {
    fired.push_back(&t);
    if (&t == &a) {
      queue.cancel(b);    // due in the same round
      queue.cancel(d);    // not due yet
      arm(queue, a, 15);  // due already: it fires in the next round
    }
    if (&t == c.get()) c.reset();
  });
  REQUIRE(fired.size() == 2);
  REQUIRE(fired.front() == &a);
  REQUIRE(queue.size() == 1);
  REQUIRE(queue.next_deadline() <= 20);
  REQUIRE(expired_by(queue, 20) == std::vector<timer*>{&a});
  REQUIRE(queue.size() == 0);
}

TEST_CASE("an empty queue has no deadline, and its clock may jump") {
  timer_queue queue(0);
  REQUIRE(queue.next_deadline() == never);
  REQUIRE(expired_by(queue, never / 2).empty());
  timer t;
  arm(queue, t, never / 2 + 5);
  REQUIRE(queue.next_deadline() == never / 2 + 5);
  REQUIRE(expired_by(queue, never / 2 + 5).size() == 1);
}

TEST_CASE("deadlines at the ends of the range") {
  timer_queue queue(1000);
  timer last;
  timer first;
  timer negative;
  arm(queue, last, never - 1);
  arm(queue, first, INT64_MIN);
  arm(queue, negative, -1);
  REQUIRE(queue.next_deadline() <= 1000);
  REQUIRE(expired_by(queue, 1000) == std::vector<timer*>{&first, &negative});
  REQUIRE(queue.next_deadline() <= never - 1);
  REQUIRE(expired_by(queue, never - 2).empty());
  REQUIRE(expired_by(queue, never - 1) == std::vector<timer*>{&last});
}

TEST_CASE("many timers in one slot: the next deadline may be early, but never late, and comes nearer") {
  timer_queue queue(0);
  std::vector<timer> many(1000);
  rota::detail::random random(7);
  nanoseconds earliest = never;
  for (timer& t : many) {
    const auto deadline = static_cast<nanoseconds>((std::uint64_t{1} << 40) + random.below(std::uint64_t{1} << 34));
    earliest = std::min(earliest, deadline);
    arm(queue, t, deadline);
  }
  int looks = 0;
  nanoseconds now = 0;
  for (; now < earliest; ++looks) {
    const nanoseconds next = queue.next_deadline();
    REQUIRE(next <= earliest);
    REQUIRE(next > now);
    now = next;
    const std::vector<timer*> fired = expired_by(queue, now);
    REQUIRE(fired.size() == (now >= earliest ? 1u : 0u));
  }
  REQUIRE(looks <= 11);  // at most once per level
  REQUIRE(expired_by(queue, never - 1).size() == 999);
}

TEST_CASE("a hundred thousand random operations behave like a sorted list") {
  const std::size_t operations = rota_test::scaled(100'000, 30'000);
  const auto seed = std::uint64_t{std::random_device{}()};
  INFO("seed " << seed);
  std::fprintf(stderr, "  seed %llu\n", static_cast<unsigned long long>(seed));
  for (const std::uint64_t s : {std::uint64_t{1}, std::uint64_t{2}, seed}) {
    rota::detail::random random(s);
    std::vector<timer> timers(500);
    nanoseconds now = static_cast<nanoseconds>(random.below(std::uint64_t{1} << 50));
    timer_queue queue(now);
    model expected;
    std::size_t wrong = 0;
    for (std::size_t i = 0; i != operations && wrong == 0; ++i) {
      timer& t = timers[random.below(timers.size())];
      switch (random.below(4)) {
        case 0:
        case 1:
          if (t.next) {
            queue.cancel(t);
            expected.cancel(t);
          } else {
            // Of every magnitude, often equal, sometimes past.
            const std::uint64_t range = std::uint64_t{1} << random.below(48);
            t.deadline = now - 20 + static_cast<nanoseconds>(random.below(range) & ~std::uint64_t{random.below(16)});
            queue.arm(t);
            expected.arm(t);
          }
          break;
        case 2: {
          const std::uint64_t range = std::uint64_t{1} << random.below(44);
          now += static_cast<nanoseconds>(random.below(range));
          wrong += expired_by(queue, now) != expected.expire(now);
          break;
        }
        default: {
          const nanoseconds next = queue.next_deadline();
          wrong += next > std::max(expected.next(), now);
          wrong += (next == never) != (expected.size() == 0);
          if (next != never && next > now && random.below(2) == 0) {
            now = next;
            wrong += expired_by(queue, now) != expected.expire(now);
          }
        }
      }
      wrong += queue.size() != expected.size();
    }
    INFO("with the seed " << s);
    REQUIRE(wrong == 0);
    REQUIRE(expired_by(queue, never - 1) == expected.expire(never - 1));
  }
}
