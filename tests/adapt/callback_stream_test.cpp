// callback_stream: many callbacks, one task; what happens when it is full, closed, cancelled, or gone.
#include <rota/adapt/callback_stream.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::callback_stream;
using rota::task;
using rota::when_full;
using rota_test::run;
using rota_test::usage_error_of;

task<std::vector<int>> rest(callback_stream<int>& stream) {
  std::vector<int> items;
  while (const auto item = co_await stream.next()) items.push_back(*item);
  co_return items;
}
task<std::error_code> code_of_next(callback_stream<int>& stream) {
  std::error_code code;
  try {
    (void)co_await stream.next();
  } catch (const std::system_error& error) {
    code = error.code();
  }
  co_return code;
}

}  // namespace

TEST_CASE("a stream gives its items in order, and is empty when it is closed") {
  run([]() -> task<> {
    callback_stream<int> stream(3, when_full::refuse);
    REQUIRE(stream.push(1));
    REQUIRE(stream.push(2));
    const auto one = co_await stream.next();
    REQUIRE(one == 1);
    REQUIRE(stream.push(3));
    REQUIRE(stream.push(4));
    REQUIRE(stream.size() == 3);
    stream.close();
    REQUIRE(stream.closed());
    REQUIRE_FALSE(stream.push(5));
    const auto items = co_await rest(stream);
    REQUIRE(items == std::vector{2, 3, 4});
    const auto none = co_await stream.next();
    REQUIRE_FALSE(none);
  });
}

TEST_CASE("a waiting task goes on when an item comes, and when the stream is closed") {
  run([]() -> task<> {
    callback_stream<std::string> stream(2, when_full::refuse);
    const auto next = [&]() -> task<std::optional<std::string>> { co_return co_await stream.next(); };
    auto waiter = rota::spawn(std::ref(next));
    co_await rota::yield();
    REQUIRE(stream.sink()(2u, 'a'));
    REQUIRE_FALSE(waiter.done());
    const auto item = co_await waiter;
    REQUIRE(item == "aa");

    waiter = rota::spawn(std::ref(next));
    co_await rota::yield();
    stream.sink().close();
    const auto none = co_await waiter;
    REQUIRE_FALSE(none);
  });
}

TEST_CASE("a full stream drops, refuses or fails, as its policy says") {
  run([]() -> task<> {
    callback_stream<int> newest(2, when_full::drop_newest);
    callback_stream<int> oldest(2, when_full::drop_oldest);
    callback_stream<int> refuse(2, when_full::refuse);
    callback_stream<int> fail(2, when_full::fail);
    for (auto* stream : {&newest, &oldest, &refuse, &fail}) {
      REQUIRE(stream->push(1));
      REQUIRE(stream->push(2));
      REQUIRE(stream->push(3) == (stream == &oldest));
      REQUIRE(stream->closed() == (stream == &fail));
      REQUIRE(stream->dropped() == (stream == &newest || stream == &oldest ? 1 : 0));
      if (stream == &fail) continue;
      stream->close();
      const auto items = co_await rest(*stream);
      REQUIRE(items == (stream == &oldest ? std::vector{2, 3} : std::vector{1, 2}));
    }
    for (const int expected : {1, 2}) {
      const auto item = co_await fail.next();
      REQUIRE(item == expected);
    }
    for (int i = 0; i != 2; ++i) {
      const std::error_code code = co_await code_of_next(fail);
      REQUIRE(code == std::errc::no_buffer_space);
    }
  });
}

TEST_CASE("a refused item is not touched, a dropped one is destroyed") {
  callback_stream<std::shared_ptr<int>> stream(1, when_full::refuse);
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = owned;
  REQUIRE(stream.push(nullptr));
  REQUIRE_FALSE(stream.push(std::move(owned)));
  REQUIRE(owned);

  callback_stream<std::shared_ptr<int>> drops(1, when_full::drop_oldest);
  REQUIRE(drops.push(std::move(owned)));
  REQUIRE_FALSE(seen.expired());
  REQUIRE(drops.push(std::make_shared<int>(2)));
  REQUIRE(seen.expired());
}

TEST_CASE("a stream's items may move only, or be several values") {
  run([]() -> task<> {
    callback_stream<std::unique_ptr<int>> movable(1, when_full::refuse);
    movable.push(std::make_unique<int>(3));
    const auto owned = co_await movable.next();
    REQUIRE(**owned == 3);
    callback_stream<int, std::string> pairs(1, when_full::refuse);
    pairs.push(4, "four");
    const auto pair = co_await pairs.next();
    REQUIRE(*pair == std::tuple<int, std::string>(4, "four"));
  });
}

TEST_CASE("a stream needs room for an item") {
  REQUIRE(usage_error_of([] { callback_stream<int>(0, when_full::refuse); }) ==
          rota::usage_error::kind::invalid_argument);
}

TEST_CASE("an error that a stream was closed with comes after its items") {
  run([]() -> task<> {
    callback_stream<int> stream(2, when_full::refuse);
    stream.push(1);
    stream.sink().close(std::make_error_code(std::errc::io_error));
    stream.close();
    const auto item = co_await stream.next();
    REQUIRE(item == 1);
    const std::error_code code = co_await code_of_next(stream);
    REQUIRE(code == std::errc::io_error);
  });
}

TEST_CASE("a cancelled wait loses nothing") {
  run([]() -> task<> {
    callback_stream<int> stream(4, when_full::refuse);
    const auto none = co_await rota::move_on_after(1ms, stream.next());
    REQUIRE_FALSE(none);
    int got = 0;
    const auto wait = [&]() -> task<> { got = (co_await stream.next()).value_or(-1); };
    auto waiter = rota::spawn(std::ref(wait));
    co_await rota::yield();
    stream.push(1);  // delivered in spite of the cancel
    waiter.cancel();
    co_await waiter;
    REQUIRE(got == 1);

    waiter = rota::spawn(std::ref(wait));
    co_await rota::yield();
    waiter.cancel();
    stream.push(2);  // not taken by who was cancelled
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(waiter.cancelled());
    const auto two = co_await stream.next();
    REQUIRE(two == 2);
  });
}

TEST_CASE("a second task that waits is told that the stream is busy") {
  run([]() -> task<> {
    callback_stream<int> stream(4, when_full::refuse);
    auto waiter = rota::spawn([&]() -> task<int> { co_return (co_await stream.next()).value(); });
    co_await rota::yield();
    const std::error_code waiting = co_await code_of_next(stream);
    REQUIRE(waiting == rota::errc::busy);
    stream.push(1);
    const std::error_code notified = co_await code_of_next(stream);
    REQUIRE(notified == rota::errc::busy);
    const int one = co_await waiter;
    REQUIRE(one == 1);
  });
}

TEST_CASE("sinks and user data of a stream that has gone do nothing") {
  std::optional<callback_stream<int>> stream(std::in_place, 2u, when_full::refuse);
  const auto sink = stream->sink();
  void* const data = stream->user_data();
  REQUIRE(sink(1));
  callback_stream<int>::user_data_first(data, 2);
  REQUIRE(stream->size() == 2);
  stream.reset();
  REQUIRE_FALSE(sink(3));
  sink.close();
  callback_stream<int>::user_data_last(4, data);
  callback_stream<int>::user_data_last(4, nullptr);
}

TEST_CASE("a C library pushes through user data, from its own thread") {
  run([]() -> task<> {
    callback_stream<int, const char*> stream(100, when_full::fail);
    void (*const call)(int, const char*, void*) = &callback_stream<int, const char*>::user_data_last;
    std::thread library([call, data = stream.user_data()] {
      for (int i = 0; i != 100; ++i) call(i, "text", data);
    });
    for (int i = 0; i != 100; ++i) {
      const auto item = co_await stream.next();
      REQUIRE(std::get<0>(*item) == i);
    }
    library.join();
  });
}

TEST_CASE("an item whose constructor throws in a C callback closes the stream with that exception") {
  struct fragile {
    fragile(int) {}
    fragile(fragile&&) { throw std::runtime_error("broken in transport"); }
  };
  run([]() -> task<> {
    callback_stream<fragile> stream(1, when_full::refuse);
    callback_stream<fragile>::user_data_first(stream.user_data(), fragile(1));
    std::string text;
    try {
      (void)co_await stream.next();
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    REQUIRE(text == "broken in transport");
  });
}

TEST_CASE("threads push while a task takes, and nothing is lost or doubled") {
  constexpr int threads = 3;
  const int each = static_cast<int>(rota_test::scaled(5'000, 1'000));
  run([&]() -> task<> {
    callback_stream<int> stream(64, when_full::refuse);
    std::vector<std::thread> pushers;
    for (int t = 0; t != threads; ++t)
      pushers.emplace_back([sink = stream.sink(), t, each] {
        for (int i = 0; i != each; ++i)
          while (!sink(t * each + i)) std::this_thread::yield();
      });
    std::vector<int> last(threads, -1);
    for (int n = 0; n != threads * each; ++n) {
      const auto item = co_await stream.next();
      int& before = last[static_cast<std::size_t>(*item / each)];
      REQUIRE(*item % each == before + 1);
      before = *item % each;
    }
    for (std::thread& pusher : pushers) pusher.join();
    REQUIRE(stream.size() == 0);
  });
}

TEST_CASE("a stream may be destroyed while other threads push") {
  for (std::size_t i = rota_test::scaled(200, 100); i != 0; --i) {
    std::thread pusher;
    run([&]() -> task<> {
      callback_stream<int> stream(1, when_full::drop_oldest);
      pusher = std::thread([sink = stream.sink()] {
        while (sink(1)) {
        }
      });
      (void)co_await stream.next();
    });
    pusher.join();
  }
}

TEST_CASE("a stream works in sync_wait") {
  std::thread pusher;
  const auto sum = [&]() -> task<int> {
    callback_stream<int> stream(1, when_full::refuse);
    pusher = std::thread([sink = stream.sink()] {
      for (int i = 1; i != 11; ++i)
        while (!sink(i)) std::this_thread::yield();
      sink.close();
    });
    int total = 0;
    while (const auto item = co_await stream.next()) total += *item;
    pusher.join();
    co_return total;
  };
  REQUIRE(rota::sync_wait(sum()) == 55);
}

TEST_CASE("a sink fits into a std::function") {
  callback_stream<int> stream(1, when_full::refuse);
  const std::function<void(int)> registered = stream.sink();
  registered(3);
  REQUIRE(stream.size() == 1);
}

TEST_CASE("a close with a code that says success is the end, not an error") {
  run([]() -> task<> {
    rota::callback_stream<int> stream(1, rota::when_full::refuse);
    stream.sink().close(std::error_code());
    const auto item = co_await stream.next();
    REQUIRE_FALSE(item.has_value());
  });
}
