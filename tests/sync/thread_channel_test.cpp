// mpsc_channel, mpmc_channel and the any-thread oneshot: nothing lost between threads, order, cancels, blocking, misuse.
#include <rota/sync/thread_channel.hpp>

#include <algorithm>
#include <array>
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
constexpr int per_sender = 1'000'000;  // items are per_sender * sender + number

void send_from_a_thread(rota::thread_sender<int> tx, int sender, int count) {
  for (int i = 0; i != count; ++i) tx.blocking_send(per_sender * sender + i);
}
/// All of them once, and those of one sender in their order.
void require_all(const numbers& got, int senders, int count) {
  REQUIRE(got.size() == static_cast<std::size_t>(senders) * static_cast<std::size_t>(count));
  std::vector<int> expected(static_cast<std::size_t>(senders), 0);
  bool in_order = true;
  for (const int item : got)
    in_order = in_order && item % per_sender == expected[static_cast<std::size_t>(item / per_sender)]++;
  REQUIRE(in_order);
}

}  // namespace

TEST_CASE("items of four threads reach one task, each once and in the order of its thread") {
  const int count = static_cast<int>(scaled(20'000, 2'000));
  for (const std::size_t capacity : {0u, 1u, 64u}) {
    auto [tx, rx] = rota::mpsc_channel<int>(capacity);
    std::vector<std::thread> threads;
    for (int i = 0; i != 4; ++i) threads.emplace_back(send_from_a_thread, tx.clone(), i, count);
    tx.close();
    numbers got;
    run([&]() -> task<> {
      while (auto item = co_await rx.next()) got.push_back(*item);
    });
    for (std::thread& thread : threads) thread.join();
    require_all(got, 4, count);
    REQUIRE(rx.statistics().waiting_senders == 0);
  }
}

TEST_CASE("a task sends to a plain thread, which blocks until there is something") {
  const int count = static_cast<int>(scaled(20'000, 2'000));
  auto [tx, rx] = rota::mpsc_channel<int>(16);
  numbers got;
  std::thread thread([&got, from = std::move(rx)]() mutable {
    while (auto item = from.blocking_next()) got.push_back(*item);
  });
  run([&]() -> task<> {
    for (int i = 0; i != count; ++i) co_await tx.send(i);
    tx.close();
  });
  thread.join();
  require_all(got, 1, count);
}

TEST_CASE("many tasks on several loops share one mpmc channel: every item comes out once") {
  const int count = static_cast<int>(scaled(5'000, 1'000));
  auto [tx, rx] = rota::mpmc_channel<int>(8);
  std::vector<numbers> got(4);
  std::vector<std::thread> threads;
  const auto send_all = [](rota::thread_sender<int> to, int sender, int n) -> task<> {
    for (int i = 0; i != n; ++i) co_await to.send(per_sender * sender + i);
  };
  const auto receive_all = [](rota::thread_receiver<int, true> from, numbers& into) -> task<> {
    while (auto item = co_await from.next()) into.push_back(*item);
  };
  for (int i = 0; i != 2; ++i)
    threads.emplace_back([&send_all, to = tx.clone(), i, count]() mutable {
      rota::event_loop loop;
      loop.run(send_all(std::move(to), i, count));
    });
  for (std::size_t i = 0; i != 4; i += 2)
    threads.emplace_back([&receive_all, &got, a = rx.clone(), b = rx.clone(), i]() mutable {
      rota::event_loop loop;
      const auto both = [&]() -> task<> {
        co_await rota::when_all(receive_all(std::move(a), got[i]), receive_all(std::move(b), got[i + 1]));
      };
      loop.run(both());
    });
  tx.close();
  rx.close();
  for (std::thread& thread : threads) thread.join();
  numbers all;
  for (const numbers& some : got) all.insert(all.end(), some.begin(), some.end());
  std::sort(all.begin(), all.end());
  require_all(all, 2, count);
}

TEST_CASE("receives that are cancelled all the time lose nothing") {
  const int count = static_cast<int>(scaled(20'000, 2'000));
  auto [tx, rx] = rota::mpsc_channel<int>(1);
  std::thread thread(send_from_a_thread, std::move(tx), 0, count);
  numbers got;
  run([&]() -> task<> {
    const auto receive_some = [&]() -> task<> {
      while (auto item = co_await rx.next()) got.push_back(*item);
    };
    for (;;) {
      rota::join_handle<> receiving = rota::spawn(receive_some);
      for (int i = 0; i != 3; ++i) co_await rota::yield();
      receiving.cancel();
      const rota::result<> end = co_await rota::as_result(receiving);
      if (end) break;  // it saw the end of the stream
    }
  });
  thread.join();
  require_all(got, 1, count);
}

TEST_CASE("sends that are cancelled all the time send each item once, or not at all") {
  const int count = static_cast<int>(scaled(2'000, 300));
  auto [tx, rx] = rota::mpsc_channel<int>(0);
  numbers got;
  std::thread thread([&got, from = std::move(rx)]() mutable {
    while (auto item = from.blocking_next()) got.push_back(*item);
  });
  numbers sent;
  run([&]() -> task<> {
    for (int i = 0; i != count; ++i) {
      const auto send_one = [&]() -> task<> {
        co_await tx.send(i);
        sent.push_back(i);
      };
      rota::join_handle<> sending = rota::spawn(send_one);
      co_await rota::yield();
      sending.cancel();
      (void)co_await rota::as_result(sending);
    }
    tx.close();
  });
  thread.join();
  REQUIRE(got == sent);
}

TEST_CASE("the last end that is closed on one thread wakes those who wait on others") {
  auto [tx, rx] = rota::mpmc_channel<int>(1);
  bool thread_saw_the_end = false;
  std::thread receiver([&, from = rx.clone()]() mutable { thread_saw_the_end = !from.blocking_next(); });
  run([&]() -> task<> {
    const auto wait_for_end = [](rota::thread_receiver<int, true> from) -> task<bool> {
      const auto item = co_await from.next();
      co_return !item.has_value();
    };
    rota::join_handle<bool> waiting = rota::spawn(wait_for_end, rx.clone());
    while (rx.statistics().waiting_receivers != 2) co_await rota::sleep_for(1ms);
    tx.close();
    const bool ended = co_await waiting;
    REQUIRE(ended);
  });
  receiver.join();
  REQUIRE(thread_saw_the_end);

  auto [tx2, rx2] = rota::mpsc_channel<std::unique_ptr<int>>(0);
  std::error_code error;
  auto item = std::make_unique<int>(3);
  std::thread sender(
      [&, to = std::move(tx2)]() mutable { error = error_code_of([&] { to.blocking_send(std::move(item)); }); });
  while (rx2.statistics().waiting_senders == 0) std::this_thread::yield();
  rx2.close();
  sender.join();
  REQUIRE(error == std::errc::broken_pipe);
  REQUIRE(item);
}

TEST_CASE("a time limit around a send or a receive of an any-thread channel ends the wait, and nothing is lost") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpmc_channel<int>(0);
    const auto next = co_await rota::move_on_after(1ms, rx.next());
    REQUIRE_FALSE(next);
    const auto received = co_await rota::move_on_after(1ms, rx.receive());
    REQUIRE_FALSE(received);
    const auto sent = co_await rota::move_on_after(1ms, tx.send(1));
    REQUIRE_FALSE(sent);
    const auto result = co_await rota::as_result(rota::timeout(1ms, rx.next()));
    REQUIRE(result.error() == rota::errc::timed_out);
    std::error_code error;
    try {
      (void)co_await rota::timeout(1ms, rx.next());
    } catch (const std::system_error& e) {
      error = e.code();
    }
    REQUIRE(error == rota::errc::timed_out);
    auto limited = rx | rota::timeout(1ms);
    const auto of_pipe = co_await rota::as_result(limited.next());
    REQUIRE(of_pipe.error() == rota::errc::timed_out);
    REQUIRE(rx.statistics().waiting_receivers == 0);
    REQUIRE(tx.statistics().waiting_senders == 0);
    REQUIRE(tx.statistics().sent == 0);
  });
}

TEST_CASE("a cancel that comes when both ends are closed, and the waiter is not yet resumed, finds its channel") {
  run([]() -> task<> {
    auto [tx, rx] = rota::mpsc_channel<int>(1);
    const auto receive = [](rota::thread_receiver<int, false>& from, std::error_code& end) -> task<> {
      try {
        (void)co_await from.receive();
      } catch (const std::system_error& e) {
        end = e.code();
      }
    };
    std::error_code end;
    rota::join_handle<> receiving = rota::spawn(receive, std::ref(rx), std::ref(end));
    co_await rota::yield();
    tx.close();
    rx.close();
    receiving.cancel();
    (void)co_await rota::as_result(receiving);
    REQUIRE(end == rota::errc::end_of_stream);
  });
}

TEST_CASE("what must not block is refused, and so are closed ends") {
  auto [tx, rx] = rota::mpmc_channel<int>(1);
  run([&]() -> task<> {
    using kind = rota::usage_error::kind;
    REQUIRE(usage_error_of([&] { tx.blocking_send(1); }) == kind::blocking_in_loop);
    REQUIRE(usage_error_of([&] { (void)rx.blocking_next(); }) == kind::blocking_in_loop);
    REQUIRE(tx.try_send(1));
    REQUIRE(!tx.try_send(2));
    REQUIRE(rx.try_receive() == 1);
    REQUIRE(!rx.try_receive());
    co_return;
  });
  rx.close();
  REQUIRE(!tx.has_receiver());
  REQUIRE(error_code_of([&] { (void)tx.try_send(1); }) == std::errc::broken_pipe);
  tx.close();
  REQUIRE(error_code_of([&] { (void)tx.try_send(1); }) == rota::errc::closed);
  REQUIRE(error_code_of([&] { (void)rx.try_receive(); }) == rota::errc::closed);
  REQUIRE(usage_error_of([] { return rota::mpsc_channel<int>(static_cast<std::size_t>(-1)); }) ==
          rota::usage_error::kind::invalid_argument);
}

TEST_CASE("a oneshot carries its value from a thread to a task, and from a task to a thread") {
  for (int i = 0; i != 100; ++i) {
    auto [to_task, in_task] = rota::any_thread::oneshot<std::string>();
    auto [to_thread, in_thread] = rota::any_thread::oneshot<std::string>();
    std::string answer;
    std::thread thread([&answer, to = std::move(to_task), from = std::move(in_thread)]() mutable {
      to.send("a question that is longer than fifteen");
      answer = from.blocking_receive();
    });
    run([&]() -> task<> {
      const std::string question = co_await in_task.receive();
      to_thread.send(question + ", answered");
      REQUIRE(usage_error_of([&] { to_thread.send("again"); }) == rota::usage_error::kind::already_set);
    });
    thread.join();
    REQUIRE(answer == "a question that is longer than fifteen, answered");
  }
  auto [tx, rx] = rota::any_thread::oneshot<int>();
  {
    const auto gone = std::move(tx);
  }
  REQUIRE(error_code_of([&] { (void)rx.blocking_receive(); }) == rota::errc::broken_promise);
  run([&]() -> task<> {
    const rota::result<int> never = co_await rota::as_result(rx.receive());
    REQUIRE(never.error() == rota::errc::broken_promise);
  });
}

TEST_CASE("a oneshot whose receiver is gone leaves the value where it was") {
  auto [tx, rx] = rota::any_thread::oneshot<std::unique_ptr<int>>();
  rx.close();
  REQUIRE_FALSE(tx.has_receiver());
  auto value = std::make_unique<int>(3);
  REQUIRE(error_code_of([&] { tx.send(std::move(value)); }) == std::errc::broken_pipe);
  REQUIRE(value);

  auto [tx2, rx2] = rota::any_thread::oneshot<std::string>();
  const std::string word = "one";
  tx2.send(word);
  std::string second = "a value that is longer than fifteen";
  REQUIRE(usage_error_of([&] { tx2.send(std::move(second)); }) == rota::usage_error::kind::already_set);
  REQUIRE(second == "a value that is longer than fifteen");
  REQUIRE(rx2.blocking_receive() == word);
}
