// Room that is reserved in an any-thread channel, and items that are received in batches.
#include <rota/sync/thread_channel.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;
using namespace rota_test;
using rota::task;

namespace {
using numbers = std::vector<int>;
}

TEST_CASE("room that a task has reserved is its own until it sends, on any thread, or lets it go") {
  auto [tx, rx] = rota::mpmc_channel<int>(1);
  run([&]() -> task<> {
    rota::thread_permit<int> room = co_await tx.reserve();
    REQUIRE(tx.statistics().reserved == 1);
    REQUIRE(!tx.try_send(1));
    REQUIRE(!tx.try_reserve());
    const auto waits = [](rota::thread_sender<int> to) -> task<> {
      auto mine = co_await to.reserve();
      mine.send(2);
    };
    rota::join_handle<> second = rota::spawn(waits, tx.clone());
    co_await rota::yield();
    REQUIRE(tx.statistics().waiting_senders == 1);
    std::thread([kept = std::move(room)]() mutable { kept.send(1); }).join();
    const int first = co_await rx.receive();
    REQUIRE(first == 1);
    co_await second;
    const int next = co_await rx.receive();
    REQUIRE(next == 2);
    {
      const auto unused = tx.try_reserve();
      REQUIRE(unused);
    }
    REQUIRE(tx.statistics().reserved == 0);
    REQUIRE(tx.statistics().senders == 1);
  });
}

TEST_CASE("a permit keeps the stream open, throws when nobody receives, and leaves its item") {
  auto [tx, rx] = rota::mpsc_channel<std::unique_ptr<int>>(2);
  auto room = tx.try_reserve();
  tx.close();
  REQUIRE(room);
  REQUIRE(!rx.try_receive());
  auto item = std::make_unique<int>(1);
  room->send(std::move(item));
  REQUIRE(!*room);
  REQUIRE(**rx.blocking_next() == 1);
  REQUIRE(!rx.blocking_next());

  auto [tx2, rx2] = rota::mpsc_channel<std::unique_ptr<int>>(2);
  auto left = tx2.try_reserve();
  rx2.close();
  item = std::make_unique<int>(2);
  REQUIRE(error_code_of([&] { left->send(std::move(item)); }) == std::errc::broken_pipe);
  REQUIRE(item);
  auto [tx3, rx3] = rota::mpsc_channel<int>(0);
  REQUIRE(usage_error_of([&] { (void)tx3.reserve(); }) == rota::usage_error::kind::invalid_argument);
  REQUIRE(usage_error_of([&] { (void)tx3.try_reserve(); }) == rota::usage_error::kind::invalid_argument);
}

TEST_CASE("a reserve that was granted when the last sender was closed throws, and a cancelled one takes no room") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpmc_channel<int>(1);
    REQUIRE(tx.try_send(1));
    const auto reserve = [](rota::thread_sender<int>& to) -> task<> { auto room = co_await to.reserve(); };
    rota::join_handle<> late = rota::spawn(reserve, std::ref(tx));
    co_await rota::yield();
    REQUIRE(rx.try_receive() == 1);  // grants the room
    tx.close();
    const auto end = co_await rota::as_result(late);
    REQUIRE(end.error() == rota::errc::closed);
    REQUIRE(rx.statistics().reserved == 0);

    auto [tx2, rx2] = rota::mpmc_channel<int>(1);
    REQUIRE(tx2.try_send(1));
    rota::join_handle<> cancelled = rota::spawn(reserve, std::ref(tx2));
    co_await rota::yield();
    cancelled.cancel();
    (void)co_await rota::as_result(cancelled);
    REQUIRE(rx2.try_receive() == 1);
    REQUIRE(tx2.statistics().reserved == 0);
    REQUIRE(tx2.try_send(2));
  });
}

TEST_CASE("receive_many adds what is there, up to its limit, and lets in who waited for the room") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpsc_channel<int>(4);
    for (int i = 0; i != 4; ++i) REQUIRE(tx.try_send(i));
    const auto send_two = [](rota::thread_sender<int> to) -> task<> {
      co_await to.send(4);
      co_await to.send(5);
    };
    rota::join_handle<> sending = rota::spawn(send_two, tx.clone());
    co_await rota::yield();
    numbers got;
    std::size_t n = co_await rx.receive_many(got, 3);
    REQUIRE(n == 3);
    co_await sending;
    n = co_await rx.receive_many(got, 100);
    REQUIRE(n == 3);
    REQUIRE(got == numbers{0, 1, 2, 3, 4, 5});
    tx.close();
    n = co_await rx.receive_many(got, 100);
    REQUIRE(n == 0);
    REQUIRE(got.size() == 6);
    REQUIRE(usage_error_of([&] { (void)rx.receive_many(got, 0); }) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("a receiver that has fetched a batch still counts it as in the channel, for senders and statistics") {
  auto [tx, rx] = rota::mpsc_channel<int>(32);
  for (int i = 0; i != 32; ++i) REQUIRE(tx.try_send(i));
  REQUIRE(rx.try_receive() == 0);  // fetches them all
  REQUIRE(rx.statistics().size == 31);
  REQUIRE(tx.try_send(32));
  REQUIRE(!tx.try_send(33));
  REQUIRE(rx.statistics().peak == 32);
  for (int i = 1; i != 33; ++i) REQUIRE(rx.try_receive() == i);
  REQUIRE(!rx.try_receive());
  REQUIRE(rx.statistics().size == 0);

  auto item = std::make_shared<int>(1);
  auto [tx2, rx2] = rota::mpsc_channel<std::shared_ptr<int>>(32);
  for (int i = 0; i != 8; ++i) REQUIRE(tx2.try_send(item));
  (void)rx2.try_receive();
  rx2.close();  // destroys the batch, too
  REQUIRE(item.use_count() == 1);
}

TEST_CASE(
    "a task that waits for room gets it with the first item that is taken, though the receiver has more in its hands") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpsc_channel<int>(32);
    for (int i = 0; i != 32; ++i) REQUIRE(tx.try_send(i));
    const auto send_one = [](rota::thread_sender<int> to, int item) -> task<> { co_await to.send(std::move(item)); };
    rota::join_handle<> first = rota::spawn(send_one, tx.clone(), 32);
    rota::join_handle<> second = rota::spawn(send_one, tx.clone(), 33);
    co_await rota::yield();
    for (int i = 0; i != 2; ++i) {
      REQUIRE(tx.statistics().waiting_senders == 2u - static_cast<unsigned>(i));
      REQUIRE(rx.try_receive() == i);
      REQUIRE(tx.statistics().waiting_senders == 1u - static_cast<unsigned>(i));
    }
    co_await first;
    co_await second;
    REQUIRE(rx.statistics().size == 32);
  });
}

TEST_CASE("a thread that waits for room gets it although the receiver has stopped in the middle of its batch") {
  auto [tx, rx] = rota::mpsc_channel<int>(32);
  for (int i = 0; i != 32; ++i) REQUIRE(tx.try_send(i));
  REQUIRE(rx.try_receive() == 0);  // fetches them all
  REQUIRE(tx.try_send(32));        // and it is full again
  std::thread sender([to = tx.clone()]() mutable { to.blocking_send(33); });
  while (tx.statistics().waiting_senders == 0) std::this_thread::yield();
  REQUIRE(rx.try_receive() == 1);  // of the batch: no lock, and nobody is told
  sender.join();
  REQUIRE(rx.statistics().size == 32);
}

TEST_CASE("a task that waits behind a patient thread is let in when that thread has been") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpsc_channel<int>(32);
    for (int i = 0; i != 32; ++i) REQUIRE(tx.try_send(i));
    std::thread sender([to = tx.clone()]() mutable { to.blocking_send(32); });
    while (tx.statistics().waiting_senders == 0) std::this_thread::yield();
    const auto send_one = [](rota::thread_sender<int> to) -> task<> { co_await to.send(33); };
    rota::join_handle<> behind = rota::spawn(send_one, tx.clone());
    co_await rota::yield();
    REQUIRE(rx.try_receive() == 0);  // fetches, and lets in the thread
    REQUIRE(rx.try_receive() == 1);
    REQUIRE(tx.statistics().waiting_senders == 0);
    sender.join();
    co_await behind;
  });
}

TEST_CASE("batches, permits and single items of threads and tasks lose nothing and keep each sender's order") {
  constexpr int per_sender = 1'000'000;
  const int count = static_cast<int>(scaled(20'000, 2'000));
  for (const std::size_t capacity : {1u, 3u, 100u}) {
    auto [tx, rx] = rota::mpsc_channel<int>(capacity);
    std::vector<std::thread> threads;
    for (int s = 0; s != 2; ++s)
      threads.emplace_back([to = tx.clone(), s, count]() mutable {
        for (int i = 0; i != count; ++i) to.blocking_send(per_sender * s + i);
      });
    const auto send_all = [](rota::thread_sender<int> to, int n) -> task<> {
      for (int i = 0; i != n; ++i) {
        const int item = per_sender * 2 + i;
        if (i % 2 == 0) {
          auto room = co_await to.reserve();
          room.send(item);
        } else {
          co_await to.send(item);
        }
      }
    };
    threads.emplace_back([&send_all, to = tx.clone(), count]() mutable { rota::run(send_all(std::move(to), count)); });
    tx.close();
    numbers got;
    const auto receive_all = [&]() -> task<> {
      for (;;) {
        const auto one = co_await rx.next();
        if (!one) co_return;
        got.push_back(*one);
        const std::size_t n = co_await rx.receive_many(got, 7);
        if (n == 0) co_return;
      }
    };
    run(receive_all);
    for (std::thread& thread : threads) thread.join();
    int expected[3] = {0, 0, 0};
    bool in_order = true;
    for (const int item : got) in_order = in_order && item % per_sender == expected[item / per_sender]++;
    REQUIRE(in_order);
    REQUIRE(got.size() == 3 * static_cast<std::size_t>(count));
    REQUIRE(rx.statistics().peak <= capacity);
  }
}

TEST_CASE("a thread receives in batches until the end of the stream") {
  const int count = static_cast<int>(scaled(20'000, 2'000));
  auto [tx, rx] = rota::mpmc_channel<int>(64);
  std::vector<std::thread> threads;
  std::atomic<int> received{0};
  for (int i = 0; i != 2; ++i)
    threads.emplace_back([&received, from = rx.clone()]() mutable {
      numbers some;
      while (from.blocking_receive_many(some, 20) != 0) {
        received.fetch_add(static_cast<int>(some.size()));
        some.clear();
      }
    });
  rx.close();
  for (int i = 0; i != count; ++i) tx.blocking_send(i);
  tx.close();
  for (std::thread& thread : threads) thread.join();
  REQUIRE(received == count);
}
