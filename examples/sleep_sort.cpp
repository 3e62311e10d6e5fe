// Shows: many tasks and many timers; each number sleeps as long as it is large, so they wake in order.
// Run:   build/release/examples/sleep_sort 3 1 2        or: sleep_sort --count 1000000

#include <rota/rota.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

#include "support/arguments.hpp"

using number = std::uint32_t;

// [sleeper]
rota::task<> sleeper(number n, rota::time_point start, std::vector<number>& sorted) {
  co_await rota::sleep_until(start + n * std::chrono::microseconds(1));
  sorted.push_back(n);  // one loop is one thread: no lock
}

// `sorted` must outlive every sleeper, also when this task fails: it belongs to main(), because rota::run() returns
// only when all tasks have ended.
rota::task<> sort(const std::vector<number>& numbers, std::vector<number>& sorted) {
  std::vector<rota::join_handle<>> sleepers;
  sleepers.reserve(numbers.size());
  // Far enough in the future that every task is asleep by then.
  const auto start = rota::clock::now() + std::chrono::milliseconds(10) + numbers.size() * std::chrono::microseconds(2);
  for (const number n : numbers) sleepers.push_back(rota::spawn(sleeper, n, start, std::ref(sorted)));
  for (rota::join_handle<>& s : sleepers) co_await s;
}
// [/sleeper]

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv,
                               "usage: sleep_sort NUMBER...        sorts the numbers (0 to 10000000) by sleeping\n"
                               "       sleep_sort --count N        sorts N random numbers (1 to 5000000)\n");
  const auto count = arguments.number<number>("--count", 0, 1, 5'000'000);
  std::vector<number> numbers;
  for (const std::string_view word : arguments.words())
    numbers.push_back(arguments.to_number<number>("a number", word, 0, 10'000'000));
  arguments.end();
  if (numbers.empty() == (count == 0)) arguments.refuse("give numbers, or --count N");

  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<number> any_number(0, count);
  for (number i = 0; i != count; ++i) numbers.push_back(any_number(random));

  const auto before = rota::clock::now();
  std::vector<number> sorted;
  sorted.reserve(numbers.size());
  rota::run(sort(numbers, sorted));
  const std::chrono::duration<double> seconds = rota::clock::now() - before;

  if (count == 0) {
    for (const number n : sorted) std::printf("%u\n", n);
  } else {
    std::printf("%zu tasks slept for up to %u us each and woke within %.2f s\n", sorted.size(), count, seconds.count());
  }
  std::sort(numbers.begin(), numbers.end());
  if (sorted == numbers) return 0;
  std::fprintf(stderr, "sleep_sort: the numbers are not in order\n");
  return 1;
}
