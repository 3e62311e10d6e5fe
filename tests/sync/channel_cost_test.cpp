// What channels and selects cost in memory once they are warm: nothing.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/counted_heap.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;
namespace any_thread = rota::any_thread;

constexpr int items = 200;

task<> send_some(rota::sender<int>& tx) {
  for (int i = 0; i != items; ++i) co_await tx.send(i);
}
task<> send_by_permits(rota::sender<int>& tx) {
  for (int i = 0; i != items; ++i) {
    auto room = co_await tx.reserve();
    room.send(i);
  }
}
task<> receive_some(rota::receiver<int>& rx) {
  for (int i = 0; i != items; ++i) (void)co_await rx.receive();
}
task<> receive_many(rota::receiver<int>& rx, std::vector<int>& into) {
  for (std::size_t n = 0; n != items;) {
    into.clear();
    n += co_await rx.receive_many(into, 8);
  }
}
task<> select_some(rota::receiver<int>& a, rota::receiver<int>& b) {
  for (int i = 0; i != 2 * items; ++i) {
    const auto r = co_await rota::select(a.next(), b.next());
    REQUIRE(r.index() < 2);
  }
}

// The other kinds, with a task that waits for each item, and one that is there before anybody waits.
struct other_kinds {
  rota::channel_ends<rota::unbounded_sender<int>, rota::receiver<int>> unbounded = rota::unbounded_channel<int>();
  decltype(rota::priority_channel<int>(4)) priority = rota::priority_channel<int>(4);
  rota::broadcast_sender<int> news = rota::broadcast<int>(4);
  rota::broadcast_receiver<int> reader = news.subscribe();
  rota::channel_ends<rota::watch_sender<int>, rota::watch_receiver<int>> value = rota::watch<int>(0);
  rota::queue<int> work{4};
  rota::lifo_queue<int> stack{4};
};

task<> receive_all_kinds(other_kinds& from) {
  for (int i = 0; i != items; ++i) {
    (void)co_await from.unbounded.rx.next();
    (void)co_await from.priority.rx.next();
    (void)co_await from.reader.next();
    (void)co_await from.value.rx.next();
    (void)co_await from.work.get();
    from.work.task_done();
    (void)co_await from.stack.get();
    from.stack.task_done();
  }
}
task<> send_all_kinds(other_kinds& to) {
  for (int i = 0; i != items; ++i) {
    to.unbounded.tx.send(i);
    co_await to.priority.tx.send(i);
    to.news.send(i);
    to.value.tx.send(i);
    co_await to.work.put(i);
    co_await to.work.join();
    co_await to.stack.put(i);
    if (i % 2 != 0) co_await rota::yield();
  }
}
// A new one for each value: its memory comes from the cache of frames.
task<> send_once(rota::oneshot_sender<int> tx) {
  co_await rota::yield();
  tx.send(1);
}
task<> oneshots() {
  for (int i = 0; i != items; ++i) {
    auto ends = rota::oneshot<int>();
    co_await rota::when_all(send_once(std::move(ends.tx)), ends.rx.receive());
  }
}

// What is for any thread, between tasks that wait for each other.
struct for_any_thread {
  any_thread::mutex m;
  any_thread::semaphore s{1};
  any_thread::event go, came;
  rota::mpsc_ends<int> one = rota::mpsc_channel<int>(1);
  rota::mpmc_ends<int> many = rota::mpmc_channel<int>(0);
};
task<> lock_and_take(for_any_thread& e) {
  for (int i = 0; i != items; ++i) {
    const auto guard = co_await e.m.lock();
    co_await rota::yield();
    const auto permit = co_await e.s.acquire();
    co_await rota::yield();
  }
}
task<> send_to_threads(for_any_thread& e) {
  for (int i = 0; i != items; ++i) {
    co_await e.one.tx.send(i);
    {
      auto room = co_await e.one.tx.reserve();
      room.send(i);
    }
    co_await e.many.tx.send(i);
    e.go.set();
    co_await e.came.wait();
    e.came.reset();
  }
}
task<> receive_from_threads(for_any_thread& e, std::vector<int>& into) {
  for (int i = 0; i != items; ++i) {
    (void)co_await e.one.rx.next();
    into.clear();
    (void)co_await e.one.rx.receive_many(into, 8);
    (void)co_await e.many.rx.next();
    co_await e.go.wait();
    e.go.reset();
    e.came.set();
  }
}

// Does `step` four times, the first of which may fill caches. Its frame is below 1 KiB.
template <class F>
task<> require_no_allocation(F step) {
  std::uint64_t before = 0;
  for (int round = 0; round != 4; ++round) {
    if (round == 1) before = rota_test::allocations;  // warm
    co_await step();
  }
  const std::uint64_t after = rota_test::allocations;
  REQUIRE((after == before || !rota_test::counts_allocations));
  REQUIRE((before != 0 || !rota_test::counts_allocations));
}

}  // namespace

TEST_CASE("in steady state a channel and a select of channels allocate nothing") {
  rota_test::run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(8);
    auto [tb, rb] = rota::channel<int>(1);
    auto [tc, rc] = rota::channel<int>(0);
    std::vector<int> many;
    many.reserve(8);
    std::uint64_t before = 0;
    for (int round = 0; round != 4; ++round) {
      if (round == 1) before = rota_test::allocations;  // warm
      co_await rota::when_all(send_some(ta), receive_some(ra));
      co_await rota::when_all(send_by_permits(ta), receive_many(ra, many));
      co_await rota::when_all(send_some(tc), receive_some(rc));
      co_await rota::when_all(send_some(tb), send_some(tc), select_some(rb, rc));
    }
    const std::uint64_t after = rota_test::allocations;
    REQUIRE((after == before || !rota_test::counts_allocations));
    REQUIRE((before != 0 || !rota_test::counts_allocations));
  });
}

TEST_CASE("in steady state no other kind of channel allocates, nor a queue") {
  rota_test::run([]() -> task<> {
    other_kinds all;
    const auto step = [&]() -> task<> { co_await rota::when_all(receive_all_kinds(all), send_all_kinds(all)); };
    co_await require_no_allocation(step);
    co_await require_no_allocation(oneshots);
  });
}

TEST_CASE("in steady state nothing that is for any thread allocates, when tasks wait for it or when they need not") {
  rota_test::run([]() -> task<> {
    for_any_thread all;
    std::vector<int> into;
    into.reserve(8);
    const auto step = [&]() -> task<> {
      co_await rota::when_all(lock_and_take(all), lock_and_take(all));
      co_await rota::when_all(send_to_threads(all), receive_from_threads(all, into));
    };
    co_await require_no_allocation(step);
  });
}
