// Shows: structured concurrency. A task group whose failure cancels the rest, a service that says when it is ready,
// when_all, when_any, and cleanup that awaits.
// Run:   ./dev build release && build/release/examples/task_groups        (it ends by itself)

// [program]
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

rota::task<std::string> fetch(std::string name, std::chrono::milliseconds takes) {
  co_await rota::sleep_for(takes);
  co_return name;
}

rota::task<> worker(int number) {
  co_await rota::sleep_for(std::chrono::milliseconds(10 * number));
  if (number == 2) throw std::runtime_error("worker 2 has had enough");
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled& c) {
    std::printf("worker %d was cancelled: %s\n", number, std::string(c.reason()).c_str());
    throw;  // always: the scope stays cancelled
  }
}

// A group leaves when every child has ended; the first failure cancels the others.
rota::task<> one_for_all() {
  try {
    co_await rota::with_task_group([](rota::task_group& group) -> rota::task<> {
      for (int number = 1; number <= 3; ++number) group.spawn(worker, number);
      co_return;
    });
  } catch (const rota::exception_group& errors) {
    std::printf("%s\n", errors.what());
    if (const auto* only = errors.only<std::runtime_error>()) std::printf("the only error: %s\n", only->what());
  }
}

// start() gives control back when the child is ready, with what it has to say.
rota::task<> service(rota::task_status<int> status, int wished_port) {
  co_await rota::sleep_for(5ms);  // binding, warming up ...
  status.started(wished_port + 1);
  co_await rota::sleep_for(1h);
}

rota::task<int> with_service() {
  const auto body = [](rota::task_group& group) -> rota::task<int> {
    const int port = co_await group.start(service, 8000);
    group.cancel("enough for today");  // not an error: the group just ends
    co_return port;
  };
  co_return co_await rota::with_task_group(body);
}

rota::task<> combinators() {
  const auto all = co_await rota::when_all(fetch("a", 20ms), fetch("b", 10ms));  // at once, 20 ms in all
  std::printf("when_all: %s and %s\n", std::get<0>(all).c_str(), std::get<1>(all).c_str());

  std::vector<rota::task<std::string>> mirrors;
  mirrors.push_back(fetch("slow mirror", 1h));
  mirrors.push_back(fetch("fast mirror", 10ms));
  const auto first = co_await rota::when_any(std::move(mirrors));  // the slow one is cancelled and has ended
  std::printf("when_any: number %zu, %s\n", first.index, first.value.c_str());
}

// Cleanup runs on every way out, the last deferred first, and may await: under a limit.
rota::task<> say(std::string text) {
  co_await rota::sleep_for(1ms);
  std::printf("cleanup: %s\n", text.c_str());
}

rota::task<> cleanup() {
  co_await rota::with_cancel_scope([](rota::cancel_scope& scope) -> rota::task<> {
    scope.defer(1s, say, "close the database");
    scope.defer(1s, say, "say goodbye to the peer");
    scope.cancel("no time");
    co_await rota::sleep_for(1h);
  });
}

rota::task<> show() {
  co_await one_for_all();
  const int port = co_await with_service();
  std::printf("the service ran on port %d\n", port);
  co_await combinators();
  co_await cleanup();
}

int main() { return rota::run_main(show()); }
// [/program]
