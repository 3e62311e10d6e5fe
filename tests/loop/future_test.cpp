// promise, future, shared_future: who waits, who is resumed when, what is lost by nobody.
#include <rota/loop/future.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::future;
using rota::promise;
using rota::shared_future;
using rota::task;
using kind = rota::usage_error::kind;
using rota_test::captured_reports;
using rota_test::error_code_of;
using rota_test::run;
using rota_test::usage_error_of;

task<int> take(future<int>& f) { co_return co_await f; }

template <class T>
task<std::optional<kind>> usage_error_in(future<T>& f) {
  std::optional<kind> found;
  try {
    (void)co_await f;
  } catch (const rota::usage_error& error) {
    found = error.which();
  }
  co_return found;
}
template <class F>
task<std::error_code> code_in(F& f) {
  std::error_code code;
  try {
    (void)co_await f;
  } catch (const std::system_error& error) {
    code = error.code();
  }
  co_return code;
}

}  // namespace

TEST_CASE("a future gives what its promise was set to, before or after the await") {
  run([]() -> task<> {
    promise<std::string> before;
    future<std::string> f = before.get_future();
    REQUIRE_FALSE(f.ready());
    before.set_value(3u, 'x');
    REQUIRE(f.ready());
    REQUIRE(before.is_set());
    const std::string text = co_await f;
    REQUIRE(text == "xxx");
    REQUIRE_FALSE(f.valid());

    promise<int> after;
    future<int> g = after.get_future();
    auto waiter = rota::spawn(take, std::ref(g));
    co_await rota::yield();
    after.set_value(4);
    REQUIRE_FALSE(waiter.done());  // never within set_value
    const int v = co_await waiter;
    REQUIRE(v == 4);
  });
}

TEST_CASE("a future carries nothing, a reference, or what only moves") {
  run([]() -> task<> {
    promise<> nothing;
    future<> f = nothing.get_future();
    nothing.set_value();
    co_await f;

    int object = 1;
    promise<int&> reference;
    future<int&> g = reference.get_future();
    reference.set_value(object);
    int& same = co_await std::move(g);
    REQUIRE(&same == &object);

    promise<std::unique_ptr<int>> owner;
    future<std::unique_ptr<int>> h = owner.get_future();
    owner.set_value(new int(5));
    const std::unique_ptr<int> five = co_await h;
    REQUIRE(*five == 5);
  });
}

TEST_CASE("an exception that was set comes out of the await") {
  const captured_reports reports;
  run([]() -> task<> {
    promise<int> p;
    future<int> f = p.get_future();
    p.set_exception(std::make_exception_ptr(std::runtime_error("no value")));
    std::string text;
    try {
      (void)co_await f;
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    REQUIRE(text == "no value");
    REQUIRE_FALSE(f.valid());
    REQUIRE(usage_error_of([&] { p.set_exception(nullptr); }) == kind::invalid_argument);
  });
  REQUIRE(reports.size() == 0);
}

TEST_CASE("an exception that nobody retrieved is reported once, with the line of the promise") {
  const captured_reports reports;
  run([&]() -> task<> {
    const unsigned line = __LINE__ + 2;
    {
      promise<int> p;
      future<int> f = p.get_future();
      p.set_exception(std::make_exception_ptr(std::runtime_error("unseen")));
    }
    REQUIRE(reports.count("unseen") == 1);
    REQUIRE(reports.contains("future_test.cpp:" + std::to_string(line)));
    co_return;
  });
  REQUIRE(reports.size() == 1);
}

TEST_CASE("a promise destroyed unset is an error at the awaiter") {
  run([]() -> task<> {
    future<int> f;
    {
      promise<int> p;
      f = p.get_future();
    }
    REQUIRE(f.ready());
    const std::error_code at_once = co_await code_in(f);
    REQUIRE(at_once == rota::errc::broken_promise);

    std::optional<promise<int>> p(std::in_place);
    future<int> g = p->get_future();
    auto waiter = rota::spawn([&]() -> task<std::error_code> { co_return co_await code_in(g); });
    co_await rota::yield();
    p.reset();
    const std::error_code later = co_await waiter;
    REQUIRE(later == rota::errc::broken_promise);

    promise<int> assigned;
    future<int> h = assigned.get_future();
    assigned = promise<int>();
    const std::error_code gone = co_await code_in(h);
    REQUIRE(gone == rota::errc::broken_promise);
  });
}

TEST_CASE("a promise is set once, and its future taken once") {
  run([]() -> task<> {
    promise<int> p;
    REQUIRE(p.try_set_value(1));
    REQUIRE_FALSE(p.try_set_value(2));
    REQUIRE_FALSE(p.try_set_exception(std::make_exception_ptr(1)));
    REQUIRE(usage_error_of([&] { p.set_value(2); }) == kind::already_set);
    REQUIRE(usage_error_of([&] { p.set_exception(std::make_exception_ptr(1)); }) == kind::already_set);
    future<int> f = p.get_future();
    REQUIRE(usage_error_of([&] { (void)p.get_future(); }) == kind::already_set);
    const int v = co_await f;
    REQUIRE(v == 1);
    const promise<int> moved = std::move(p);
    REQUIRE(usage_error_of([&] { p.set_value(3); }) == kind::invalid_argument);
  });
}

TEST_CASE("a value whose constructor throws leaves the promise unset") {
  struct odd {
    explicit odd(int n) {
      if (n % 2 == 0) throw std::runtime_error("even");
    }
  };
  run([]() -> task<> {
    promise<odd> p;
    future<odd> f = p.get_future();
    REQUIRE_THROWS_AS(p.set_value(2), std::runtime_error);
    REQUIRE_FALSE(p.is_set());
    p.set_value(3);
    (void)co_await f;
  });
}

TEST_CASE("a future is awaited once") {
  run([]() -> task<> {
    promise<int> p;
    future<int> f = p.get_future();
    auto first = rota::spawn(take, std::ref(f));
    co_await rota::yield();
    REQUIRE_FALSE(f.valid());
    const auto second = co_await usage_error_in(f);
    REQUIRE(second == kind::already_awaited);
    p.set_value(6);
    const int v = co_await first;
    REQUIRE(v == 6);
    const auto again = co_await usage_error_in(f);
    REQUIRE(again == kind::already_awaited);
    future<int> empty;
    REQUIRE(usage_error_of([&] { (void)empty.ready(); }) == kind::already_awaited);
    REQUIRE(usage_error_of([&] { (void)empty.share(); }) == kind::already_awaited);
  });
}

TEST_CASE("a waiter's cancel ends its wait and leaves the future for others") {
  run([]() -> task<> {
    promise<int> p;
    future<int> f = p.get_future();
    const auto none = co_await rota::move_on_after(1ms, f);
    REQUIRE_FALSE(none);
    REQUIRE(f.valid());
    REQUIRE(p.has_receiver());

    auto waiter = rota::spawn(take, std::ref(f));
    co_await rota::yield();
    waiter.cancel();
    co_await rota::yield();
    REQUIRE(waiter.cancelled());
    p.set_value(7);
    const int v = co_await f;
    REQUIRE(v == 7);
  });
}

TEST_CASE("a result that was there before the cancel is delivered") {
  run([]() -> task<> {
    promise<int> p;
    future<int> f = p.get_future();
    auto waiter = rota::spawn(take, std::ref(f));
    co_await rota::yield();
    p.set_value(8);
    waiter.cancel();
    const int v = co_await waiter;
    REQUIRE(v == 8);
  });
}

TEST_CASE("a promise sees whether anybody can still receive") {
  run([]() -> task<> {
    promise<int> p;
    REQUIRE(p.has_receiver());
    {
      future<int> f = p.get_future();
      REQUIRE(p.has_receiver());
      auto s = f.share();
      auto copy = s;
      s = shared_future<int>();
      REQUIRE(p.has_receiver());
    }
    REQUIRE_FALSE(p.has_receiver());
    p.set_value(1);  // to nobody

    promise<int> q;
    auto waiter = rota::spawn([](future<int> f) -> task<int> { co_return co_await std::move(f); }, q.get_future());
    co_await rota::yield();
    REQUIRE(q.has_receiver());
    waiter.cancel();
    co_await rota::yield();
    REQUIRE(waiter.cancelled());
    REQUIRE_FALSE(q.has_receiver());
  });
}

TEST_CASE("a shared future wakes all awaiters in order, and is awaited again and again") {
  run([]() -> task<> {
    promise<std::string> p;
    const shared_future<std::string> f = p.get_future().share();
    std::vector<int> order;
    const auto wait = [&](int n) -> task<> {
      const std::string& text = co_await f;
      REQUIRE(text == "shared");
      order.push_back(n);
    };
    std::vector<rota::join_handle<>> waiters;
    for (int n = 0; n != 5; ++n) waiters.push_back(rota::spawn(std::ref(wait), n));
    co_await rota::yield();
    waiters[0].cancel();
    waiters[2].cancel();
    waiters[4].cancel();
    p.set_value("shared");
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(order == std::vector<int>{1, 3});
    REQUIRE(waiters[2].cancelled());
    REQUIRE(f.ready());
    const std::string& first = co_await f;
    const std::string& second = co_await f;
    REQUIRE(&first == &second);
    const std::string copy = co_await shared_future<std::string>(f);
    REQUIRE(copy == "shared");
  });
}

TEST_CASE("a shared future throws its exception at each awaiter") {
  run([]() -> task<> {
    promise<> p;
    shared_future<> f = p.get_future().share();
    {
      const promise<> dropped = std::move(p);
    }
    for (int i = 0; i != 3; ++i) {
      const std::error_code code = co_await code_in(f);
      REQUIRE(code == rota::errc::broken_promise);
    }
  });
}

TEST_CASE("a future belongs to one loop") {
  rota::event_loop other;
  promise<int> p(other);
  future<int> f = p.get_future();
  const auto found = run([&]() -> task<std::optional<kind>> { co_return co_await usage_error_in(f); });
  REQUIRE(found == kind::wrong_loop);
  REQUIRE(f.valid());
  p.set_value(2);
  REQUIRE(other.run(take(f)) == 2);
}

TEST_CASE("a promise made where no loop runs belongs to the first loop that waits") {
  promise<int> p;
  future<int> f = p.get_future();
  rota::event_loop loop;
  const auto set_later = [&]() -> task<int> {
    auto waiter = rota::spawn(take, std::ref(f));
    co_await rota::yield();
    std::optional<kind> found;
    std::thread([&] { found = usage_error_of([&] { p.set_value(1); }); }).join();
    REQUIRE(found == kind::wrong_thread);
    p.set_value(9);
    co_return co_await waiter;
  };
  REQUIRE(loop.run(set_later()) == 9);
  // A pending future needs a loop; one that is ready needs none.
  promise<int> q;
  future<int> g = q.get_future();
  REQUIRE(usage_error_of([&] { (void)rota::sync_wait(take(g)); }) == kind::no_event_loop);
  q.set_value(3);
  REQUIRE(rota::sync_wait(take(g)) == 3);
}

TEST_CASE("a program that ends cancels who waits for a promise, which may be set later") {
  promise<int> p;
  future<int> f = p.get_future();
  rota::run([](future<int>& g) -> task<> {
    (void)rota::spawn(take, std::ref(g));
    co_await rota::yield();
  }(f));
  REQUIRE(f.valid());
  p.set_value(1);  // the loop is gone
  REQUIRE(f.ready());
}

TEST_CASE("a promise and its future are one block of frame memory") {
  run([]() -> task<> {
    const auto before = rota_test::frames();
    {
      promise<int> p;
      future<int> f = p.get_future();
      REQUIRE(rota_test::frames() == before + 1);
      const shared_future<int> s = f.share();
      REQUIRE(rota_test::frames() == before + 1);
    }
    REQUIRE(rota_test::frames() == before);
    co_return;
  });
}
