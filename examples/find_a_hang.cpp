// Shows: a program that hangs, and what its task dump says about it: two clerks take two locks in opposite order.
// Run:   build/release/examples/find_a_hang            ends by itself, having shown the dump
//        build/release/examples/find_a_hang --hang     hangs; try kill -QUIT, gdb, ROTA_DEBUG=1 as docs/reference/debugging.md says
#include <rota/rota.hpp>

#include <cstdio>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

struct account {
  rota::mutex lock;
  int money = 100;
};

rota::task<> transfer(account& from, account& to, int amount) {
  auto first = co_await from.lock.lock();
  co_await rota::yield();  // asks somebody, in a real program
  auto second = co_await to.lock.lock();
  from.money -= amount;
  to.money += amount;
}

rota::task<> report_totals() {
  for (;;) co_await rota::sleep_for(1h);
}

rota::task<> work(bool hang) {
  account ann, bob;
  const auto both = [&](rota::task_group& group) -> rota::task<> {
    group.spawn(transfer, std::ref(ann), std::ref(bob), 10).set_name("ann pays bob");
    group.spawn(transfer, std::ref(bob), std::ref(ann), 20).set_name("bob pays ann");
    group.spawn(report_totals).set_name("reporter");
    if (hang) co_return;
    co_await rota::sleep_for(50ms);
    std::fflush(stdout);
    rota::event_loop::current()->dump(stdout);
    group.cancel("we have seen enough");
  };
  co_await rota::with_task_group(both);
  std::printf("ann has %d, bob has %d\n", ann.money, bob.money);
}

int main(int argc, char** argv) {
  const bool hang = argc > 1 && std::string_view(argv[1]) == "--hang";
  if (hang) rota::dump_on_signal();  // SIGQUIT: Ctrl-\ in a terminal
  return rota::run_main(work(hang));
}
