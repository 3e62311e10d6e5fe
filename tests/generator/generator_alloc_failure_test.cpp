// Memory runs out at each allocation in turn, in generators and pipelines: std::bad_alloc where it can be caught, every child
// joined, nothing left.
#include "support/failing_new.hpp"

#include <rota/generator/adaptors.hpp>

#include <utility>
#include <vector>

#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::async_generator;
using rota::task;
using rota_test::counted;
using rota_test::fail_each_allocation;
using rota_test::may_succeed;

// ThreadSanitizer does not let a program replace operator new.
#define SKIP_UNDER_TSAN() \
  if (rota_test::under_tsan) SKIP("operator new cannot be replaced here")

rota::generator<int> nested(counted here, int depth) {
  if (depth == 0)
    co_yield 1;
  else
    co_yield rota::elements_of(nested(here, depth - 1));
}

async_generator<int> numbers(counted, int from, int to) {
  for (int i = from; i != to; ++i) {
    co_await rota::yield();
    co_yield i;
  }
}

int sum_of(const std::vector<int>& items) {
  int sum = 0;
  for (const int item : items) sum += item;
  return sum;
}

}  // namespace

TEST_CASE("out of memory in nested generators") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    int sum = 0;
    for (const int one : nested(counted(), 3)) sum += one;
    co_return sum;
  };
  REQUIRE(fail_each_allocation(program, 1) >= 5);
}

TEST_CASE("out of memory in a pipeline") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const auto next = [](int i) { return i + 1; };
    const std::vector<int> some =
        co_await rota::collect(numbers(counted(), 0, 9) | rota::map(next) | rota::take(4) | rota::throttle(0s));
    co_return sum_of(some);
  };
  REQUIRE(fail_each_allocation(program, 10) >= 10);
}

TEST_CASE("out of memory in a merge that runs to its end") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const std::vector<int> all =
        co_await rota::collect(rota::merge(numbers(counted(), 0, 3), numbers(counted(), 10, 12)));
    co_return sum_of(all);
  };
  REQUIRE(fail_each_allocation(program, 24) >= 10);
}

TEST_CASE("out of memory in a merge that is left early joins the children all the same") {
  SKIP_UNDER_TSAN();
  const auto program = []() -> task<int> {
    const std::vector<int> one =
        co_await rota::collect(rota::merge(numbers(counted(), 5, 99), numbers(counted(), 5, 99)) | rota::take(2));
    co_return sum_of(one);
  };
  REQUIRE(fail_each_allocation(program, 10, may_succeed) >= 10);
}
