// Rule R5: awaits use constant stack, whatever the compiler makes of symmetric transfer.
#include <pthread.h>

#include <cstddef>
#include <cstdint>

#include "support/by_hand.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;

task<int> one() { co_return 1; }
task<> nothing() { co_return; }

task<std::uint64_t> sum_of_ones(std::size_t times) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i != times; ++i) sum += static_cast<unsigned>(co_await one());
  co_return sum;
}

task<std::size_t> chain(std::size_t depth) {
  if (depth == 0) co_return std::size_t{0};
  const std::size_t below = co_await chain(depth - 1);
  co_return below + 1;
}

task<std::size_t> chain_to(rota_test::manual_awaiter& bottom, std::size_t depth) {
  if (depth == 0) {
    co_await bottom;
    co_return std::size_t{0};
  }
  const std::size_t below = co_await chain_to(bottom, depth - 1);
  co_return below + 1;
}

// Runs body() on a thread with a stack of that size; a stack that is too small ends the program.
template <class F>
void on_small_stack(std::size_t bytes, F body) {
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, bytes) == 0);
  pthread_t thread;
  const auto enter = [](void* f) -> void* {
    (*static_cast<F*>(f))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, enter, &body) == 0);
  REQUIRE(pthread_join(thread, nullptr) == 0);
  pthread_attr_destroy(&attributes);
}

constexpr std::size_t small_stack = 256 * 1024;

// How deep the stack is where the outermost coroutine resumes, and how far it grew below that.
struct stack_meter {
  std::uintptr_t highest = 0;
  std::uintptr_t lowest = UINTPTR_MAX;
  [[gnu::noinline]] void mark() noexcept {
    const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    if (here > highest) highest = here;
    if (here < lowest) lowest = here;
  }
  std::size_t used() const noexcept { return highest - lowest; }
};

}  // namespace

TEST_CASE("ten million awaits of something already done use constant stack") {
  const std::size_t times = rota_test::scaled(10'000'000, 1'000'000);
  REQUIRE(rota::sync_wait(sum_of_ones(times)) == times);
}

TEST_CASE("ten million awaits of a void task use constant stack") {
  const std::size_t times = rota_test::scaled(10'000'000, 1'000'000);
  const auto body = [&]() -> task<std::size_t> {
    std::size_t n = 0;
    for (; n != times; ++n) co_await nothing();
    co_return n;
  };
  REQUIRE(rota::sync_wait(body()) == times);
}

TEST_CASE("a chain of a thousand awaits comes back") { REQUIRE(rota::sync_wait(chain(1000)) == 1000); }

TEST_CASE("a chain of a million awaits goes down and comes back") {
  const std::size_t depth = rota_test::scaled(1'000'000, 200'000);
  const rota_test::frame_balance nothing_left;
  REQUIRE(rota::sync_wait(chain(depth)) == depth);
}

TEST_CASE("a suspended chain of a hundred thousand awaits is resumed from its bottom") {
  rota_test::manual_awaiter bottom;
  const rota_test::frame_balance nothing_left;
  rota_test::by_hand<std::size_t> running(chain_to(bottom, 100'000));
  running.start();
  REQUIRE(bottom.waiting());
  running.resume(bottom);
  REQUIRE(running.done());
  REQUIRE(running.take() == 100'000);
}

TEST_CASE("a suspended chain of ten thousand awaits can be destroyed") {
  rota_test::manual_awaiter bottom;
  const rota_test::frame_balance nothing_left;
  rota_test::by_hand<std::size_t> running(chain_to(bottom, 10'000));
  running.start();
  REQUIRE(bottom.waiting());
  running.destroy();
}

TEST_CASE("an exception comes up through a hundred thousand levels") {
  struct level {
    static task<> down(std::size_t n) {
      if (n == 0) throw 5;
      co_await down(n - 1);
    }
  };
  const std::size_t depth = rota_test::scaled(100'000, 10'000, 10'000);
  REQUIRE_THROWS_AS(rota::sync_wait(level::down(depth)), int);
}

TEST_CASE("awaits on a thread with a stack of 256 KB") {
  std::uint64_t sum = 0;
  std::size_t depth = 0;
  std::int64_t left = -1;
  on_small_stack(small_stack, [&] {
    const std::int64_t before = rota_test::frames();
    sum = rota::sync_wait(sum_of_ones(100'000));
    depth = rota::sync_wait(chain(100'000));
    left = rota_test::frames() - before;
  });
  REQUIRE(sum == 100'000);
  REQUIRE(depth == 100'000);
  REQUIRE(left == 0);
}

TEST_CASE("the stack grows by less than 128 KB, however deep the awaits are") {
  stack_meter meter;
  struct measured {
    static task<> down(stack_meter& m, std::size_t n) {
      m.mark();
      if (n != 0) co_await down(m, n - 1);
      m.mark();
    }
  };
  rota::sync_wait(measured::down(meter, 100'000));
  INFO("bytes of stack: " << meter.used());
  REQUIRE(meter.used() < 128 * 1024);
}

TEST_CASE("a coroutine that is resumed from within another one has its own mark on the stack") {
  // The inner resume() must restore the outer one's mark, else the outer's transfers would run on for ever.
  const auto inner = []() -> task<int> { co_return co_await one(); };
  const auto outer = [&]() -> task<std::uint64_t> {
    std::uint64_t sum = 0;
    for (int i = 0; i != 200'000; ++i) {
      sum += static_cast<unsigned>(rota::sync_wait(inner()));
      sum += static_cast<unsigned>(co_await one());
    }
    co_return sum;
  };
  REQUIRE(rota::sync_wait(outer()) == 400'000);
}
