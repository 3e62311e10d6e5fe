// Shows: a semaphore that is filled at a steady rate, and a capacity_limiter, in front of a service that must not be flooded.
// Run:   ./dev build release && build/release/examples/rate_limiter        (it ends by itself)
#include <rota/rota.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>

using namespace std::chrono_literals;

// [limiter]
// So many calls at once after a quiet time, then one per interval, first come first served.
class rate_limiter {
 public:
  rate_limiter(std::size_t burst, std::chrono::milliseconds interval) : tokens_(burst, burst), interval_(interval) {}

  rota::task<> pass() {
    auto token = co_await tokens_.acquire();  // cancelled here, nothing is used up
    token.forget();                           // used up: only refill() makes new ones
  }

  // For ever, until it is cancelled.
  rota::task<> refill() {
    for (auto next = rota::clock::now();;) {
      next += interval_;
      co_await rota::sleep_until(next);
      if (tokens_.available() < tokens_.limit()) tokens_.release();
    }
  }

 private:
  rota::semaphore tokens_;
  std::chrono::milliseconds interval_;
};
// [/limiter]

struct service {
  rate_limiter rate{5, 10ms};
  rota::capacity_limiter slots{3};
  rota::latch unanswered{25};
  std::size_t most_at_once = 0;
};

// [client]
rota::task<> request(service& s) {
  co_await s.rate.pass();
  const auto slot = co_await s.slots.acquire();  // however slow the answers are, three at most
  s.most_at_once = std::max(s.most_at_once, s.slots.borrowed());
  co_await rota::sleep_for(2ms);  // the service works
  s.unanswered.count_down();
}

rota::task<> flood(service& s) {
  const auto body = [&s](rota::task_group& group) -> rota::task<> {
    group.spawn(&rate_limiter::refill, std::ref(s.rate));
    for (std::size_t i = s.unanswered.count(); i != 0; --i) group.spawn(request, std::ref(s));
    co_await s.unanswered.wait();
    group.cancel("all is answered");  // ends refill()
  };
  co_await rota::with_task_group(body);
}
// [/client]

rota::task<> show() {
  service s;
  const auto start = rota::clock::now();
  co_await flood(s);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(rota::clock::now() - start);
  std::printf("25 requests took %lld ms (5 at once, then one in 10 ms: at least 200)\n",
              static_cast<long long>(took.count()));
  std::printf("at most %zu were with the service at once\n", s.most_at_once);
}

int main() { return rota::run_main(show()); }
