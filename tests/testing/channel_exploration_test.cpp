// Every kind of channel in many worlds, with cancels at random points. The invariant: what was sent, and nothing else, is
// received, each item once (or, of a broadcast, once by each receiver or counted as missed), and each receiver sees the
// items of one sender in their order; a send or a select that lost or was cancelled has sent nothing; nobody is left waiting.
#include <rota/testing/explorer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using namespace std::chrono_literals;
using rota::task;
using rota::testing::exploration;
using rota::testing::explore;
using rota::testing::simulation;
using rota::testing::simulation_options;

namespace {

using numbers = std::vector<int>;

struct tally {
  explicit tally(std::uint64_t seed) : dice(seed) {}
  tally(const tally&) = delete;
  tally& operator=(const tally&) = delete;

  bool one_in(std::uint64_t sides) { return dice.below(sides) == 0; }
  rota::duration some_time() { return std::chrono::milliseconds(dice.below(4)); }
  void fault(std::string what) {
    if (broken.empty()) broken = std::move(what);
  }
  void check_all_received() {
    std::sort(sent.begin(), sent.end());
    std::sort(received.begin(), received.end());
    if (sent != received)
      fault(std::to_string(sent.size()) + " items were sent and " + std::to_string(received.size()) +
            " received, or not the same");
  }

  rota::detail::random dice;
  numbers sent;
  numbers received;
  std::size_t cancelled = 0;
  std::string broken;
};

/// What one receiver has seen of each sender, whose items are 1000 * sender + number.
struct order {
  std::array<int, 8> last{-1, -1, -1, -1, -1, -1, -1, -1};
  bool add(int item) { return std::exchange(last[static_cast<std::size_t>(item / 1000)], item % 1000) < item % 1000; }
};

task<> pause(tally& all) {
  const std::uint64_t how = all.dice.below(4);
  if (how == 0) co_await rota::sleep_for(all.some_time());
  if (how == 1) co_await rota::yield();
}

struct received_by {
  received_by(tally& a, bool in) : all(a), in_order(in) {}
  void operator()(int item) {
    all.received.push_back(item);
    if (!seen.add(item) && in_order) all.fault("item " + std::to_string(item) + " overtook another");
  }
  tally& all;
  bool in_order;
  order seen;
};

template <class Store>
task<> produce(rota::sender<int, Store> tx, tally& all, int id) {
  for (int i = 0; i != 6; ++i) {
    const int item = id * 1000 + i;
    co_await pause(all);
    const std::uint64_t how = all.dice.below(5);
    if (how == 0 && tx.statistics().capacity != 0) {
      auto room = co_await tx.reserve();
      co_await pause(all);
      room.send(item);
      all.sent.push_back(item);
    } else if (how == 1) {
      const auto r = co_await rota::select(tx.send(item), rota::sleep_for(all.some_time()));
      if (r.index() == 0) all.sent.push_back(item);
    } else if (how == 2) {
      if (tx.try_send(item)) all.sent.push_back(item);
    } else if (how == 3) {
      const auto in_time = co_await rota::as_result(rota::timeout(all.some_time(), tx.send(item)));
      if (in_time) all.sent.push_back(item);
    } else {
      co_await tx.send(item);
      all.sent.push_back(item);
    }
  }
}

template <class Store>
task<> consume(rota::receiver<int, Store> rx, rota::receiver<int, Store> other, tally& all, bool in_order) {
  received_by got(all, in_order);
  for (;;) {
    co_await pause(all);
    const std::uint64_t how = all.dice.below(5);
    if (how == 0) {
      numbers some;
      const std::size_t n = co_await rx.receive_many(some, 3);
      for (const int item : some) got(item);
      if (n == 0) co_return;
    } else if (how == 1) {
      auto r = co_await rota::select(rx.next(), rota::sleep_for(all.some_time()), other.next());
      if (r.index() == 1) continue;
      const std::optional<int> item = r.index() == 0 ? r.template get<0>() : r.template get<2>();
      if (!item) co_return;
      got(*item);
    } else if (how == 2 && rx.statistics().waiting_senders == 0) {
      numbers some;
      while (auto item = rx.try_receive()) some.push_back(*item);
      if (!in_order && !std::is_sorted(some.begin(), some.end())) all.fault("a smaller item came later");
      for (const int item : some) got(item);
    } else {
      const std::optional<int> item = co_await rx.next();
      if (!item) co_return;
      got(*item);
    }
  }
}

template <class Handle>
task<> end_of(tally& all, Handle handle) {
  try {
    co_await handle;
  } catch (const std::system_error& error) {
    if (error.code() == rota::errc::task_cancelled)
      ++all.cancelled;
    else
      all.fault(error.what());
  }
}

task<> cancel_some(tally& all, std::vector<rota::join_handle<>>& handles) {
  for (rota::join_handle<>& handle : handles) {
    co_await pause(all);
    co_await pause(all);
    if (all.one_in(3)) handle.cancel("at random");
  }
}

template <class Sender, class Receiver, class Produce>
task<> exchange(tally& all, Sender tx, Receiver rx, bool in_order, Produce make_producer) {
  std::vector<rota::join_handle<>> handles;
  const int producers = 1 + static_cast<int>(all.dice.below(3));
  const int consumers = 1 + static_cast<int>(all.dice.below(3));
  for (int i = 0; i != producers; ++i) handles.push_back(make_producer(tx.clone(), i));
  for (int i = 0; i != consumers; ++i) {
    const auto consumer = [](Receiver from, Receiver other, tally& t, bool ordered) -> task<> {
      co_await consume(std::move(from), std::move(other), t, ordered);
    };
    handles.push_back(rota::spawn(consumer, rx.clone(), rx.clone(), std::ref(all), in_order));
  }
  tx.close();
  co_await cancel_some(all, handles);
  co_await consume(rx.clone(), rx.clone(), all, in_order);  // in case nobody else is left
  for (rota::join_handle<>& handle : handles) co_await end_of(all, handle);
  const rota::channel_statistics left = rx.statistics();
  if (left.waiting_senders != 0 || left.waiting_receivers != 0) all.fault("somebody is left waiting");
  if (left.size != 0 || left.reserved != 0 || left.senders != 0) all.fault("something is left in the channel");
  if (left.peak > left.capacity) all.fault("the channel held more than its capacity");
  if (left.sent != all.sent.size()) all.fault("the channel counted another number of items");
  all.check_all_received();
}

template <class Program>
void in_many_worlds(const char* name, Program program) {
  std::size_t cancelled = 0;
  std::size_t items = 0;
  const auto one_world = [&](simulation& world) {
    tally all(world.options().seed * 7919);
    auto main = world.add_host("one").spawn(program, std::ref(all));
    world.run();
    (void)main.result();
    cancelled += all.cancelled;
    items += all.received.size();
    if (all.broken.empty() && !world.quiescent()) all.fault("something was left behind");
    return all.broken;
  };
  exploration where(scaled(10'000, 300, 1'000), simulation_options());
  where.replay_arguments = name;
  const auto found = explore(where, one_world, [](const std::string& broken) { return broken; });
  INFO((found ? found->to_string() : std::string()));
  CHECK_FALSE(found);
  INFO(cancelled << " tasks cancelled, " << items << " items received");
  CHECK((found || cancelled > where.seeds / 20));
  CHECK((found || items > where.seeds));
}

template <class Store>
auto producer_of(tally& all) {
  return [&all](rota::sender<int, Store> tx, int id) {
    return rota::spawn(produce<Store>, std::move(tx), std::ref(all), id);
  };
}

}  // namespace

TEST_CASE("a bounded channel and a rendezvous lose no item, repeat none, and keep each sender's order") {
  in_many_worlds("a bounded channel*", [](tally& all) -> task<> {
    const std::size_t capacity = all.dice.below(4);
    auto [tx, rx] = rota::channel<int>(capacity);
    co_await exchange(all, std::move(tx), std::move(rx), true, producer_of<rota::detail::fifo_store<int>>(all));
  });
}

TEST_CASE("an unbounded channel loses no item, repeats none, and keeps each sender's order") {
  in_many_worlds("an unbounded channel*", [](tally& all) -> task<> {
    const auto make_producer = [&all](rota::unbounded_sender<int> tx, int id) {
      const auto send_some = [](rota::unbounded_sender<int> to, tally& t, int me) -> task<> {
        for (int i = 0; i != 6; ++i) {
          co_await pause(t);
          to.send(me * 1000 + i);
          t.sent.push_back(me * 1000 + i);
        }
      };
      return rota::spawn(send_some, std::move(tx), std::ref(all), id);
    };
    auto [tx, rx] = rota::unbounded_channel<int>();
    co_await exchange(all, std::move(tx), std::move(rx), true, make_producer);
  });
}

TEST_CASE("a priority channel loses no item, repeats none, and gives the smallest of those that are there first") {
  in_many_worlds("a priority channel*", [](tally& all) -> task<> {
    using store = rota::detail::priority_store<int, rota::detail::smaller_first>;
    const std::size_t capacity = 1 + all.dice.below(4);
    auto [tx, rx] = rota::priority_channel<int>(capacity);
    co_await exchange(all, std::move(tx), std::move(rx), false, producer_of<store>(all));
  });
}

TEST_CASE("of a broadcast each receiver sees every item in order, or is told how many it has missed") {
  in_many_worlds("of a broadcast*", [](tally& all) -> task<> {
    rota::broadcast_sender<int> tx = rota::broadcast<int>(1 + all.dice.below(4));
    std::vector<rota::join_handle<>> handles;
    const auto read = [](rota::broadcast_receiver<int> rx, tally& t) -> task<> {
      int expected = 0;
      for (;;) {
        co_await pause(t);
        auto in_time = co_await rota::move_on_after(t.some_time(), rx.next());
        if (!in_time) continue;  // and it has taken nothing
        const auto& one = *in_time;
        if (!one) break;
        expected += static_cast<int>(one->missed);
        if (one->item != expected) t.fault("item " + std::to_string(one->item) + " came unexpectedly");
        ++expected;
        t.received.push_back(one->item);
      }
      if (expected != 12) t.fault("the last items were neither received nor missed");
    };
    for (int i = 0; i != 3; ++i) handles.push_back(rota::spawn(read, tx.subscribe(), std::ref(all)));
    const auto send_some = [](rota::broadcast_sender<int> to, tally& t) -> task<> {
      for (int i = 0; i != 12; ++i) {
        co_await pause(t);
        to.send(i);
      }
    };
    rota::join_handle<> sending = rota::spawn(send_some, std::move(tx), std::ref(all));
    co_await cancel_some(all, handles);
    co_await sending;
    for (rota::join_handle<>& handle : handles) co_await end_of(all, handle);
  });
}

TEST_CASE("of a watch each receiver sees the last value, and never an older one after a newer one") {
  in_many_worlds("of a watch*", [](tally& all) -> task<> {
    auto [tx, rx] = rota::watch<int>(0);
    std::vector<rota::join_handle<>> handles;
    const auto follow = [](rota::watch_receiver<int> from, tally& t) -> task<> {
      int last = 0;
      for (;;) {
        co_await pause(t);
        const auto in_time = co_await rota::move_on_after(t.some_time(), from.next());
        if (!in_time) continue;  // and it has seen nothing
        const auto& now = *in_time;
        if (!now) break;
        if (*now <= last) t.fault("a value came twice or too late");
        last = *now;
        t.received.push_back(*now);
      }
      if (last != 12) t.fault("the last value was not seen");
    };
    for (int i = 0; i != 3; ++i) handles.push_back(rota::spawn(follow, rx.clone(), std::ref(all)));
    const auto send_some = [](rota::watch_sender<int> to, tally& t) -> task<> {
      for (int i = 1; i <= 12; ++i) {
        co_await pause(t);
        to.send(i);
      }
    };
    rota::join_handle<> sending = rota::spawn(send_some, std::move(tx), std::ref(all));
    co_await cancel_some(all, handles);
    co_await sending;
    for (rota::join_handle<>& handle : handles) co_await end_of(all, handle);
  });
}

TEST_CASE(
    "a oneshot's value is received unless its receiver is cancelled, and its sender learns that nobody wants it") {
  in_many_worlds("a oneshot*", [](tally& all) -> task<> {
    std::vector<rota::join_handle<>> handles;
    numbers unwanted;
    for (int i = 0; i != 4; ++i) {
      auto [tx, rx] = rota::oneshot<int>();
      const auto receive = [](rota::oneshot_receiver<int> from, tally& t, numbers& dropped, int value) -> task<> {
        co_await pause(t);
        for (;;) {
          const auto in_time = co_await rota::move_on_after(t.some_time(), from.receive());
          if (!in_time) continue;  // and it can still be received
          if (*in_time != value) t.fault("another value came than was sent");
          break;
        }
        t.received.push_back(value);
        std::erase(dropped, value);
        // Taken, although a cancel came meanwhile: it must be told.
        co_await rota::yield();
      };
      const auto send = [](rota::oneshot_sender<int> to, tally& t, int value) -> task<> {
        co_await pause(t);
        const bool wanted = to.has_receiver();
        try {
          to.send(value);
          t.sent.push_back(value);
          if (!wanted) t.fault("a value was sent to nobody");
        } catch (const std::system_error&) {
          if (wanted) t.fault("a value was refused though somebody waits for it");
        }
      };
      unwanted.push_back(i);  // until it has come
      handles.push_back(rota::spawn(receive, std::move(rx), std::ref(all), std::ref(unwanted), i));
      handles.push_back(rota::spawn(send, std::move(tx), std::ref(all), i));
    }
    std::vector<rota::join_handle<>> receivers;
    for (std::size_t i = 0; i != 4; ++i) receivers.push_back(std::move(handles[2 * i]));
    co_await cancel_some(all, receivers);
    for (rota::join_handle<>& handle : receivers) co_await end_of(all, handle);
    for (std::size_t i = 0; i != 4; ++i) co_await end_of(all, handles[2 * i + 1]);
    for (const int value : all.sent) {
      const auto times = [value](const numbers& in) { return std::count(in.begin(), in.end(), value); };
      if (times(all.received) + times(unwanted) != 1) all.fault("a value was neither received nor left, or both");
    }
    if (all.received.size() > all.sent.size()) all.fault("a value was received that was not sent");
  });
}

namespace {

/// Knows of each moment at which nothing was left to do.
template <class Queue>
struct watched_queue {
  explicit watched_queue(std::size_t maxsize) : q(maxsize) {}
  void look() { idle_moments += q.unfinished() == 0; }
  void task_done() {
    q.task_done();
    look();
  }
  Queue q;
  std::size_t idle_moments = 0;
};

template <class Queue>
task<> use_queue(tally& all, bool in_order) {
  watched_queue<Queue> shared(all.dice.below(4));
  Queue& q = shared.q;
  std::vector<rota::join_handle<>> handles;
  const auto put_some = [](Queue& into, tally& t, int id) -> task<> {
    for (int i = 0; i != 6; ++i) {
      co_await pause(t);
      const rota::result<> put = co_await rota::as_result(into.put(id * 1000 + i));
      if (!put) co_return;  // shut down
      t.sent.push_back(id * 1000 + i);
    }
  };
  const auto work = [](watched_queue<Queue>& from, tally& t, bool ordered) -> task<> {
    received_by got(t, ordered);
    for (;;) {
      const auto in_time = co_await rota::move_on_after(t.some_time(), from.q.next());
      if (!in_time) continue;  // and it has taken nothing
      if (!*in_time) break;
      got(**in_time);
      // A task that is cancelled in the middle says so, too, or nobody could wait for the end.
      const struct done {
        watched_queue<Queue>& queue;
        ~done() { queue.task_done(); }
      } at_end{from};
      co_await pause(t);
    }
  };
  for (int i = 0; i != 2; ++i) handles.push_back(rota::spawn(put_some, std::ref(q), std::ref(all), i));
  for (int i = 0; i != 2; ++i) handles.push_back(rota::spawn(work, std::ref(shared), std::ref(all), in_order));
  const auto joins = [](watched_queue<Queue>& its, tally& t) -> task<> {
    for (int i = 0; i != 3; ++i) {
      co_await pause(t);
      const bool was_idle = its.q.unfinished() == 0;
      const std::size_t before = its.idle_moments;
      co_await its.q.join();
      if (!was_idle && its.idle_moments == before) t.fault("join ended before everything was done");
    }
  };
  handles.push_back(rota::spawn(joins, std::ref(shared), std::ref(all)));
  co_await cancel_some(all, handles);
  const bool thrown_away = all.one_in(2);
  q.shutdown(thrown_away);
  shared.look();
  co_await work(shared, all, in_order);
  for (rota::join_handle<>& handle : handles) co_await end_of(all, handle);
  co_await q.join();
  if (q.unfinished() != 0 || !q.empty()) all.fault("join ended too early");
  if (all.received.size() > all.sent.size()) all.fault("more was taken than put");
  if (!thrown_away) all.check_all_received();
  std::sort(all.received.begin(), all.received.end());
  if (std::adjacent_find(all.received.begin(), all.received.end()) != all.received.end())
    all.fault("an item was taken twice");
}

}  // namespace

TEST_CASE("a queue loses no item, and join ends when everything that was put is done or thrown away") {
  in_many_worlds("a queue*", [](tally& all) -> task<> {
    const std::uint64_t kind = all.dice.below(3);
    if (kind == 0) co_await use_queue<rota::queue<int>>(all, true);
    if (kind == 1) co_await use_queue<rota::lifo_queue<int>>(all, false);
    if (kind == 2) co_await use_queue<rota::priority_queue<int>>(all, false);
  });
}
