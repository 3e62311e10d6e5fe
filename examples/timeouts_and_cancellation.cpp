// Shows: how things end early. Time limits, cancel scopes, a shield, and what a cancelled task sees.
// Run:   ./dev build release && build/release/examples/timeouts_and_cancellation        (it ends by itself)

// [program]
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <system_error>

using namespace std::chrono_literals;

rota::task<int> answer_after(std::chrono::milliseconds d) {
  co_await rota::sleep_for(d);
  co_return 42;
}

rota::task<> limits() {
  // An expired timeout is an error ...
  try {
    (void)co_await rota::timeout(10ms, answer_after(1h));
  } catch (const std::system_error& error) {
    std::printf("timeout: %s\n", error.what());
  }
  // ... or, where that is expected, an empty answer.
  const std::optional<int> late = co_await rota::move_on_after(10ms, answer_after(1h));
  const std::optional<int> early = co_await rota::move_on_after(1h, answer_after(10ms));
  std::printf("move_on_after: %s, then %d\n", late ? "a value" : "nothing", early.value_or(0));
}

// A scope can be cancelled from elsewhere, here by a task that runs beside it.
rota::task<> press_stop(rota::cancel_scope& scope) {
  co_await rota::sleep_for(10ms);
  scope.cancel("the user pressed stop");
}

rota::task<> work(int& steps) {
  for (;; ++steps) co_await rota::sleep_for(1ms);
}

rota::task<> stoppable() {
  int steps = 0;
  const auto body = [&steps](rota::cancel_scope& scope) -> rota::task<> {
    co_await rota::when_all(work(steps), press_stop(scope));
  };
  const bool finished = co_await rota::with_cancel_scope(body);
  std::printf("scope: %s after %s steps\n", finished ? "finished" : "stopped", steps > 0 ? "some" : "no");
}

// A cancelled task goes on until its next suspension, which throws. What must still await is shielded, under a limit.
rota::task<> careful() {
  std::string reason;
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled& c) {
    reason = c.reason();  // C++ allows no co_await in a handler: note what happened ...
  }
  co_await rota::shield(1s, rota::sleep_for(1ms));  // ... and say goodbye here
  std::printf("careful: said goodbye, because %s\n", reason.c_str());
  co_await rota::yield();  // throws again: cancellation is a state, not a signal
}

rota::task<> show() {
  co_await limits();
  co_await stoppable();

  rota::join_handle<> task = rota::spawn(careful);
  co_await rota::yield();
  task.cancel("the program moves on");
  try {
    co_await task;
  } catch (const std::system_error& error) {
    std::printf("join: %s\n", error.what());
  }
}

int main() { return rota::run_main(show()); }
// [/program]
