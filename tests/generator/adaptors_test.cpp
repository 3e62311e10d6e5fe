// map, filter, take, chunk, throttle, timeout; for_each and collect.
#include <rota/generator/adaptors.hpp>

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
using rota::for_each;
using rota::task;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::is_cancelled;
using rota_test::run;
using rota_test::strings;

using ints = std::vector<int>;

// Awaits before every second item; says how it ended.
async_generator<int> count(int from, int to, strings* log = nullptr) {
  std::exception_ptr error;
  try {
    for (int i = from; i != to; ++i) {
      if (i % 2 == 0) co_await rota::yield();
      co_yield i;
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (log) log->push_back(!error ? "ended" : is_cancelled(error) ? "closed" : "failed");
  if (error) std::rethrow_exception(error);
}

// Item i comes after i milliseconds.
async_generator<int> ever_later(int from, int to) {
  for (int i = from; i != to; ++i) {
    co_await rota::sleep_for(std::chrono::milliseconds(i));
    co_yield i;
  }
}

bool is_even(int i) { return i % 2 == 0; }

rota::time_point now() { return rota_test::now_here(); }

}  // namespace

TEST_CASE("map gives what its function makes of each item, and awaits it if it can be awaited") {
  run([]() -> task<> {
    const auto squares = co_await collect(count(0, 5) | rota::map([](int i) { return i * i; }));
    CHECK(squares == ints{0, 1, 4, 9, 16});
    const auto slowly = [](int i) -> task<std::string> {
      co_await rota::yield();
      co_return std::to_string(i);
    };
    const auto texts = co_await collect(count(0, 3) | rota::map(slowly));
    CHECK(texts == strings{"0", "1", "2"});
    const auto lengths = co_await collect(count(9, 11) | rota::map(slowly) | rota::map(&std::string::size));
    CHECK(lengths == std::vector<std::size_t>{1, 2});
  });
}

TEST_CASE("filter gives the items for which its predicate is true") {
  run([]() -> task<> {
    const auto even = co_await collect(count(0, 9) | rota::filter(is_even));
    CHECK(even == ints{0, 2, 4, 6, 8});
    const auto slowly = [](int i) -> task<bool> {
      co_await rota::yield();
      co_return i > 6;
    };
    const auto big = co_await collect(count(0, 9) | rota::filter(slowly));
    CHECK(big == ints{7, 8});
    const auto none = co_await collect(count(0, 9) | rota::filter([](int) { return false; }));
    CHECK(none.empty());
  });
}

TEST_CASE("take gives the first items, then closes its source") {
  run([]() -> task<> {
    strings log;
    const auto three = co_await collect(count(0, 1'000'000, &log) | rota::take(3));
    CHECK(three == ints{0, 1, 2});
    CHECK(log == strings{"closed"});
    log.clear();
    const auto all = co_await collect(count(0, 2, &log) | rota::take(3));
    CHECK(all == ints{0, 1});
    CHECK(log == strings{"ended"});
    log.clear();
    const auto none = co_await collect(count(0, 2, &log) | rota::take(0));
    CHECK(none.empty());
    CHECK(log.empty());  // it never began

    auto pipeline = count(0, 9, &log) | rota::take(1);
    const auto first = co_await pipeline.next();
    CHECK(first == 0);
    CHECK(log.empty());
    const auto end = co_await pipeline.next();
    CHECK_FALSE(end);
    CHECK(log == strings{"closed"});
  });
}

TEST_CASE("chunk gives vectors of its size, the last one shorter") {
  run([]() -> task<> {
    const auto chunks = co_await collect(count(0, 7) | rota::chunk(3));
    CHECK(chunks == std::vector<ints>{{0, 1, 2}, {3, 4, 5}, {6}});
    const auto exactly = co_await collect(count(0, 4) | rota::chunk(2));
    CHECK(exactly == std::vector<ints>{{0, 1}, {2, 3}});
    const auto none = co_await collect(count(0, 0) | rota::chunk(2));
    CHECK(none.empty());
  });
}

TEST_CASE("chunk gives what came before an error, then throws the error") {
  run([]() -> task<> {
    const auto fails = []() -> async_generator<int> {
      for (int i = 0; i != 5; ++i) co_yield i;
      throw std::runtime_error("five is too many");
    };
    std::vector<ints> chunks;
    const auto keep = [&](ints one) { chunks.push_back(std::move(one)); };
    const auto error = co_await exception_of(for_each(fails() | rota::chunk(3), keep));
    CHECK(chunks == std::vector<ints>{{0, 1, 2}, {3, 4}});
    CHECK(rota_test::text_of(error) == "five is too many");
  });
}

TEST_CASE("chunk with a time limit gives what has come when the time since its first item is over") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    const rota::time_point start = now();
    std::vector<ints> got;
    std::vector<rota::duration> at;
    const auto note = [&](ints some) {
      got.push_back(std::move(some));
      at.push_back(now() - start);
    };
    // Items at 1, 3, 6, 10, 15 and 21 ms.
    co_await for_each(ever_later(1, 7) | rota::chunk(3, 4500us), note);
    CHECK(got == std::vector<ints>{{1, 2}, {3, 4}, {5}, {6}});
    CHECK(at == std::vector<rota::duration>{5500us, 10500us, 19500us, 21ms});
    got.clear();
    co_await for_each(count(0, 7) | rota::chunk(3, 1h), note);
    CHECK(got == std::vector<ints>{{0, 1, 2}, {3, 4, 5}, {6}});
  };
  loop.run(main());
  loop.require_quiescent();
}

TEST_CASE("throttle leaves a gap between items, and does not wait where there is one") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    const rota::time_point start = now();
    std::vector<rota::duration> at;
    const auto note = [&](int) { at.push_back(now() - start); };
    co_await for_each(count(0, 4) | rota::throttle(10ms), note);
    CHECK(at == std::vector<rota::duration>{0ms, 10ms, 20ms, 30ms});
    at.clear();
    co_await for_each(ever_later(15, 18) | rota::throttle(10ms), note);  // 15, 16, 17 ms after one another
    CHECK(at == std::vector<rota::duration>{45ms, 61ms, 78ms});
  };
  loop.run(main());
}

TEST_CASE("timeout limits the wait for one item, not for all") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    ints got;
    const auto keep = [&](int i) { got.push_back(i); };
    const auto error = co_await exception_of(for_each(ever_later(7, 20) | rota::timeout(10ms), keep));
    CHECK(got == ints{7, 8, 9});  // 10 comes within 10 ms, but not before the time is over
    CHECK(code_of(error) == rota::errc::timed_out);
  };
  loop.run(main());
}

TEST_CASE("a timeout of one item lets a merged generator go on") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    ints got;
    int timeouts = 0;
    const auto body = [&](auto& source) -> task<> {
      for (;;) {
        std::optional<int> item;
        std::exception_ptr error;
        try {
          item = co_await source.next();
        } catch (...) {
          error = std::current_exception();
        }
        if (error) {
          CHECK(code_of(error) == rota::errc::timed_out);
          ++timeouts;
          continue;
        }
        if (!item) co_return;
        got.push_back(*item);
      }
    };
    co_await rota::with(1s, rota::merge(ever_later(8, 12)) | rota::timeout(10ms), body);
    CHECK(got == ints{8, 9, 10, 11});
    CHECK(timeouts == 2);
  };
  loop.run(main());
}

TEST_CASE("a named source is borrowed: it goes on where the pipeline left it") {
  run([]() -> task<> {
    strings log;
    async_generator<int> numbers = count(0, 6, &log);
    const auto head = co_await collect(numbers | rota::take(2));
    CHECK(head == ints{0, 1});
    CHECK(log.empty());
    const auto rest = co_await collect(numbers);
    CHECK(rest == ints{2, 3, 4, 5});
    CHECK(log == strings{"ended"});
  });
}

TEST_CASE("a callback_stream, an interval and as_completed are sources") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    rota::callback_stream<int> stream(8, rota::when_full::refuse);
    for (int i = 0; i != 5; ++i) stream.push(i);
    stream.close();
    const auto even = co_await collect(stream | rota::filter(is_even));
    CHECK(even == ints{0, 2, 4});

    const rota::time_point start = now();
    const auto ticks = co_await collect(rota::interval(5ms) | rota::take(3));
    CHECK(ticks == std::vector<rota::time_point>{start, start + 5ms, start + 10ms});

    const auto nap = [](int ms) -> task<int> {
      co_await rota::sleep_for(std::chrono::milliseconds(ms));
      co_return ms;
    };
    std::vector<rota::join_handle<int>> handles;
    for (const int ms : {30, 10, 20}) handles.push_back(rota::spawn(nap, ms));
    const auto take = [](rota::join_handle<int> ended) { return ended.take(); };
    const auto order = co_await collect(rota::as_completed(std::move(handles)) | rota::map(take));
    CHECK(order == ints{10, 20, 30});
  };
  loop.run(main());
}

TEST_CASE("a channel is a source, and a cancelled step of its pipeline loses no item") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    auto [tx, rx] = rota::channel<int>(2);
    const auto feed = [](auto into) -> task<> {
      for (int i = 0; i != 12; ++i) {
        co_await rota::sleep_for(3ms);
        co_await into.send(i);
      }
    };
    auto feeding = rota::spawn(feed, std::move(tx));
    auto pipeline = std::move(rx) | rota::filter(is_even) | rota::chunk(2);
    std::vector<ints> got;
    for (;;) {
      auto step = co_await rota::move_on_after(2ms, pipeline.next());
      if (!step) continue;
      if (!*step) break;
      got.push_back(std::move(**step));
    }
    CHECK(got == std::vector<ints>{{0, 2}, {4, 6}, {8, 10}});
    co_await feeding;
  };
  loop.run(main());
}

TEST_CASE("pipelines carry references and what can only be moved") {
  run([]() -> task<> {
    const auto boxes = []() -> async_generator<std::unique_ptr<int>> {
      for (int i = 0; i != 4; ++i) co_yield std::make_unique<int>(i);
    };
    auto some = boxes() | rota::filter([](const std::unique_ptr<int>& one) { return *one != 1; }) | rota::take(9);
    const auto all = co_await collect(std::move(some) | rota::map([](std::unique_ptr<int> one) { return *one; }));
    CHECK(all == ints{0, 2, 3});
    const auto pairs = co_await collect(boxes() | rota::chunk(2));
    CHECK(pairs.size() == 2);

    ints values{1, 2, 3};
    const auto each = [](ints& of) -> async_generator<int&> {
      for (int& one : of) co_yield one;
    };
    co_await for_each(each(values) | rota::filter([](int i) { return i != 2; }), [](int& one) { one *= 10; });
    CHECK(values == ints{10, 2, 30});
  });
}

// ---- errors, cancels

TEST_CASE("what a function of a pipeline throws is thrown by next(), and the pipeline can go on") {
  run([]() -> task<> {
    const auto picky = [](int i) {
      if (i == 1) throw std::runtime_error("one");
      return i;
    };
    auto pipeline = count(0, 4) | rota::map(picky);
    const auto zero = co_await pipeline.next();
    CHECK(zero == 0);
    const auto error = co_await exception_of(pipeline.next());
    CHECK(rota_test::text_of(error) == "one");
    const auto two = co_await pipeline.next();
    CHECK(two == 2);
  });
}

TEST_CASE("for_each awaits what its function gives before it asks for the next item") {
  run([]() -> task<> {
    strings log;
    const auto numbers = [](strings& l) -> async_generator<int> {
      for (int i = 0; i != 2; ++i) {
        l.push_back("gives " + std::to_string(i));
        co_yield i;
      }
    };
    const auto take = [&](int i) -> task<> {
      co_await rota::yield();
      log.push_back("took " + std::to_string(i));
    };
    co_await for_each(numbers(log), take);
    CHECK(log == strings{"gives 0", "took 0", "gives 1", "took 1"});
  });
}

TEST_CASE("for_each closes its source when its function throws, and gives both errors") {
  run([]() -> task<> {
    strings log;
    const auto fails = [](int i) {
      if (i == 2) throw std::runtime_error("two");
    };
    auto error = co_await exception_of(for_each(count(0, 9, &log) | rota::filter(is_even), fails));
    CHECK(rota_test::text_of(error) == "two");
    CHECK(log == strings{"closed"});

    const auto bad_cleanup = []() -> async_generator<int> {
      try {
        co_yield 2;
      } catch (const rota::cancelled&) {
        throw std::runtime_error("cleanup");
      }
    };
    error = co_await exception_of(for_each(bad_cleanup(), fails));
    CHECK(rota_test::texts(error) == strings{"two", "cleanup"});
    error = co_await exception_of(collect(bad_cleanup() | rota::take(1)));
    CHECK(rota_test::text_of(error) == "cleanup");
  });
}

TEST_CASE("a cancel of for_each closes its source and passes") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    strings log;
    ints got;
    const auto slow = [&](int i) -> task<> {
      got.push_back(i);
      co_await rota::sleep_for(10ms);
    };
    const bool ended = co_await rota::move_on_after(35ms, for_each(count(0, 99, &log), slow));
    CHECK_FALSE(ended);
    CHECK(got == ints{0, 1, 2, 3});
    CHECK(log == strings{"closed"});
  };
  loop.run(main());
}

TEST_CASE("a cancelled step of a pipeline loses no item of a source that loses none") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    rota::callback_stream<int> stream(100, rota::when_full::refuse);
    const auto feed = [](rota::callback_stream<int>& into) -> task<> {
      for (int i = 0; i != 20; ++i) {
        co_await rota::sleep_for(3ms);
        into.push(i);
      }
      into.close();
    };
    auto feeding = rota::spawn(feed, std::ref(stream));
    auto pipeline = stream | rota::filter([](int i) { return i % 5 != 0; }) | rota::map([](int i) { return i; }) |
                    rota::throttle(2ms) | rota::chunk(4);
    ints got;
    int cancels = 0;
    for (;;) {
      auto step = co_await rota::move_on_after(1ms, pipeline.next());
      if (!step) {
        ++cancels;
        continue;
      }
      if (!*step) break;
      got.insert(got.end(), (*step)->begin(), (*step)->end());
    }
    CHECK(got == ints{1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19});
    CHECK(cancels > 10);
    co_await feeding;
  };
  loop.run(main());
}

TEST_CASE("a filter whose predicate awaits keeps its item when it is cancelled, and asks once more") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    auto [tx, rx] = rota::channel<int>(8);
    for (int i = 0; i != 4; ++i) tx.try_send(i);
    tx.close();
    int asked = 0;
    const auto slowly = [&asked](const int& i) -> task<bool> {
      ++asked;
      co_await rota::sleep_for(asked == 1 ? 20ms : 1ms);
      if (i == 2) throw std::runtime_error("two");
      co_return i != 1;
    };
    auto pipeline = rx | rota::filter(slowly);
    const auto in_time = co_await rota::move_on_after(5ms, pipeline.next());
    CHECK_FALSE(in_time);
    const auto zero = co_await pipeline.next();
    CHECK(zero == 0);
    std::string what;
    try {
      (void)co_await pipeline.next();
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    CHECK(what == "two");
    const auto three = co_await pipeline.next();
    CHECK(three == 3);
    const auto end = co_await pipeline.next();
    CHECK_FALSE(end);
    CHECK(asked == 5);
  };
  loop.run(main());
}

// ---- arguments

TEST_CASE("arguments that can never work are refused at once") {
  using kind = rota::usage_error::kind;
  using not_a_number = std::chrono::duration<double>;
  const not_a_number nan(std::numeric_limits<double>::quiet_NaN());
  CHECK(rota_test::usage_error_of([] { return rota::chunk(0).size; }) == kind::invalid_argument);
  CHECK(rota_test::usage_error_of([&] { return rota::chunk(1, nan).size; }) == kind::invalid_argument);
  CHECK(rota_test::usage_error_of([&] { return rota::throttle(nan).gap; }) == kind::invalid_argument);
  CHECK(rota_test::usage_error_of([&] { return rota::timeout(nan).limit; }) == kind::invalid_argument);
}
