// Measures rota::parallel_for, called by a task of the pool: a loop of a few milliseconds (even), one of a few microseconds
// (cheap), one whose elements take more and more time (uneven).
#include <cstddef>
#include <functional>

#include <benchmark/benchmark.h>

#include <rota/rota.hpp>

#include "../threads.hpp"
#include "work.hpp"

template <class Body>
rota::task<> loop(benchmark::State& state, std::size_t size, Body body) {
  for (auto _ : state) co_await rota::parallel_for(std::size_t{0}, size, body);
}
template <class Body>
void run(benchmark::State& state, std::size_t size, Body body) {
  rota::thread_pool pool(static_cast<unsigned>(state.range(0)));
  rota::sync_wait(pool.run(loop<Body>, std::ref(state), size, body));
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) { run(state, work::even_size, loops.even_body()); }
void cheap(benchmark::State& state) { run(state, work::cheap_size, loops.cheap_body()); }
void uneven(benchmark::State& state) { run(state, work::uneven_size, loops.uneven_body()); }

BENCHMARK(even)->Name("parallel_for/rota/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_for/rota/cheap")->Apply(threads::counts);
BENCHMARK(uneven)->Name("parallel_for/rota/uneven")->Apply(threads::counts);
BENCHMARK_MAIN();
