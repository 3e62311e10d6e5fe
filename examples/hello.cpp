// Shows: a task, a second task beside it, a sleep, and a time limit.
// Run:   ./dev build release && build/release/examples/hello

// [program]
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

rota::task<std::string> greet(std::string name) {  // parameters by value: they live in the task
  co_await rota::sleep_for(100ms);                 // other tasks run meanwhile
  co_return "hello, " + name;
}

rota::task<> count() {
  for (int n = 1;; ++n) {
    std::printf("tick %d\n", n);
    co_await rota::sleep_for(40ms);
  }
}

rota::task<> hello() {
  rota::join_handle<> ticks = rota::spawn(count);  // runs beside us from the next turn of the loop on

  const std::string greeting = co_await greet("world");
  std::printf("%s\n", greeting.c_str());
  ticks.cancel();

  try {
    co_await rota::timeout(50ms, rota::sleep_for(1h));
  } catch (const std::system_error& error) {
    std::printf("no time to sleep for an hour: %s\n", error.what());
  }
}

int main() { return rota::run_main(hello()); }
// [/program]
