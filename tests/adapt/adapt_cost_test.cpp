// What awaiting a callback costs in memory: nothing.
#include <cstdint>
#include <functional>
#include <utility>

#include <rota/adapt/from_callback.hpp>

#include "support/counted_heap.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::callback;
using rota::task;

task<> call_at_once(int times) {
  const auto answer = [](callback<int> done) { done(7); };
  for (int i = 0; i != times; ++i) {
    const int value = co_await rota::from_callback<int>(answer);
    REQUIRE(value == 7);
  }
}

// Somebody's library: keeps one callback until it has a value for it.
struct device {
  callback<int> done;
  bool stop = false;
};

task<> answer_every_turn(device& source) {
  for (; !source.stop; co_await rota::yield()) source.done(7);
}

task<> call_later(device& source, int times) {
  const auto request = [&source](callback<int> done) { source.done = std::move(done); };
  for (int i = 0; i != times; ++i) {
    const int value = co_await rota::from_callback<int>(request);
    REQUIRE(value == 7);
  }
}

}  // namespace

TEST_CASE("a callback that comes from within the call costs no allocation") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  rota_test::run([]() -> task<> {
    co_await call_at_once(100);
    const std::uint64_t before = rota_test::allocations;
    co_await call_at_once(1000);
    const std::uint64_t after = rota_test::allocations;
    REQUIRE(after == before);
  });
}

TEST_CASE("a callback that comes in a later turn costs no allocation") {
  if (!rota_test::counts_allocations) SKIP("the sanitizers own the heap");
  rota_test::run([]() -> task<> {
    device source;
    auto answering = rota::spawn(answer_every_turn, std::ref(source));
    co_await call_later(source, 100);
    const std::uint64_t before = rota_test::allocations;
    co_await call_later(source, 1000);
    const std::uint64_t after = rota_test::allocations;
    REQUIRE(after == before);
    source.stop = true;
    co_await answering;
  });
}
