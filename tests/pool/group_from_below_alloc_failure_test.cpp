// A child on another strand spawns and starts others in its group while memory runs out, allocation by allocation.
#include "support/failing_new.hpp"

#include <exception>
#include <functional>
#include <new>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using rota::task_group;
using rota_test::counted;

task<int> give(counted, int n) { co_return n; }

task<> spawns(task_group& group) {
  auto handle = group.spawn(give, counted(), 1);
  const int one = co_await handle;
  REQUIRE(one == 1);
  (void)group.spawn(give, counted(), 2);
  const auto server = [](rota::task_status<int> status) -> task<> {
    status.started(3);
    co_return;
  };
  const int three = co_await group.start(server);
  REQUIRE(three == 3);
}

bool is_no_memory(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return true;
  } catch (const rota::exception_group& group) {
    for (const std::exception_ptr& one : group.flatten())
      if (!is_no_memory(one)) return false;
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

TEST_CASE("a spawn from below that gets no memory fails as a whole, whichever allocation it is, and leaves nothing") {
  const rota_test::captured_reports reports;
  rota::thread_pool pool(1);
  int failures = 0;
  for (long n = 0;; ++n) {
    bool needed_all = false;
    const auto program = [&]() -> task<> {
      std::exception_ptr error;
      try {
        const auto body = [](task_group& group) -> task<> {
          group.spawn(spawns, std::ref(group));
          co_return;
        };
        rota_test::allocations_left = n;
        co_await rota::with_task_group(body);
      } catch (...) {
        error = std::current_exception();
      }
      needed_all = rota_test::allocations_left >= 0;
      rota_test::allocations_left = -1;
      if (error) {
        ++failures;
        REQUIRE(is_no_memory(error));
      }
    };
    rota::sync_wait(pool.run(program));
    REQUIRE(counted::alive == 0);
    if (needed_all) break;
  }
  if (!ROTA_TSAN) REQUIRE(failures >= 10);  // whose operator new cannot be replaced
}
