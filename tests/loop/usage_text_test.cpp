// A mistake tells who made it: the text of a usage_error names the task, and each program goes on.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::usage_error;

task<> nothing() { co_return; }
task<int> number() { co_return 1; }

struct mistake {
  mistake(const char* n, const char* s, std::function<task<>()> f) : name(n), says(s), make(std::move(f)) {}

  const char* name;
  const char* says;
  std::function<task<>()> make;  // without captures: nothing of it is in the frame
};

// Each is the body of a task called 'culprit'.
std::vector<mistake> mistakes() {
  std::vector<mistake> all;
  all.emplace_back("a loop in a loop", "an event loop already runs on this thread", []() -> task<> {
    rota::run(nothing());
    co_return;
  });
  all.emplace_back("a loop that ends itself", "shut down from within its own run", []() -> task<> {
    (void)rota::event_loop::current()->shutdown();
    co_return;
  });
  all.emplace_back("a blocking wait", "sync_wait was called", []() -> task<> {
    rota::sync_wait(nothing());
    co_return;
  });
  all.emplace_back("an empty handle is asked", "an empty or moved-from join_handle", []() -> task<> {
    const rota::join_handle<> empty;
    (void)empty.done();
    co_return;
  });
  all.emplace_back("an empty handle is awaited", "an empty or moved-from join_handle", []() -> task<> {
    rota::join_handle<> empty;
    co_await empty;
  });
  all.emplace_back("an outcome that is not there", "has not ended", []() -> task<> {
    rota::join_handle<> handle = rota::spawn(nothing);
    handle.result();
    co_return;
  });
  all.emplace_back("an empty handle in gather", "an empty join_handle was given to gather", []() -> task<> {
    std::vector<rota::join_handle<int>> handles(1);
    (void)co_await rota::gather(handles);
  });
  all.emplace_back("wait for nothing", "wait() needs at least one task", []() -> task<> {
    std::vector<rota::join_handle<int>> none;
    (void)co_await rota::wait(none);
  });
  all.emplace_back("any of nothing", "when_any and race need at least one awaitable", []() -> task<> {
    std::vector<task<int>> none;
    (void)co_await rota::when_any(std::move(none));
  });
  all.emplace_back("a task twice", "awaited or spawned twice", []() -> task<> {
    task<int> once = number();
    (void)co_await std::move(once);
    (void)co_await std::move(once);
  });
  all.emplace_back("a child that never says started", "without calling started()", []() -> task<> {
    const auto silent = [](rota::task_status<>) -> task<> { co_return; };
    const auto body = [&](rota::task_group& group) -> task<> { co_await group.start(silent); };
    co_await rota::with_task_group(body);
  });
  return all;
}

}  // namespace

TEST_CASE("a usage_error names the task that made the mistake") {
  for (const mistake& one : mistakes()) {
    INFO(one.name);
    std::string text;
    rota_test::run([&]() -> task<> {
      const auto culprit = [&]() -> task<> {
        try {
          co_await one.make();
        } catch (const usage_error& error) {
          text = error.what();
        } catch (const rota::exception_group& errors) {
          const usage_error* const first = errors.find<usage_error>();
          if (first) text = first->what();
        }
      };
      rota::join_handle<> handle = rota::spawn(culprit);
      handle.set_name("culprit");
      co_await handle;
    });
    INFO(text);
    REQUIRE(text.find(one.says) != std::string::npos);
    REQUIRE(text.find("'culprit'") != std::string::npos);
  }
}
