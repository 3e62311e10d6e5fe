// Measures a time limit in rota: around a task that returns at once, around one that waits for a turn of the loop, around
// a callback that comes in the next turn, and around a wait that the limit ends, 1000 in turn.
//
// `expired` is move_on_after, which says so with a value; `throws` is timeout, which throws, and a catch.
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#include <rota/rota.hpp>

#include "../allocations.hpp"

using namespace std::chrono_literals;

constexpr auto limit = 60s;

[[gnu::noinline]] rota::task<int> return_at_once() { co_return 7; }
[[gnu::noinline]] rota::task<int> return_next_turn() {
  co_await rota::yield();
  co_return 7;
}

template <auto operation>
rota::task<> completed(benchmark::State& state) {
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const int value = co_await rota::timeout(limit, operation());
    benchmark::DoNotOptimize(value);
  }
  allocations::report(state, before, state.iterations());
}

// Somebody's library: calls back in the next turn of the loop.
struct device {
  rota::callback<int> done;
  bool stop = false;
};

rota::task<> answer_every_turn(device* source) {
  for (; !source->stop; co_await rota::yield()) source->done(7);
}

rota::task<> called_back(benchmark::State& state) {
  device source;
  auto request = [&source](rota::callback<int> done) { source.done = std::move(done); };
  rota::join_handle<void> loop = rota::spawn(answer_every_turn, &source);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const int value = co_await rota::timeout(limit, rota::from_callback<int>(request));
    benchmark::DoNotOptimize(value);
  }
  allocations::report(state, before, state.iterations());
  source.stop = true;
  co_await loop;
}

constexpr int waiting = 1000;

rota::task<> expire_until(const bool* stop, std::int64_t* count) {
  while (!*stop) {
    const bool in_time = co_await rota::move_on_after(0s, rota::sleep_for(1h));
    if (!in_time) ++*count;
  }
}

rota::task<> throw_until(const bool* stop, std::int64_t* count) {
  while (!*stop) {
    try {
      co_await rota::timeout(0s, rota::sleep_for(1h));
    } catch (const std::system_error&) {
      ++*count;
    }
  }
}

// Measured are whole rounds, in which each of them expires once.
template <auto until>
rota::task<> expire_in_turn(benchmark::State& state) {
  bool stop = false;
  std::int64_t expired = 0;
  auto body = [&state, &stop, &expired](rota::task_group& group) -> rota::task<> {
    for (int i = 0; i < waiting; ++i) (void)group.spawn(until, &stop, &expired);
    const std::uint64_t before = allocations::count;
    for (auto _ : state) {
      const std::int64_t aim = expired + waiting;
      while (expired < aim) co_await rota::yield();
    }
    allocations::report(state, before, expired);
    stop = true;
  };
  co_await rota::with_task_group(body);
}

// An earlier deadline of somebody else stands, as in any server: so the kernel's timer need not be set each time.
template <auto body>
void run(benchmark::State& state) {
  rota::run([](benchmark::State& s) -> rota::task<> {
    rota::join_handle<void> standing = rota::spawn([]() -> rota::task<> { co_await rota::sleep_for(limit / 2); });
    co_await rota::yield();
    co_await body(s);
    standing.cancel();
  }(state));
}

BENCHMARK(run<completed<return_at_once>>)->Name("timeout/rota/ready");
BENCHMARK(run<completed<return_next_turn>>)->Name("timeout/rota/next_turn");
BENCHMARK(run<called_back>)->Name("timeout/rota/callback");
BENCHMARK(run<expire_in_turn<expire_until>>)->Name("timeout/rota/expired:1000");
BENCHMARK(run<expire_in_turn<throw_until>>)->Name("timeout/rota/throws:1000");
BENCHMARK_MAIN();
