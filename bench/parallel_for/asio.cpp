// Measures what one writes with boost::asio::thread_pool: eight functions per thread are posted, the caller, who is no thread
// of the pool, waits for a latch.
#include <cstddef>
#include <latch>

#include <benchmark/benchmark.h>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "../threads.hpp"
#include "work.hpp"

template <class Body>
void run(benchmark::State& state, std::size_t size, Body body) {
  const auto threads = static_cast<std::size_t>(state.range(0));
  boost::asio::thread_pool pool(threads);
  const std::size_t parts = threads * 8;
  for (auto _ : state) {
    std::latch done(static_cast<std::ptrdiff_t>(parts));
    for (std::size_t part = 0; part != parts; ++part)
      boost::asio::post(pool, [&, first = size * part / parts, last = size * (part + 1) / parts] {
        for (std::size_t i = first; i != last; ++i) body(i);
        done.count_down();
      });
    done.wait();
  }
  threads::note_resident(state);
}

work::loops loops;
void even(benchmark::State& state) { run(state, work::even_size, loops.even_body()); }
void cheap(benchmark::State& state) { run(state, work::cheap_size, loops.cheap_body()); }
void uneven(benchmark::State& state) { run(state, work::uneven_size, loops.uneven_body()); }

BENCHMARK(even)->Name("parallel_for/asio_by_hand/even")->Apply(threads::counts);
BENCHMARK(cheap)->Name("parallel_for/asio_by_hand/cheap")->Apply(threads::counts);
BENCHMARK(uneven)->Name("parallel_for/asio_by_hand/uneven")->Apply(threads::counts);
BENCHMARK_MAIN();
