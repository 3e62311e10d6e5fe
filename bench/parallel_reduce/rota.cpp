// Measures rota::parallel_reduce, called by a task of the pool: a sum of hashes (even), a sum of products (cheap).
#include <cstddef>
#include <cstdint>
#include <functional>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "../parallel_for/work.hpp"
#include "../threads.hpp"

template <class T, class Map>
rota::task<> sums(benchmark::State& state, std::size_t size, T zero, Map map) {
  for (auto _ : state) {
    const T sum = co_await rota::parallel_reduce(std::size_t{0}, size, zero, map, std::plus<T>());
    benchmark::DoNotOptimize(sum);
  }
}
template <class T, class Map>
void run(benchmark::State& state, std::size_t size, T zero, Map map) {
  rota::thread_pool pool(static_cast<unsigned>(state.range(0)));
  rota::sync_wait(pool.run(sums<T, Map>, std::ref(state), size, zero, map));
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) {
  run(state, work::even_size, std::uint32_t{0},
      [from = loops.even.data()](std::size_t i) { return work::hash(from[i]); });
}
void cheap(benchmark::State& state) {
  run(state, work::cheap_size, 0.0f, [x = loops.x.data(), y = loops.y.data()](std::size_t i) { return x[i] * y[i]; });
}

BENCHMARK(even)->Name("parallel_reduce/rota/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_reduce/rota/cheap")->Apply(threads::counts);
BENCHMARK_MAIN();
