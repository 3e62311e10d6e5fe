// Measures rota::from_callback: somebody's one-shot callback is called while it is being registered (`inline`), or later
// by the loop (`later`).
#include <cstdint>
#include <utility>

#include <rota/rota.hpp>

#include "../allocations.hpp"

// Somebody's library: keeps one callback until it has a value for it.
class device {
 public:
  void request(rota::callback<int> done) { done_ = std::move(done); }
  void answer(int value) { done_(value); }

 private:
  rota::callback<int> done_;
};

rota::task<> inline_callback(benchmark::State& state) {
  auto answer_at_once = [](rota::callback<int> done) { done(7); };
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const int value = co_await rota::from_callback<int>(answer_at_once);
    benchmark::DoNotOptimize(value);
  }
  allocations::report(state, before, state.iterations());
}

rota::task<> answer_every_turn(device* source, const bool* stop) {
  for (; !*stop; co_await rota::yield()) source->answer(7);
}

rota::task<> later_callback(benchmark::State& state) {
  device source;
  bool stop = false;
  auto request = [&source](rota::callback<int> done) { source.request(std::move(done)); };
  rota::join_handle<void> loop = rota::spawn(answer_every_turn, &source, &stop);
  const std::uint64_t before = allocations::count;
  for (auto _ : state) {
    const int value = co_await rota::from_callback<int>(request);
    benchmark::DoNotOptimize(value);
  }
  allocations::report(state, before, state.iterations());
  stop = true;
  co_await loop;
}

void inline_case(benchmark::State& state) { rota::run(inline_callback(state)); }
void later_case(benchmark::State& state) { rota::run(later_callback(state)); }

BENCHMARK(inline_case)->Name("from_callback/rota/inline");
BENCHMARK(later_case)->Name("from_callback/rota/later");
BENCHMARK_MAIN();
