// add_signal_handler: signals as callbacks of a loop.
#include <rota/loop/signals.hpp>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;

void run_once(rota::event_loop& loop) {
  loop.stop();
  loop.run();
}

std::atomic<int> seen_by_the_old_handler{0};
void old_handler(int) { ++seen_by_the_old_handler; }

/// While it lives, old_handler is what the signal does.
class old_disposition {
 public:
  explicit old_disposition(int number) : number_(number) {
    seen_by_the_old_handler = 0;
    struct sigaction action{};
    action.sa_handler = &old_handler;
    REQUIRE(::sigaction(number, &action, &before_) == 0);
  }
  old_disposition(const old_disposition&) = delete;
  old_disposition& operator=(const old_disposition&) = delete;
  ~old_disposition() { ::sigaction(number_, &before_, nullptr); }

 private:
  int number_;
  struct sigaction before_{};
};

struct sigaction disposition(int number) {
  struct sigaction now{};
  REQUIRE(::sigaction(number, nullptr, &now) == 0);
  return now;
}

}  // namespace

TEST_CASE("a signal is a callback in the loop: no task runs, and the loop is the current one") {
  rota::event_loop loop;
  const void* running = &loop;
  rota::event_loop* current = nullptr;
  loop.add_signal_handler(SIGUSR1, [&] {
    running = rota::detail::running_task();
    current = rota::event_loop::current();
    loop.stop();
  });
  const pthread_t me = ::pthread_self();
  std::thread other([me] { ::pthread_kill(me, SIGUSR1); });
  loop.run();
  other.join();
  REQUIRE(running == nullptr);
  REQUIRE(current == &loop);
  REQUIRE(loop.remove_signal_handler(SIGUSR1));
  rota_test::require_quiescent(loop);
}

TEST_CASE("a signal that another thread of the process gets is seen by the loop, too") {
  rota::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [&] { loop.stop(); });
  std::thread other([] { ::pthread_kill(::pthread_self(), SIGUSR1); });
  loop.run();
  other.join();
}

TEST_CASE("several signals before the loop comes to them are one call, one within the call is another") {
  rota::event_loop loop;
  int calls = 0;
  loop.add_signal_handler(
      SIGUSR1,
      [&](int again) {
        if (++calls == again) ::raise(SIGUSR1);
      },
      1);
  ::raise(SIGUSR1);
  ::raise(SIGUSR1);
  ::raise(SIGUSR1);
  REQUIRE(calls == 0);
  run_once(loop);
  REQUIRE(calls == 1);
  run_once(loop);
  REQUIRE(calls == 2);
  run_once(loop);
  REQUIRE(calls == 2);
}

TEST_CASE("remove restores what the signal did before, and says whether there was something") {
  const old_disposition old(SIGUSR2);
  rota::event_loop loop;
  REQUIRE_FALSE(loop.remove_signal_handler(SIGUSR2));
  int calls = 0;
  loop.add_signal_handler(SIGUSR2, [&] { ++calls; });
  REQUIRE((disposition(SIGUSR2).sa_flags & SA_RESTART) != 0);
  ::raise(SIGUSR2);
  REQUIRE(loop.remove_signal_handler(SIGUSR2));
  run_once(loop);
  REQUIRE(calls == 0);  // removed before the loop came to it
  REQUIRE(seen_by_the_old_handler == 0);
  ::raise(SIGUSR2);
  REQUIRE(seen_by_the_old_handler == 1);
  REQUIRE_FALSE(loop.remove_signal_handler(SIGUSR2));
  for (const int number : {0, -1, 65, 1000, SIGKILL}) REQUIRE_FALSE(loop.remove_signal_handler(number));
}

TEST_CASE("a new handler replaces the old one, and remove restores what was before both") {
  const old_disposition old(SIGUSR2);
  rota::event_loop loop;
  auto kept = std::make_shared<int>(0);
  int calls = 0;
  loop.add_signal_handler(SIGUSR2, [kept] { ++*kept; });
  ::raise(SIGUSR2);
  loop.add_signal_handler(SIGUSR2, [&] { ++calls; });
  REQUIRE(kept.use_count() == 1);
  run_once(loop);
  REQUIRE(*kept == 0);
  ::raise(SIGUSR2);
  run_once(loop);
  REQUIRE(calls == 1);
  REQUIRE(loop.remove_signal_handler(SIGUSR2));
  REQUIRE(disposition(SIGUSR2).sa_handler == &old_handler);
}

TEST_CASE("a handler may replace and remove itself") {
  const rota_test::frame_balance nothing_left;
  rota::event_loop loop;
  std::string log;
  auto kept = std::make_shared<int>(0);
  loop.add_signal_handler(SIGUSR1, [&log, &loop, kept] {
    loop.add_signal_handler(SIGUSR1, [&] {
      REQUIRE(loop.remove_signal_handler(SIGUSR1));
      log += 'b';
    });
    REQUIRE(kept.use_count() == 2);  // what runs lives until it returns
    log += 'a';
  });
  ::raise(SIGUSR1);
  run_once(loop);
  REQUIRE(kept.use_count() == 1);
  ::raise(SIGUSR1);
  run_once(loop);
  REQUIRE(log == "ab");
  REQUIRE(disposition(SIGUSR1).sa_handler == SIG_DFL);
}

TEST_CASE("what cannot be handled, or is no signal, is refused") {
  rota::event_loop loop;
  for (const int number : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 0, -1, 65, 1 << 30})
    REQUIRE(rota_test::usage_error_of([&] { loop.add_signal_handler(number, [] {}); }) ==
            rota::usage_error::kind::invalid_argument);
  // 32 belongs to the C library's threads.
  REQUIRE(rota_test::error_code_of([&] { loop.add_signal_handler(32, [] {}); }) == std::errc::invalid_argument);
  REQUIRE_FALSE(loop.remove_signal_handler(32));
}

TEST_CASE("a signal belongs to one loop at a time") {
  rota::event_loop first;
  int calls = 0;
  {
    rota::event_loop second;
    second.add_signal_handler(SIGUSR1, [&] { ++calls; });
    REQUIRE(rota_test::usage_error_of([&] { first.add_signal_handler(SIGUSR1, [] {}); }) ==
            rota::usage_error::kind::wrong_loop);
    REQUIRE_FALSE(first.remove_signal_handler(SIGUSR1));
    ::raise(SIGUSR1);
    run_once(second);
    REQUIRE(calls == 1);
  }
  first.add_signal_handler(SIGUSR1, [&] { calls += 10; });
  ::raise(SIGUSR1);
  run_once(first);
  REQUIRE(calls == 11);
}

TEST_CASE("the shutdown of a loop removes its handlers, and a new one is refused") {
  const rota_test::frame_balance nothing_left;
  const old_disposition old(SIGUSR1);
  auto kept = std::make_shared<int>(0);
  {
    rota::event_loop loop;
    loop.add_signal_handler(SIGUSR1, [kept] { ++*kept; });
    loop.add_signal_handler(SIGUSR2, [kept] { ++*kept; });
    ::raise(SIGUSR2);
    loop.shutdown();
    REQUIRE(*kept == 1);  // it had come before
    REQUIRE(kept.use_count() == 1);
    REQUIRE(disposition(SIGUSR1).sa_handler == &old_handler);
    REQUIRE(disposition(SIGUSR2).sa_handler == SIG_DFL);
    REQUIRE(rota_test::usage_error_of([&] { loop.add_signal_handler(SIGUSR1, [] {}); }) ==
            rota::usage_error::kind::loop_shut_down);
  }
  ::raise(SIGUSR1);
  REQUIRE(seen_by_the_old_handler == 1);
}

TEST_CASE("remove leaves a handler alone that somebody else installed meanwhile") {
  rota::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  const old_disposition newer(SIGUSR1);
  REQUIRE(loop.remove_signal_handler(SIGUSR1));
  REQUIRE(disposition(SIGUSR1).sa_handler == &old_handler);
}

TEST_CASE("an exception out of a signal's callback is told, and the handler stays") {
  const captured_reports reports;
  rota::event_loop loop;
  int calls = 0;
  loop.add_signal_handler(SIGUSR1, [&] {
    if (++calls == 1) throw std::runtime_error("not now");
  });
  for (int i = 0; i != 2; ++i) {
    ::raise(SIGUSR1);
    run_once(loop);
  }
  INFO(reports.all());
  REQUIRE(calls == 2);
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("signals_test.cpp:"));
  REQUIRE(reports.contains("not now"));
}

TEST_CASE("system calls of other code are restarted") {
  rota::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pthread_t me = ::pthread_self();
  std::thread other([&, me] {
    for (int i = 0; i != 5; ++i) {
      ::pthread_kill(me, SIGUSR1);
      std::this_thread::sleep_for(200us);
    }
    (void)!::write(ends[1], "x", 1);
  });
  char byte = 0;
  REQUIRE(::read(ends[0], &byte, 1) == 1);
  other.join();
  ::close(ends[0]);
  ::close(ends[1]);
  run_once(loop);
}

TEST_CASE("handlers come and go while signals arrive on other threads") {
  const rota_test::frame_balance nothing_left;
  const old_disposition old(SIGUSR1);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i != 2; ++i)
    threads.emplace_back([&] {
      while (!done) ::pthread_kill(::pthread_self(), SIGUSR1);
    });
  const std::size_t rounds = rota_test::scaled(300, 50);
  int calls = 0;
  for (std::size_t i = 0; i != rounds; ++i) {
    rota::event_loop loop;
    loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
    run_once(loop);
    loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
    if (i % 2 == 0) loop.remove_signal_handler(SIGUSR1);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  REQUIRE(calls >= 0);
}

TEST_CASE("within run_main a handler takes the place of its own, and gives it back") {
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    const auto body = []() -> task<int> {
      rota::event_loop& loop = *rota::event_loop::current();
      int calls = 0;
      loop.add_signal_handler(SIGINT, [&] { ++calls; });
      ::raise(SIGINT);
      co_await rota::sleep_for(1ms);
      std::printf("calls %d\n", calls);
      loop.remove_signal_handler(SIGINT);
      ::raise(SIGINT);
      co_await rota::sleep_for(1h);
      co_return 0;
    };
    return rota::run_main(body());
  });
  INFO(child.output);
  REQUIRE(child.says("calls 1"));
  REQUIRE(child.exit_code() == 128 + SIGINT);
}
