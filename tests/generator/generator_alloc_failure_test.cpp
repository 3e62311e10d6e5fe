// Memory runs out at each allocation in turn, in generators and pipelines: std::bad_alloc where it can be caught, every child
// joined, nothing left.
#include "support/allocation_sweep.hpp"

#include <rota/generator/adaptors.hpp>

#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using rota::async_generator;
using rota::task;
using rota_test::counted;
using rota_test::scenario;

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

const scenario scenarios[] = {
    scenario("nested generators",
             []() -> task<bool> {
               int sum = 0;
               for (const int one : nested(counted(), 3)) sum += one;
               co_return sum == 1;
             }),
    scenario("a pipeline",
             []() -> task<bool> {
               const auto next = [](int i) { return i + 1; };
               const std::vector<int> some = co_await rota::collect(numbers(counted(), 0, 9) | rota::map(next) |
                                                                    rota::take(4) | rota::throttle(0s));
               co_return sum_of(some) == 10;
             }),
    scenario("a merge that runs to its end",
             []() -> task<bool> {
               const std::vector<int> all =
                   co_await rota::collect(rota::merge(numbers(counted(), 0, 3), numbers(counted(), 10, 12)));
               co_return sum_of(all) == 24;
             }),
    scenario("a merge that is left early joins the children all the same",
             []() -> task<bool> {
               const std::vector<int> two = co_await rota::collect(
                   rota::merge(numbers(counted(), 5, 99), numbers(counted(), 5, 99)) | rota::take(2));
               co_return sum_of(two) == 10;
             })
        .may_succeed(),
};

}  // namespace

TEST_CASE("whichever allocation of a generator or a pipeline fails, every child is joined and nothing is left") {
  if (rota_test::under_tsan) {
    SKIP("operator new cannot be replaced here");
  }
  rota_test::sweep_allocations(scenarios);
}
