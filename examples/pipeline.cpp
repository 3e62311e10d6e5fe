// Shows: a pipeline of three stages with channels between them. The slowest stage sets the pace of all: back-pressure.
// Run:   ./dev build release && build/release/examples/pipeline        (it ends by itself)

#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

using namespace std::chrono_literals;

// [stages]
rota::task<> read_lines(rota::sender<std::string> out, int count) {
  for (int i = 0; i != count; ++i) co_await out.send("line " + std::to_string(i));
}

rota::task<> measure(rota::receiver<std::string> in, rota::sender<std::size_t> out) {
  while (auto line = co_await in.next()) {
    co_await rota::sleep_for(1ms);  // the slow one
    co_await out.send(line->size());
  }
}

rota::task<std::size_t> add_up(rota::receiver<std::size_t> in) {
  std::size_t sum = 0;
  while (auto size = co_await in.next()) sum += *size;
  co_return sum;
}

rota::task<std::size_t> pipeline(std::size_t capacity, int lines, std::size_t& peak) {
  auto [lines_out, lines_in] = rota::channel<std::string>(capacity);
  auto [sizes_out, sizes_in] = rota::channel<std::size_t>(capacity);
  const auto look = lines_in.clone();
  auto reading = read_lines(std::move(lines_out), lines);
  auto measuring = measure(std::move(lines_in), std::move(sizes_out));
  auto adding = add_up(std::move(sizes_in));
  const auto all = co_await rota::when_all(std::move(reading), std::move(measuring), std::move(adding));
  peak = look.statistics().peak;
  co_return std::get<2>(all);
}
// [/stages]

rota::task<int> program() {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{16}}) {
    const auto begin = std::chrono::steady_clock::now();
    std::size_t peak = 0;
    const std::size_t sum = co_await pipeline(capacity, 100, peak);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    std::printf("capacity %2zu: 100 lines of %zu characters in %.1f ms, at most %zu lines waited\n", capacity, sum,
                took.count(), peak);
    if (sum != 690 || peak > capacity) co_return 1;
  }
  co_return 0;
}

int main() { return rota::run_main(program()); }
