// Shows: a picture computed on all CPUs by forking and joining, while the loop draws a progress bar; Ctrl-C stops it.
// Run:   build/release/examples/parallel_mandelbrot mandelbrot.pgm        or: --size 4000 --threads 4

#include <rota/rota.hpp>

#include <atomic>
#include <chrono>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "support/arguments.hpp"

namespace {

// [compute]
struct picture {
  explicit picture(unsigned s) : size(s), grey(std::size_t{s} * s) {}
  unsigned size;
  std::vector<std::uint8_t> grey;
  std::atomic<unsigned> rows_done{0};  // the loop looks at it
};

void compute_row(picture& p, unsigned row) {
  for (unsigned column = 0; column != p.size; ++column) {
    const std::complex<double> c(3.0 * column / p.size - 2.25, 3.0 * row / p.size - 1.5);
    std::complex<double> z;
    int steps = 0;
    for (; steps != 255 && std::norm(z) < 4; ++steps) z = z * z + c;
    p.grey[std::size_t{row} * p.size + column] = static_cast<std::uint8_t>(255 - steps);
  }
  p.rows_done.fetch_add(1, std::memory_order_relaxed);
}

// Halves the rows until few are left: other threads steal the larger halves. A cancel is heard at every fork.
rota::task<> compute(picture& p, unsigned from, unsigned to) {
  if (to - from <= 4) {
    for (unsigned row = from; row != to; ++row) compute_row(p, row);
    co_return;
  }
  const unsigned middle = from + (to - from) / 2;
  co_await rota::when_all(compute(p, from, middle), compute(p, middle, to));
}
// [/compute]

rota::task<> show_progress(const picture& p) {
  for (;;) {
    const unsigned done = p.rows_done.load(std::memory_order_relaxed);
    const std::string bar(std::size_t{40} * done / p.size, '#');
    std::fprintf(stderr, "\r[%-40s] %3u %%", bar.c_str(), 100 * done / p.size);
    co_await rota::sleep_for(std::chrono::milliseconds(50));
  }
}

bool write_file(const picture& p, const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) return false;
  std::fprintf(file, "P5\n%u %u\n255\n", p.size, p.size);
  std::fwrite(p.grey.data(), 1, p.grey.size(), file);
  return std::fclose(file) == 0;
}

// [program]
rota::task<int> program(unsigned size, unsigned threads, std::string path) {
  picture p(size);
  rota::thread_pool pool(threads);  // 0: as many as this process may use CPUs
  const auto began = rota::clock::now();
  const auto draw = [&]() -> rota::task<> { co_await pool.run(compute, std::ref(p), 0U, size); };
  (void)co_await rota::when_any(draw(), show_progress(p));  // the pool computes, this loop draws the bar
  const std::chrono::duration<double> took = rota::clock::now() - began;
  const bool written = co_await rota::to_thread(write_file, std::cref(p), path);  // may block
  std::fprintf(stderr, "\n%s: %u x %u, %.2f s on %zu threads\n", path.c_str(), size, size, took.count(),
               pool.threads());
  co_return written ? 0 : 1;
}
// [/program]

}  // namespace

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv, "usage: parallel_mandelbrot [FILE] [--size PIXELS] [--threads N]\n");
  const auto size = arguments.number<unsigned>("--size", 1000, 1, 30'000);
  const auto threads = arguments.number<unsigned>("--threads", 0, 0, 1000);
  const std::vector<std::string_view> words = arguments.words();
  arguments.end();
  return rota::run_main(program(size, threads, std::string(words.empty() ? "mandelbrot.pgm" : words[0])));
}
