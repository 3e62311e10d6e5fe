// What the primitives cost in memory: nothing, contended or not.
#include <cstddef>
#include <optional>

#include "support/counted_heap.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;

struct everything {
  rota::mutex m;
  rota::shared_mutex shared;
  rota::semaphore s{2};
  rota::capacity_limiter limiter{2};
  rota::event manual;
  rota::event automatic{rota::event_reset::automatic};
  rota::condition_variable cv;
  rota::barrier b{tasks};
  rota::latch l{tasks};
  rota::once o;

  std::size_t came = 0;

  static constexpr std::size_t tasks = 4;
};

// Small tasks: a frame of more than 1 KiB would be an allocation.
task<> lock(everything& e) {
  {
    const auto guard = co_await e.m.lock();
    co_await rota::yield();
  }
  {
    const auto guard = co_await e.shared.lock();
    co_await rota::yield();
  }
  const auto guard = co_await e.shared.lock_shared();
  co_await rota::yield();
}

task<> take(everything& e) {
  {
    const auto permits = co_await e.s.acquire(2);
    co_await rota::yield();
  }
  const auto token = co_await e.limiter.acquire();
  co_await rota::yield();
}

task<> meet(everything& e) {
  const auto do_it = [] { return rota::yield(); };
  co_await e.o.call(do_it);
  const std::size_t index = co_await e.b.wait();
  if (index == 0) {
    e.automatic.set();
    co_await e.automatic.wait();
    e.manual.set();
  }
  co_await e.manual.wait();
  e.l.count_down();
  co_await e.l.wait();
}

task<> notify(everything& e) {
  auto guard = co_await e.m.lock();
  if (++e.came == everything::tasks)
    e.cv.notify_all();
  else
    co_await e.cv.wait(guard);
}

task<> use(everything& e) {
  co_await lock(e);
  co_await take(e);
  co_await meet(e);
  co_await notify(e);
}

task<> use_together(everything& e) {
  rota::join_handle<> all[everything::tasks];
  for (auto& one : all) one = rota::spawn(use, std::ref(e));
  for (auto& one : all) co_await one;
}

task<> use_new() {
  static std::optional<everything> e;
  e.emplace();
  co_await use_together(*e);
}

}  // namespace

TEST_CASE("no primitive allocates, when tasks wait for it or when they need not") {
  rota_test::run([]() -> task<> {
    co_await use_new();  // fills the cache of frames
    const std::uint64_t before = rota_test::allocations;
    for (int i = 0; i != 10; ++i) co_await use_new();
    const std::uint64_t after = rota_test::allocations;
    REQUIRE((after == before || !rota_test::counts_allocations));
    REQUIRE((before != 0 || !rota_test::counts_allocations));
  });
}
