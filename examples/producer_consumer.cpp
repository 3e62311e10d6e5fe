// Shows: a bounded channel. Two producers, three consumers, back-pressure, the end of the stream, select with a timer.
// Run:   ./dev build release && build/release/examples/producer_consumer        (it ends by itself)

#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

using namespace std::chrono_literals;

// [tasks]
struct job {
  job(int n, std::string t) : number(n), text(std::move(t)) {}
  int number;
  std::string text;
};

rota::task<> produce(rota::sender<job> tx, int first, int count) {
  for (int i = first; i != first + count; ++i) {
    job one(i, "job " + std::to_string(i));
    co_await tx.send(std::move(one));  // waits while the channel is full; cancelled here, `one` is still ours
  }
}  // tx goes, and with the last one the stream ends

rota::task<> consume(rota::receiver<job> rx, int& done) {
  while (auto one = co_await rx.next()) {
    co_await rota::sleep_for(1ms);  // some work
    ++done;
  }
}

rota::task<int> factory() {
  auto [tx, rx] = rota::channel<job>(4);
  int done = 0;
  const auto body = [&](rota::task_group& group) -> rota::task<> {
    for (int i = 0; i != 2; ++i) group.spawn(produce, tx.clone(), 100 * i, 20);
    for (int i = 0; i != 3; ++i) group.spawn(consume, rx.clone(), std::ref(done));
    tx.close();  // ours, or the stream would never end
    co_return;
  };
  co_await rota::with_task_group(body);
  const auto s = rx.statistics();
  std::printf("%d jobs done, never more than %zu of %zu waited\n", done, s.peak, s.capacity);
  co_return done == 40 && s.peak <= s.capacity ? 0 : 1;
}
// [/tasks]

// [select]
rota::task<> watch_over(rota::receiver<job> rx) {
  for (;;) {
    auto r = co_await rota::select(rx.next(), rota::sleep_for(5ms));
    if (r.index() == 1) {
      std::printf("nothing for 5 ms\n");  // and no job was taken
      co_return;
    }
    if (!r.get<0>()) co_return;
    std::printf("%s\n", r.get<0>()->text.c_str());
  }
}
// [/select]

rota::task<int> program() {
  const int failed = co_await factory();
  auto [tx, rx] = rota::channel<job>(4);
  co_await tx.send({1, "one last job"});
  co_await watch_over(std::move(rx));
  co_return failed;
}

int main() { return rota::run_main(program()); }
