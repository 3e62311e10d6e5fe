// Shows: select between threads. A task waits for results of plain threads, a stop from another one, and a timer.
// Run:   ./dev build release && build/release/examples/select_between_threads        (it ends by itself)
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

using namespace std::chrono_literals;

// [collect]
struct collected {
  int results = 0;
  int sum = 0;
  bool stopped = false;
};

// Whatever comes first is done, and nothing else: a result that is not taken here stays in the channel, for whoever is next.
rota::task<collected> collect(rota::thread_receiver<int, false> results, rota::any_thread::event& stop) {
  collected all;
  while (!all.stopped) {
    auto r = co_await rota::select_biased(results.next(), stop.wait(), rota::sleep_for(10s));
    if (r.index() == 0 && r.get<0>()) {
      ++all.results;
      all.sum += *r.get<0>();
    } else {
      all.stopped = true;  // told to, or nothing for ten seconds, or no thread is left
    }
  }
  co_return all;
}
// [/collect]

void measure(rota::thread_sender<int> tx, int first) {
  for (int i = first; i != first + 10; ++i) tx.blocking_send(i);
}

int main() {
  rota::any_thread::event stop;
  auto [tx, rx] = rota::mpsc_channel<int>(4);
  std::thread one(measure, tx.clone(), 0);
  std::thread other(measure, tx.clone(), 10);
  std::thread supervisor([&] {
    one.join();
    other.join();
    stop.set();
  });
  const collected all = rota::run(collect(std::move(rx), stop));
  supervisor.join();
  std::printf("%d results, together %d\n", all.results, all.sum);
  return all.results == 20 && all.sum == 190 ? 0 : 1;
}
