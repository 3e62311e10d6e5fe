// Shows: the parallel algorithms: a million samples are made, measured, summed and sorted on all CPUs.
// Run:   build/release/examples/parallel_statistics        or: parallel_statistics --samples 10000000 --threads 2

#include <rota/rota.hpp>
#include <rota/scope/parallel_sort.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <vector>

#include "support/arguments.hpp"

namespace {

// The same number between 0 and 1 for the same index, whichever thread asks (the mixer of splitmix64).
double sample(std::size_t index) {
  std::uint64_t x = (index + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((x ^ (x >> 31)) >> 11) / 9007199254740992.0;
}

struct summary {
  double mean = 0;
  double deviation = 0;
  double median = 0;
  double p99 = 0;
};

// [compute]
rota::task<summary> compute(std::size_t size) {
  std::vector<double> values(size), squares(size);
  co_await rota::parallel_for(std::size_t{0}, size, [&](std::size_t i) { values[i] = sample(i); });
  co_await rota::parallel_transform(values, squares, [](double v) { return v * v; });

  const auto sum = [](const std::vector<double>& of) {
    return rota::parallel_reduce(of, 0.0, std::identity(), std::plus<>());
  };
  const double count = static_cast<double>(size);
  summary s;
  s.mean = co_await sum(values) / count;
  s.deviation = std::sqrt(co_await sum(squares) / count - s.mean * s.mean);

  co_await rota::parallel_sort(values);
  s.median = values[size / 2];
  s.p99 = values[size * 99 / 100];
  co_return s;
}
// [/compute]

rota::task<int> program(std::size_t size, unsigned threads) {
  rota::thread_pool pool(threads);  // 0: as many as this process may use CPUs
  const auto began = rota::clock::now();
  const summary s = co_await pool.run(compute, size);
  const std::chrono::duration<double, std::milli> took = rota::clock::now() - began;
  std::printf("mean %.3f, deviation %.3f, median %.3f, 99 %% are below %.3f\n", s.mean, s.deviation, s.median, s.p99);
  std::fprintf(stderr, "%zu samples, %.0f ms on %zu threads\n", size, took.count(), pool.threads());
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv, "usage: parallel_statistics [--samples N] [--threads N]\n");
  const auto size = arguments.number<std::size_t>("--samples", 1'000'000, 1, 1'000'000'000);
  const auto threads = arguments.number<unsigned>("--threads", 0, 0, 1000);
  arguments.end();
  return rota::run_main(program(size, threads));
}
