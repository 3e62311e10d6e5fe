// rota::merge: the items of several sources as they come.
#include <rota/generator/merge.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/outcomes.hpp"
#include "support/timed_executor.hpp"

namespace {

using namespace std::chrono_literals;
using rota::async_generator;
using rota::collect;
using rota::merge;
using rota::task;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::is_cancelled;
using rota_test::run;
using rota_test::strings;
using rota_test::text_of;
using rota_test::timed_executor;

using ints = std::vector<int>;

// Gives first, first + 1, ..., one each `gap`; says how it ended, after cleaning up for a turn.
async_generator<int> every(rota::duration gap, int first, int items, strings* log = nullptr) {
  std::exception_ptr error;
  try {
    for (int i = 0; i != items; ++i) {
      co_await rota::sleep_for(gap);
      co_yield first + i;
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (log) {
    const auto turn = []() -> task<> { co_await rota::yield(); };
    co_await rota::shield(1s, turn());
    log->push_back(std::to_string(first) + (error ? is_cancelled(error) ? " closed" : " failed" : " ended"));
  }
  if (error) std::rethrow_exception(error);
}

async_generator<int> fails_after(rota::duration d, const char* text) {
  co_await rota::sleep_for(d);
  if (text) throw std::runtime_error(text);
  co_yield 0;
}

}  // namespace

TEST_CASE("merge gives the items of all sources in the order in which they come, and ends when all have ended") {
  timed_executor loop;
  const auto main = []() -> task<> {
    const ints all = co_await collect(merge(every(3ms, 0, 4), every(2ms, 100, 3)));
    CHECK(all == ints{100, 0, 101, 1, 102, 2, 3});  // at 2, 3, 4, 6, 6, 9 and 12 ms
    const ints none = co_await collect(merge(every(1ms, 0, 0)));
    CHECK(none.empty());
  };
  loop.run(main());
  CHECK(loop.elapsed() == 12ms);
  loop.require_quiescent();
}

TEST_CASE("merge takes a vector of sources, and gives each a fair share") {
  run([]() -> task<> {
    const auto ready = [](int first, int items) -> async_generator<int> {
      for (int i = 0; i != items; ++i) co_yield first + i;
    };
    std::vector<async_generator<int>> sources;
    for (int i = 0; i != 10; ++i) sources.push_back(ready(i * 100, 5));
    const ints all = co_await collect(merge(std::move(sources)));
    REQUIRE(all.size() == 50);
    for (std::size_t i = 0; i != all.size(); ++i) {
      CHECK(all[i] / 100 == static_cast<int>(i % 10));
      CHECK(all[i] % 100 == static_cast<int>(i / 10));
    }
  });
}

TEST_CASE("merge takes sources of different types that give the same, references and what can only be moved") {
  run([]() -> task<> {
    rota::callback_stream<int> stream(4, rota::when_full::refuse);
    stream.push(1);
    stream.push(2);
    stream.close();
    ints values{3, 4};
    const auto each = [](ints& of) -> async_generator<int&> {
      for (int& one : of) co_yield one;
    };
    ints all = co_await collect(merge(stream, each(values), every(1ms, 5, 2) | rota::take(1)));
    std::sort(all.begin(), all.end());
    CHECK(all == ints{1, 2, 3, 4, 5});
    CHECK(values == ints{3, 4});

    const auto boxes = []() -> async_generator<std::unique_ptr<int>> {
      for (int i = 0; i != 3; ++i) co_yield std::make_unique<int>(i);
    };
    const auto some = co_await collect(merge(boxes(), boxes()));
    CHECK(some.size() == 6);
    CHECK(std::count(some.begin(), some.end(), nullptr) == 0);
  });
}

TEST_CASE("the sources of a merge run while their consumer is busy, each one item ahead") {
  timed_executor loop;
  const auto main = [&]() -> task<> {
    auto both = merge(every(10ms, 0, 2), every(10ms, 100, 2));
    (void)co_await both.next();
    co_await rota::sleep_for(100ms);
    for (int i = 0; i != 3; ++i) {
      const auto item = co_await both.next();
      CHECK(item);
    }
    CHECK(loop.elapsed() == 120ms);  // each had to wait for us before it could sleep a second time
    const auto end = co_await both.next();
    CHECK_FALSE(end);
    const auto after = co_await both.next();
    CHECK_FALSE(after);
  };
  loop.run(main());
}

TEST_CASE("the first source that fails cancels the others, and their cleanup ends before next() throws") {
  timed_executor loop;
  const auto main = []() -> task<> {
    strings log;
    auto all = merge(every(2ms, 0, 100, &log), fails_after(5ms, "broken"), every(1h, 100, 1, &log));
    ints got;
    std::exception_ptr error;
    try {
      while (auto item = co_await all.next()) got.push_back(*item);
    } catch (...) {
      error = std::current_exception();
    }
    CHECK(got == ints{0, 1});
    CHECK(rota_test::texts(error) == strings{"broken"});
    CHECK(log == strings{"0 closed", "100 closed"});
    const auto after = co_await all.next();
    CHECK_FALSE(after);
  };
  loop.run(main());
  CHECK(loop.elapsed() == 5ms);
}

TEST_CASE("a cancelled next() of a merge loses nothing and disturbs no source") {
  timed_executor loop;
  const auto main = []() -> task<> {
    auto all = merge(every(3ms, 0, 5), every(7ms, 100, 2));
    ints got;
    int cancels = 0;
    for (;;) {
      const auto step = co_await rota::move_on_after(1ms, all.next());
      if (!step) {
        ++cancels;
        continue;
      }
      if (!*step) break;
      got.push_back(**step);
    }
    CHECK(got == ints{0, 1, 100, 2, 3, 101, 4});
    CHECK(cancels > 5);
  };
  loop.run(main());
  CHECK(loop.elapsed() == 15ms);
}

TEST_CASE("a merge that is left early closes and joins its sources") {
  timed_executor loop;
  const auto main = []() -> task<> {
    strings log;
    const ints two = co_await collect(merge(every(2ms, 0, 99, &log), every(3ms, 100, 99, &log)) | rota::take(2));
    CHECK(two == ints{0, 100});
    std::sort(log.begin(), log.end());
    CHECK(log == strings{"0 closed", "100 closed"});
    log.clear();
    // One of them in the middle of an await, the other with an item that nobody took.
    const auto takes_one = [](auto& source) -> task<int> {
      const auto one = co_await source.next();
      co_await rota::sleep_for(10ms);
      co_return *one;
    };
    const int one = co_await rota::with(1s, merge(every(2ms, 0, 99, &log), every(1h, 100, 99, &log)), takes_one);
    CHECK(one == 0);
    std::sort(log.begin(), log.end());
    CHECK(log == strings{"0 closed", "100 closed"});
  };
  loop.run(main());
  loop.require_quiescent();
}

TEST_CASE("a merge that never began closes the sources that had") {
  run([]() -> task<> {
    strings log;
    async_generator<int> begun = every(1ms, 0, 9, &log);
    (void)co_await begun.next();
    const auto nothing = [](auto&) -> task<> { co_return; };
    co_await rota::with(1s, merge(std::move(begun), every(1ms, 100, 9, &log)), nothing);
    CHECK(log == strings{"0 closed"});
  });
}

TEST_CASE("a cancel of the consumer closes the merge, also before its sources had their first turn") {
  run([]() -> task<> {
    strings log;
    async_generator<int> begun = every(1ms, 0, 9, &log);
    (void)co_await begun.next();
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      (void)co_await collect(merge(std::move(begun), every(1ms, 100, 9, &log)));
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    CHECK_FALSE(ended);
    CHECK(log == strings{"0 closed"});
  });
}

TEST_CASE("errors of sources while they are closed come out of close()") {
  run([]() -> task<> {
    const auto bad = [](const char* text) -> async_generator<int> {
      try {
        for (;;) co_yield 1;
      } catch (const rota::cancelled&) {
        throw std::runtime_error(text);
      }
    };
    const auto error = co_await exception_of(collect(merge(bad("first"), bad("second")) | rota::take(1)));
    CHECK(rota_test::texts(error) == strings{"first", "second"});
  });
}

TEST_CASE("merges nest, and one of them in a generator is closed with it") {
  run([]() -> task<> {
    strings log;
    auto inner = merge(every(1ms, 0, 99, &log), every(1ms, 100, 99, &log));
    const ints three = co_await collect(merge(std::move(inner), every(1h, 200, 1, &log)) | rota::take(3));
    CHECK(three.size() == 3);
    CHECK(log.size() == 3);
  });
}

TEST_CASE("misuse of a merge throws usage_error, or ends the program with a word") {
  using kind = rota::usage_error::kind;
  run([]() -> task<> {
    auto all = merge(every(1ms, 0, 1));
    const auto ask = [](auto& source) -> task<int> {
      const auto one = co_await source.next();
      co_return one.value_or(-1);
    };
    auto first = rota::spawn([&]() -> task<int> { return ask(all); });
    co_await rota::yield();
    auto error = co_await exception_of(all.next());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);
    error = co_await exception_of(all.close());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);
    const int got = co_await first;
    CHECK(got == 0);
    const auto end = co_await all.next();
    CHECK_FALSE(end);
    co_await all.close();
  });
  const auto outcome = rota_test::run_in_child([] {
    rota::event_loop loop;
    const auto main = []() -> task<> {
      auto dropped = merge(every(1ms, 0, 9));
      (void)co_await dropped.next();
    };
    loop.run(main());
    return 0;
  });
  CHECK(outcome.signal() == SIGABRT);
  CHECK(outcome.says("a merge was destroyed while its sources run"));
}
