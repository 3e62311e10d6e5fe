// rota::async_generator: a coroutine that awaits and yields, driven by its consumer.
#include <rota/generator/async_generator.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/by_hand.hpp"
#include "support/outcomes.hpp"
#include "support/timed_executor.hpp"

namespace {

using namespace std::chrono_literals;
using rota::async_generator;
using rota::task;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::is_cancelled;
using rota_test::run;
using rota_test::strings;
using rota_test::tracked;

static_assert(rota::async_source<async_generator<int>>);
static_assert(rota::async_source<async_generator<std::string&>>);
static_assert(rota::async_source<rota::callback_stream<int>>);
static_assert(rota::async_source<rota::completion_stream<int>>);
static_assert(rota::async_source<rota::interval>);
static_assert(rota::async_source<rota::receiver<int>>);
static_assert(rota::async_source<rota::broadcast_receiver<int>>);
static_assert(rota::async_source<rota::watch_receiver<int>>);
static_assert(rota::async_source<rota::queue<int>>);
static_assert(!rota::async_source<int>);
static_assert(!std::copyable<async_generator<int>>);

// Awaits before every third item.
async_generator<int> count(int from, int to) {
  for (int i = from; i != to; ++i) {
    if (i % 3 == 0) co_await rota::yield();
    co_yield i;
  }
}

task<std::vector<int>> all_of(async_generator<int> numbers) {
  std::vector<int> all;
  while (auto number = co_await numbers.next()) all.push_back(*number);
  co_return all;
}

task<> say(strings& log, std::string text) {
  co_await rota::yield();
  log.push_back(std::move(text));
}

// Cleans up with an await, however it ends.
async_generator<int> careful(strings& log) {
  const std::string local = "a local that is too long for the small string";
  std::exception_ptr error;
  try {
    for (int i = 0;; ++i) {
      co_yield i;
      co_await rota::yield();
    }
  } catch (...) {
    error = std::current_exception();
  }
  log.push_back(is_cancelled(error) ? "cancelled" : "another error");
  co_await rota::shield(1s, say(log, "cleaned up"));
  std::rethrow_exception(error);
}

struct pair_of_strings {  // an aggregate that owns something
  std::string first;
  std::string second;
};

}  // namespace

TEST_CASE("an async generator gives what its body yields, in order, and then nothing for ever") {
  run([]() -> task<> {
    async_generator<int> numbers = count(0, 7);
    std::vector<int> all;
    while (auto number = co_await numbers.next()) all.push_back(*number);
    CHECK(all == std::vector{0, 1, 2, 3, 4, 5, 6});
    const auto after = co_await numbers.next();
    CHECK_FALSE(after);
    const auto later = co_await numbers.next();
    CHECK_FALSE(later);
  });
}

namespace {

// The natural loop, in a coroutine without any local of its own: GCC 12.2 compiles `while (co_await x)` wrongly there.
task<> add_up(async_generator<std::string> texts, std::string& all) {
  while (auto text = co_await texts.next()) all += *text;
}

}  // namespace

TEST_CASE("the loop over a generator is right in a coroutine that has no other local") {
  run([]() -> task<> {
    const auto three = []() -> async_generator<std::string> {
      for (int i = 0; i != 3; ++i) co_yield std::string(40, static_cast<char>('a' + i));
    };
    std::string all;
    co_await add_up(three(), all);
    CHECK(all == std::string(40, 'a') + std::string(40, 'b') + std::string(40, 'c'));
  });
}

TEST_CASE("the body of an async generator starts with the first next()") {
  run([]() -> task<> {
    bool started = false;
    const auto make = [](bool& flag) -> async_generator<int> {
      flag = true;
      co_yield 1;
    };
    async_generator<int> one = make(started);
    CHECK_FALSE(started);
    const auto first = co_await one.next();
    CHECK(first == 1);
    CHECK(started);
    const auto nothing = []() -> async_generator<int> { co_return; };
    async_generator<int> empty = nothing();
    const auto none = co_await empty.next();
    CHECK_FALSE(none);
  });
}

TEST_CASE("an async generator copies an lvalue that is yielded, and hands on what is moved") {
  run([]() -> task<> {
    const auto texts = []() -> async_generator<std::string> {
      std::string text = "a text that is too long for the small string";
      co_yield text;
      co_yield text;
      co_yield std::move(text);
      CHECK(text.empty());
      co_yield "a temporary of another type";
    };
    async_generator<std::string> all = texts();
    for (int i = 0; i != 3; ++i) {
      const auto text = co_await all.next();
      CHECK(text == "a text that is too long for the small string");
    }
    const auto last = co_await all.next();
    CHECK(last == "a temporary of another type");
    const auto end = co_await all.next();
    CHECK_FALSE(end);
  });
}

TEST_CASE("an async generator yields what can only be moved, references, and aggregates by name") {
  run([]() -> task<> {
    const auto boxes = []() -> async_generator<std::unique_ptr<int>> {
      co_yield std::make_unique<int>(1);
      auto named = std::make_unique<int>(2);
      co_yield rota::by_move(named);
      CHECK(named == nullptr);
    };
    async_generator<std::unique_ptr<int>> all = boxes();
    int sum = 0;
    while (auto box = co_await all.next()) sum += **box;
    CHECK(sum == 3);

    std::vector<int> values{1, 2, 3};
    const auto each = [](std::vector<int>& of) -> async_generator<int&> {
      for (int& one : of) co_yield one;
    };
    async_generator<int&> references = each(values);
    while (int* one = co_await references.next()) *one *= 10;
    CHECK(values == std::vector{10, 20, 30});

    const auto pairs = []() -> async_generator<pair_of_strings> {
      pair_of_strings one{"a text that is too long for the small string", "another that is too long for it"};
      co_yield one;
      co_yield rota::by_move(one);
      CHECK(one.first.empty());
    };
    async_generator<pair_of_strings> both = pairs();
    std::size_t length = 0;
    while (auto one = co_await both.next()) length += one->first.size() + one->second.size();
    CHECK(length == 2 * (44 + 31));
  });
}

TEST_CASE("an async generator takes no executor but its consumer's: it runs in sync_wait, too") {
  const auto plain = []() -> async_generator<int> {
    for (int i = 0; i != 5; ++i) co_yield i;
  };
  CHECK(rota::sync_wait(all_of(plain())) == std::vector{0, 1, 2, 3, 4});
}

TEST_CASE("a million items need no deep stack, and a hundred generators in one another neither") {
  run([]() -> task<> {
    const auto ready = [](int items) -> async_generator<int> {
      for (int i = 0; i != items; ++i) co_yield 1;
    };
    const int items = static_cast<int>(rota_test::scaled(1'000'000, 100'000, 100'000));
    async_generator<int> ones = ready(items);
    int sum = 0;
    while (auto one = co_await ones.next()) sum += *one;
    CHECK(sum == items);
  });
}

namespace {

async_generator<int> passed_on(int depth, rota_test::manual_awaiter* bottom = nullptr) {
  if (depth == 0) {
    if (bottom) co_await *bottom;
    for (int i = 0; i != 3; ++i) co_yield i;
    co_return;
  }
  async_generator<int> inner = passed_on(depth - 1, bottom);
  while (auto item = co_await inner.next()) co_yield *item;
}

}  // namespace

TEST_CASE("ten thousand generators that pass items on need no deep stack") {
  run([]() -> task<> {
    const std::vector<int> all = co_await all_of(passed_on(10'000));
    CHECK(all == std::vector{0, 1, 2});
  });
}

TEST_CASE("an exception of the body comes out of next(), and ends the generator") {
  run([]() -> task<> {
    int alive = 0;
    const auto fails = [](tracked here) -> async_generator<int> {
      co_yield *here.alive;
      co_await rota::yield();
      throw std::runtime_error("no more");
    };
    async_generator<int> numbers = fails(tracked(alive));
    const auto first = co_await numbers.next();
    CHECK(first == 1);
    const auto error = co_await exception_of(numbers.next());
    CHECK(rota_test::text_of(error) == "no more");
    CHECK(alive == 0);  // its frame has gone, not only its locals
    const auto after = co_await numbers.next();
    CHECK_FALSE(after);
  });
}

TEST_CASE("an item whose copy throws is an error for the consumer, and the generator goes on") {
  struct picky {
    explicit picky(int n) : number(n) {}
    picky(const picky& other) : number(other.number) {
      if (number == 1) throw std::runtime_error("copy");
    }
    int number;
  };
  run([]() -> task<> {
    const auto make = []() -> async_generator<picky> {
      for (int i = 0; i != 3; ++i) {
        const picky one(i);
        co_yield one;
      }
    };
    async_generator<picky> all = make();
    const auto zero = co_await all.next();
    CHECK(zero->number == 0);
    const auto error = co_await exception_of(all.next());
    CHECK(rota_test::text_of(error) == "copy");
    const auto two = co_await all.next();
    CHECK(two->number == 2);
  });
}

// ---- elements_of

namespace {

using rota::elements_of;

// In order; waits at every node, or only at some.
async_generator<int> tree(int depth, bool waits) {
  if (depth == 0) co_return;
  co_yield elements_of(tree(depth - 1, waits));
  if (waits || depth % 2 == 0) co_await rota::yield();
  co_yield depth;
  co_yield elements_of(tree(depth - 1, !waits));
}

async_generator<int> nested(std::size_t depth, int items, strings* log = nullptr) {
  std::exception_ptr error;
  try {
    if (depth != 0) co_yield elements_of(nested(depth - 1, items, log));
    for (int i = 0; depth == 0 && i != items; ++i) co_yield i;
  } catch (...) {
    error = std::current_exception();
  }
  if (log) {
    co_await rota::shield(1s, say(*log, std::to_string(depth)));
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace

TEST_CASE("elements_of yields the items of another async generator, and the elements of a range") {
  run([]() -> task<> {
    const auto nest = []() -> async_generator<int> {
      co_yield 0;
      co_yield elements_of(count(1, 4));
      std::vector<int> more{4, 5};
      co_yield elements_of(more);
      co_yield elements_of(count(7, 7));
      co_await rota::yield();
      co_yield elements_of(count(6, 8));
      co_yield 8;
    };
    const std::vector<int> all = co_await all_of(nest());
    CHECK(all == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8});
  });
}

TEST_CASE("a recursive async generator walks a tree in order, whether its nodes wait or not") {
  run([]() -> task<> {
    for (const bool waits : {false, true}) {
      const std::vector<int> all = co_await all_of(tree(3, waits));
      CHECK(all == std::vector{1, 2, 1, 3, 1, 2, 1});
      const std::vector<int> many = co_await all_of(tree(10, waits));
      CHECK(many.size() == (1U << 10) - 1);
    }
  });
}

TEST_CASE("a hundred thousand async generators in one another need no deep stack") {
  run([]() -> task<> {
    const std::size_t depth = rota_test::scaled(100'000, 20'000, 20'000);
    const std::vector<int> all = co_await all_of(nested(depth, 100));
    CHECK(all.size() == 100);
    async_generator<int> half_way = nested(depth, 100);
    const auto first = co_await half_way.next();
    CHECK(first == 0);
  });
}

TEST_CASE("different tasks can drive a nest of generators") {
  run([]() -> task<> {
    async_generator<int> all = tree(4, true);
    const auto take_one = [](async_generator<int>& from) -> task<int> {
      const auto one = co_await from.next();
      co_return one.value_or(-1);
    };
    std::vector<int> got;
    for (;;) {
      auto taker = rota::spawn(take_one, std::ref(all));
      const int one = co_await taker;
      if (one < 0) break;
      got.push_back(one);
    }
    const std::vector<int> expected = co_await all_of(tree(4, false));
    CHECK(got == expected);
  });
}

TEST_CASE("close() of a nest lets every body clean up, the innermost first") {
  run([]() -> task<> {
    strings log;
    async_generator<int> numbers = nested(3, 10, &log);
    (void)co_await numbers.next();
    (void)co_await numbers.next();
    co_await numbers.close();
    CHECK(log == strings{"0", "1", "2", "3"});
  });
}

TEST_CASE("an exception of a nested async generator can be caught by the one around it") {
  run([]() -> task<> {
    const auto fails = []() -> async_generator<int> {
      co_yield 1;
      co_await rota::yield();
      throw std::runtime_error("inner");
    };
    const auto catches = [&]() -> async_generator<int> {
      bool failed = false;
      try {
        co_yield elements_of(fails());
      } catch (const std::runtime_error&) {
        failed = true;
      }
      if (failed) co_yield 2;
      co_yield elements_of(fails());
    };
    async_generator<int> numbers = catches();
    const auto one = co_await numbers.next();
    CHECK(one == 1);
    const auto two = co_await numbers.next();
    CHECK(two == 2);
    const auto again = co_await numbers.next();
    CHECK(again == 1);
    const auto error = co_await exception_of(numbers.next());
    CHECK(rota_test::text_of(error) == "inner");
    const auto after = co_await numbers.next();
    CHECK_FALSE(after);
  });
}

TEST_CASE("a cancel reaches what a nested generator awaits") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    int cancels = 0;
    const auto slow = [](int& n) -> async_generator<int> {
      co_yield 1;
      co_await rota_test::until_cancelled(n);
    };
    const auto around = [&slow](int& n) -> async_generator<int> { co_yield elements_of(slow(n)); };
    async_generator<int> numbers = around(cancels);
    (void)co_await numbers.next();
    const auto error = co_await exception_of(rota::timeout(1s, numbers.next()));
    CHECK(code_of(error) == rota::errc::timed_out);
    CHECK(cancels == 1);
  };
  loop.run(main());
}

TEST_CASE("a body that nests another one while it is closed does not begin it") {
  run([]() -> task<> {
    bool began = false;
    int refused = 0;
    const auto inner = [](bool& flag) -> async_generator<int> {
      flag = true;
      co_yield 1;
    };
    const auto stubborn = [&](bool& flag) -> async_generator<int> {
      for (int i = 0; i != 2; ++i) try {
          if (i == 0) co_yield 0;
          co_yield elements_of(inner(flag));
        } catch (const rota::cancelled&) {
          ++refused;
        }
    };
    async_generator<int> numbers = stubborn(began);
    (void)co_await numbers.next();
    co_await numbers.close();
    CHECK(refused == 2);
    CHECK_FALSE(began);
  });
}

TEST_CASE("elements_of refuses an async generator that is empty or was asked before") {
  using kind = rota::usage_error::kind;
  run([]() -> task<> {
    const auto takes = [](async_generator<int> inner) -> async_generator<int> {
      co_yield elements_of(std::move(inner));
    };
    async_generator<int> around_nothing = takes({});
    auto error = co_await exception_of(around_nothing.next());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);
    async_generator<int> begun = count(1, 9);
    (void)co_await begun.next();
    async_generator<int> around_begun = takes(std::move(begun));
    error = co_await exception_of(around_begun.next());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);
  });
}

// ---- cancelling

TEST_CASE("a cancel of the consumer reaches what the body awaits, and ends the generator") {
  rota_test::timed_executor loop;
  const auto main = []() -> task<> {
    int cancels = 0;
    const auto slow = [](int& n) -> async_generator<int> {
      co_yield 1;
      co_await rota_test::until_cancelled(n);
      co_yield 2;
    };
    async_generator<int> numbers = slow(cancels);
    const auto first = co_await numbers.next();
    CHECK(first == 1);
    auto error = co_await exception_of(rota::timeout(1s, numbers.next()));
    CHECK(code_of(error) == rota::errc::timed_out);
    CHECK(cancels == 1);
    const auto after = co_await numbers.next();
    CHECK_FALSE(after);
  };
  loop.run(main());
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("a body that catches a cancel can still give its item, and the next await throws") {
  run([]() -> task<> {
    const auto stubborn = []() -> async_generator<int> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_yield 7;
    };
    async_generator<int> numbers = stubborn();
    bool cancelled_after = false;
    std::optional<int> item;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      item = co_await numbers.next();
      const auto error = co_await exception_of(rota::yield());
      cancelled_after = is_cancelled(error);
    };
    (void)co_await rota::with_cancel_scope(body);
    CHECK(item == 7);
    CHECK(cancelled_after);
    const auto end = co_await numbers.next();
    CHECK_FALSE(end);
  });
}

TEST_CASE("tasks can take turns with a generator") {
  run([]() -> task<> {
    async_generator<int> numbers = count(0, 4);
    const auto take_one = [](async_generator<int>& from) -> task<int> {
      const auto one = co_await from.next();
      co_return one.value();
    };
    for (int i = 0; i != 4; ++i) {
      auto taker = rota::spawn(take_one, std::ref(numbers));
      const int got = co_await taker;
      CHECK(got == i);
    }
  });
}

// ---- leaving it early

TEST_CASE("a generator that is destroyed at a co_yield destroys its locals and runs nothing more") {
  run([]() -> task<> {
    int alive = 0;
    bool went_on = false;
    const auto two = [](tracked here, bool& flag) -> async_generator<int> {
      co_yield *here.alive;
      flag = true;
    };
    {
      async_generator<int> numbers = two(tracked(alive), went_on);
      CHECK(alive == 1);
      const auto first = co_await numbers.next();
      CHECK(first == 1);
    }
    CHECK(alive == 0);
    CHECK_FALSE(went_on);
    {
      const async_generator<int> unused = two(tracked(alive), went_on);
    }
    CHECK(alive == 0);
  });
}

TEST_CASE("close() ends the body with a cancel, and lets its cleanup await") {
  run([]() -> task<> {
    strings log;
    async_generator<int> numbers = careful(log);
    (void)co_await numbers.next();
    (void)co_await numbers.next();
    co_await numbers.close();
    CHECK(log == strings{"cancelled", "cleaned up"});
    const auto after = co_await numbers.next();
    CHECK_FALSE(after);
    co_await numbers.close();  // again: nothing
    CHECK(log.size() == 2);
  });
}

TEST_CASE("close() of a generator that never began runs nothing of its body") {
  run([]() -> task<> {
    strings log;
    int alive = 0;
    const auto make = [](strings& l, tracked) -> async_generator<int> {
      l.push_back("began");
      co_yield 1;
    };
    async_generator<int> numbers = make(log, tracked(alive));
    co_await numbers.close();
    CHECK(log.empty());
    CHECK(alive == 0);
    const auto after = co_await numbers.next();
    CHECK_FALSE(after);
    async_generator<int> empty;
    co_await empty.close();
  });
}

TEST_CASE("close() gives the error of a cleanup, and drops what is yielded meanwhile") {
  run([]() -> task<> {
    const auto fails = []() -> async_generator<int> {
      try {
        co_yield 1;
      } catch (const rota::cancelled&) {
        throw std::runtime_error("cleanup");
      }
    };
    async_generator<int> numbers = fails();
    (void)co_await numbers.next();
    const auto error = co_await exception_of(numbers.close());
    CHECK(rota_test::text_of(error) == "cleanup");

    int refused = 0;
    const auto stubborn = [](int& n) -> async_generator<int> {
      for (int i = 0; i != 5'000; ++i) try {
          co_yield i;
        } catch (const rota::cancelled&) {
          ++n;
        }
    };
    async_generator<int> yields = stubborn(refused);
    (void)co_await yields.next();
    co_await yields.close();
    CHECK(refused == 5'000);
  });
}

TEST_CASE("a generator that yields for ever in spite of its close() takes turns with the others") {
  run([]() -> task<> {
    bool stop = false;
    const auto stubborn = [](const bool& flag) -> async_generator<int> {
      while (!flag) try {
          co_yield 1;
        } catch (const rota::cancelled&) {
        }
    };
    async_generator<int> numbers = stubborn(stop);
    (void)co_await numbers.next();
    const auto set = [](bool& flag) -> task<> {
      for (int i = 0; i != 10; ++i) co_await rota::yield();
      flag = true;
    };
    auto other = rota::spawn(set, std::ref(stop));
    co_await numbers.close();
    co_await other;
  });
}

TEST_CASE("close() works in a cancelled scope, whose cancel goes on afterwards") {
  run([]() -> task<> {
    strings log;
    async_generator<int> numbers = careful(log);
    (void)co_await numbers.next();
    bool cancelled_after = false;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await numbers.close();
      const auto error = co_await exception_of(rota::yield());
      cancelled_after = is_cancelled(error);
    };
    (void)co_await rota::with_cancel_scope(body);
    CHECK(log == strings{"cancelled", "cleaned up"});
    CHECK(cancelled_after);
  });
}

TEST_CASE("with(limit, generator, body) closes the generator on every way out") {
  run([]() -> task<> {
    strings log;
    const auto two = [](async_generator<int>& numbers) -> task<int> {
      (void)co_await numbers.next();
      const auto second = co_await numbers.next();
      co_return *second;
    };
    const int second = co_await rota::with(1s, careful(log), two);
    CHECK(second == 1);
    CHECK(log == strings{"cancelled", "cleaned up"});
    log.clear();
    const auto fails = [](async_generator<int>& numbers) -> task<> {
      (void)co_await numbers.next();
      throw std::runtime_error("body");
    };
    const auto error = co_await exception_of(rota::with(1s, careful(log), fails));
    CHECK(rota_test::text_of(error) == "body");
    CHECK(log == strings{"cancelled", "cleaned up"});
  });
}

// ---- misuse

TEST_CASE("misuse of an async generator throws usage_error and breaks nothing") {
  using kind = rota::usage_error::kind;
  run([]() -> task<> {
    async_generator<int> empty;
    auto error = co_await exception_of(empty.next());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);

    rota_test::gate gate;
    const auto waits = [](rota_test::gate& at) -> async_generator<int> {
      co_await at;
      co_yield 1;
    };
    async_generator<int> numbers = waits(gate);
    const auto first_of = [](async_generator<int>& from) -> task<int> {
      const auto one = co_await from.next();
      co_return one.value();
    };
    auto first = rota::spawn(first_of, std::ref(numbers));
    while (!gate.waiting()) co_await rota::yield();
    error = co_await exception_of(numbers.next());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);
    error = co_await exception_of(numbers.close());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == kind::invalid_argument);
    gate.open();
    const int got = co_await first;
    CHECK(got == 1);
    const auto end = co_await numbers.next();
    CHECK_FALSE(end);
  });
}

TEST_CASE("a generator belongs to the executor that it began on") {
  async_generator<int> numbers = count(1, 3);
  const auto first_of = [](async_generator<int>& from) -> task<int> {
    const auto one = co_await from.next();
    co_return one.value();
  };
  rota::event_loop one;
  CHECK(one.run(first_of(numbers)) == 1);
  rota::event_loop other;
  CHECK(rota_test::usage_error_of([&] { return other.run(first_of(numbers)); }) == rota::usage_error::kind::wrong_loop);
  CHECK(one.run(first_of(numbers)) == 2);
}

TEST_CASE("a body that asks itself for an item gets a usage_error") {
  run([]() -> task<> {
    async_generator<int> numbers;
    const auto asks = [](async_generator<int>& itself) -> async_generator<int> {
      (void)co_await itself.next();
      co_yield 1;
    };
    numbers = asks(numbers);
    const auto error = co_await exception_of(numbers.next());
    CHECK(rota_test::caught<rota::usage_error>(error).which() == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("destroying or moving a generator while its body runs ends the program with a word") {
  for (const bool destroys : {true, false}) {
    const auto outcome = rota_test::run_in_child([destroys] {
      rota::event_loop loop;
      const auto main = [](bool drop) -> task<> {
        rota_test::gate gate;
        const auto waits = [](rota_test::gate& at) -> async_generator<int> {
          co_await at;
          co_yield 1;
        };
        auto numbers = std::make_unique<async_generator<int>>(waits(gate));
        const auto ask = [](async_generator<int>& from) -> task<> { (void)co_await from.next(); };
        auto asking = rota::spawn(ask, std::ref(*numbers));
        while (!gate.waiting()) co_await rota::yield();
        if (drop)
          numbers.reset();
        else
          *numbers = async_generator<int>(std::move(*numbers));
        co_await asking;
      };
      loop.run(main(destroys));
      return 0;
    });
    INFO(outcome.output);
    CHECK(outcome.signal() == SIGABRT);
    CHECK(outcome.says(destroys ? "an async_generator was destroyed while its body runs"
                                : "an async_generator was moved while its body runs"));
  }
}

TEST_CASE("a chain of awaits through generators can be destroyed where it is suspended") {
  rota_test::manual_awaiter bottom;
  const rota_test::frame_balance all_freed;
  const auto main = [](rota_test::manual_awaiter& at) -> task<std::vector<int>> {
    std::vector<int> all = co_await all_of(passed_on(5, &at));
    co_return all;
  };
  {
    rota_test::by_hand<std::vector<int>> driven(main(bottom));
    driven.start();
    CHECK(bottom.waiting());
  }
  bottom.take();
  rota_test::by_hand<std::vector<int>> driven(main(bottom));
  driven.start();
  driven.resume(bottom);
  REQUIRE(driven.done());
  CHECK(driven.take() == std::vector{0, 1, 2});
}

TEST_CASE("a nest of generators can be destroyed where its innermost body is suspended") {
  rota_test::manual_awaiter bottom;
  const rota_test::frame_balance all_freed;
  int alive = 0;
  const auto inner = [&bottom](tracked) -> async_generator<int> {
    co_await bottom;
    co_yield 1;
  };
  const auto outer = [&inner](tracked here) -> async_generator<int> { co_yield elements_of(inner(here)); };
  {
    rota_test::by_hand<std::vector<int>> driven(all_of(outer(tracked(alive))));
    driven.start();
    CHECK(bottom.waiting());
    CHECK(alive >= 2);
  }
  bottom.take();
  CHECK(alive == 0);
  rota_test::by_hand<std::vector<int>> driven(all_of(outer(tracked(alive))));
  driven.start();
  driven.resume(bottom);
  REQUIRE(driven.done());
  CHECK(driven.take() == std::vector{1});
}
