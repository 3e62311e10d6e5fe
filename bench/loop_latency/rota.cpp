// Measures how long a loop lets a client wait while a pool of one thread, on another core, does nothing (idle) or forks
// without an end (saturated), in turns of 50 ms: a round trip of 64 bytes to a task that echoes them on the same loop, and how
// much too late a timer of 200 us is.
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

using namespace std::chrono_literals;

void stay_on(unsigned core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  ::sched_setaffinity(0, sizeof one, &one);
}

rota::task<long> fib(int n) {
  if (n < 2) co_return n;
  auto both = co_await rota::when_all(fib(n - 1), fib(n - 2));
  co_return std::get<0>(both) + std::get<1>(both);
}
rota::task<> compute_without_end() {
  for (;;) benchmark::DoNotOptimize(co_await fib(20));
}

rota::task<> echo(rota::fd_stream& end) {
  std::array<std::byte, 64> bytes;
  for (;;) {
    const std::size_t n = co_await end.read_some(bytes);
    if (n == 0) co_return;
    co_await end.write_all(std::span(bytes).first(n));
  }
}
std::array<rota::fd_stream, 2> stream_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  return {rota::fd_stream::adopt(rota::unique_fd(fds[0])), rota::fd_stream::adopt(rota::unique_fd(fds[1]))};
}

using samples = std::vector<double>;

double microseconds_since(rota::time_point began) {
  return std::chrono::duration<double, std::micro>(rota::clock::now() - began).count();
}
rota::task<> ask(rota::fd_stream& end, samples& us) {
  std::array<std::byte, 64> bytes{};
  const auto until = rota::clock::now() + 50ms;
  for (auto began = rota::clock::now(); began < until; began = rota::clock::now()) {
    co_await end.write_all(bytes);
    for (std::size_t got = 0; got != bytes.size();) got += co_await end.read_some(std::span(bytes).subspan(got));
    us.push_back(microseconds_since(began));
  }
}
rota::task<> nap(samples& us) {
  const auto until = rota::clock::now() + 50ms;
  while (rota::clock::now() < until) {
    const auto due = rota::clock::now() + 200us;
    co_await rota::sleep_until(due);
    us.push_back(microseconds_since(due));
  }
}

struct outcome {
  samples idle, saturated;
};
double quantile(samples us, double part) {
  const auto place = us.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(us.size() - 1) * part);
  std::nth_element(us.begin(), place, us.end());
  return *place;
}
void report(benchmark::State& state, const outcome& seen) {
  state.counters["idle_p50_us"] = quantile(seen.idle, 0.5);
  state.counters["idle_p99_us"] = quantile(seen.idle, 0.99);
  state.counters["saturated_p50_us"] = quantile(seen.saturated, 0.5);
  state.counters["saturated_p99_us"] = quantile(seen.saturated, 0.99);
  state.counters["p99_saturated/idle_times"] = quantile(seen.saturated, 0.99) / quantile(seen.idle, 0.99);
}
template <class Ask>
rota::task<outcome> measure(rota::thread_pool& pool, Ask ask_once) {
  outcome seen;
  for (int turn = 0; turn != 20; ++turn) {
    co_await ask_once(seen.idle);
    auto handle = pool.spawn(compute_without_end);
    co_await ask_once(seen.saturated);
    handle.cancel();
    (void)co_await rota::as_result(handle);
  }
  co_return seen;
}

rota::task<> echoes(benchmark::State& state, rota::thread_pool& pool) {
  auto ends = stream_pair();
  auto server = rota::spawn(echo, std::ref(ends[1]));
  const auto client = [&](samples& us) { return ask(ends[0], us); };
  report(state, co_await measure(pool, client));
  server.cancel();
  (void)co_await rota::as_result(server);
}
rota::task<> timers(benchmark::State& state, rota::thread_pool& pool) { report(state, co_await measure(pool, nap)); }

template <auto f>
void run(benchmark::State& state) {
  for (auto _ : state) {
    stay_on(1);
    rota::thread_pool pool(1);  // its thread stays where its maker was
    stay_on(0);
    rota::run(f(state, pool));
  }
}

BENCHMARK(run<echoes>)->Name("loop_latency/rota/echo")->Iterations(1);
BENCHMARK(run<timers>)->Name("loop_latency/rota/timer")->Iterations(1);
BENCHMARK_MAIN();
