// Whatever wakes a waiter of one loop claims its select first. In each test a select waits for something of its loop and for
// another thread's event. The event is set, and before the task has run the other case could be granted, or ended: it must
// not be, what it would have had is where it was, and the select says "event".
#include <rota/sync/select_decision.hpp>

#include <cstddef>
#include <functional>

#include "support/rota_test.hpp"

using namespace rota_test;
using rota::task;

namespace {

namespace any_thread = rota::any_thread;

template <class Near>
task<> choose(Near& near, any_thread::event& far, std::size_t& index) {
  const auto r = co_await rota::select(near(), far.wait());
  index = r.index();
}

/// `near` makes the case that loses; `wake` does what would have woken it, and looks that it has not.
template <class Near, class Wake>
task<> lose(Near near, Wake wake) {
  any_thread::event far;
  std::size_t index = 99;
  auto choosing = rota::spawn(choose<Near>, std::ref(near), std::ref(far), std::ref(index));
  co_await rota::yield();
  REQUIRE(!choosing.done());
  far.set();
  wake();
  co_await choosing;
  REQUIRE(index == 1);
}

}  // namespace

TEST_CASE("a limiter that grows lends nothing to a select that another thread has served") {
  run([]() -> task<> {
    rota::capacity_limiter limiter(0);
    const auto acquire = [&] { return limiter.acquire(); };
    const auto grow = [&] {
      limiter.set_total(1);
      REQUIRE(limiter.borrowed() == 0);
    };
    co_await lose(acquire, grow);
    REQUIRE(limiter.borrowed() == 0);
    REQUIRE(limiter.waiting() == 0);
  });
}

TEST_CASE("a semaphore that is closed does not fail a select that another thread has served") {
  run([]() -> task<> {
    rota::semaphore s(0);
    const auto acquire = [&] { return s.acquire(); };
    const auto close = [&] {
      s.close();
      REQUIRE(s.waiting() == 0);
    };
    co_await lose(acquire, close);
  });
}

TEST_CASE("a shared mutex that is unlocked is not held by a select that another thread has served, in neither way") {
  run([]() -> task<> {
    rota::shared_mutex m;
    auto guard = co_await m.lock();
    const auto unlock = [&] {
      guard.unlock();
      REQUIRE(m.readers() == 0);
      REQUIRE(!m.is_locked());
    };
    const auto read = [&] { return m.lock_shared(); };
    co_await lose(read, unlock);
    REQUIRE(m.readers() == 0);
    guard = co_await m.lock();
    const auto write = [&] { return m.lock(); };
    co_await lose(write, unlock);
    REQUIRE(!m.is_locked());
  });
}

TEST_CASE("the end of a channel, on either side, is not thrown in a select that another thread has served") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    const auto receive = [&] { return rx.receive(); };
    const auto end = [&] { tx.close(); };
    co_await lose(receive, end);
    auto [to_nobody, nobody] = rota::channel<int>(0);
    const int item = 1;  // is copied; of a temporary the send would keep the address
    const auto send = [&] { return to_nobody.send(item); };
    const auto leave = [&] { nobody.close(); };
    co_await lose(send, leave);
  });
}

TEST_CASE("an item that a permit sends stays in the channel when the select at its other end has been served") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    auto room = co_await tx.reserve();
    const auto receive = [&] { return rx.receive(); };
    const auto use = [&] {
      room.send(4);
      REQUIRE(rx.statistics().size == 1);
    };
    co_await lose(receive, use);
    REQUIRE(rx.try_receive() == 4);
  });
}

TEST_CASE("an item that a permit sends between threads stays in the channel when the select has been served") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpmc_channel<int>(1);
    auto room = co_await tx.reserve();
    const auto receive = [&] { return rx.receive(); };
    const auto use = [&] {
      room.send(4);
      REQUIRE(rx.statistics().size == 1);
    };
    co_await lose(receive, use);
    REQUIRE(rx.try_receive() == 4);
  });
}

TEST_CASE("a subscription that is closed does not end a select that another thread has served") {
  run([]() -> task<> {
    auto tx = rota::broadcast<int>(1);
    auto rx = tx.subscribe();
    const auto next = [&] { return rx.next(); };
    const auto close = [&] { rx.close(); };
    co_await lose(next, close);
  });
}

TEST_CASE("a value that changes is still new to the watcher whose select another thread had served") {
  run([]() -> task<> {
    auto [tx, rx] = rota::watch<int>(1);
    const auto changed = [&] { return rx.changed(); };
    const auto change = [&] { tx.send(2); };
    co_await lose(changed, change);
    const bool is_new = co_await rx.changed();
    REQUIRE(is_new);
  });
}

TEST_CASE("a latch that opens does not wake a select that another thread has served") {
  run([]() -> task<> {
    rota::latch gate(1);
    const auto wait = [&] { return gate.wait(); };
    const auto open = [&] { gate.count_down(); };
    co_await lose(wait, open);
  });
}
