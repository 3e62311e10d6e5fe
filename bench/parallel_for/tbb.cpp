// Measures tbb::parallel_for over indices, inside an arena; it chooses the grain itself.
#include <cstddef>

#include <benchmark/benchmark.h>
#include <tbb/parallel_for.h>

#include "../tbb_arena.hpp"
#include "../threads.hpp"
#include "work.hpp"

template <class Body>
void run(benchmark::State& state, std::size_t size, Body body) {
  in_arena(state, [&] {
    for (auto _ : state) tbb::parallel_for(std::size_t{0}, size, body);
  });
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) { run(state, work::even_size, loops.even_body()); }
void cheap(benchmark::State& state) { run(state, work::cheap_size, loops.cheap_body()); }
void uneven(benchmark::State& state) { run(state, work::uneven_size, loops.uneven_body()); }

BENCHMARK(even)->Name("parallel_for/tbb/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_for/tbb/cheap")->Apply(threads::counts);
BENCHMARK(uneven)->Name("parallel_for/tbb/uneven")->Apply(threads::counts);
BENCHMARK_MAIN();
