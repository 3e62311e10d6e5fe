// oneshot, broadcast, watch, queue: what each promises, and misuse.
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/sync/broadcast.hpp>
#include <rota/sync/oneshot.hpp>
#include <rota/sync/queue.hpp>
#include <rota/sync/watch.hpp>

#include "support/rota_test.hpp"

using namespace std::chrono_literals;
using namespace rota_test;
using rota::task;

namespace {

using numbers = std::vector<int>;

template <class A>
task<std::error_code> error_of(A awaitable_of) {
  try {
    (void)co_await awaitable_of();
  } catch (const std::system_error& error) {
    co_return error.code();
  }
  co_return std::error_code();
}
template <class A>
task<std::error_code> error_of_void(A awaitable_of) {
  try {
    co_await awaitable_of();
  } catch (const std::system_error& error) {
    co_return error.code();
  }
  co_return std::error_code();
}
task<std::error_code> end_of(rota::join_handle<> handle) {
  const auto join = [&]() -> rota::join_handle<>& { return handle; };
  co_return co_await error_of_void(join);
}

}  // namespace

TEST_CASE("a oneshot carries one value, before or after somebody waits for it") {
  run([]() -> task<> {
    auto [tx, rx] = rota::oneshot<std::string>();
    REQUIRE(!rx.try_receive());
    rota::join_handle<std::string> waiting = rota::spawn(
        [](rota::oneshot_receiver<std::string> from) -> task<std::string> { co_return co_await from.receive(); },
        std::move(rx));
    co_await rota::yield();
    tx.send("a value that is longer than fifteen");
    REQUIRE(usage_error_of([&] { tx.send("another"); }) == rota::usage_error::kind::already_set);
    const std::string got = co_await waiting;
    REQUIRE(got == "a value that is longer than fifteen");

    auto [tx2, rx2] = rota::oneshot<std::unique_ptr<int>>();
    tx2.send(std::make_unique<int>(4));
    const std::unique_ptr<int> value = co_await rx2.receive();
    REQUIRE(*value == 4);
  });
}

TEST_CASE("a oneshot whose sender has gone is a broken promise, one whose receiver has gone a broken pipe") {
  run([]() -> task<> {
    auto [tx, rx] = rota::oneshot<int>();
    {
      const rota::oneshot_sender<int> gone = std::move(tx);
    }
    const auto receive = [&] { return rx.receive(); };
    const std::error_code error = co_await error_of(receive);
    REQUIRE(error == rota::errc::broken_promise);

    auto [tx2, rx2] = rota::oneshot<std::unique_ptr<int>>();
    REQUIRE(tx2.has_receiver());
    rx2.close();
    REQUIRE(!tx2.has_receiver());
    auto value = std::make_unique<int>(1);
    REQUIRE(error_code_of([&] { tx2.send(std::move(value)); }) == std::errc::broken_pipe);
    REQUIRE(value);
  });
}

TEST_CASE("every receiver of a broadcast gets every item that was sent since it subscribed") {
  run([]() -> task<> {
    rota::broadcast_sender<int> tx = rota::broadcast<int>(16);
    REQUIRE(tx.send(0) == 0);
    const auto read = [](rota::broadcast_receiver<int> rx) -> task<numbers> {
      numbers got;
      while (auto one = co_await rx.next()) {
        REQUIRE(one->missed == 0);
        got.push_back(one->item);
      }
      co_return got;
    };
    rota::join_handle<numbers> early = rota::spawn(read, tx.subscribe());
    co_await rota::yield();
    REQUIRE(tx.send(1) == 1);
    rota::broadcast_receiver<int> middle = tx.subscribe();
    REQUIRE(tx.send(2) == 2);
    rota::join_handle<numbers> late = rota::spawn(read, middle.clone());
    tx.send(3);
    tx.close();
    const numbers first = co_await early;
    const numbers second = co_await late;
    REQUIRE(first == numbers{1, 2, 3});
    REQUIRE(second == numbers{2, 3});
    REQUIRE(middle.behind() == 2);
    const rota::broadcast_item<int> two = co_await middle.receive();
    REQUIRE(two.item == 2);
    (void)co_await middle.receive();
    const auto receive = [&] { return middle.receive(); };
    const std::error_code error = co_await error_of(receive);
    REQUIRE(error == rota::errc::end_of_stream);
  });
}

TEST_CASE(
    "a slow receiver of a broadcast learns how many items it has missed, and goes on with the oldest that is left") {
  run([]() -> task<> {
    rota::broadcast_sender<std::string> tx = rota::broadcast<std::string>(4);
    rota::broadcast_receiver<std::string> rx = tx.subscribe();
    for (int i = 0; i != 10; ++i) tx.send("an item that is longer than fifteen, number " + std::to_string(i));
    const rota::broadcast_item<std::string> first = co_await rx.receive();
    REQUIRE(first.missed == 6);
    REQUIRE(first.item.ends_with(" 6"));
    const rota::broadcast_item<std::string> second = co_await rx.receive();
    REQUIRE(second.missed == 0);
    REQUIRE(second.item.ends_with(" 7"));
    REQUIRE(usage_error_of([] { return rota::broadcast<int>(0); }) == rota::usage_error::kind::invalid_argument);
  });
}

TEST_CASE("a receiver of a broadcast that is cancelled takes nothing") {
  run([]() -> task<> {
    rota::broadcast_sender<int> tx = rota::broadcast<int>(4);
    rota::broadcast_receiver<int> rx = tx.subscribe();
    const auto read_one = [](rota::broadcast_receiver<int>& from) -> task<> { (void)co_await from.receive(); };
    rota::join_handle<> reading = rota::spawn(read_one, std::ref(rx));
    co_await rota::yield();
    reading.cancel();
    const std::error_code error = co_await end_of(reading);
    REQUIRE(error == rota::errc::task_cancelled);
    tx.send(1);
    const rota::broadcast_item<int> one = co_await rx.receive();
    REQUIRE(one.item == 1);
  });
}

TEST_CASE("a watch shows the latest value, and wakes who waits for a change") {
  run([]() -> task<> {
    auto [tx, rx] = rota::watch<std::string>("the initial value, longer than fifteen");
    REQUIRE(rx.borrow() == "the initial value, longer than fifteen");
    REQUIRE(!rx.has_changed());
    const auto follow = [](rota::watch_receiver<std::string> from) -> task<std::vector<std::string>> {
      std::vector<std::string> seen;
      while (auto now = co_await from.next()) seen.push_back(std::move(*now));
      co_return seen;
    };
    rota::join_handle<std::vector<std::string>> following = rota::spawn(follow, rx.clone());
    co_await rota::yield();
    tx.send("one");
    tx.send("two");  // too quick: nobody sees "one"
    co_await rota::yield();
    tx.modify([](std::string& value) { value += " and a half"; });
    co_await rota::yield();
    REQUIRE(!tx.modify_if([](std::string&) { return false; }));
    REQUIRE(tx.receivers() == 2);
    bool news = co_await rx.changed();
    REQUIRE(news);
    REQUIRE(rx.borrow() == "two and a half");
    REQUIRE(!rx.has_changed());
    rota::watch_receiver<std::string> late = tx.subscribe();
    REQUIRE(!late.has_changed());
    tx.send("last");
    tx.close();
    news = co_await late.changed();
    REQUIRE(news);
    news = co_await late.changed();
    REQUIRE(!news);
    const std::vector<std::string> seen = co_await following;
    REQUIRE(seen == std::vector<std::string>{"two", "two and a half", "last"});
  });
}

TEST_CASE("ends of a broadcast and a watch that were closed or moved from are refused with errc::closed") {
  run([]() -> task<> {
    rota::broadcast_sender<int> tx = rota::broadcast<int>(1);
    rota::broadcast_receiver<int> rx = tx.subscribe();
    tx.close();
    rx.close();
    REQUIRE(error_code_of([&] { tx.send(1); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)rx.next(); }) == rota::errc::closed);
    auto [wtx, wrx] = rota::watch<int>(0);
    wtx.close();
    wrx.close();
    REQUIRE(error_code_of([&] { wtx.send(1); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)wrx.changed(); }) == rota::errc::closed);
    REQUIRE(error_code_of([&] { (void)wrx.borrow(); }) == rota::errc::closed);
    co_return;
  });
}

TEST_CASE("join waits until every item that was put is done") {
  run([]() -> task<> {
    rota::queue<int> q(2);
    co_await q.join();  // nothing was put: at once
    int worked = 0;
    const auto worker = [](rota::queue<int>& from, int& n) -> task<> {
      while (auto item = co_await from.next()) {
        co_await rota::yield();
        ++n;
        from.task_done();
      }
    };
    rota::join_handle<> first = rota::spawn(worker, std::ref(q), std::ref(worked));
    rota::join_handle<> second = rota::spawn(worker, std::ref(q), std::ref(worked));
    for (int i = 0; i != 10; ++i) co_await q.put(i);
    REQUIRE(q.unfinished() != 0);
    co_await q.join();
    REQUIRE(worked == 10);
    REQUIRE(q.unfinished() == 0);
    REQUIRE(usage_error_of([&] { q.task_done(); }) == rota::usage_error::kind::not_held);
    q.shutdown();
    co_await first;
    co_await second;
  });
}

TEST_CASE("a queue of maxsize 0 has no limit; a full one refuses try_put and makes put wait") {
  run([]() -> task<> {
    rota::queue<int> without_limit(0);
    for (int i = 0; i != 1000; ++i) REQUIRE(without_limit.try_put(i));
    REQUIRE(!without_limit.full());
    rota::queue<int> q(1);
    REQUIRE(q.try_put(1));
    REQUIRE(!q.try_put(2));
    REQUIRE(q.full());
    const auto put = [](rota::queue<int>& into) -> task<> { co_await into.put(3); };
    rota::join_handle<> putting = rota::spawn(put, std::ref(q));
    co_await rota::yield();
    REQUIRE(!putting.done());
    const int one = co_await q.get();
    REQUIRE(one == 1);
    co_await putting;
    REQUIRE(q.try_get() == 3);
    REQUIRE(!q.try_get());
    REQUIRE(q.empty());
  });
}

TEST_CASE("after a shutdown nothing can be put, also by those who wait to, and what is there can be taken") {
  run([]() -> task<> {
    rota::queue<std::string> q(1);
    co_await q.put("the first");
    const auto put = [](rota::queue<std::string>& into) -> task<std::error_code> {
      try {
        co_await into.put("the second");
      } catch (const std::system_error& error) {
        co_return error.code();
      }
      co_return std::error_code();
    };
    rota::join_handle<std::error_code> putting = rota::spawn(put, std::ref(q));
    co_await rota::yield();
    q.shutdown();
    REQUIRE(q.is_shut_down());
    const std::error_code error = co_await putting;
    REQUIRE(error == rota::errc::closed);
    REQUIRE(error_code_of([&] { q.try_put("x"); }) == rota::errc::closed);
    const std::string first = co_await q.get();
    REQUIRE(first == "the first");
    const auto get = [&] { return q.get(); };
    const std::error_code drained = co_await error_of(get);
    REQUIRE(drained == rota::errc::closed);
    REQUIRE(q.unfinished() == 1);
  });
}

TEST_CASE("an immediate shutdown throws away what is there and wakes everybody; join waits for what was taken only") {
  run([]() -> task<> {
    rota::queue<int> q(0);
    for (int i = 0; i != 3; ++i) co_await q.put(i);
    const int taken = co_await q.get();
    REQUIRE(taken == 0);
    const auto wait = [](rota::queue<int>& on) -> task<> { co_await on.join(); };
    rota::join_handle<> joining = rota::spawn(wait, std::ref(q));
    co_await rota::yield();
    q.shutdown(true);
    REQUIRE(q.empty());
    REQUIRE(q.unfinished() == 1);
    co_await rota::yield();
    REQUIRE(!joining.done());
    q.task_done();
    co_await joining;

    rota::queue<int> empty(0);
    const auto get = [](rota::queue<int>& from) -> task<bool> {
      const auto item = co_await from.next();
      co_return item.has_value();
    };
    rota::join_handle<bool> getting = rota::spawn(get, std::ref(empty));
    co_await rota::yield();
    empty.shutdown(true);
    const bool got = co_await getting;
    REQUIRE(!got);
  });
}

TEST_CASE("a lifo queue gives the last item first, a priority queue the smallest") {
  run([]() -> task<> {
    rota::lifo_queue<int> stack(0);
    rota::priority_queue<int> heap(0);
    for (const int i : {3, 1, 2}) {
      co_await stack.put(i);
      co_await heap.put(i);
    }
    numbers from_stack;
    numbers from_heap;
    while (auto item = stack.try_get()) from_stack.push_back(*item);
    while (auto item = heap.try_get()) from_heap.push_back(*item);
    REQUIRE(from_stack == numbers{2, 1, 3});
    REQUIRE(from_heap == numbers{1, 2, 3});
  });
}

TEST_CASE("join looks when it is awaited, not when it is written: a join beside the work waits for the work") {
  run([]() -> task<> {
    rota::queue<int> q(4);
    co_await q.put(1);
    const auto work = [](rota::queue<int>& from) -> task<> {
      (void)co_await from.get();
      from.task_done();
    };
    co_await rota::when_all(work(q), q.join());  // had it been decided at the call, this would hang
    REQUIRE(q.unfinished() == 0);
    const auto put = [](rota::queue<int>& to) -> task<> { co_await to.put(1); };
    const auto joined = [](rota::queue<int>& of) -> task<> { co_await rota::when_all(of.join()); };
    auto later = q.join();
    co_await put(q);
    rota::join_handle<> joining = rota::spawn(joined, std::ref(q));
    rota::join_handle<> working = rota::spawn(work, std::ref(q));
    co_await later;
    REQUIRE(q.unfinished() == 0);
    co_await joining;
    co_await working;
  });
}

TEST_CASE("a second task on one receiver of a broadcast or a watch is refused, and the first goes on") {
  run([]() -> task<> {
    rota::broadcast_sender<int> tx = rota::broadcast<int>(4);
    rota::broadcast_receiver<int> rx = tx.subscribe();
    const auto read_one = [](rota::broadcast_receiver<int>& from) -> task<int> {
      const rota::broadcast_item<int> one = co_await from.receive();
      co_return one.item;
    };
    rota::join_handle<int> first = rota::spawn(read_one, std::ref(rx));
    co_await rota::yield();
    int refused = 0;
    try {
      (void)co_await rx.next();
    } catch (const rota::usage_error& error) {
      refused += error.which() == rota::usage_error::kind::busy ? 1 : 0;
    }
    tx.send(7);  // the first has it, although it has not run
    try {
      (void)co_await rx.next();
    } catch (const rota::usage_error& error) {
      refused += error.which() == rota::usage_error::kind::busy ? 1 : 0;
    }
    REQUIRE(refused == 2);
    const int got = co_await first;
    REQUIRE(got == 7);
    tx.send(8);
    const int next = co_await read_one(rx);
    REQUIRE(next == 8);

    auto [wtx, wrx] = rota::watch<int>(0);
    const auto look = [](rota::watch_receiver<int>& at) -> task<bool> { co_return co_await at.changed(); };
    rota::join_handle<bool> looking = rota::spawn(look, std::ref(wrx));
    co_await rota::yield();
    try {
      (void)co_await wrx.changed();
    } catch (const rota::usage_error& error) {
      refused += error.which() == rota::usage_error::kind::busy ? 1 : 0;
    }
    REQUIRE(refused == 3);
    wtx.send(1);
    const bool news = co_await looking;
    REQUIRE(news);
  });
}

TEST_CASE("closing a receiver of a broadcast or a watch while a task waits on it ends the wait with errc::closed") {
  run([]() -> task<> {
    rota::broadcast_sender<int> tx = rota::broadcast<int>(4);
    rota::broadcast_receiver<int> rx = tx.subscribe();
    const auto read = [](rota::broadcast_receiver<int>& from) -> task<std::error_code> {
      const auto next = [&] { return from.next(); };
      co_return co_await error_of(next);
    };
    rota::join_handle<std::error_code> reading = rota::spawn(read, std::ref(rx));
    co_await rota::yield();
    rx.close();
    REQUIRE(tx.receivers() == 0);
    std::error_code error = co_await reading;
    REQUIRE(error == rota::errc::closed);

    auto [wtx, wrx] = rota::watch<int>(0);
    const auto look = [](rota::watch_receiver<int>& at) -> task<std::error_code> {
      const auto changed = [&] { return at.changed(); };
      co_return co_await error_of(changed);
    };
    rota::join_handle<std::error_code> looking = rota::spawn(look, std::ref(wrx));
    co_await rota::yield();
    wrx.close();
    error = co_await looking;
    REQUIRE(error == rota::errc::closed);
  });
}

TEST_CASE("a broadcast constructs its items and never assigns them: an assignment that throws does no harm") {
  struct item {
    explicit item(int n) : number(n) {}
    item(const item&) = default;
    item(item&&) noexcept = default;
    item& operator=(const item&) = delete;
    item& operator=(item&&) { throw std::runtime_error("assigned"); }
    int number;
  };
  run([]() -> task<> {
    rota::broadcast_sender<item> tx = rota::broadcast<item>(1);
    rota::broadcast_receiver<item> rx = tx.subscribe();
    for (int i = 0; i != 3; ++i) tx.send(item(i));
    const rota::broadcast_item<item> one = co_await rx.receive();
    REQUIRE(one.item.number == 2);
    REQUIRE(one.missed == 2);
  });
}
