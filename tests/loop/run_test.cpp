// rota::run and rota::run_main: a program in one call, its exit code, and signals.
#include <signal.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;
using rota_test::child_outcome;
using rota_test::child_process;
using rota_test::run_in_child;

task<int> number(int n) { co_return n; }
task<> nothing() { co_return; }

// Says on stdout that it is ready, then sleeps; cleans up, slowly, when it is cancelled.
task<> interruptible() {
  std::printf("ready\n");
  bool interrupted = false;
  std::string why;
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled& c) {
    interrupted = c.kind() == rota::cancel_kind::interrupt;
    why = c.reason();
  }
  if (interrupted) {
    co_await rota::shield(1s, rota::sleep_for(2ms));
    std::printf("cleaned up after %s\n", why.c_str());
  }
  co_await rota::yield();  // throws again
  std::printf("not reached\n");
}

}  // namespace

TEST_CASE("run gives the value, or throws the exception") {
  const rota_test::frame_balance nothing_left;
  REQUIRE(rota::run(number(4)) == 4);
  const auto fail = []() -> task<> {
    co_await rota::yield();
    throw std::runtime_error("main");
  };
  REQUIRE_THROWS_AS(rota::run(fail()), std::runtime_error);
  int object = 0;
  const auto refer = [](int& to) -> task<int&> { co_return to; };
  REQUIRE(&rota::run(refer(object)) == &object);
  const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
  REQUIRE(*rota::run(own()) == 3);
  REQUIRE(rota_test::usage_error_of([] { rota::run(task<>()); }) == rota::usage_error::kind::invalid_task);
}

TEST_CASE("run throws rota::cancelled when its task ended by a cancel") {
  const auto body = []() -> task<> {
    std::exception_ptr kept;
    const auto sleeper = [&kept](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      try {
        co_await rota::sleep_for(1h);
      } catch (...) {
        kept = std::current_exception();
      }
    };
    co_await rota::with_cancel_scope(sleeper);
    std::rethrow_exception(kept);
  };
  REQUIRE_THROWS_AS(rota::run(body()), rota::cancelled);
}

TEST_CASE("a run that stop() ended says so, unless its task had a value all the same") {
  const captured_reports reports;
  const auto sleeper = []() -> task<> {
    rota::event_loop::current()->stop();
    co_await rota::sleep_for(1h);
  };
  REQUIRE(rota_test::error_code_of([&] {
            rota::run(sleeper());
            return 0;
          }) == rota::errc::loop_stopped);
  REQUIRE(reports.size() == 0);
  REQUIRE(rota::run_main(sleeper()) == 1);
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("stopped before the task had ended"));
  const auto last_words = []() -> task<int> {
    rota::event_loop::current()->stop();
    bool stopped = false;
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled&) {
      stopped = true;
    }
    co_return stopped ? 6 : 7;
  };
  REQUIRE(rota::run(last_words()) == 6);
  REQUIRE(rota::run_main(last_words()) == 6);
}

TEST_CASE("run takes everything down before it returns: cancel, run to the end, report, then the result") {
  const captured_reports reports;
  const rota_test::frame_balance nothing_left;
  std::vector<std::string> log;
  const auto child = [&]() -> task<> {
    bool interrupted = false;
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled& c) {
      interrupted = c.kind() == rota::cancel_kind::shutdown;
    }
    log.push_back(interrupted ? "child cancelled" : "?");
    co_await rota::shield(1s, rota::sleep_for(1ms));
    log.push_back("child cleaned up");
    throw std::runtime_error("child failed at the end");
  };
  const auto body = [&]() -> task<int> {
    (void)rota::spawn(child);
    co_await rota::yield();
    log.push_back("main ends");
    co_return 5;
  };
  const int result = rota::run(body());
  log.push_back("run returned");
  REQUIRE(result == 5);
  REQUIRE(log == std::vector<std::string>{"main ends", "child cancelled", "child cleaned up", "run returned"});
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("child failed at the end"));
}

TEST_CASE("main's own exception survives the teardown") {
  const captured_reports reports;
  const auto child = []() -> task<> {
    try {
      co_await rota::sleep_for(1h);
    } catch (const rota::cancelled&) {
      throw std::runtime_error("of the child");
    }
  };
  const auto body = [&]() -> task<> {
    (void)rota::spawn(child);
    co_await rota::yield();
    throw std::runtime_error("of main");
  };
  std::string caught;
  try {
    rota::run(body());
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  REQUIRE(caught == "of main");
  REQUIRE(reports.count("of the child") == 1);
}

TEST_CASE("run leaves no loop behind, and can be called again and again") {
  for (int i = 0; i != 20; ++i) REQUIRE(rota::run(number(i)) == i);
  REQUIRE(rota::event_loop::current() == nullptr);
}

TEST_CASE("a run that is refused tells so, and nothing about its task") {
  const captured_reports reports;
  rota_test::run([]() -> task<> {
    using kind = rota::usage_error::kind;
    const auto job = []() -> task<int> { co_return 1; };
    REQUIRE(rota_test::usage_error_of([&] { return rota::run(job()); }) == kind::loop_already_running);
    rota::event_loop other;
    REQUIRE(rota_test::usage_error_of([&] { return other.run(job()); }) == kind::loop_already_running);
    REQUIRE(rota_test::usage_error_of([&] { return rota::sync_wait(job()); }) == kind::blocking_in_loop);
    co_return;
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("run_main gives the value of a task<int>, and zero after a task<>") {
  REQUIRE(rota::run_main(number(3)) == 3);
  REQUIRE(rota::run_main(nothing()) == 0);
}

TEST_CASE("run_main prints an exception and gives 1") {
  const captured_reports reports;
  const auto fail = []() -> task<> {
    co_await rota::yield();
    throw std::runtime_error("the port is taken");
  };
  REQUIRE(rota::run_main(fail()) == 1);
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("the port is taken"));
  const auto odd = []() -> task<int> {
    throw 3;
    co_return 0;
  };
  REQUIRE(rota::run_main(odd()) == 1);
  REQUIRE(reports.size() == 2);
  REQUIRE(rota::run_main(task<>()) == 1);
  REQUIRE(reports.size() == 3);
}

TEST_CASE("run_main prints to stderr that ROTA_BACKEND is misspelt, and gives 1") {
  const child_outcome child = run_in_child([] {
    ::setenv("ROTA_BACKEND", "io-uring", 1);
    return rota::run_main(nothing());
  });
  REQUIRE(child.exit_code() == 1);
  REQUIRE(child.says("rota: error: std::invalid_argument: ROTA_BACKEND is 'io-uring'"));
}

TEST_CASE("SIGINT cancels the main task, its cleanup runs, and the exit code is 130") {
  child_process child([] { return rota::run_main(interruptible()); });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  const child_outcome end = child.wait();
  INFO(end.output);
  REQUIRE(end.exit_code() == 130);
  REQUIRE(end.says("cleaned up after SIGINT"));
  REQUIRE_FALSE(end.says("not reached"));
}

TEST_CASE("SIGTERM does the same, and the exit code is 143") {
  child_process child([] { return rota::run_main(interruptible()); });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGTERM);
  const child_outcome end = child.wait();
  INFO(end.output);
  REQUIRE(end.exit_code() == 143);
  REQUIRE(end.says("cleaned up after SIGTERM"));
}

TEST_CASE("a second SIGINT ends the process at once") {
  child_process child([] {
    const auto stubborn = []() -> task<> {
      std::printf("ready\n");
      bool interrupted = false;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        interrupted = true;
      }
      std::printf(interrupted ? "cleaning for long\n" : "?\n");
      co_await rota::shield(1h, rota::sleep_for(1h));
    };
    return rota::run_main(stubborn());
  });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  REQUIRE(child.wait_for("cleaning for long"));
  child.send(SIGINT);
  REQUIRE(child.wait().exit_code() == 130);
}

TEST_CASE("a task that ends with a value in spite of SIGINT keeps its exit code") {
  child_process child([] {
    const auto graceful = []() -> task<int> {
      std::printf("ready\n");
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_return 5;
    };
    return rota::run_main(graceful());
  });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  REQUIRE(child.wait().exit_code() == 5);
}

TEST_CASE("a task of void that ends in spite of SIGINT has ended well") {
  child_process child([] {
    const auto graceful = []() -> task<> {
      std::printf("ready\n");
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
    };
    return rota::run_main(graceful());
  });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  REQUIRE(child.wait().exit_code() == 0);
}

TEST_CASE("an exception during the interrupt is an error, exit code 1") {
  child_process child([] {
    const auto failing = []() -> task<> {
      std::printf("ready\n");
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        throw std::runtime_error("could not save");
      }
    };
    return rota::run_main(failing());
  });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  const child_outcome end = child.wait();
  REQUIRE(end.exit_code() == 1);
  REQUIRE(end.says("could not save"));
}

TEST_CASE("a signal that the program ignores stays ignored") {
  child_process child([] {
    ::signal(SIGINT, SIG_IGN);
    const auto body = []() -> task<int> {
      std::printf("ready\n");
      co_await rota::sleep_for(20ms);
      co_return 6;
    };
    return rota::run_main(body());
  });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  REQUIRE(child.wait().exit_code() == 6);
}

TEST_CASE("run_main puts the signals back as they were") {
  struct sigaction before{};
  struct sigaction after{};
  REQUIRE(::sigaction(SIGINT, nullptr, &before) == 0);
  REQUIRE(rota::run_main(nothing()) == 0);
  REQUIRE(::sigaction(SIGINT, nullptr, &after) == 0);
  REQUIRE(before.sa_handler == after.sa_handler);
  const child_outcome child = run_in_child([] {
    (void)rota::run_main(nothing());
    ::raise(SIGINT);
    return 0;
  });
  REQUIRE(child.signal() == SIGINT);
}

TEST_CASE("run_main leaves a signal handler alone that its program has set meanwhile") {
  const child_outcome child = run_in_child([] {
    const auto body = []() -> task<> {
      ::signal(SIGINT, [](int) { ::_exit(7); });
      co_return;
    };
    (void)rota::run_main(body());
    ::raise(SIGINT);
    return 0;
  });
  REQUIRE(child.exit_code() == 7);
}

TEST_CASE("children of the main task are taken down after a SIGINT, too") {
  child_process child([] {
    const auto worker = []() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        std::printf("worker cancelled, %s\n", std::string(c.reason()).c_str());
        throw;
      }
    };
    const auto body = [&]() -> task<> {
      (void)rota::spawn(worker);
      co_await interruptible();
    };
    return rota::run_main(body());
  });
  REQUIRE(child.wait_for("ready"));
  child.send(SIGINT);
  const child_outcome end = child.wait();
  INFO(end.output);
  REQUIRE(end.exit_code() == 130);
  REQUIRE(end.says("worker cancelled"));
  REQUIRE(end.output.find("cleaned up") < end.output.find("worker cancelled"));
}
