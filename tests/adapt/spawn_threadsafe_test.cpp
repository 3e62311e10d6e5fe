// spawn_threadsafe and as_awaitable: value, error and cancel, in both directions between threads and a loop.
#include <rota/adapt/spawn_threadsafe.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

#if ROTA_TSAN
// An exception that crosses threads in a std::future is freed by whoever lets go last; its atomic count is in
// libstdc++.so, which is not instrumented, so TSan sees the free and not what orders it.
extern "C" const char* __tsan_default_suppressions() { return "race:std::__exception_ptr::exception_ptr::_M_release"; }
#endif

namespace {

using namespace std::chrono_literals;
using rota::spawn_threadsafe;
using rota::task;
using rota_test::captured_reports;
using rota_test::error_code_of;
using rota_test::run;

task<int> square(int n) {
  co_await rota::yield();
  co_return n* n;
}
task<> fail() {
  co_await rota::yield();
  throw std::runtime_error("theirs");
}
task<int> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

// An event loop on a thread of its own.
class loop_thread {
 public:
  loop_thread() {
    std::promise<rota::event_loop*> made;
    auto loop = made.get_future();
    thread_ = std::thread([made = std::move(made)]() mutable {
      rota::event_loop l;
      made.set_value(&l);
      l.run();
    });
    loop_ = loop.get();
  }
  ~loop_thread() { stop(); }
  rota::event_loop& loop() const { return *loop_; }
  void stop() {
    if (!thread_.joinable()) return;
    loop_->stop();
    thread_.join();
  }

 private:
  rota::event_loop* loop_ = nullptr;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a task started from another thread gives its value or its exception to a std::future") {
  const captured_reports reports;
  loop_thread other;
  std::future<int> value = spawn_threadsafe(other.loop(), square, 4);
  REQUIRE(value.get() == 16);
  auto error = spawn_threadsafe(other.loop(), fail);
  REQUIRE_THROWS_AS(error.get(), std::runtime_error);
  auto owned = spawn_threadsafe(
      other.loop(), [](std::unique_ptr<int> p) -> task<std::unique_ptr<int>> { co_return p; },
      std::make_unique<int>(3));
  REQUIRE(*owned.get() == 3);
  int object = 0;
  auto reference = spawn_threadsafe(other.loop(), [](int& r) -> task<int&> { co_return r; }, std::ref(object));
  REQUIRE(&reference.get() == &object);
  auto not_made = spawn_threadsafe(other.loop(), []() -> task<> { throw std::bad_alloc(); });  // no coroutine
  REQUIRE_THROWS_AS(not_made.get(), std::bad_alloc);
  other.stop();
  REQUIRE(reports.size() == 0);
}

TEST_CASE("many threads start tasks at once") {
  loop_thread other;
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t != 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i != 100; ++i) sum += spawn_threadsafe(other.loop(), square, 2).get();
    });
  for (std::thread& t : threads) t.join();
  REQUIRE(sum == 1600);
}

TEST_CASE("a cancel from another thread cancels the task") {
  loop_thread other;
  auto future = spawn_threadsafe(other.loop(), forever);
  future.cancel("enough");
  future.cancel();
  REQUIRE(error_code_of([&] { (void)future.get(); }) == rota::errc::task_cancelled);

  std::promise<void> began;
  std::promise<std::string> reason;
  auto telling = spawn_threadsafe(other.loop(), [&]() -> task<> {
    began.set_value();
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled& c) {
      reason.set_value(std::string(c.reason()));
      throw;
    }
  });
  began.get_future().get();
  telling.cancel("told");
  REQUIRE(error_code_of([&] { telling.get(); }) == rota::errc::task_cancelled);
  REQUIRE(reason.get_future().get() == "told");

  auto done = spawn_threadsafe(other.loop(), square, 3);
  done.wait();
  other.stop();
  done.cancel();  // the loop is gone
  REQUIRE(done.get() == 9);
}

TEST_CASE("a cancel and the end of the task race") {
  loop_thread other;
  for (std::size_t i = rota_test::scaled(300, 150); i != 0; --i) {
    auto future = spawn_threadsafe(other.loop(), square, 5);
    if (i % 2) std::this_thread::yield();
    future.cancel();
    int value = 0;
    const std::error_code code = error_code_of([&] { value = future.get(); });
    REQUIRE((code == rota::errc::task_cancelled || value == 25));
  }
}

TEST_CASE("a loop that goes down before the task began, or while it runs, gives an error, not a hang") {
  rota::task_future<int> unborn;
  {
    rota::event_loop loop;  // never runs
    unborn = spawn_threadsafe(loop, square, 1);
  }
  REQUIRE(error_code_of([&] { (void)unborn.get(); }) == rota::errc::task_cancelled);
  rota::task_future<int> running;
  {
    loop_thread other;
    running = spawn_threadsafe(other.loop(), forever);
    spawn_threadsafe(other.loop(), square, 1).get();
  }
  REQUIRE(error_code_of([&] { (void)running.get(); }) == rota::errc::task_cancelled);
}

TEST_CASE("a task that ignores its cancel until its loop goes without it breaks its promise") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    rota::event_loop_options options;
    options.shutdown_deadline = 1ms;
    auto* loop = new rota::event_loop(options);
    const auto stubborn = []() -> task<> {
      static rota::callback<> kept;  // never called, and the hook stops nothing
      co_await rota::from_callback<>([](rota::callback<> done) { kept = std::move(done); }).on_cancel([] {});
    };
    static rota::task_future<void> running = spawn_threadsafe(*loop, stubborn);
    const auto turn = []() -> task<> { co_await rota::sleep_for(1ms); };
    loop->run(turn());
    std::thread waiting([] {
      try {
        running.get();
      } catch (const std::system_error& error) {
        std::printf("%s\n", error.code() == rota::errc::broken_promise ? "broken" : "another error");
      }
    });
    delete loop;  // a debug build ends here, with a word about the task
    waiting.join();
    running = rota::task_future<void>();
    return 0;
  });
  INFO(child.output);
  REQUIRE(child.says("did not stop"));
  if (ROTA_ASSERTIONS)
    REQUIRE(child.signal() == SIGABRT);
  else
    REQUIRE((child.exit_code() == 0 && child.says("broken")));
}

TEST_CASE("dropping the future leaves the task running") {
  loop_thread other;
  std::promise<void> ended;
  {
    std::future<void> sliced = spawn_threadsafe(other.loop(), [&]() -> task<> {
      co_await rota::yield();
      ended.set_value();
    });
  }
  ended.get_future().get();
}

TEST_CASE("a std::future that is ready is taken at once, a deferred one runs here") {
  run([]() -> task<> {
    std::promise<int> p;
    p.set_value(3);
    const int ready = co_await rota::as_awaitable(p.get_future());
    REQUIRE(ready == 3);
    const auto home = std::this_thread::get_id();
    const auto where =
        co_await rota::as_awaitable(std::async(std::launch::deferred, [] { return std::this_thread::get_id(); }));
    REQUIRE(where == home);
    bool refused = false;
    try {
      co_await rota::as_awaitable(std::future<void>());
    } catch (const std::future_error&) {
      refused = true;
    }
    REQUIRE(refused);
  });
}

TEST_CASE("a pending std::future resumes the task when another thread sets it") {
  run([]() -> task<> {
    std::promise<std::unique_ptr<int>> p;
    auto waiting = rota::spawn(
        [](std::future<std::unique_ptr<int>> f) -> task<int> {
          const auto owned = co_await rota::as_awaitable(std::move(f));
          co_return *owned;
        },
        p.get_future());
    co_await rota::yield();
    std::thread setter([&] { p.set_value(std::make_unique<int>(4)); });
    const int v = co_await waiting;
    REQUIRE(v == 4);
    setter.join();

    std::promise<std::string> shared;
    const std::shared_future<std::string> f = shared.get_future().share();
    auto first = rota::spawn(
        [](std::shared_future<std::string> s) -> task<std::string> { co_return co_await rota::as_awaitable(s); }, f);
    auto second = rota::spawn(
        [](std::shared_future<std::string> s) -> task<std::string> { co_return co_await rota::as_awaitable(s); }, f);
    co_await rota::yield();
    shared.set_exception(std::make_exception_ptr(std::runtime_error("shared")));
    int thrown = 0;
    for (auto* h : {&first, &second}) {
      try {
        (void)co_await *h;
      } catch (const std::runtime_error&) {
        ++thrown;
      }
    }
    REQUIRE(thrown == 2);
  });
}

TEST_CASE("a waiter that is cancelled, or whose loop ends, leaves the helper thread harmless") {
  std::promise<int> cancelled;
  std::promise<void> abandoned;
  run([&]() -> task<> {
    const auto none = co_await rota::move_on_after(1ms, rota::as_awaitable(cancelled.get_future()));
    REQUIRE_FALSE(none);
  });
  rota::run([](std::future<void> f) -> task<> {
    (void)rota::spawn([](std::future<void> g) -> task<> { co_await rota::as_awaitable(std::move(g)); }, std::move(f));
    co_await rota::yield();
  }(abandoned.get_future()));
  cancelled.set_value(1);
  abandoned.set_value();
}

TEST_CASE("awaiting a task of another loop gives its value, and a cancel cancels it") {
  loop_thread other;
  run([&]() -> task<> {
    const int v = co_await rota::as_awaitable(spawn_threadsafe(other.loop(), square, 6));
    REQUIRE(v == 36);
    bool failed = false;
    try {
      co_await rota::as_awaitable(spawn_threadsafe(other.loop(), fail));
    } catch (const std::runtime_error&) {
      failed = true;
    }
    REQUIRE(failed);

    std::promise<void> ended;
    const auto tell = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        ended.set_value();
        throw;
      }
    };
    const bool in_time = co_await rota::move_on_after(1ms, rota::as_awaitable(spawn_threadsafe(other.loop(), tell)));
    REQUIRE_FALSE(in_time);
    REQUIRE(ended.get_future().wait_for(0s) == std::future_status::ready);  // joined, not only asked

    // Cancelled by somebody else: an error here, not our cancellation.
    auto theirs = spawn_threadsafe(other.loop(), forever);
    theirs.cancel();
    std::error_code code;
    try {
      (void)co_await rota::as_awaitable(std::move(theirs));
    } catch (const std::system_error& error) {
      code = error.code();
    }
    REQUIRE(code == rota::errc::task_cancelled);
  });
}

TEST_CASE("nothing to call is refused by spawn_threadsafe and from_callback when it is given") {
  using kind = rota::usage_error::kind;
  const auto refused = [](auto&& f) { return rota_test::usage_error_of(f) == kind::invalid_argument; };
  rota::event_loop loop;
  task<int> (*const null)() = nullptr;
  void (*const no_start)(rota::callback<int>) = nullptr;
  const auto starts = [](rota::callback<int>) {};
  const std::function<void()> no_hook;
  REQUIRE(refused([&] { (void)spawn_threadsafe(loop, null); }));
  REQUIRE(refused([&] { (void)rota::from_callback<int>(no_start); }));
  REQUIRE(refused([&] { (void)rota::from_callback<int>(starts).on_cancel(no_hook); }));
}
