#include "common.hpp"

#include <rota/rota.hpp>

using namespace std::chrono_literals;

task<> silenced() {
  (void)rota::sleep_for(1s);                   // finds: never-awaited
  static_cast<void>(get_int());                // finds: never-awaited
  (void)rota::when_all(get_int(), get_int());  // finds: never-awaited
  (void)rota::to_thread([] { return 1; });     // finds: never-awaited
  co_return;
}
task<> named(rota::tcp_stream stream, rota::event& event) {
  auto pause = rota::sleep_for(1s);  // finds: never-awaited
  auto waiting = event.wait();       // finds: never-awaited
  const auto number = get_int();     // finds: never-awaited
  auto used = get_int();
  co_await std::move(used);
}
void not_a_coroutine() {
  auto number = get_int();  // finds: never-awaited
}

// ---- right

task<> awaited(rota::tcp_stream stream) {
  (void)co_await get_int();
  auto number = get_int();
  auto moved = std::move(number);
  co_await std::move(moved);
  (void)moved;
}
void handles() {
  (void)rota::spawn(get_int);
  auto handle = rota::spawn(get_int);
  rota::promise<int> promise;
  auto future = promise.get_future();
}
