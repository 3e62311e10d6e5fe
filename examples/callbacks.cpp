// Shows: an event loop without coroutines. Timers, a watched descriptor, a signal, a worker thread, an error handler.
// Run:   seq 3 | build/release/examples/callbacks          (./dev build release; it ends by itself, or with Ctrl-C)

// [program]
#include <rota/rota.hpp>

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

// A timer is called once; who wants it again asks again.
void tick(rota::event_loop& loop, int n) {
  std::printf("tick %d\n", n);
  if (n < 3)
    loop.call_later(20ms, tick, std::ref(loop), n + 1);
  else
    loop.stop();
}

// Called in each turn of the loop in which there is something to read.
void read_input(rota::event_loop& loop) {
  char block[4096];
  const ssize_t n = ::read(STDIN_FILENO, block, sizeof block);
  std::printf("read %zd bytes\n", n);
  if (n <= 0) loop.remove_reader(STDIN_FILENO);  // the end
}

int main() {
  rota::event_loop loop;

  loop.set_exception_handler([](const rota::exception_context& context) {
    try {
      std::rethrow_exception(context.exception);
    } catch (const std::exception& error) {
      std::printf("line %u: %s\n", static_cast<unsigned>(context.where.line()), error.what());
    }
  });
  loop.call_soon([] { throw std::runtime_error("this callback fails, the loop goes on"); });

  loop.call_later(20ms, tick, std::ref(loop), 1);
  rota::call_handle never = loop.call_later(1h, [] { std::printf("too late\n"); });
  never.cancel();

  loop.add_reader(STDIN_FILENO, read_input, std::ref(loop));
  loop.add_signal_handler(SIGINT, [&loop] {
    std::printf("interrupted\n");
    loop.stop();
  });

  std::thread worker([&loop] {
    const int answer = 6 * 7;  // takes its time, elsewhere
    loop.call_soon_threadsafe([](int n) { std::printf("the answer is %d\n", n); }, answer);
  });
  loop.run();
  worker.join();
}
// [/program]
