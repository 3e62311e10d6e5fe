// parallel_for, parallel_transform, parallel_reduce, parallel_invoke.
#include <rota/scope/parallel.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::thread_pool;

TEST_CASE("every index is visited once, on any number of threads, with any grain") {
  for (const unsigned threads : {1u, 3u})
    for (const std::size_t grain : {0u, 1u, 7u, 5000u}) {
      std::vector<int> visits(1000);
      thread_pool pool(threads);
      const auto all = [&]() -> task<> {
        co_await rota::parallel_for(std::size_t{0}, visits.size(), [&](std::size_t i) { ++visits[i]; }, grain);
      };
      rota::sync_wait(pool.run(all));
      REQUIRE(visits == std::vector<int>(1000, 1));
    }
}

TEST_CASE("the last part is cut where others have run out of work") {
  thread_pool pool(2);  // parts of 100 elements
  std::atomic<int> others{0};
  bool were_visited = false;
  const auto all = [&]() -> task<> {
    co_await rota::parallel_for(0, 1600, [&](int i) {
      if (i >= 25) others.fetch_add(1);
      if (i != 0) return;
      for (int tries = 0; tries != 20'000'000 && others.load() != 1575; ++tries) std::this_thread::yield();
      were_visited = others.load() == 1575;  // those behind it, which have been in its part
    });
  };
  rota::sync_wait(pool.run(all));
  REQUIRE(were_visited);
}

TEST_CASE("an empty range does nothing, and a loop's task may use it, too") {
  int visits = 0;
  rota_test::run([&]() -> task<> {
    co_await rota::parallel_for(5, 5, [&](int) { ++visits; });
    co_await rota::parallel_for(5, -5, [&](int) { ++visits; });
    REQUIRE(visits == 0);
    co_await rota::parallel_for(-5, 5, [&](int) { ++visits; });
    REQUIRE(visits == 10);
    const int none =
        co_await rota::parallel_reduce(1, 1, 42, [](int) { return 1; }, [](int a, int b) { return a + b; });
    REQUIRE(none == 42);
  });
}

TEST_CASE("indices may be as far apart as their type allows") {
  thread_pool pool(2);
  std::array<std::atomic<int>, 256> visits{};
  const auto all = [&]() -> task<> {
    const auto visit = [&](std::int8_t i) { ++visits[static_cast<std::size_t>(i + 128)]; };
    co_await rota::parallel_for(std::int8_t{-128}, std::int8_t{127}, visit);
    const auto none = [](int) { throw std::logic_error("too far"); };
    const auto next = [&](int i) { i < std::numeric_limits<int>::max() ? throw std::range_error("first") : none(i); };
    co_await rota::parallel_for(std::numeric_limits<int>::min(), std::numeric_limits<int>::max(), next);
  };
  REQUIRE_THROWS_AS(rota::sync_wait(pool.run(all)), std::range_error);
  for (std::size_t i = 0; i != 255; ++i) REQUIRE(visits[i].load() == 1);
  REQUIRE(visits[255].load() == 0);
}

TEST_CASE("a range's elements are visited where they are, a view's as well") {
  std::deque<int> numbers(1000, 1);
  std::vector<int> others(1000, 1);
  const auto twice = [&]() -> task<> {
    co_await rota::parallel_for(numbers, [](int& n) { n *= 2; });
    co_await rota::parallel_for(std::span(others).first(500), [](int& n) { n *= 2; }, 10);
  };
  thread_pool pool(3);
  rota::sync_wait(pool.run(twice));
  rota_test::run(twice);
  REQUIRE(numbers == std::deque<int>(1000, 4));
  for (std::size_t i = 0; i != others.size(); ++i) REQUIRE(others[i] == (i < 500 ? 4 : 1));
}

TEST_CASE("each result of a transform has its element's place, in the same range, too") {
  std::vector<int> numbers(1000);
  for (std::size_t i = 0; i != numbers.size(); ++i) numbers[i] = static_cast<int>(i);
  std::vector<std::string> texts(1001, "free");
  const auto transform = [&]() -> task<> {
    co_await rota::parallel_transform(numbers, texts, [](int n) { return std::to_string(n); });
    co_await rota::parallel_transform(numbers, numbers, [](int n) { return n + 1; }, 7);
  };
  thread_pool pool(3);
  rota::sync_wait(pool.run(transform));
  for (std::size_t i = 0; i != numbers.size(); ++i) {
    REQUIRE(texts[i] == std::to_string(i));
    REQUIRE(numbers[i] == static_cast<int>(i) + 1);
  }
  REQUIRE(texts[1000] == "free");
}

TEST_CASE("a transform into too few elements is refused") {
  rota_test::run([]() -> task<> {
    std::vector<int> from(3), to(2);
    const auto body = [](int n) { return n; };
    REQUIRE_THROWS_WITH((void)rota::parallel_transform(from, to, body),
                        "parallel_transform: 3 results do not fit into 2 elements");
    co_return;
  });
}

TEST_CASE("a sum is complete, and parts are combined in their order") {
  thread_pool pool(3);
  const auto sum = []() -> task<std::int64_t> {
    const std::int64_t total = co_await rota::parallel_reduce(
        std::int64_t{0}, 100'000, std::int64_t{0}, [](std::int64_t i) { return i; },
        [](std::int64_t a, std::int64_t b) { return a + b; });
    co_return total;
  };
  REQUIRE(rota::sync_wait(pool.run(sum)) == 4'999'950'000);
  const auto letters = []() -> task<std::string> {
    const auto letter = [](int i) { return std::string(1, static_cast<char>('a' + i)); };
    const auto append = [](std::string a, const std::string& b) { return std::move(a) + b; };
    std::string text = co_await rota::parallel_reduce(0, 26, std::string(), letter, append, 2);
    co_return text;
  };
  REQUIRE(rota::sync_wait(pool.run(letters)) == "abcdefghijklmnopqrstuvwxyz");
}

TEST_CASE("a sum over a range takes what its map makes of the elements") {
  const std::vector<std::string> words{"a", "bc", "", "def"};
  const auto sum = [&]() -> task<std::size_t> {
    const std::size_t letters =
        co_await rota::parallel_reduce(words, std::size_t{0}, &std::string::size, std::plus<>(), 1);
    co_return letters;
  };
  thread_pool pool(2);
  REQUIRE(rota::sync_wait(pool.run(sum)) == 6);
  REQUIRE(rota_test::run(sum) == 6);
}

TEST_CASE("parallel_invoke gives the values in the order of its functions") {
  const auto three = []() -> task<> {
    int side_effect = 0;
    const auto number = [] { return 7; };
    const auto nothing = [&] { side_effect = 1; };
    const auto owner = [] { return std::make_unique<int>(9); };
    auto values = co_await rota::parallel_invoke(number, nothing, owner);
    static_assert(std::is_same_v<decltype(values), std::tuple<int, std::monostate, std::unique_ptr<int>>>);
    REQUIRE(std::get<0>(values) == 7);
    REQUIRE(*std::get<2>(values) == 9);
    REQUIRE(side_effect == 1);
    co_await rota::parallel_invoke(nothing);
  };
  thread_pool pool(2);
  rota::sync_wait(pool.run(three));
  rota_test::run(three);
}

TEST_CASE("a function that cannot be copied is lent by std::ref") {
  int sum = 0;
  rota_test::run([&]() -> task<> {
    auto add = [&, own = std::make_unique<int>(1)](auto...) { sum += *own; };
    co_await rota::parallel_for(0, 10, std::ref(add));
    co_await rota::parallel_invoke(std::ref(add), std::ref(add));
  });
  REQUIRE(sum == 12);
}

TEST_CASE("the first error of parallel_invoke comes out as it is, and what has not begun does not begin") {
  int begun = 0;
  const auto fails = [&] {
    ++begun;
    throw std::runtime_error("function");
  };
  const auto all = [&]() -> task<> { co_await rota::parallel_invoke(fails, fails, fails); };
  REQUIRE_THROWS_WITH(rota_test::run(all), "function");
  REQUIRE(begun == 1);
  thread_pool pool(1);
  REQUIRE_THROWS_WITH(rota::sync_wait(pool.run(all)), "function");
  REQUIRE(begun == 2);
}

TEST_CASE("an error of combine comes out as it is, however deep it happened") {
  const auto sum = []() -> task<int> {
    const auto fails = [](int a, int b) {
      if (a != 0 && b != 0) throw std::runtime_error("combine");
      return a + b;
    };
    const int total = co_await rota::parallel_reduce(0, 64, 0, [](int i) { return i < 2 ? 1 : 0; }, fails, 1);
    co_return total;
  };
  REQUIRE_THROWS_WITH(rota_test::run(sum), "combine");
  thread_pool pool(2);
  REQUIRE_THROWS_WITH(rota::sync_wait(pool.run(sum)), "combine");
}

TEST_CASE("the first error of a body comes out as it is, and later parts do not begin") {
  thread_pool pool(2);
  std::atomic<int> begun{0};
  const auto fails = [&]() -> task<> {
    co_await rota::parallel_for(
        0, 1'000'000,
        [&](int) {
          begun.fetch_add(1);
          throw std::runtime_error("body");
        },
        1);
  };
  REQUIRE_THROWS_WITH(rota::sync_wait(pool.run(fails)), "body");
  REQUIRE(begun.load() < 1'000'000);
}

TEST_CASE("a cancel stops a parallel loop between its parts") {
  thread_pool pool(2);
  std::atomic<bool> begun{false}, go{false};
  std::atomic<int> visits{0};
  const auto loops = [&]() -> task<> {
    co_await rota::parallel_for(
        0, 1'000'000,
        [&](int) {
          begun.store(true);
          while (!go.load()) std::this_thread::yield();
          visits.fetch_add(1);
        },
        1);
  };
  auto handle = pool.spawn(loops);
  while (!begun.load()) std::this_thread::yield();
  handle.cancel();
  go.store(true);
  REQUIRE(rota_test::error_code_of([&] { rota::sync_wait(handle); }) == rota::errc::task_cancelled);
  REQUIRE(visits.load() < 1'000'000);
}

TEST_CASE("on a loop parts are done in order, others have their turns between them, and no frames are made ahead") {
  rota_test::run([]() -> task<> {
    int others = 0;
    bool ends = false;
    const auto other = [&]() -> task<> {
      while (!ends) {
        ++others;
        co_await rota::yield();
      }
    };
    rota::join_handle<> beside = rota::spawn(other);
    int next = 0;
    std::int64_t most = 0;
    int others_before = 0;
    bool in_turn = true;
    const std::int64_t before = rota::event_loop::current()->statistics().frames;
    const auto body = [&](int i) {
      in_turn &= i == next++ && others > others_before;
      others_before = others;
      most = std::max(most, rota::event_loop::current()->statistics().frames - before);
    };
    co_await rota::parallel_for(0, 5000, body, 1);
    ends = true;
    co_await beside;
    REQUIRE(next == 5000);
    REQUIRE(in_turn);
    REQUIRE(most < 50);
  });
}

TEST_CASE("on a loop, too, no part begins after a cancel") {
  int visits = 0;
  rota::join_handle<> handle;
  const auto loops = [&]() -> task<> {
    const auto body = [&](int) {
      ++visits;
      handle.cancel();
    };
    co_await rota::parallel_for(0, 8, body, 1);
  };
  rota_test::run([&]() -> task<> {
    handle = rota::spawn(loops);
    const std::exception_ptr error = co_await rota_test::exception_of(handle);
    REQUIRE(rota_test::code_of(error) == rota::errc::task_cancelled);
    handle = {};
  });
  REQUIRE(visits == 1);
}

TEST_CASE("an error of the body wins over a cancel of the same loop") {
  rota::join_handle<> loops;
  rota::join_handle<int> sums;
  const auto fails = [](auto& self) {
    return [&self](int i) -> int {
      if (i == 0) {
        self.cancel();
        throw std::runtime_error("body");
      }
      return i;
    };
  };
  const auto loop = [&]() -> task<> {
    const auto body = fails(loops);
    co_await rota::parallel_for(0, 8, body, 1);
  };
  const auto sum = [&]() -> task<int> {
    const auto body = fails(sums);
    const auto add = [](int a, int b) { return a + b; };
    const int total = co_await rota::parallel_reduce(0, 8, 0, body, add, 1);
    co_return total;
  };
  rota_test::run([&]() -> task<> {
    loops = rota::spawn(loop);
    sums = rota::spawn(sum);
    const std::exception_ptr loop_error = co_await rota_test::exception_of(loops);
    const std::exception_ptr sum_error = co_await rota_test::exception_of(sums);
    REQUIRE_THROWS_WITH(std::rethrow_exception(loop_error), "body");
    REQUIRE_THROWS_WITH(std::rethrow_exception(sum_error), "body");
    loops = {};
    sums = {};
  });
}

TEST_CASE("on a pool, too, an error of the body wins over a cancel of the same loop") {
  thread_pool pool(1);
  rota::pool_handle<> handle;
  std::atomic<bool> made{false};
  const auto loops = [&]() -> task<> {
    co_await rota::parallel_for(
        0, 8,
        [&](int i) {
          if (i != 0) return;
          while (!made.load()) std::this_thread::yield();
          handle.cancel();
          throw std::runtime_error("body");
        },
        1);
  };
  handle = pool.spawn(loops);
  made.store(true);
  REQUIRE_THROWS_WITH(rota::sync_wait(handle), "body");
}

}  // namespace
