#include <rota/sync/capacity_limiter.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::capacity_limiter;
using rota::task;
using rota_test::run;

task<> borrow(capacity_limiter& limiter, std::string name, std::vector<std::string>& seen) {
  rota::this_task::set_name(name);
  const auto token = co_await limiter.acquire();
  seen.push_back(name + " in");
  co_await rota::yield();
  seen.push_back(name + " out");
}

auto spawn_borrow(capacity_limiter& limiter, const char* name, std::vector<std::string>& seen) {
  return rota::spawn(borrow, std::ref(limiter), std::string(name), std::ref(seen));
}

using names = std::vector<std::string>;

}  // namespace

TEST_CASE("a capacity_limiter lets as many in as its total, in the order in which they came") {
  run([]() -> task<> {
    capacity_limiter limiter(2);
    names seen;
    auto a = spawn_borrow(limiter, "a", seen);
    auto b = spawn_borrow(limiter, "b", seen);
    auto c = spawn_borrow(limiter, "c", seen);
    co_await rota::yield();
    REQUIRE(limiter.borrowed() == 2);
    REQUIRE(limiter.available() == 0);
    REQUIRE(limiter.waiting() == 1);
    co_await a;
    co_await b;
    co_await c;
    REQUIRE(seen == names{"a in", "b in", "a out", "b out", "c in", "c out"});
    REQUIRE(limiter.borrowed() == 0);
  });
}

TEST_CASE("a limiter of zero lets nobody in until it is given a total") {
  run([]() -> task<> {
    capacity_limiter limiter(0);
    names seen;
    auto a = spawn_borrow(limiter, "a", seen);
    co_await rota::yield();
    REQUIRE(limiter.waiting() == 1);
    REQUIRE_FALSE(limiter.try_acquire());
    limiter.set_total(1);
    co_await a;
    REQUIRE(seen == names{"a in", "a out"});
  });
}

TEST_CASE("a total that was lowered lets nobody in before enough have left") {
  run([]() -> task<> {
    capacity_limiter limiter(3);
    names seen;
    auto one = co_await limiter.acquire();
    auto two = co_await limiter.acquire();
    auto three = co_await limiter.acquire();
    limiter.set_total(1);
    REQUIRE(limiter.borrowed() == 3);
    REQUIRE(limiter.available() == 0);
    auto a = spawn_borrow(limiter, "a", seen);
    co_await rota::yield();
    two.release();
    one.release();
    REQUIRE(limiter.waiting() == 1);
    three.release();
    REQUIRE(limiter.waiting() == 0);
    co_await a;
  });
}

TEST_CASE("the limiter names its borrowers, the oldest first") {
  run([]() -> task<> {
    capacity_limiter limiter(3);
    names seen;
    auto a = spawn_borrow(limiter, "anna", seen);
    auto b = spawn_borrow(limiter, "bert", seen);
    co_await rota::yield();
    auto mine = std::make_unique<capacity_limiter::token>(co_await limiter.acquire());  // moved
    const std::string text = limiter.borrowers();
    INFO(text);
    const std::size_t second = text.find("\ntask 'bert', last at "), third = text.find("\nsomebody, since ");
    REQUIRE(text.starts_with("task 'anna', last at "));
    REQUIRE(second != std::string::npos);
    REQUIRE(third > second);
    co_await a;
    co_await b;
    REQUIRE(limiter.borrowers().starts_with("somebody, since "));
    mine.reset();
    REQUIRE(limiter.borrowers().empty());
  });
}

TEST_CASE("tokens can be moved and assigned in any order and the list of borrowers stays right") {
  run([]() -> task<> {
    capacity_limiter limiter(4);
    std::vector<capacity_limiter::token> tokens;
    for (int i = 0; i != 4; ++i) {
      auto token = co_await limiter.acquire();
      tokens.push_back(std::move(token));
    }
    tokens.erase(tokens.begin() + 1);
    tokens[0] = std::move(tokens[2]);
    REQUIRE(limiter.borrowed() == 2);
    REQUIRE(limiter.available() == 2);
    tokens.clear();
    REQUIRE(limiter.borrowed() == 0);
    REQUIRE(limiter.borrowers().empty());
  });
}

TEST_CASE("a cancelled waiter leaves the limiter's queue; one that was let in first has its token") {
  run([]() -> task<> {
    capacity_limiter limiter(1);
    names seen;
    auto mine = co_await limiter.acquire();
    auto a = spawn_borrow(limiter, "a", seen);
    auto b = spawn_borrow(limiter, "b", seen);
    auto c = spawn_borrow(limiter, "c", seen);
    co_await rota::yield();
    a.cancel();
    REQUIRE(limiter.waiting() == 2);
    mine.release();
    b.cancel();
    co_await c;
    REQUIRE(seen == names{"b in", "c in", "c out"});
    REQUIRE(a.cancelled());
    REQUIRE(b.cancelled());
    REQUIRE(limiter.borrowed() == 0);
  });
}

TEST_CASE("a token that is given back twice is an error") {
  run([]() -> task<> {
    capacity_limiter limiter(1);
    auto token = co_await limiter.acquire();
    token.release();
    REQUIRE(rota_test::usage_error_of([&] { token.release(); }) == rota::usage_error::kind::not_held);
  });
}

TEST_CASE("a limiter that is destroyed while somebody has borrowed of it ends the program and names who") {
  const rota_test::child_outcome end_of_it = rota_test::child_process([] {
                                               rota::run([]() -> task<> {
                                                 rota::this_task::set_name("hoarder");
                                                 auto* limiter = new capacity_limiter(2);
                                                 const auto token = co_await limiter->acquire();
                                                 delete limiter;
                                               }());
                                               return 0;
                                             }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(
      end_of_it.says("a capacity_limiter was destroyed while 1 had borrowed of it, first task 'hoarder', last at "));
}
