#include <rota/sync/latch.hpp>

#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::latch;
using rota::task;
using rota_test::run;

task<> pass(latch& l, int me, std::vector<int>& seen) {
  co_await l.wait();
  seen.push_back(me);
}

}  // namespace

TEST_CASE("a latch lets all pass, in order, when it has been counted down to zero, and stays open") {
  run([]() -> task<> {
    latch l(3);
    std::vector<int> seen;
    auto a = rota::spawn(pass, std::ref(l), 1, std::ref(seen));
    auto b = rota::spawn(pass, std::ref(l), 2, std::ref(seen));
    co_await rota::yield();
    l.count_down();
    co_await rota::yield();
    REQUIRE(seen.empty());
    REQUIRE(l.count() == 2);
    REQUIRE(l.waiting() == 2);
    l.count_down(2);
    REQUIRE(l.is_open());
    co_await l.wait();
    co_await a;
    co_await b;
    REQUIRE(seen == std::vector<int>{1, 2});
  });
}

TEST_CASE("a latch that is counted down too far says so and counts nothing") {
  latch l(1);
  REQUIRE(rota_test::usage_error_of([&] { l.count_down(2); }) == rota::usage_error::kind::invalid_argument);
  REQUIRE(l.count() == 1);
  l.count_down();
  REQUIRE(rota_test::usage_error_of([&] { l.count_down(); }) == rota::usage_error::kind::invalid_argument);
}

TEST_CASE("a latch of zero is open") {
  run([]() -> task<> {
    latch l(0);
    co_await l.wait();
  });
}

TEST_CASE("a cancelled waiter of a latch leaves; one that may pass already passes") {
  run([]() -> task<> {
    latch l(1);
    std::vector<int> seen;
    auto a = rota::spawn(pass, std::ref(l), 1, std::ref(seen));
    auto b = rota::spawn(pass, std::ref(l), 2, std::ref(seen));
    co_await rota::yield();
    a.cancel();
    REQUIRE(l.waiting() == 1);
    l.count_down();
    b.cancel();
    co_await b;
    REQUIRE(a.cancelled());
    REQUIRE(seen == std::vector<int>{2});
  });
}
