#include <rota/sync/semaphore.hpp>

#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::semaphore;
using rota::task;
using rota_test::run;

// Takes `n` and keeps them until the gate opens; notes its name when it has them, or what it got instead.
task<> take(semaphore& s, std::size_t n, std::vector<std::string>& seen, std::string name, rota_test::gate& until) {
  try {
    const auto permits = co_await s.acquire(n);
    seen.push_back(name);
    co_await until;
  } catch (const std::system_error& error) {
    seen.push_back(name + (error.code() == rota::errc::closed ? " closed" : " ?"));
  } catch (const rota::cancelled&) {
    seen.push_back(name + " cancelled");
    throw;
  }
}

// Takes `n` and gives them back at once.
task<> take_and_give(semaphore& s, std::size_t n, std::vector<std::string>& seen, std::string name) {
  rota_test::gate open;
  open.open();
  co_await take(s, n, seen, std::move(name), open);
}

auto spawn_take(semaphore& s, std::size_t n, std::vector<std::string>& seen, const char* name) {
  return rota::spawn(take_and_give, std::ref(s), n, std::ref(seen), std::string(name));
}

using names = std::vector<std::string>;

}  // namespace

TEST_CASE("a semaphore has as many permits as it was made with, and gets them back") {
  run([]() -> task<> {
    semaphore s(3);
    {
      auto two = co_await s.acquire(2);
      REQUIRE(two.count() == 2);
      REQUIRE(s.available() == 1);
      REQUIRE(s.held() == 2);
      auto one = s.try_acquire();
      REQUIRE(one);
      REQUIRE_FALSE(s.try_acquire());
      one.release();
      REQUIRE(s.available() == 1);
      const auto moved = std::move(two);
      REQUIRE(two.count() == 0);
      REQUIRE(moved.count() == 2);
    }
    REQUIRE(s.available() == 3);
    REQUIRE(s.held() == 0);
  });
}

TEST_CASE("who waits for permits gets them in the order in which they came") {
  run([]() -> task<> {
    semaphore s(1);
    names seen;
    auto mine = co_await s.acquire();
    auto a = spawn_take(s, 1, seen, "a");
    auto b = spawn_take(s, 1, seen, "b");
    co_await rota::yield();
    mine.release();
    REQUIRE(s.available() == 0);  // it is a's
    co_await a;
    co_await b;
    REQUIRE(seen == names{"a", "b"});
    REQUIRE(s.available() == 1);
  });
}

TEST_CASE("a large request is not passed by small ones that come later, though there are permits for them") {
  run([]() -> task<> {
    semaphore s(5);
    names seen;
    auto mine = co_await s.acquire(1);
    auto large = spawn_take(s, 5, seen, "five");
    auto small = spawn_take(s, 1, seen, "one");
    co_await rota::yield();
    REQUIRE(s.waiting() == 2);
    REQUIRE(s.available() == 4);
    REQUIRE_FALSE(s.try_acquire(1));
    mine.release();
    co_await large;
    co_await small;
    REQUIRE(seen == names{"five", "one"});
  });
}

TEST_CASE("a large request that is cancelled lets those behind it have what there is") {
  run([]() -> task<> {
    semaphore s(5);
    names seen;
    auto mine = co_await s.acquire(2);
    auto large = spawn_take(s, 5, seen, "five");
    auto one = spawn_take(s, 1, seen, "one");
    auto two = spawn_take(s, 2, seen, "two");
    auto too_many = spawn_take(s, 4, seen, "four");
    co_await rota::yield();
    large.cancel();
    REQUIRE(s.waiting() == 1);
    REQUIRE(s.available() == 0);
    co_await one;
    co_await two;
    REQUIRE(seen == names{"five cancelled", "one", "two"});
    mine.release();
    co_await too_many;
    REQUIRE(s.available() == 5);
  });
}

TEST_CASE("one release can be enough for several") {
  run([]() -> task<> {
    semaphore s(0);
    names seen;
    auto a = spawn_take(s, 1, seen, "a");
    auto b = spawn_take(s, 2, seen, "b");
    co_await rota::yield();
    s.release(3);
    REQUIRE(s.waiting() == 0);
    REQUIRE(s.held() == 3);
    co_await a;
    co_await b;
    REQUIRE(seen == names{"a", "b"});
    REQUIRE(s.available() == 3);
  });
}

TEST_CASE("a waiter that was given permits and is then cancelled has them, and gives them back when it ends") {
  run([]() -> task<> {
    semaphore s(1);
    names seen;
    auto mine = co_await s.acquire();
    auto a = rota::spawn(
        [](semaphore& its, names& out) -> task<> {
          const auto permit = co_await its.acquire();
          out.push_back("a");
          co_await rota::yield();
          out.push_back("never");
        },
        std::ref(s), std::ref(seen));
    auto b = spawn_take(s, 1, seen, "b");
    co_await rota::yield();
    mine.release();
    a.cancel();
    co_await b;
    REQUIRE(a.cancelled());
    REQUIRE(seen == names{"a", "b"});
    REQUIRE(s.available() == 1);
  });
}

TEST_CASE("permits that are forgotten are gone until they are released") {
  run([]() -> task<> {
    semaphore s(2, 2);
    auto permits = co_await s.acquire(2);
    permits.forget();
    REQUIRE_FALSE(permits);
    REQUIRE(s.available() == 0);
    REQUIRE(s.held() == 0);
    s.release(2);
    REQUIRE(s.available() == 2);
  });
}

TEST_CASE("releasing more than a semaphore's limit is an error and adds nothing") {
  run([]() -> task<> {
    semaphore s(2, 3);
    const auto held = co_await s.acquire(1);
    std::string text;
    try {
      s.release(2);
    } catch (const rota::usage_error& error) {
      REQUIRE(error.which() == rota::usage_error::kind::not_held);
      text = error.what();
    }
    REQUIRE(text == "2 permits were released to a semaphore with a limit of 3, of which 1 are available and 1 held");
    REQUIRE(s.available() == 1);
    s.release(1);
    REQUIRE(s.available() == 2);
  });
}

TEST_CASE("bad numbers are errors: more to begin with than the limit, more asked for than the limit") {
  REQUIRE(rota_test::usage_error_of([] { semaphore s(2, 1); }) == rota::usage_error::kind::invalid_argument);
  semaphore s(1, 1);
  REQUIRE(rota_test::usage_error_of([&] { (void)s.acquire(2); }) == rota::usage_error::kind::invalid_argument);
  REQUIRE_FALSE(s.try_acquire(2));
}

TEST_CASE("permits that are given back twice are an error") {
  run([]() -> task<> {
    semaphore s(1);
    auto permit = co_await s.acquire();
    permit.release();
    REQUIRE(rota_test::usage_error_of([&] { permit.release(); }) == rota::usage_error::kind::not_held);
    REQUIRE(rota_test::usage_error_of([&] { permit.forget(); }) == rota::usage_error::kind::not_held);
    REQUIRE(s.available() == 1);
  });
}

TEST_CASE("nobody waits for no permits, and whoever has none of them can say so") {
  run([]() -> task<> {
    semaphore s(0);
    auto none = co_await s.acquire(0);
    REQUIRE(none);
    REQUIRE(none.count() == 0);
    none.release();
    REQUIRE_FALSE(none);
  });
}

TEST_CASE("close() ends all waits, and permits that are held can still be given back") {
  run([]() -> task<> {
    semaphore s(1);
    names seen;
    auto mine = co_await s.acquire();
    auto a = spawn_take(s, 1, seen, "a");
    auto b = spawn_take(s, 7, seen, "b");
    co_await rota::yield();
    s.close();
    REQUIRE(s.is_closed());
    co_await a;
    co_await b;
    auto c = spawn_take(s, 1, seen, "c");
    co_await c;
    REQUIRE(seen == names{"a closed", "b closed", "c closed"});
    mine.release();
    REQUIRE_FALSE(s.try_acquire());
    REQUIRE(s.available() == 1);
  });
}

TEST_CASE("in a cancelled scope acquire() throws, even when there are permits") {
  run([]() -> task<> {
    semaphore s(1);
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      const auto permit = co_await s.acquire();
    };
    const bool finished = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(finished);
    REQUIRE(s.available() == 1);
  });
}

TEST_CASE("a semaphore that is destroyed while permits of it are held ends the program") {
  const rota_test::child_outcome end_of_it = rota_test::child_process([] {
                                               rota::run([]() -> task<> {
                                                 auto* s = new semaphore(2);
                                                 const auto permits = co_await s->acquire(2);
                                                 delete s;
                                               }());
                                               return 0;
                                             }).wait();
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("a semaphore was destroyed while 2 permits of it were held"));
}
