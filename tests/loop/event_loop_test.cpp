// The event loop itself: run, stop, posts, fairness, destruction, fork.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;

task<int> number(int n) { co_return n; }
task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

struct counted {
  static inline int alive = 0;
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
};

}  // namespace

TEST_CASE("run gives the task's value, or throws its exception, and may be called again") {
  rota::event_loop loop;
  REQUIRE(loop.run(number(1)) == 1);
  const auto fail = []() -> task<> {
    co_await rota::yield();
    throw std::runtime_error("main");
  };
  REQUIRE_THROWS_AS(loop.run(fail()), std::runtime_error);
  REQUIRE(loop.run(number(2)) == 2);
  rota_test::require_quiescent(loop);
}

TEST_CASE("the backend is the one that the environment names") {
  const rota::event_loop loop;
  const char* const wished = std::getenv("ROTA_BACKEND");
  if (wished && *wished) REQUIRE(rota::to_string(loop.backend()) == wished);
  REQUIRE(loop.backend() != rota::backend::automatic);
}

TEST_CASE("a misspelt ROTA_BACKEND is a clear error") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    ::setenv("ROTA_BACKEND", "iouring", 1);
    try {
      const rota::event_loop loop;
    } catch (const std::invalid_argument& error) {
      std::printf("%s\n", error.what());
      return 7;
    }
    return 0;
  });
  REQUIRE(child.exit_code() == 7);
  REQUIRE(child.says("iouring"));
  REQUIRE(child.says("io_uring, epoll"));
}

TEST_CASE("the current loop is known on its thread, while it runs") {
  rota::event_loop loop;
  REQUIRE(rota::event_loop::current() == nullptr);
  const auto body = [&]() -> task<> {
    REQUIRE(rota::event_loop::current() == &loop);
    rota::event_loop* elsewhere = &loop;
    std::thread([&] { elsewhere = rota::event_loop::current(); }).join();
    REQUIRE(elsewhere == nullptr);
    co_return;
  };
  loop.run(body());
  REQUIRE(rota::event_loop::current() == nullptr);
}

TEST_CASE("tasks that are left go on in the next run") {
  rota::event_loop loop;
  int steps = 0;
  const auto worker = [&]() -> task<> {
    for (int i = 0; i != 5; ++i) {
      co_await rota::sleep_for(0ms);
      ++steps;
    }
  };
  const auto spawner = [&]() -> task<> {
    (void)rota::spawn(worker);
    co_return;
  };
  const auto wait = [&]() -> task<> {
    while (steps != 5) co_await rota::yield();
    co_await rota::yield();
  };
  loop.run(spawner());
  REQUIRE(steps < 5);
  REQUIRE(loop.statistics().tasks == 1);
  loop.run(wait());
  rota_test::require_quiescent(loop);
}

TEST_CASE("run until stop") {
  rota::event_loop loop;
  int steps = 0;
  const auto worker = [&]() -> task<> {
    for (;;) {
      if (++steps == 10) loop.stop();
      co_await rota::yield();
    }
  };
  const auto spawner = [&]() -> task<> {
    (void)rota::spawn(worker);
    co_return;
  };
  loop.run(spawner());
  loop.run();
  REQUIRE(steps >= 10);
  REQUIRE(steps < 1000);
}

TEST_CASE("stop ends the run of a task with errc::loop_stopped") {
  rota::event_loop loop;
  const auto body = [&]() -> task<> {
    loop.stop();
    co_await rota::sleep_for(1h);
  };
  REQUIRE(rota_test::error_code_of([&] { loop.run(body()); }) == rota::errc::loop_stopped);
  REQUIRE(loop.run(number(3)) == 3);  // one stop ends one run
}

TEST_CASE("stop from another thread wakes a loop that sleeps") {
  rota::event_loop loop;
  std::thread other([&] {
    std::this_thread::sleep_for(2ms);
    loop.stop();
    loop.stop();
  });
  loop.run();
  other.join();
  loop.stop();
  loop.run();  // stopped before it ran: one iteration
}

namespace {
rota::event_loop* loop_of_the_handler = nullptr;
}
TEST_CASE("stop from a signal handler wakes a loop that sleeps") {
  rota::event_loop loop;
  loop_of_the_handler = &loop;
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) { loop_of_the_handler->stop(); };
  action.sa_flags = SA_RESTART;
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  const pthread_t me = ::pthread_self();
  std::thread other([&] {
    std::this_thread::sleep_for(2ms);
    ::pthread_kill(me, SIGUSR1);
  });
  loop.run();
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

// ThreadSanitizer looks: the threads tell each other of their steps without ordering anything.
TEST_CASE(
    "what a thread did before it called stop() is seen after run(), also when another one's stop was on its way") {
  rota::event_loop loop;
  int first = 0, second = 0;
  std::atomic<int> stops{0};
  const auto wait_for = [&](int n) {
    while (stops.load(std::memory_order_relaxed) != n) std::this_thread::yield();
  };
  std::thread one([&] {
    first = 1;
    loop.stop();
    stops.store(1, std::memory_order_relaxed);
  });
  std::thread other([&] {
    wait_for(1);
    second = 2;
    loop.stop();
    stops.store(2, std::memory_order_relaxed);
  });
  wait_for(2);
  loop.run();
  CHECK(first + second == 3);
  one.join();
  other.join();
}

TEST_CASE("signals that arrive all the time lose no wake-up and are no error") {
  rota::event_loop loop;
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  const pthread_t me = ::pthread_self();
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      ::pthread_kill(me, SIGUSR1);
      std::this_thread::sleep_for(50us);
    }
  });
  const auto body = []() -> task<int> {
    int n = 0;
    for (; n != 20; ++n) co_await rota::sleep_for(200us);
    co_return n;
  };
  const int n = loop.run(body());
  done = true;
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  REQUIRE(n == 20);
}

TEST_CASE("a loop does not run inside another one, nor inside itself") {
  rota::event_loop outer;
  rota::event_loop inner;
  const auto body = [&]() -> task<> {
    const auto kind = rota::usage_error::kind::loop_already_running;
    REQUIRE(rota_test::usage_error_of([&] { inner.run(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { outer.run(); }) == kind);
    const captured_reports reports;  // the refused tasks are never awaited
    REQUIRE(rota_test::usage_error_of([&] { inner.run(number(1)); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { outer.run(number(1)); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { rota::run(number(1)); }) == kind);
    co_await rota::yield();
  };
  rota_test::run_on(outer, body());
}

TEST_CASE("a blocking wait is refused on a loop's thread, before and after another loop was destroyed there") {
  rota::event_loop outer;
  const auto body = [&]() -> task<> {
    const captured_reports reports;
    const auto kind = rota::usage_error::kind::blocking_in_loop;
    REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(number(1)); }) == kind);
    {
      const rota::event_loop inner;
    }
    REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(number(1)); }) == kind);
    co_return;
  };
  rota_test::run_on(outer, body());
  REQUIRE(rota::sync_wait(number(1)) == 1);
}

TEST_CASE("an empty task cannot be run") {
  rota::event_loop loop;
  REQUIRE(rota_test::usage_error_of([&] { loop.run(task<>()); }) == rota::usage_error::kind::invalid_task);
  rota_test::require_quiescent(loop);
}

TEST_CASE("a loop that is destroyed inside another loop's task runs its tasks to their end") {
  bool cleaned = false;
  const auto worker = [&]() -> task<> {
    struct note {
      bool& to;
      ~note() { to = true; }
    } const at_end{cleaned};
    co_await rota::sleep_for(1h);
  };
  const auto spawner = [&]() -> task<> {
    (void)rota::spawn(worker);
    co_await rota::yield();
  };
  auto inner = std::make_unique<rota::event_loop>();
  inner->run(spawner());
  REQUIRE(inner->statistics().tasks == 1);
  rota::event_loop outer;
  const auto body = [&]() -> task<> {
    inner.reset();
    REQUIRE(cleaned);
    REQUIRE(rota::event_loop::current() == &outer);
    co_await rota::sleep_for(0ms);
  };
  rota_test::run_on(outer, body());
}

TEST_CASE("two tasks that always yield take turns") {
  rota::event_loop loop;
  std::string log;
  const auto worker = [&](char name) -> task<> {
    for (int i = 0; i != 200; ++i) {
      log += name;
      co_await rota::yield();
    }
  };
  const auto body = [&]() -> task<> {
    rota::join_handle<> a = rota::spawn(worker, 'a');
    rota::join_handle<> b = rota::spawn(worker, 'b');
    co_await a;
    co_await b;
  };
  rota_test::run_on(loop, body());
  std::string expected;
  for (int i = 0; i != 200; ++i) expected += "ab";
  REQUIRE(log == expected);
}

TEST_CASE("a task that always yields starves neither timers nor posts nor stop") {
  rota::event_loop loop;
  std::atomic<bool> posted{false};
  bool slept = false;
  const auto busy = [&]() -> task<> {
    while (!slept || !posted) co_await rota::yield();
    loop.stop();
    for (;;) co_await rota::yield();
  };
  const auto sleeper = [&]() -> task<> {
    co_await rota::sleep_for(1ms);
    slept = true;
  };
  const auto spawner = [&]() -> task<> {
    (void)rota::spawn(busy);
    (void)rota::spawn(sleeper);
    co_return;
  };
  loop.run(spawner());
  std::thread other([&] { loop.post([&] { posted = true; }); });
  loop.run();
  other.join();
  REQUIRE(slept);
  REQUIRE(posted);
}

TEST_CASE("statistics count what there is") {
  rota::event_loop loop;
  const auto body = [&]() -> task<> {
    const rota::event_loop_statistics before = loop.statistics();
    REQUIRE(before.tasks == 1);
    REQUIRE_FALSE(before.quiescent());
    rota::join_handle<> sleeper = rota::spawn(forever);
    REQUIRE(loop.statistics().tasks == 2);
    REQUIRE(loop.statistics().ready == 1);
    co_await rota::yield();
    REQUIRE(loop.statistics().ready == 0);
    REQUIRE(loop.statistics().timers == 1);
    REQUIRE(loop.statistics().steps > before.steps);
    REQUIRE(loop.statistics().iterations > before.iterations);
    loop.post([] {});
    co_await rota::sleep_for(1ms);
    REQUIRE(loop.statistics().posts == before.posts + 1);
    REQUIRE(loop.statistics().polls > 0);
    sleeper.cancel();
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(loop.statistics().timers == 0);
    REQUIRE(loop.statistics().tasks == 1);
  };
  loop.run(body());
  rota_test::require_quiescent(loop);
}

// ---- posts ------------------------------------------------------------------------------------------------------------

TEST_CASE("a hundred thousand posts from four threads before run all run, in order per thread") {
  const std::size_t each = rota_test::scaled(100'000, 5'000, 25'000);
  rota::event_loop loop;
  constexpr std::size_t threads = 4;
  std::vector<std::vector<std::size_t>> got(threads);
  std::vector<std::thread> posters;
  for (std::size_t t = 0; t != threads; ++t)
    posters.emplace_back([&, t] {
      for (std::size_t i = 0; i != each / threads; ++i) loop.post([&got, t, i] { got[t].push_back(i); });
    });
  for (std::thread& poster : posters) poster.join();
  loop.stop();
  loop.run();
  std::size_t out_of_order = 0;
  for (const auto& of_thread : got) {
    REQUIRE(of_thread.size() == each / threads);
    for (std::size_t i = 0; i != of_thread.size(); ++i) out_of_order += of_thread[i] != i;
  }
  REQUIRE(out_of_order == 0);
  REQUIRE(loop.statistics().posts == each / threads * threads + 1);
}

TEST_CASE("posts to a loop that is awake cost no wake-up, and many to one that sleeps cost one") {
  rota_test::manual_loop m;
  const auto wakeups = [&] { return rota::detail::loop_access::kernel(m.loop()).statistics().wakeups; };
  for (int i = 0; i != 100; ++i) m.loop().post([] {});
  REQUIRE(wakeups() == 0);
  std::atomic<int> ran{0};
  std::thread other([&] {
    m.clock().wait_until_asleep();
    for (int i = 0; i != 100; ++i) m.loop().post([&] { ++ran; });
    m.loop().stop();
  });
  m.loop().run();
  other.join();
  REQUIRE(ran == 100);
  REQUIRE(wakeups() <= m.loop().statistics().polls);
}

TEST_CASE("a post that posts again runs in the next iteration, and starves no task") {
  int posts = 0;
  rota::event_loop loop;
  struct repeat {
    rota::event_loop& loop;
    int& posts;
    void operator()() const {
      if (++posts < 1'000'000) loop.post(repeat{loop, posts});
    }
  };
  const auto body = [&]() -> task<> {
    for (int i = 0; i != 10; ++i) co_await rota::sleep_for(0ms);
  };
  loop.post(repeat{loop, posts});
  loop.run(body());
  REQUIRE(posts >= 1);
  REQUIRE(posts < 1000);
  posts = 1'000'000;
}

namespace {

struct wake_up_story {
  std::atomic<bool> ended{false};  // run() has returned
  std::atomic<bool> destroyed{false};
  std::atomic<bool> too_late{false};  // destroyed while a poster was inside wake()
};

class slow_to_wake final : public rota_test::manual_clock {
 public:
  explicit slow_to_wake(wake_up_story& s) : story_(s) {}
  ~slow_to_wake() override { story_.destroyed = true; }
  void wake() noexcept override {
    wake_up_story& story = story_;
    manual_clock::wake();
    while (!story.ended) std::this_thread::yield();
    for (int i = 0; i != 1000; ++i) std::this_thread::yield();  // every chance to go too early
    if (story.destroyed) story.too_late = true;
  }

 private:
  wake_up_story& story_;
};

}  // namespace

TEST_CASE("a loop whose life ends with what was posted waits for the poster") {
  wake_up_story story;
  std::thread poster;
  {
    auto reactor = std::make_unique<slow_to_wake>(story);
    slow_to_wake& clock = *reactor;
    rota::event_loop loop(std::move(reactor));
    poster = std::thread([&] {
      clock.wait_until_asleep();
      loop.stop();
    });
    loop.run();
    story.ended = true;
  }
  poster.join();
  REQUIRE(story.destroyed);
  REQUIRE_FALSE(story.too_late);
}

TEST_CASE("thousands of loops are ended by another thread while timers wake them as well") {
  const std::size_t rounds = rota_test::scaled(5'000, 500, 1'000);
  std::atomic<rota::event_loop*> next{nullptr};
  std::atomic<bool> enough{false};
  std::thread poster([&] {
    rota::detail::random dice(1);
    while (!enough) {
      rota::event_loop* const loop = next.exchange(nullptr);
      if (!loop) {
        std::this_thread::yield();
        continue;
      }
      for (std::uint64_t i = dice.below(2000); i != 0; --i) (void)next.load();  // some microseconds, or none
      if (dice.below(2) == 0)
        loop->stop();
      else
        loop->post([loop] { loop->stop(); });
    }
  });
  rota::detail::random dice(2);
  for (std::size_t round = 0; round != rounds; ++round) {
    rota::event_loop loop;
    const auto sleeper = [](std::uint64_t microseconds) -> task<> {
      for (;;) co_await rota::sleep_for(std::chrono::microseconds(microseconds));
    };
    const auto spawner = [&]() -> task<> {
      (void)rota::spawn(sleeper, 1 + dice.below(20));
      co_return;
    };
    loop.run(spawner());
    next = &loop;
    loop.run();
  }
  enough = true;
  poster.join();
}

TEST_CASE("an exception out of a posted function is reported, and neither the loop nor the other posts notice") {
  const captured_reports reports;
  rota::event_loop loop;
  int ran = 0;
  loop.post([&] { ++ran; });
  loop.post([] { throw std::runtime_error("the first"); });
  loop.post([&] { ++ran; });
  loop.post([] { throw std::runtime_error("the second"); });
  REQUIRE(loop.run(number(4)) == 4);
  INFO(reports.all());
  REQUIRE(ran == 2);
  REQUIRE(reports.size() == 2);
  REQUIRE(reports.count("the first") == 1);
  REQUIRE(reports.count("the second") == 1);
}

TEST_CASE("what was posted runs when the loop is destroyed, and its errors are reported") {
  const captured_reports reports;
  bool ran = false;
  {
    rota::event_loop loop;
    loop.post([&] { ran = true; });
    loop.post([] { throw std::runtime_error("too late"); });
  }
  REQUIRE(ran);
  INFO(reports.all());
  REQUIRE(reports.count("too late") == 1);
}

TEST_CASE("the running task is known in each of its steps, and nobody runs in a post or after the run") {
  rota::event_loop loop;
  const rota::detail::task_state* in_a_post = rota::detail::running_task();
  REQUIRE(in_a_post == nullptr);
  const auto child = []() -> task<const void*> {
    co_await rota::yield();
    co_return rota::detail::running_task();
  };
  const auto body = [&]() -> task<> {
    const rota::detail::task_state& me = co_await rota::detail::this_state_awaiter();
    REQUIRE(rota::detail::running_task() == &me);
    rota::join_handle<const void*> other = rota::spawn(child);
    const void* const in_the_child = co_await child();
    REQUIRE(in_the_child == &me);
    in_a_post = &me;
    loop.post([&] { in_a_post = rota::detail::running_task(); });
    co_await rota::sleep_for(0ms);
    REQUIRE(rota::detail::running_task() == &me);
    REQUIRE(in_a_post == nullptr);
    const void* const in_the_other = co_await other;
    REQUIRE(in_the_other == &other.task());
  };
  rota_test::run_on(loop, body());
  REQUIRE(rota::detail::running_task() == nullptr);
}

TEST_CASE("the running task is the same before and after it destroys another loop, whose tasks run meanwhile") {
  auto inner = std::make_unique<rota::event_loop>();
  const rota::detail::task_state* during = nullptr;
  const auto worker = [&]() -> task<> {
    struct note {
      const rota::detail::task_state*& to;
      ~note() { to = rota::detail::running_task(); }
    } const at_end{during};
    co_await rota::sleep_for(1h);
  };
  rota::join_handle<> inner_task;
  const auto spawner = [&]() -> task<> {
    inner_task = rota::spawn(worker);
    co_await rota::yield();
  };
  inner->run(spawner());
  rota::event_loop outer;
  const auto body = [&]() -> task<> {
    const rota::detail::task_state& me = co_await rota::detail::this_state_awaiter();
    inner.reset();
    REQUIRE(during == &inner_task.task());
    REQUIRE(rota::detail::running_task() == &me);
  };
  rota_test::run_on(outer, body());
}

// ---- destruction --------------------------------------------------------------------------------------------------------

TEST_CASE("destruction cancels sleepers, joiners and yielders and runs their destructors") {
  const captured_reports reports;
  counted::alive = 0;
  const rota_test::frame_balance nothing_left;
  {
    rota::event_loop loop;
    const auto sleeper = [](counted) -> task<> {
      const counted local;
      co_await rota::sleep_for(1h);
    };
    const auto joiner = [](rota::join_handle<> handle, counted) -> task<> { co_await handle; };
    const auto yielder = [](counted) -> task<> {
      for (;;) co_await rota::yield();
    };
    const auto body = [&]() -> task<> {
      for (int i = 0; i != 10; ++i) {
        rota::join_handle<> handle = rota::spawn(sleeper, counted());
        (void)rota::spawn(joiner, handle, counted());
        (void)rota::spawn(yielder, counted());
      }
      co_await rota::sleep_for(1ms);
      (void)rota::spawn(sleeper, counted());  // has not begun yet
    };
    loop.run(body());
    REQUIRE(counted::alive > 30);
  }
  REQUIRE(counted::alive == 0);
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("the cancel of a destruction says so") {
  auto kind = rota::cancel_kind::requested;
  std::string reason;
  {
    rota::event_loop loop;
    const auto body = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        kind = c.kind();
        reason = c.reason();
        throw;
      }
    };
    const auto spawner = [&]() -> task<> {
      (void)rota::spawn(body);
      co_await rota::yield();
    };
    loop.run(spawner());
  }
  REQUIRE(kind == rota::cancel_kind::shutdown);
  REQUIRE_FALSE(reason.empty());
}

TEST_CASE("what is spawned during the destruction is cancelled at once") {
  bool ran = false;
  int cleanups = 0;
  {
    const auto late = [&]() -> task<> {
      ran = true;
      co_return;
    };
    const auto body = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        (void)rota::spawn(late);
        ++cleanups;
        throw;
      }
    };
    const auto spawner = [&]() -> task<> {
      (void)rota::spawn(body);
      co_await rota::yield();
    };
    rota::event_loop loop;  // goes first: its tasks refer to the lambdas
    loop.run(spawner());
  }
  REQUIRE(cleanups == 1);
  REQUIRE_FALSE(ran);
}

TEST_CASE("cleanup under a shield finishes during the destruction") {
  bool cleaned = false;
  {
    rota::event_loop loop;
    const auto body = [&]() -> task<> {
      bool interrupted = false;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        interrupted = true;
      }
      if (interrupted) {
        co_await rota::shield(1s, rota::sleep_for(1ms));
        cleaned = true;
      }
    };
    const auto spawner = [&]() -> task<> {
      (void)rota::spawn(body);
      co_await rota::yield();
    };
    loop.run(spawner());
  }
  REQUIRE(cleaned);
}

TEST_CASE("an error during the destruction is reported") {
  const captured_reports reports;
  {
    rota::event_loop loop;
    const auto body = []() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        throw std::runtime_error("could not save");
      }
    };
    const auto spawner = [&]() -> task<> {
      (void)rota::spawn(body);
      co_await rota::yield();
    };
    loop.run(spawner());
  }
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("could not save"));
}

TEST_CASE("a loop runs on the thread that made it only") {
  rota::event_loop loop;
  std::optional<rota::usage_error::kind> of_task, of_run, of_shutdown;
  std::thread([&] {
    const auto body = []() -> task<> { co_return; };
    of_task = rota_test::usage_error_of([&] { loop.run(body()); });
    of_run = rota_test::usage_error_of([&] { loop.run(); });
    of_shutdown = rota_test::usage_error_of([&] { loop.shutdown(); });
  }).join();
  REQUIRE(of_task == rota::usage_error::kind::wrong_thread);
  REQUIRE(of_run == rota::usage_error::kind::wrong_thread);
  REQUIRE(of_shutdown == rota::usage_error::kind::wrong_thread);
}

TEST_CASE("a loop that is destroyed on another thread ends the program with a word about it") {
  for (const bool has_a_task : {false, true}) {
    const rota_test::child_outcome child = rota_test::run_in_child([&] {
      auto loop = std::make_unique<rota::event_loop>();
      const auto sleeper = []() -> task<> { co_await rota::sleep_for(1h); };
      const auto spawner = [&]() -> task<> {
        (void)rota::spawn(sleeper);
        co_await rota::yield();
      };
      if (has_a_task) loop->run(spawner());
      std::thread([&] { loop.reset(); }).join();
      return 0;
    });
    INFO(child.output);
    REQUIRE(child.says("an event loop was destroyed on another thread than the one that made it"));
    REQUIRE(child.signal() == SIGABRT);
  }
}

TEST_CASE("a stream that outlives its loop ends the program with a word about it") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    const auto body = []() -> task<rota::tcp_listener> {
      co_return rota::tcp_listener::bind(rota::address("127.0.0.1", 0));
    };
    const rota::tcp_listener too_old = rota::run(body());
    return 0;
  });
  INFO(child.output);
  REQUIRE(child.says("destroyed before 1 of its streams or listeners"));
  REQUIRE(child.signal() == SIGABRT);
}

TEST_CASE("a task that ignores its cancellation is named, and in debug builds ends the program") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    rota::event_loop_options options;
    options.shutdown_deadline = 5ms;
    rota::event_loop loop(options);
    const auto stubborn = []() -> task<> {
      bool stop = false;
      while (!stop) {
        try {
          co_await rota::sleep_for(1h);
        } catch (const rota::cancelled&) {
        }
        co_await rota::shield(1h, rota::sleep_for(1h));
      }
    };
    const auto spawner = [&]() -> task<> {
      rota::spawn(stubborn).set_name("the stubborn");
      co_await rota::yield();
    };
    loop.run(spawner());
    std::printf("now the loop goes\n");
    return 0;
  });
  INFO(child.output);
  REQUIRE(child.says("now the loop goes"));
  REQUIRE(child.says("'the stubborn'"));
  REQUIRE(child.says("event_loop_test.cpp:"));
  REQUIRE(child.says("did not stop"));
  if (ROTA_ASSERTIONS)
    REQUIRE(child.signal() == SIGABRT);
  else
    REQUIRE(child.exit_code() == 0);
}

TEST_CASE("a task that does not stop is named by the line where its own coroutine waits") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    rota::event_loop_options options;
    options.shutdown_deadline = 1ms;
    rota::event_loop loop(options);
    // A reference is stored in a frame of the library's; and the wait is deeper than the task's own coroutine.
    const auto stubborn = [](const std::string&) -> task<> {
      std::printf("line %d.\n", __LINE__ + 1);
      co_await rota::shield(1h, number(1));  // a line before
      std::printf("line %d.\n", __LINE__ + 1);
      co_await rota::shield(1h, forever());
    };
    const auto spawner = [&]() -> task<> {
      (void)rota::spawn(stubborn, std::string("text"));
      co_await rota::yield();
    };
    loop.run(spawner());
    return 0;
  });
  INFO(child.output);
  const std::size_t said = child.output.rfind("line ");
  REQUIRE(said != std::string::npos);
  const std::string number = child.output.substr(said + 5, child.output.find('.', said) - said - 5);
  REQUIRE(child.says("task, last at "));
  REQUIRE(child.says("event_loop_test.cpp:" + number + " did not stop"));
}

// ---- fork ---------------------------------------------------------------------------------------------------------------

TEST_CASE("a child process cannot use its parent's loop, and the parent does not notice") {
  rota::event_loop loop;
  const auto body = []() -> task<int> {
    co_await rota::sleep_for(1ms);
    co_return 5;
  };
  REQUIRE(loop.run(body()) == 5);
  const rota_test::child_outcome child = rota_test::run_in_child([&] {
    try {
      (void)loop.run(body());
    } catch (const rota::usage_error& error) {
      std::printf("%s\n", error.what());
      return error.which() == rota::usage_error::kind::forked ? 7 : 8;
    }
    return 0;
  });
  INFO(child.output);
  REQUIRE(child.exit_code() == 7);
  REQUIRE(child.says("parent"));
  REQUIRE(loop.run(body()) == 5);
  rota_test::require_quiescent(loop);
}

TEST_CASE("a child process may have a loop of its own and destroy its copy of the parent's") {
  auto loop = std::make_unique<rota::event_loop>();
  const auto spawner = [&]() -> task<> {
    (void)rota::spawn(forever);
    co_await rota::yield();
  };
  loop->run(spawner());
  const rota_test::child_outcome child = rota_test::run_in_child([&] {
    rota::event_loop own;
    const int n = own.run(number(6));
    loop.reset();
    return n;
  });
  INFO(child.output);
  REQUIRE(child.exit_code() == 6);
  REQUIRE(loop->run(number(7)) == 7);
  REQUIRE(loop->statistics().tasks == 1);
}

TEST_CASE("a child that was forked by a task gets an error from its first wait") {
  rota::event_loop loop;
  const auto body = []() -> task<int> {
    co_await rota::sleep_for(1ms);
    const rota_test::child_outcome child = rota_test::run_in_child([] {
      // Still inside the parent's run(): leaving this body by an exception or an exit is all that is left.
      try {
        rota::event_loop own;
        own.run();
      } catch (const rota::usage_error& error) {
        return error.which() == rota::usage_error::kind::loop_already_running ? 7 : 8;
      }
      return 0;
    });
    co_await rota::sleep_for(1ms);
    co_return child.exit_code();
  };
  REQUIRE(rota_test::run_on(loop, body()) == 7);
}
