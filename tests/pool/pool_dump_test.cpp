// What a pool tells when the process is asked for its tasks.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::thread_pool;

task<> sleeps_long(std::string name) {
  rota::this_task::set_name(std::move(name));
  co_await rota::sleep_for(1h);
}
task<> computes_until(const std::atomic<bool>& done) {
  while (!done) std::this_thread::yield();
  co_return;
}

// Asks until some dump says it: a dump is a moment's view.
void ask_until(const rota_test::captured_reports& reports, const char* text) {
  while (!reports.contains(text)) {
    REQUIRE(rota::dump_tasks() >= 1);
    std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("a pool that is asked tells which of its tasks wait, where they are, and which workers sleep") {
  const rota_test::captured_reports reports;
  thread_pool pool(2);
  auto handle = pool.spawn(sleeps_long, std::string("patient"));
  ask_until(reports, "- task 'patient' waits\n    sleeps_long at ");
  ask_until(reports, "worker 1 has been asleep for ");
  CHECK(reports.contains(": workers 2, asleep "));
  CHECK(reports.contains("pool_dump_test.cpp:"));
  handle.cancel();
}

TEST_CASE("a pool tells what its workers run, and an event loop tells it for one whose workers are all busy") {
  const rota_test::captured_reports reports;
  std::atomic<bool> done{false};
  thread_pool pool(1);
  auto handle = pool.spawn(computes_until, std::cref(done));
  const auto asks = [&]() -> task<> {
    while (!reports.contains("worker 0 runs a task; forked children that wait here: 0\n    computes_until at ")) {
      REQUIRE(rota::dump_tasks() == 2);
      co_await rota::sleep_for(0ms);
    }
    REQUIRE(reports.contains("- task runs, or is about to\n    computes_until at "));
  };
  rota::run(asks());
  done = true;
  rota::sync_wait(std::move(handle));
}

TEST_CASE("a report handler may use the pool that is told of") {
  static std::atomic<int> written{0};
  static thread_pool* asked = nullptr;
  thread_pool pool(1);
  asked = &pool;
  auto handle = pool.spawn(sleeps_long, std::string("patient"));
  const rota::report_handler before = rota::set_report_handler([](const char* text) noexcept {
    const auto writes = []() -> task<> {
      written.fetch_add(1);
      co_return;
    };
    if (std::strstr(text, "- task 'patient'")) (void)asked->spawn(writes);
  });
  while (written == 0) {
    rota::dump_tasks();
    std::this_thread::yield();
  }
  rota::set_report_handler(before);
  handle.cancel();
}

TEST_CASE("a forked child does not ask its parent's pools") {
  const auto outcome = rota_test::run_in_child([] {
    const thread_pool pool(1);
    while (pool.statistics().sleeping != 1) std::this_thread::yield();
    const pid_t child = ::fork();
    if (child == 0) ::_exit(static_cast<int>(rota::dump_tasks()));
    int status = -1;
    ::waitpid(child, &status, 0);
    return rota::dump_tasks() == 1 && WIFEXITED(status) ? WEXITSTATUS(status) : 98;
  });
  CHECK(outcome.exit_code() == 0);
}

TEST_CASE("a debugger gets the pools, too, without waiting for a lock") {
  const auto outcome = rota_test::run_in_child([] {
    thread_pool pool(1);
    auto handle = pool.spawn(sleeps_long, std::string("patient"));
    while (pool.statistics().sleeping != 1) std::this_thread::yield();
    rota_dump_tasks();
    handle.cancel();
    return 0;
  });
  INFO(outcome.output);
  CHECK(outcome.says("thread_pool 0x"));
  CHECK(outcome.says("- task waits\n    sleeps_long at "));
}
