// channel, unbounded_channel, priority_channel: order, waiting, both ends, what a cancel and a close leave behind, misuse.
#include <rota/sync/channel.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;
using namespace rota_test;
using rota::task;

namespace {

using numbers = std::vector<int>;

task<> send_range(rota::sender<int> tx, int from, int to) {
  for (int i = from; i != to; ++i) co_await tx.send(i);
}
template <class Receiver>
task<> collect(Receiver rx, numbers& into) {
  while (auto item = co_await rx.next()) into.push_back(*item);
}
numbers iota(int n) {
  numbers all;
  for (int i = 0; i != n; ++i) all.push_back(i);
  return all;
}
/// The error that awaiting gives; empty when none.
template <class A>
task<std::error_code> error_of(A awaitable_of) {
  try {
    (void)co_await awaitable_of();
  } catch (const std::system_error& error) {
    co_return error.code();
  }
  co_return std::error_code();
}

task<std::error_code> end_of(rota::join_handle<> handle) {
  const auto join = [&]() -> rota::join_handle<>& { return handle; };
  co_return co_await error_of(join);
}

struct message {
  message(int n, std::string t) : number(n), text(std::move(t)) {}
  int number;
  std::string text;
};

}  // namespace

TEST_CASE("whatever the capacity, items come out in the order in which they were sent, and the stream ends") {
  for (const std::size_t capacity : {0u, 1u, 2u, 3u, 7u, 64u, 1000u}) {
    numbers got;
    run([&]() -> task<> {
      auto [tx, rx] = rota::channel<int>(capacity);
      (void)rota::spawn(send_range, std::move(tx), 0, 500);
      co_await collect(std::move(rx), got);
    });
    REQUIRE(got == iota(500));
  }
}

TEST_CASE("a full channel makes its sender wait, and never holds more than its capacity") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(3);
    rota::join_handle<> sending = rota::spawn(send_range, tx.clone(), 0, 10);
    co_await rota::yield();
    rota::channel_statistics s = rx.statistics();
    REQUIRE(s.size == 3);
    REQUIRE(s.waiting_senders == 1);
    REQUIRE(s.senders == 2);
    REQUIRE(!tx.try_send(99));
    for (int i = 0; i != 10; ++i) {
      const int got = co_await rx.receive();
      REQUIRE(got == i);
      if (i % 3 == 0) co_await rota::yield();
    }
    co_await sending;
    s = rx.statistics();
    REQUIRE(s.peak == 3);
    REQUIRE(s.sent == 10);
    REQUIRE(s.size == 0);
  });
}

TEST_CASE("in a rendezvous a send ends when a receiver has the item") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<std::string>(0);
    REQUIRE(!tx.try_send("nobody waits"));
    rota::join_handle<> sending = rota::spawn(
        [](rota::sender<std::string> to) -> task<> { co_await to.send("a long enough text, not to be kept in place"); },
        tx.clone());
    co_await rota::yield();
    REQUIRE(!sending.done());
    REQUIRE(rx.statistics().size == 0);
    const std::optional<std::string> got = rx.try_receive();
    REQUIRE(got == "a long enough text, not to be kept in place");
    co_await sending;
    REQUIRE(!rx.try_receive());
    // The other way round: the receiver is there first.
    rota::join_handle<std::string> receiving = rota::spawn(
        [](rota::receiver<std::string> from) -> task<std::string> { co_return co_await from.receive(); }, rx.clone());
    co_await rota::yield();
    REQUIRE(tx.try_send("taken"));
    const std::string taken = co_await receiving;
    REQUIRE(taken == "taken");
  });
}

TEST_CASE("receivers that wait get items in the order in which they came, and nobody who comes later is served first") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(4);
    std::array<int, 4> got{};
    const auto one = [](rota::receiver<int> from, int& into) -> task<> { into = co_await from.receive(); };
    std::vector<rota::join_handle<>> handles;
    for (int i = 0; i != 3; ++i)
      handles.push_back(rota::spawn(one, rx.clone(), std::ref(got[static_cast<std::size_t>(i)])));
    co_await rota::yield();
    for (int i = 1; i <= 4; ++i) co_await tx.send(i);
    got[3] = co_await rx.receive();  // ready at once, but it is the fourth who asked
    for (rota::join_handle<>& handle : handles) co_await handle;
    REQUIRE(got == std::array<int, 4>{1, 2, 3, 4});
  });
}

TEST_CASE("senders that wait are served in the order in which they came") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    std::vector<rota::join_handle<>> handles;
    for (int i = 0; i != 5; ++i) handles.push_back(rota::spawn(send_range, tx.clone(), i * 10, i * 10 + 2));
    co_await rota::yield();
    tx.close();
    numbers got;
    co_await collect(std::move(rx), got);
    REQUIRE(got == numbers{0, 1, 10, 20, 30, 40, 11, 21, 31, 41});
  });
}

TEST_CASE("when the last sender is gone, receivers get what is left and then the end of the stream") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(8);
    rota::sender<int> second = tx.clone();
    co_await tx.send(1);
    tx.close();
    REQUIRE(!tx.is_open());
    co_await second.send(2);
    rota::join_handle<numbers> all = rota::spawn(
        [](rota::receiver<int> from) -> task<numbers> {
          numbers got;
          co_await collect(std::move(from), got);
          co_return got;
        },
        rx.clone());
    co_await rota::yield();
    REQUIRE(!all.done());
    REQUIRE(!rx.ended());
    second.close();
    const numbers got = co_await all;
    REQUIRE(got == numbers{1, 2});
    REQUIRE(rx.ended());
    const std::optional<int> nothing = rx.try_receive();
    REQUIRE(!nothing);
    const auto receive = [&] { return rx.receive(); };
    const std::error_code error = co_await error_of(receive);
    REQUIRE(error == rota::errc::end_of_stream);
  });
}

TEST_CASE("when the last receiver is gone, senders get broken_pipe and keep their item, also those that wait") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<std::unique_ptr<int>>(1);
    auto first = std::make_unique<int>(1);
    auto second = std::make_unique<int>(2);
    co_await tx.send(std::move(first));
    REQUIRE(!first);
    rota::join_handle<std::error_code> waiting = rota::spawn(
        [](rota::sender<std::unique_ptr<int>> to, std::unique_ptr<int>& what) -> task<std::error_code> {
          const auto send = [&] { return to.send(std::move(what)); };
          co_return co_await error_of(send);
        },
        tx.clone(), std::ref(second));
    co_await rota::yield();
    rota::receiver<std::unique_ptr<int>> other = rx.clone();
    rx.close();
    co_await rota::yield();
    REQUIRE(!waiting.done());
    REQUIRE(tx.has_receiver());
    other.close();
    const std::error_code error = co_await waiting;
    REQUIRE(error == std::errc::broken_pipe);
    REQUIRE(second);
    REQUIRE(*second == 2);
    REQUIRE(!tx.has_receiver());
    REQUIRE(error_code_of([&] { return tx.try_send(std::move(second)); }) == std::errc::broken_pipe);
    REQUIRE(second);
    const auto again = [&] { return tx.send(std::move(second)); };
    const std::error_code at_once = co_await error_of(again);
    REQUIRE(at_once == std::errc::broken_pipe);
    REQUIRE(second);
  });
}

TEST_CASE("an end that was closed or moved from is refused with errc::closed") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    rota::sender<int> moved = std::move(tx);
    REQUIRE(error_code_of([&] { (void)tx.send(1); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)tx.try_send(1); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)tx.reserve(); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)tx.clone(); }) == rota::errc::closed);
    rx.close();
    rx.close();
    REQUIRE(error_code_of([&] { (void)rx.receive(); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)rx.next(); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)rx.try_receive(); }) == rota::errc::closed);
    moved.close();
    REQUIRE(error_code_of([&] { (void)moved.statistics(); }) == rota::errc::closed);
    co_return;
  });
}

TEST_CASE("closing an end while a task waits on it ends the wait with errc::closed") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    rota::join_handle<std::error_code> receiving = rota::spawn(
        [](rota::receiver<int>& from) -> task<std::error_code> {
          const auto receive = [&] { return from.receive(); };
          co_return co_await error_of(receive);
        },
        std::ref(rx));
    co_await rota::yield();
    rx.close();
    const std::error_code error = co_await receiving;
    REQUIRE(error == rota::errc::closed);
  });
}

TEST_CASE("a send that is cancelled while it waits has sent nothing, and its item is where it was") {
  for (const std::size_t capacity : {0u, 1u}) {
    run([&]() -> task<> {
      auto [tx, rx] = rota::channel<std::unique_ptr<int>>(capacity);
      if (capacity != 0) co_await tx.send(std::make_unique<int>(0));
      auto mine = std::make_unique<int>(7);
      rota::join_handle<> sending =
          rota::spawn([](rota::sender<std::unique_ptr<int>> to,
                         std::unique_ptr<int>& what) -> task<> { co_await to.send(std::move(what)); },
                      tx.clone(), std::ref(mine));
      co_await rota::yield();
      sending.cancel();
      const std::error_code error = co_await end_of(sending);
      REQUIRE(error == rota::errc::task_cancelled);
      REQUIRE(mine);
      REQUIRE(rx.statistics().waiting_senders == 0);
      REQUIRE(rx.statistics().sent == capacity);
    });
  }
}

TEST_CASE("a receive that is cancelled while it waits takes nothing; one that has its item keeps it") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    int got = 0;
    const auto receive_one = [](rota::receiver<int> from, int& into) -> task<> {
      into = co_await from.receive();
      co_await rota::yield();
    };
    rota::join_handle<> first = rota::spawn(receive_one, rx.clone(), std::ref(got));
    co_await rota::yield();
    first.cancel();
    co_await tx.send(1);
    std::error_code error = co_await end_of(first);
    REQUIRE(error == rota::errc::task_cancelled);
    REQUIRE(got == 0);
    const std::optional<int> still_there = rx.try_receive();
    REQUIRE(still_there == 1);

    rota::join_handle<> second = rota::spawn(receive_one, rx.clone(), std::ref(got));
    co_await rota::yield();
    co_await tx.send(2);
    second.cancel();
    error = co_await end_of(second);
    REQUIRE(error == rota::errc::task_cancelled);
    REQUIRE(got == 2);
  });
}

TEST_CASE("in a cancelled scope neither a send nor a receive happens, although both could at once") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(2);
    co_await tx.send(1);
    rota::join_handle<> handle = rota::spawn(
        [](rota::sender<int> to, rota::receiver<int> from) -> task<> {
          try {
            co_await rota::sleep_for(1h);
          } catch (const rota::cancelled&) {
          }
          int thrown = 0;
          try {
            co_await to.send(5);
          } catch (const rota::cancelled&) {
            ++thrown;
          }
          try {
            (void)co_await from.receive();
          } catch (const rota::cancelled&) {
            ++thrown;
          }
          REQUIRE(thrown == 2);
        },
        tx.clone(), rx.clone());
    co_await rota::yield();
    handle.cancel();
    co_await handle;
    REQUIRE(rx.statistics().size == 1);
  });
}

TEST_CASE("a permit keeps its room: what is sent through it needs not wait, and unused it goes to the next") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(2);
    rota::permit<int> one = co_await tx.reserve();
    std::optional<rota::permit<int>> two = tx.try_reserve();
    REQUIRE(two);
    REQUIRE(!tx.try_reserve());
    REQUIRE(!tx.try_send(0));
    REQUIRE(rx.statistics().reserved == 2);
    rota::join_handle<> waiting = rota::spawn(send_range, tx.clone(), 30, 31);
    co_await rota::yield();
    one.send(10);
    REQUIRE(!one);
    REQUIRE(error_code_of([&] { one.send(11); }) == rota::errc::closed);
    REQUIRE(!waiting.done());
    two.reset();
    co_await waiting;
    numbers got;
    tx.close();
    co_await collect(std::move(rx), got);
    REQUIRE(got == numbers{10, 30});
  });
}

TEST_CASE("a permit keeps the stream open, and says broken_pipe when every receiver is gone") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<std::unique_ptr<int>>(1);
    auto permit = co_await tx.reserve();
    tx.close();
    REQUIRE(!rx.ended());
    auto item = std::make_unique<int>(3);
    rx.close();
    REQUIRE(error_code_of([&] { permit.send(std::move(item)); }) == std::errc::broken_pipe);
    REQUIRE(item);
  });
}

TEST_CASE("a cancel takes a waiting reserve out of the way of those behind it") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    auto held = co_await tx.reserve();
    const auto take_permit = [](rota::sender<int> to) -> task<> { (void)co_await to.reserve(); };
    rota::join_handle<> reserving = rota::spawn(take_permit, tx.clone());
    rota::join_handle<> sending = rota::spawn(send_range, tx.clone(), 5, 6);
    rota::join_handle<int> receiving =
        rota::spawn([](rota::receiver<int> from) -> task<int> { co_return co_await from.receive(); }, rx.clone());
    co_await rota::yield();
    REQUIRE(rx.statistics().waiting_senders == 2);
    REQUIRE(rx.statistics().waiting_receivers == 1);
    reserving.cancel();
    const int got = co_await receiving;  // from hand to hand, although the room is reserved
    REQUIRE(got == 5);
    co_await sending;
    const std::error_code error = co_await end_of(reserving);
    REQUIRE(error == rota::errc::task_cancelled);
  });
}

TEST_CASE("a reserve that had its permit before the cancel gives the room back") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    co_await tx.send(1);
    rota::join_handle<> reserving = rota::spawn(
        [](rota::sender<int> to) -> task<> {
          auto room = co_await to.reserve();
          co_await rota::yield();
          room.send(2);
        },
        tx.clone());
    co_await rota::yield();
    const int got = co_await rx.receive();
    REQUIRE(got == 1);
    REQUIRE(rx.statistics().reserved == 1);
    reserving.cancel();
    const std::error_code error = co_await end_of(reserving);
    REQUIRE(error == rota::errc::task_cancelled);
    REQUIRE(rx.statistics().reserved == 0);
    REQUIRE(tx.try_send(3));
  });
}

TEST_CASE("receive_many takes what is there, at most its limit, and 0 at the end of the stream") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(4);
    (void)rota::spawn(send_range, std::move(tx), 0, 10);
    numbers got;
    std::size_t n = co_await rx.receive_many(got, 3);  // it waits for the first
    REQUIRE(n >= 1);
    std::vector<std::size_t> counts;
    while (n != 0) {
      n = co_await rx.receive_many(got, 100);
      counts.push_back(n);
    }
    REQUIRE(got == iota(10));
    REQUIRE(counts.back() == 0);
    REQUIRE(usage_error_of([&] { return rx.receive_many(got, 0); }) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("an unbounded channel never makes its sender wait") {
  run([]() -> task<> {
    auto [tx, rx] = rota::unbounded_channel<std::string>();
    rota::unbounded_sender<std::string> second = tx.clone();
    for (int i = 0; i != 1000; ++i) tx.send("item " + std::to_string(i));
    tx.close();
    const std::string last = "the last";
    second.send(last);
    REQUIRE(rx.statistics().size == 1001);
    second.close();
    int n = 0;
    while (auto item = co_await rx.next()) {
      if (n != 1000) REQUIRE(*item == "item " + std::to_string(n));
      ++n;
    }
    REQUIRE(n == 1001);
    auto [tx2, rx2] = rota::unbounded_channel<std::string>();
    rx2.close();
    REQUIRE(error_code_of([&] { tx2.send(last); }) == std::errc::broken_pipe);
  });
}

TEST_CASE("a priority channel gives the smallest first, and equal ones in the order in which they were sent") {
  run([]() -> task<> {
    auto [tx, rx] =
        rota::priority_channel<message>(100, [](const message& a, const message& b) { return a.number < b.number; });
    rota::detail::random dice(11);
    for (int i = 0; i != 100; ++i) {
      message one(static_cast<int>(dice.below(10)), std::to_string(i));
      co_await tx.send(std::move(one));
    }
    tx.close();
    int last_number = 0;
    int last_text = -1;
    int count = 0;
    while (auto one = co_await rx.next()) {
      const int text = std::stoi(one->text);
      if (one->number == last_number) REQUIRE(text > last_text);
      REQUIRE(one->number >= last_number);
      last_number = one->number;
      last_text = text;
      ++count;
    }
    REQUIRE(count == 100);
    auto [tx2, rx2] = rota::priority_channel<int>(8);
    for (const int i : {3, 1, 2}) co_await tx2.send(i);
    const int first = co_await rx2.receive();
    REQUIRE(first == 1);
  });
}

TEST_CASE("a receiver that throws closes its end, and its senders learn it") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(2);
    rota::join_handle<> receiving = rota::spawn(
        [](rota::receiver<int> from) -> task<> {
          (void)co_await from.receive();
          throw std::runtime_error("enough");
        },
        std::move(rx));
    std::error_code error;
    try {
      for (int i = 0;; ++i) co_await tx.send(i);
    } catch (const std::system_error& e) {
      error = e.code();
    }
    REQUIRE(error == std::errc::broken_pipe);
    bool threw = false;
    try {
      co_await receiving;
    } catch (const std::runtime_error&) {
      threw = true;
    }
    REQUIRE(threw);
  });
}

TEST_CASE("items that hold ends of their own channel are destroyed with it") {
  struct parcel {
    explicit parcel(rota::sender<parcel>&& s) : back(std::move(s)) {}
    rota::sender<parcel> back;
  };
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<parcel>(4);
    for (int i = 0; i != 3; ++i) {
      parcel one(tx.clone());
      co_await tx.send(std::move(one));
    }
    tx.close();
    rx.close();  // or the parcels would keep the channel, and the channel the parcels
  });
}

TEST_CASE("what a channel was made for is checked: capacities, and tasks of one loop") {
  using kind = rota::usage_error::kind;
  REQUIRE(usage_error_of([] { return rota::channel<int>(static_cast<std::size_t>(-1)); }) == kind::invalid_argument);
  REQUIRE(usage_error_of([] { return rota::priority_channel<int>(0); }) == kind::invalid_argument);
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(0);
    REQUIRE(usage_error_of([&] { return tx.reserve(); }) == kind::invalid_argument);
    REQUIRE(usage_error_of([&] { return tx.try_reserve(); }) == kind::invalid_argument);
    co_return;
  });
}

TEST_CASE("a channel on which tasks of one loop wait refuses a task of another loop that would have to wait") {
  auto [tx, rx] = rota::channel<int>(0);
  rota::event_loop first;
  rota::event_loop second;
  std::optional<rota::join_handle<>> waiting;
  first.run([](rota::receiver<int>& from, std::optional<rota::join_handle<>>& into) -> task<> {
    const auto wait = [](rota::receiver<int>& r) -> task<> { (void)co_await r.receive(); };
    into = rota::spawn(wait, std::ref(from));
    co_await rota::yield();
  }(rx, waiting));
  REQUIRE(usage_error_of([&] {
            second.run([](rota::receiver<int>& from) -> task<> { (void)co_await from.receive(); }(rx));
          }) == rota::usage_error::kind::wrong_loop);
  REQUIRE(rx.statistics().waiting_receivers == 1);
  first.run([](std::optional<rota::join_handle<>>& handle) -> task<> {
    handle->cancel();
    (void)co_await rota::as_result(*handle);
  }(waiting));
}

TEST_CASE("a loop over a channel that always has items lets other tasks run") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(10'000);
    for (int i = 0; i != 10'000; ++i) REQUIRE(tx.try_send(i));
    tx.close();
    bool other_ran = false;
    const auto other = [](bool& ran) -> task<> {
      ran = true;
      co_return;
    };
    (void)rota::spawn(other, std::ref(other_ran));
    int before_the_other = 0;
    while (auto item = co_await rx.next())
      if (!other_ran) ++before_the_other;
    REQUIRE(before_the_other < 1'000);
  });
}

TEST_CASE("a producer and a consumer as two children of when_all: the stream ends with the producer") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(2);
    numbers got;
    co_await rota::when_all(send_range(std::move(tx), 0, 20), collect(std::move(rx), got));
    REQUIRE(got == iota(20));
  });
}

TEST_CASE("natural spellings: temporaries and brace lists in the statement that awaits") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<std::string>(8);
    auto [tm, rm] = rota::channel<message>(8);
    const std::string kept = "an lvalue that is copied, and that is longer than fifteen characters";
    co_await tx.send(std::string("a temporary, longer than fifteen characters"));
    co_await tx.send("converted in the statement, longer than fifteen");
    co_await tx.send(kept);
    co_await tx.send({"made of a braced list, longer than fifteen"});
    co_await tx.send(kept + " and a sum");
    co_await tm.send(message(1, "a temporary of a class, longer than fifteen"));
    co_await tm.send({2, "a class from a braced list, longer than fifteen"});
    co_await rota::timeout(1h, tx.send(std::string("within a timeout, longer than fifteen")));
    tx.close();
    std::vector<std::string> got;
    while (auto item = co_await rx.next()) got.push_back(std::move(*item));
    REQUIRE(got.size() == 6);
    REQUIRE(got[0] == "a temporary, longer than fifteen characters");
    REQUIRE(got[1] == "converted in the statement, longer than fifteen");
    REQUIRE(got[2] == kept);
    REQUIRE(got[3] == "made of a braced list, longer than fifteen");
    REQUIRE(got[4] == kept + " and a sum");
    REQUIRE(got[5] == "within a timeout, longer than fifteen");
    const message one = co_await rm.receive();
    const message two = co_await rota::timeout(1h, rm.receive());
    REQUIRE(one.text == "a temporary of a class, longer than fifteen");
    REQUIRE(two.text == "a class from a braced list, longer than fifteen");
    const rota::result<message> none = co_await rota::as_result(rota::timeout(1ms, rm.receive()));
    REQUIRE(none.error() == rota::errc::timed_out);
  });
}

TEST_CASE("an aggregate that owns something is named, and sent with by_move or as a copy") {
  struct job {
    int number;
    std::string text;
  };
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<job>(4);
    job one{1, "a text that is longer than fifteen characters"};
    co_await tx.send(one);
    co_await tx.send(rota::by_move(one));
    REQUIRE(one.text.empty());
    const job copy = co_await rx.receive();
    const job moved = co_await rx.receive();
    REQUIRE(copy.text == "a text that is longer than fifteen characters");
    REQUIRE(moved.text == copy.text);
  });
}

TEST_CASE("a reserve and a receive_many that wait are no ends: closing the only one ends them with errc::closed") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    const auto many = [](rota::receiver<int>& from) -> task<std::error_code> {
      numbers into;
      const auto receive = [&] { return from.receive_many(into, 4); };
      co_return co_await error_of(receive);
    };
    rota::join_handle<std::error_code> receiving = rota::spawn(many, std::ref(rx));
    co_await rota::yield();
    REQUIRE(rx.statistics().receivers == 1);
    rx.close();
    std::error_code error = co_await receiving;
    REQUIRE(error == rota::errc::closed);
    REQUIRE(!tx.has_receiver());

    auto [tx2, rx2] = rota::channel<int>(1);
    co_await tx2.send(1);
    const auto room = [](rota::sender<int>& to) -> task<std::error_code> {
      const auto reserve = [&] { return to.reserve(); };
      co_return co_await error_of(reserve);
    };
    rota::join_handle<std::error_code> reserving = rota::spawn(room, std::ref(tx2));
    co_await rota::yield();
    REQUIRE(rx2.statistics().senders == 1);
    tx2.close();
    error = co_await reserving;
    REQUIRE(error == rota::errc::closed);
  });
}

TEST_CASE("a reserve that has its room when the last sender is closed gives it back, and is errc::closed") {
  run([]() -> task<> {
    auto [tx, rx] = rota::channel<int>(1);
    co_await tx.send(1);
    const auto room = [](rota::sender<int>& to) -> task<std::error_code> {
      const auto reserve = [&] { return to.reserve(); };
      co_return co_await error_of(reserve);
    };
    rota::join_handle<std::error_code> reserving = rota::spawn(room, std::ref(tx));
    co_await rota::yield();
    REQUIRE(rx.try_receive());
    REQUIRE(rx.statistics().reserved == 1);
    tx.close();
    const std::error_code error = co_await reserving;
    REQUIRE(error == rota::errc::closed);
    REQUIRE(rx.statistics().reserved == 0);
    REQUIRE(rx.ended());
  });
}
