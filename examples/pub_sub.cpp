// Shows: broadcast (everybody gets everything, a slow reader learns what it missed) and watch (the latest value).
// Run:   ./dev build release && build/release/examples/pub_sub        (it ends by itself)

#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

using namespace std::chrono_literals;

// [broadcast]
rota::task<int> read(rota::broadcast_receiver<std::string> news, std::chrono::milliseconds pace, const char* name) {
  int seen = 0;
  while (auto one = co_await news.next()) {
    if (one->missed != 0) std::printf("%s has missed %d\n", name, static_cast<int>(one->missed));
    seen += 1 + static_cast<int>(one->missed);
    co_await rota::sleep_for(pace);
  }
  co_return seen;
}

rota::task<> publish(rota::broadcast_sender<std::string> news, int count) {
  for (int i = 0; i != count; ++i) {
    news.send("news " + std::to_string(i));  // never waits
    co_await rota::sleep_for(1ms);
  }
}
// [/broadcast]

// [watch]
rota::task<> follow(rota::watch_receiver<int> level) {
  std::printf("level %d\n", level.borrow());
  while (auto now = co_await level.next()) std::printf("level %d\n", *now);
}
// [/watch]

rota::task<int> program() {
  rota::broadcast_sender<std::string> news = rota::broadcast<std::string>(4);
  auto quick = read(news.subscribe(), 0ms, "quick");
  auto slow = read(news.subscribe(), 6ms, "slow");
  const auto seen = co_await rota::when_all(std::move(quick), std::move(slow), publish(std::move(news), 20));
  auto [tx, rx] = rota::watch<int>(1);
  rota::join_handle<> following = rota::spawn(follow, std::move(rx));
  co_await rota::yield();
  tx.send(2);
  tx.send(3);  // at once: nobody need hear of 2
  co_await rota::yield();
  tx.close();
  co_await following;
  co_return std::get<0>(seen) == 20 && std::get<1>(seen) == 20 ? 0 : 1;
}

int main() { return rota::run_main(program()); }
