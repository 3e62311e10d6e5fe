// parallel_sort: the same as std::sort, from several threads.
#include <rota/scope/parallel_sort.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::thread_pool;

std::vector<int> shuffled(std::size_t size, int greatest) {
  std::minstd_rand random(static_cast<unsigned>(size) + 1);
  std::uniform_int_distribution<int> number(0, greatest);
  std::vector<int> numbers(size);
  for (int& n : numbers) n = number(random);
  return numbers;
}

// Shapes that quicksorts are known to suffer from.
std::vector<std::vector<int>> inputs() {
  std::vector<std::vector<int>> all;
  for (int size = 0; size != 40; ++size) all.push_back(shuffled(static_cast<std::size_t>(size), 20));
  for (const int greatest : {0, 1, 100, 1'000'000}) all.push_back(shuffled(10'000, greatest));
  std::vector<int> ascending(10'000);
  for (std::size_t i = 0; i != ascending.size(); ++i) ascending[i] = static_cast<int>(i);
  std::vector<int> organ_pipe = ascending;
  std::reverse(organ_pipe.begin() + 5'000, organ_pipe.end());
  all.push_back(ascending);
  all.emplace_back(ascending.rbegin(), ascending.rend());
  all.push_back(organ_pipe);
  return all;
}

TEST_CASE("whatever the order was, it is sorted, with any grain, on any number of threads") {
  for (const unsigned threads : {1u, 3u}) {
    thread_pool pool(threads);
    for (const std::ptrdiff_t grain : {0, 1, 100})
      for (const std::vector<int>& input : inputs()) {
        std::vector<int> numbers = input, expected = input;
        const auto sort = [&]() -> task<> {
          co_await rota::parallel_sort(numbers, std::less<>(), std::identity(), grain);
        };
        rota::sync_wait(pool.run(sort));
        std::sort(expected.begin(), expected.end());
        REQUIRE(numbers == expected);
      }
  }
}

TEST_CASE("a loop's task sorts, too") {
  std::vector<int> numbers = shuffled(10'000, 1000);
  rota_test::run([&]() -> task<> { co_await rota::parallel_sort(numbers); });
  REQUIRE(std::is_sorted(numbers.begin(), numbers.end()));
}

struct person {
  std::string name;
  int age;
};

TEST_CASE("a comparison and a projection say what the order is, members as well") {
  std::deque<person> people;
  for (const int age : shuffled(5000, 90)) people.push_back({std::to_string(age) + " years old", age});
  const auto sort = [&]() -> task<> {
    co_await rota::parallel_sort(people, std::ranges::greater(), &person::age, 100);
  };
  thread_pool pool(2);
  rota::sync_wait(pool.run(sort));
  REQUIRE(std::is_sorted(people.begin(), people.end(), [](const person& a, const person& b) { return a.age > b.age; }));
  for (const person& one : people) REQUIRE(one.name == std::to_string(one.age) + " years old");
}

TEST_CASE("elements that can only be moved are sorted, in a part of a vector as well") {
  const std::vector<int> numbers = shuffled(10'000, 10'000);
  std::vector<std::unique_ptr<int>> owners;
  for (const int n : numbers) owners.push_back(std::make_unique<int>(n));
  const auto sort = [&]() -> task<> {
    co_await rota::parallel_sort(
        std::span(owners).last(9'000), std::less<>(), [](const auto& owner) { return *owner; }, 50);
  };
  thread_pool pool(3);
  rota::sync_wait(pool.run(sort));
  std::vector<int> expected = numbers;
  std::sort(expected.begin() + 1'000, expected.end());
  for (std::size_t i = 0; i != expected.size(); ++i) REQUIRE(*owners[i] == expected[i]);
}

TEST_CASE("an error of the comparison comes out as it is, and leaves elements that can be destroyed and assigned") {
  for (const int calls : {0, 10, 1'000, 50'000}) {
    std::vector<std::string> texts;
    for (const int n : shuffled(10'000, 10'000))
      texts.push_back("a text that lies on the heap, number " + std::to_string(n));
    std::atomic<int> left{calls};
    const auto less = [&](const std::string& a, const std::string& b) {
      if (left.fetch_sub(1) <= 0) throw std::runtime_error("comparison");
      return a < b;
    };
    const auto sort = [&]() -> task<> { co_await rota::parallel_sort(texts, less, std::identity(), 100); };
    thread_pool pool(2);
    REQUIRE_THROWS_WITH(rota::sync_wait(pool.run(sort)), "comparison");
    for (std::string& text : texts) text += "!";
    REQUIRE(texts.size() == 10'000);
  }
}

TEST_CASE("a cancel stops a sort between its parts") {
  thread_pool pool(1);
  std::vector<int> numbers = shuffled(10'000, 1'000'000);
  std::atomic<bool> begun{false}, go{false};
  std::atomic<int> compared{0};
  const auto less = [&](int a, int b) {
    begun.store(true);
    while (!go.load()) std::this_thread::yield();
    compared.fetch_add(1);
    return a < b;
  };
  const auto sort = [&]() -> task<> { co_await rota::parallel_sort(numbers, less, std::identity(), 100); };
  auto handle = pool.spawn(sort);
  while (!begun.load()) std::this_thread::yield();
  handle.cancel();
  go.store(true);
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(handle); }) == rota::errc::task_cancelled);
  REQUIRE(compared.load() < 2 * 10'000);  // the first partition
}

// M. D. McIlroy, "A Killer Adversary for Quicksort" (1999): decides what is less only when it is asked, so that each pivot
// turns out to be among the least.
class adversary {
 public:
  explicit adversary(int size) : values_(static_cast<std::size_t>(size), size), gas_(size) {}
  bool operator()(int x, int y) {
    ++calls;
    if (of(x) == gas_ && of(y) == gas_) of(x == candidate_ ? x : y) = solid_++;
    if (of(x) == gas_)
      candidate_ = x;
    else if (of(y) == gas_)
      candidate_ = y;
    return of(x) < of(y);
  }
  std::int64_t calls = 0;

 private:
  int& of(int x) { return values_[static_cast<std::size_t>(x)]; }
  std::vector<int> values_;
  int gas_;
  int solid_ = 0;
  int candidate_ = 0;
};

TEST_CASE("the worst choice of pivots does not make it quadratic") {
  constexpr int size = 1 << 15;
  std::vector<int> numbers(size);
  for (std::size_t i = 0; i != numbers.size(); ++i) numbers[i] = static_cast<int>(i);
  adversary enemy(size);
  rota_test::run([&]() -> task<> { co_await rota::parallel_sort(numbers, std::ref(enemy), std::identity(), 16); });
  REQUIRE(enemy.calls < 8LL * size * 15);  // n log2(n); the square would be a thousand times as much
}

}  // namespace
