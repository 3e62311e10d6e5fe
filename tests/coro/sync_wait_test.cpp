// sync_wait: a plain thread waits for a task.
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;

task<int> number(int n) { co_return n; }

// Goes on when another thread posts to the task's executor.
class elsewhere {
 public:
  elsewhere() = default;
  ~elsewhere() {
    if (thread_.joinable()) thread_.join();
  }
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    struct arrival : rota::detail::posted {
      void* frame = nullptr;
    };
    rota::executor& home = *handle.promise().state->exec;
    thread_ = std::thread([&home, frame = handle.address()] {
      auto* work = new arrival;
      work->frame = frame;
      work->run = [](rota::detail::posted& self) noexcept {
        const std::unique_ptr<arrival> me(static_cast<arrival*>(&self));
        rota::detail::make_ready(me->frame);
      };
      home.post(*work);
    });
  }
  void await_resume() const noexcept {}

 private:
  std::thread thread_;
};

}  // namespace

TEST_CASE("sync_wait gives the value, the reference, or the exception") {
  const rota_test::frame_balance nothing_left;
  REQUIRE(rota::sync_wait(number(3)) == 3);
  int object = 0;
  const auto refer = [](int& to) -> task<int&> { co_return to; };
  REQUIRE(&rota::sync_wait(refer(object)) == &object);
  const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
  REQUIRE(*rota::sync_wait(own()) == 4);
  const auto fail = []() -> task<> {
    (void)co_await number(1);
    throw std::runtime_error("inside");
  };
  REQUIRE_THROWS_AS(rota::sync_wait(fail()), std::runtime_error);
}

TEST_CASE("sync_wait sleeps until another thread lets the task go on") {
  const auto body = []() -> task<int> {
    int n = 0;
    for (; n != 10; ++n) {
      elsewhere hop;
      co_await hop;
    }
    co_return n;
  };
  REQUIRE(rota::sync_wait(body()) == 10);
}

TEST_CASE("yield works in sync_wait") {
  const auto body = []() -> task<int> {
    int n = 0;
    for (; n != 1000; ++n) co_await rota::yield();
    co_return n;
  };
  REQUIRE(rota::sync_wait(body()) == 1000);
}

TEST_CASE("sync_wait of an empty, moved-from or awaited task is an error") {
  using kind = rota::usage_error::kind;
  REQUIRE(rota_test::usage_error_of([] { rota::sync_wait(task<>()); }) == kind::invalid_task);
  task<int> t = number(1);
  REQUIRE(rota::sync_wait(std::move(t)) == 1);
  REQUIRE_FALSE(t.valid());
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(std::move(t)); }) == kind::invalid_task);
}

TEST_CASE("what needs an event loop says so in sync_wait") {
  using kind = rota::usage_error::kind;
  const auto sleeps = []() -> task<> { co_await rota::sleep_for(1ms); };
  const auto spawns = []() -> task<> {
    (void)rota::spawn(number, 1);
    co_return;
  };
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(sleeps()); }) == kind::no_event_loop);
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(spawns()); }) == kind::no_event_loop);
}

TEST_CASE("sync_wait is refused on a thread that runs an event loop") {
  rota_test::run([]() -> task<> {
    const rota_test::captured_reports reports;  // the refused task is never awaited
    REQUIRE(rota_test::usage_error_of([] { rota::sync_wait(number(1)); }) == rota::usage_error::kind::blocking_in_loop);
    co_return;
  });
  REQUIRE(rota::sync_wait(number(1)) == 1);
}

TEST_CASE("sync_wait on several threads at the same time") {
  std::vector<std::thread> threads;
  std::vector<int> results(4, 0);
  for (std::size_t i = 0; i != results.size(); ++i)
    threads.emplace_back([&, i] {
      const auto body = []() -> task<int> {
        int sum = 0;
        for (int n = 0; n != 1000; ++n) sum += co_await number(1);
        co_return sum;
      };
      results[i] = rota::sync_wait(body());
    });
  for (std::thread& thread : threads) thread.join();
  for (const int result : results) REQUIRE(result == 1000);
}

TEST_CASE("a task that is waited for may wait for another one") {
  const auto outer = []() -> task<int> { co_return rota::sync_wait(number(2)) + co_await number(1); };
  REQUIRE(rota::sync_wait(outer()) == 3);
}

TEST_CASE("the running task is the one that is waited for, again after it waited for another one itself") {
  const auto running = []() -> task<const void*> { co_return rota::detail::running_task(); };
  const auto outer = [&]() -> task<bool> {
    const void* const me = rota::detail::running_task();
    const void* const awaited = co_await running();
    const void* const other = rota::sync_wait(running());
    co_return me != nullptr&& awaited == me&& other != me&& rota::detail::running_task() == me;
  };
  REQUIRE(rota::sync_wait(outer()));
  REQUIRE(rota::detail::running_task() == nullptr);
}
