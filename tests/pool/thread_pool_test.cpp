// thread_pool: run() there and back, cancel, errors, and a pool that goes down while it is busy.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::thread_pool;
using rota_test::captured_reports;
using rota_test::run;

pthread_t here() { return pthread_self(); }
bool on_this_thread(pthread_t t) { return pthread_equal(t, pthread_self()) != 0; }

// Holds a worker until open() is called; a plain function's way to wait.
struct barrier {
  std::atomic<bool> is_open{false};
  std::atomic<int> waiting{0};
  void wait() {
    waiting.fetch_add(1);
    while (!is_open.load()) std::this_thread::yield();
  }
  void wait_for(int n) const {
    while (waiting.load() != n) std::this_thread::yield();
  }
  void open() { is_open.store(true); }
};

task<int> add(int a, int b) { co_return a + b; }
task<int> add_slowly(int a, int b) {
  for (int i = 0; i != 10; ++i) co_await rota::yield();
  co_return a + b;
}
task<> never_ends(std::atomic<bool>& begun) {
  begun.store(true);
  for (;;) co_await rota::yield();
}

TEST_CASE("a pool has as many threads as it was told, or as the process may use CPUs") {
  thread_pool three(3);
  REQUIRE(three.threads() == 3);
  thread_pool automatic;
  REQUIRE(automatic.threads() == rota::usable_cpus());
  REQUIRE(rota::usable_cpus() >= 1);
}

TEST_CASE("a plain function runs on the pool, and its caller goes on at home") {
  thread_pool pool(2);
  run([&]() -> task<> {
    const pthread_t home = here();
    const pthread_t there = co_await pool.run(here);
    REQUIRE_FALSE(on_this_thread(there));
    REQUIRE(on_this_thread(home));
    const int sum = co_await pool.run([](int a, int b) { return a + b; }, 2, 3);
    REQUIRE(sum == 5);
  });
}

TEST_CASE("a coroutine function runs on the pool, suspends there, and its caller goes on at home") {
  thread_pool pool(2);
  run([&]() -> task<> {
    const pthread_t home = here();
    const int one = co_await pool.run(add, 2, 3);
    const int two = co_await pool.run(add_slowly, 4, 5);
    REQUIRE(one == 5);
    REQUIRE(two == 9);
    REQUIRE(on_this_thread(home));
  });
}

TEST_CASE("every kind of result comes back: nothing, a reference, something that can only be moved") {
  thread_pool pool(1);
  int target = 1;
  run([&]() -> task<> {
    co_await pool.run([](int& t) { t = 2; }, std::ref(target));
    REQUIRE(target == 2);
    int& same = co_await pool.run([](int& t) -> int& { return t; }, std::ref(target));
    REQUIRE(&same == &target);
    std::unique_ptr<int> moved = co_await pool.run([](int n) { return std::make_unique<int>(n); }, 7);
    REQUIRE(*moved == 7);
    const auto give = [](std::unique_ptr<int> p) -> task<std::unique_ptr<int>> { co_return p; };
    std::unique_ptr<int> back = co_await pool.run(give, std::move(moved));
    REQUIRE(*back == 7);
  });
}

TEST_CASE("exceptions come back, whoever throws them") {
  thread_pool pool(1);
  const auto fails = [](int how) -> task<> {
    if (how == 2) co_await rota::yield();
    throw std::runtime_error("coroutine");
  };
  const auto no_coroutine = [](int) -> task<> { throw std::runtime_error("maker"); };
  run([&]() -> task<> {
    std::string texts;
    for (int how = 0; how != 4; ++how) {
      try {
        if (how == 0)
          co_await pool.run([] { throw std::runtime_error("plain"); });
        else if (how == 3)
          co_await pool.run(no_coroutine, 1);
        else
          co_await pool.run(fails, how);
      } catch (const std::runtime_error& error) {
        texts += std::string(error.what()) + " ";
      }
    }
    REQUIRE(texts == "plain coroutine coroutine maker ");
  });
}

TEST_CASE("a plain thread waits with sync_wait; a pool's thread and a loop's are refused") {
  thread_pool pool(1);
  REQUIRE(rota::sync_wait(pool.run(add, 1, 2)) == 3);
  REQUIRE(rota::sync_wait(pool.run([] { return 4; })) == 4);
  const auto blocks = [] { return rota::sync_wait(add(1, 2)); };
  REQUIRE(rota_test::usage_error_of([&] { return rota::sync_wait(pool.run(blocks)); }) ==
          rota::usage_error::kind::blocking_in_loop);
}

TEST_CASE("an event loop is not run on a pool's thread, which would block") {
  thread_pool pool(1);
  const auto runs = [] { return rota::run(add(1, 2)); };
  const auto runs_a_loop = [] {
    rota::event_loop loop;  // and its destructor may run it
    return loop.run(add(1, 2));
  };
  using kind = rota::usage_error::kind;
  REQUIRE(rota_test::usage_error_of([&] { (void)rota::sync_wait(pool.run(runs)); }) == kind::blocking_in_loop);
  REQUIRE(rota_test::usage_error_of([&] { (void)rota::sync_wait(pool.run(runs_a_loop)); }) == kind::blocking_in_loop);
}

TEST_CASE("a task of a pool runs other pools' functions, and its own pool's") {
  thread_pool pool(1), other(1);
  const auto visits = [&](int n) -> task<int> {
    const int doubled = co_await other.run([](int i) { return i * 2; }, n);
    const int more = co_await pool.run(add, doubled, 1);
    co_return more;
  };
  REQUIRE(rota::sync_wait(pool.run(visits, 4)) == 9);
}

TEST_CASE("a pool may be made and destroyed within a task of another one") {
  thread_pool pool(1);
  const auto nests = [](int n) -> task<int> {
    thread_pool inner(2);
    const int sum = co_await inner.run(add_slowly, n, 1);
    co_return sum;
  };
  REQUIRE(rota::sync_wait(pool.run(nests, 4)) == 5);
}

TEST_CASE("what needs a loop says so on a pool") {
  thread_pool pool(1);
  const auto listens = []() -> task<> {
    auto listener = rota::tcp_listener::bind(rota::address("127.0.0.1", 0));
    co_return;
  };
  REQUIRE(rota_test::usage_error_of([&] { rota::sync_wait(pool.run(listens)); }) ==
          rota::usage_error::kind::no_event_loop);
}

TEST_CASE("streams and listeners of a loop that are used by a task of a pool are refused, and the error says why") {
  thread_pool pool(1);
  static std::array<std::byte, 8> buffer;
  const auto accepts = [](rota::tcp_listener& l, rota::tcp_stream&) -> task<> { (void)co_await l.accept(); };
  const auto reads = [](rota::tcp_listener&, rota::tcp_stream& s) -> task<> { (void)co_await s.read_some(buffer); };
  const auto writes = [](rota::tcp_listener&, rota::tcp_stream& s) -> task<> { co_await s.write_all(buffer); };
  const auto closes = [](rota::tcp_listener&, rota::tcp_stream& s) -> task<> { co_await s.close(); };
  using use = task<> (*)(rota::tcp_listener&, rota::tcp_stream&);
  run([&]() -> task<> {
    auto listener = rota::tcp_listener::bind(rota::address("127.0.0.1", 0));
    auto stream = co_await rota::tcp_stream::connect(listener.local_address());
    auto peer = co_await listener.accept();
    for (const use one : {use(accepts), use(reads), use(writes), use(closes)}) {
      std::string said;
      auto kind = rota::usage_error::kind::no_task;
      try {
        co_await pool.run(one, std::ref(listener), std::ref(stream));
      } catch (const rota::usage_error& error) {
        kind = error.which();
        said = error.what();
      }
      INFO(said);
      CHECK(kind == rota::usage_error::kind::wrong_loop);
      CHECK(said.find("I/O object") != said.npos);
      CHECK(said.find("another event loop") != said.npos);
    }
    // And nothing has happened to them.
    co_await peer.write_all(buffer);
    const std::size_t n = co_await stream.read_some(buffer);
    CHECK(n == buffer.size());
  });
}

TEST_CASE("a cancel drops a function that has not begun, at once, and its arguments with it") {
  thread_pool pool(1);
  barrier gate;
  bool ran = false;
  auto argument = std::make_shared<int>(1);
  run([&]() -> task<> {
    auto busy = pool.spawn([&] { gate.wait(); });
    gate.wait_for(1);
    const auto wants = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      auto held = argument;
      const auto touch = [&ran](const std::shared_ptr<int>&) { ran = true; };
      co_await pool.run(touch, held);
    };
    const bool done = co_await rota::with_cancel_scope(wants);
    REQUIRE_FALSE(done);
    const auto touch = [&ran](const std::shared_ptr<int>&) { ran = true; };
    const auto late = [&]() -> task<> { co_await pool.run(touch, argument); };
    const auto in_time = co_await rota::move_on_after(1ms, late());
    REQUIRE_FALSE(in_time);
    REQUIRE(argument.use_count() == 1);
    gate.open();
    co_await busy;
  });
  REQUIRE_FALSE(ran);
}

TEST_CASE("a function that runs is waited for, its result is given, and the next suspension throws") {
  thread_pool pool(1);
  barrier gate;
  int result = 0;
  run([&]() -> task<> {
    const auto work = [&]() -> task<> {
      result = co_await pool.run([&] {
        gate.wait();
        return 5;
      });
      co_await rota::yield();
      result = 6;
    };
    auto handle = rota::spawn(work);
    co_await rota::yield();
    gate.wait_for(1);
    handle.cancel();
    gate.open();
    try {
      co_await handle;
    } catch (const std::system_error& error) {
      REQUIRE(error.code() == rota::errc::task_cancelled);
    }
  });
  REQUIRE(result == 5);
}

TEST_CASE("a cancel reaches a task on the pool: in a wait, between yields, at a checkpoint") {
  thread_pool pool(2);
  std::atomic<bool> begun{false};
  const auto computes = [&]() -> task<> {
    begun.store(true);
    for (;;) rota::this_task::checkpoint();
    co_return;
  };
  const auto waits = [&]() -> task<> {
    begun.store(true);
    const auto inner = [&]() -> task<> { co_await never_ends(begun); };
    co_await pool.run(inner);
  };
  for (int how = 0; how != 3; ++how) {
    begun.store(false);
    run([&]() -> task<> {
      const auto work = [&]() -> task<> {
        if (how == 0) co_await pool.run(computes);
        if (how == 1) co_await pool.run(waits);
        if (how == 2) co_await pool.run(never_ends, std::ref(begun));
      };
      auto handle = rota::spawn(work);
      while (!begun.load()) co_await rota::yield();
      handle.cancel();
      bool was_cancelled = false;
      try {
        co_await handle;
      } catch (const std::system_error& error) {
        was_cancelled = error.code() == rota::errc::task_cancelled;
      }
      REQUIRE(was_cancelled);
      REQUIRE(handle.cancelled());
    });
  }
}

TEST_CASE("a task that ends well in spite of a cancel gives its value") {
  thread_pool pool(1);
  std::atomic<bool> begun{false}, go{false};
  const auto stubborn = [&]() -> task<int> {
    begun.store(true);
    while (!go.load()) std::this_thread::yield();
    co_return 3;
  };
  int got = 0;
  run([&]() -> task<> {
    auto handle = rota::spawn([&]() -> task<> { got = co_await pool.run(stubborn); });
    while (!begun.load()) co_await rota::yield();
    handle.cancel();
    go.store(true);
    co_await handle;
  });
  REQUIRE(got == 3);
}

TEST_CASE("who is cancelled already does not even ask the pool") {
  thread_pool pool(1);
  bool ran = false;
  run([&]() -> task<> {
    const auto work = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await pool.run([&] { ran = true; });
    };
    (void)co_await rota::with_cancel_scope(work);
  });
  REQUIRE_FALSE(ran);
}

TEST_CASE("a pool that goes down cancels its tasks, drops what has not begun, and waits") {
  std::atomic<bool> begun{false};
  barrier gate;
  bool ran = false;
  run([&]() -> task<> {
    auto pool = std::make_unique<thread_pool>(2);
    auto endless = pool->spawn(never_ends, std::ref(begun));
    auto busy = pool->spawn([&] { gate.wait(); });
    while (!begun.load()) co_await rota::yield();
    gate.wait_for(1);
    auto asks = rota::spawn([&]() -> task<> { co_await pool->run([&] { ran = true; }); });
    co_await rota::yield();
    gate.open();
    pool.reset();
    REQUIRE(endless.done());
    REQUIRE(busy.done());
    int cancelled = 0;
    try {
      co_await endless;
    } catch (const std::system_error& error) {
      cancelled += error.code() == rota::errc::task_cancelled;
    }
    co_await busy;
    try {
      co_await asks;
    } catch (const std::system_error& error) {
      cancelled += error.code() == rota::errc::task_cancelled;
    }
    REQUIRE((cancelled == 2 || (cancelled == 1 && ran)));
  });
}

TEST_CASE("a pool that goes down names who does not stop") {
  captured_reports reports;
  barrier gate;
  const auto stubborn = [&]() -> task<> {
    gate.wait();
    co_return;
  };
  rota::thread_pool_options options;
  options.threads = 1;
  options.shutdown_deadline = 1ms;
  auto pool = std::make_unique<thread_pool>(options);
  auto handle = pool->spawn(stubborn);
  gate.wait_for(1);
  std::thread opens([&] {
    while (reports.size() == 0) std::this_thread::yield();
    gate.open();
  });
  pool.reset();
  opens.join();
  INFO(reports.all());
  REQUIRE(reports.contains("thread_pool_test.cpp"));
  REQUIRE(reports.contains("does not stop"));
}

TEST_CASE("work may be given to a pool by a destructor on it") {
  struct spawns_at_end {
    explicit spawns_at_end(thread_pool& p, std::atomic<int>& n) : pool(&p), count(&n) {}
    spawns_at_end(spawns_at_end&& other) noexcept : pool(std::exchange(other.pool, nullptr)), count(other.count) {}
    ~spawns_at_end() {
      if (pool) (void)pool->spawn([](std::atomic<int>& n) { n.fetch_add(1); }, std::ref(*count));
    }
    thread_pool* pool;
    std::atomic<int>* count;
  };
  std::atomic<int> count{0};
  thread_pool pool(2);
  const auto holds = [](spawns_at_end) -> task<> { co_return; };
  rota::sync_wait(pool.run(holds, spawns_at_end(pool, count)));
  while (count.load() == 0) std::this_thread::yield();
  REQUIRE(count.load() == 1);
}

task<long> fib(int n) {
  if (n < 2) co_return n;
  auto both = co_await rota::when_all(fib(n - 1), fib(n - 2));
  co_return std::get<0>(both) + std::get<1>(both);
}

TEST_CASE("what comes from outside has its turn, however busy the workers are") {
  thread_pool pool(1);
  std::atomic<bool> stop{false};
  const auto busy = [&]() -> task<> {
    while (!stop.load()) (void)co_await fib(12);
  };
  auto handle = pool.spawn(busy);
  for (int i = 0; i != 100; ++i) REQUIRE(rota::sync_wait(pool.run([i] { return i; })) == i);
  rota::sync_wait(pool.run([&] { stop.store(true); }));
  rota::sync_wait(handle);
}

TEST_CASE("two tasks that yield take turns on one thread") {
  thread_pool pool(1);
  std::string order;
  const auto writes = [&](char c) -> task<> {
    for (int i = 0; i != 3; ++i) {
      order += c;
      co_await rota::yield();
    }
  };
  barrier gate;
  auto holds = pool.spawn([&] { gate.wait(); });
  auto a = pool.spawn(writes, 'a');
  auto b = pool.spawn(writes, 'b');
  gate.open();
  rota::sync_wait(a);
  rota::sync_wait(b);
  rota::sync_wait(holds);
  REQUIRE(order == "ababab");
}

TEST_CASE("many loops and many calls: each gets its own answer") {
  thread_pool pool(3);
  const std::size_t calls = rota_test::scaled(3'000, 500);
  std::vector<std::thread> threads;
  std::atomic<std::size_t> right{0};
  for (int t = 0; t != 3; ++t)
    threads.emplace_back([&] {
      rota::event_loop loop;
      loop.run([](thread_pool& p, std::size_t n, std::atomic<std::size_t>& ok) -> task<> {
        for (std::size_t i = 0; i != n; ++i) {
          const int k = static_cast<int>(i);
          const int sum = co_await p.run(add, k, 1);
          const int product = co_await p.run([](int x) { return x * 2; }, k);
          ok.fetch_add(sum == k + 1 && product == k * 2);
        }
      }(pool, calls, right));
    });
  for (std::thread& t : threads) t.join();
  REQUIRE(right.load() == 3 * calls);
}

TEST_CASE("statistics tell what the workers did") {
  thread_pool pool(2);
  for (int i = 0; i != 10; ++i) rota::sync_wait(pool.run([] {}));
  const rota::thread_pool_statistics s = pool.statistics();
  REQUIRE(s.workers.size() == 2);
  REQUIRE(s.workers[0].jobs + s.workers[1].jobs == 10);
  REQUIRE(s.queued == 0);
}

TEST_CASE("statistics count a sleep and the one that ends it") {
  thread_pool pool(1);
  // It may have seen the work as it fell asleep, now and then.
  while (pool.statistics().workers[0].wake_ups == 0) {
    while (pool.statistics().sleeping == 0) std::this_thread::yield();
    rota::sync_wait(pool.run([] {}));
  }
  const rota::pool_worker_statistics worker = pool.statistics().workers[0];
  REQUIRE(worker.parks >= worker.wake_ups);
  REQUIRE(worker.wake_ups <= worker.jobs);
}

TEST_CASE("statistics tell how long a worker was busy: not less than its work took, not longer than it was there") {
  const auto made = rota::clock::now();
  thread_pool pool(1);
  const auto computes = [] {
    const auto began = rota::clock::now();
    while (rota::clock::now() - began < 3ms) {
    }
  };
  rota::sync_wait(pool.run(computes));
  const rota::duration busy = pool.statistics().workers[0].busy;
  REQUIRE(busy >= 3ms);
  REQUIRE(busy <= rota::clock::now() - made);
}

TEST_CASE("a pinned worker is allowed one CPU, an ordinary one all that the process may use") {
  const auto cpus = [] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    return ::sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : -1;
  };
  rota::thread_pool_options options;
  options.threads = 3;  // may be more than CPUs
  options.pin = true;
  thread_pool pinned(options);
  std::atomic<int> pin_seen{0};
  barrier all;
  std::vector<rota::pool_handle<>> handles;
  for (int i = 0; i != 3; ++i)
    handles.push_back(pinned.spawn([&] {
      pin_seen.fetch_add(cpus());
      all.wait();
    }));
  all.wait_for(3);
  all.open();
  for (rota::pool_handle<>& one : handles) rota::sync_wait(one);
  REQUIRE(pin_seen.load() == 3);
  thread_pool free(1);
  REQUIRE(rota::sync_wait(free.run(cpus)) == cpus());
}

TEST_CASE("nothing to call is refused by the pool and its lanes when it is given") {
  using kind = rota::usage_error::kind;
  const auto refused = [](auto&& f) { return rota_test::usage_error_of(f) == kind::invalid_argument; };
  int (*const null)() = nullptr;
  const std::function<rota::task<int>()> empty;
  rota::thread_pool pool(1);
  REQUIRE(refused([&] { (void)pool.run(null); }));
  REQUIRE(refused([&] { (void)pool.run(empty); }));
  REQUIRE(refused([&] { (void)pool.spawn(null); }));
  REQUIRE(refused([&] { (void)pool.spawn(empty); }));
  REQUIRE(refused([&] { (void)rota::to_thread(null); }));
}

// ---- what belongs to one loop

task<> locks(rota::mutex& m) { const auto guard = co_await m.lock(); }
task<> locks_shared(rota::shared_mutex& m) { const auto guard = co_await m.lock_shared(); }
task<> waits_for(rota::event& e) { co_await e.wait(); }
task<> receives(rota::receiver<int>& from) { (void)co_await from.next(); }
task<> sends(rota::sender<int>& to) { co_await to.send(1); }

template <class F, class T>
task<bool> is_refused(thread_pool& pool, F f, T& object) {
  std::string what;
  auto kind = rota::usage_error::kind::no_task;
  try {
    co_await pool.run(f, std::ref(object));
  } catch (const rota::usage_error& error) {
    kind = error.which();
    what = error.what();
  }
  INFO(what);
  CHECK((what.empty() || (what.find("any_thread::mutex") != what.npos && what.find("mpsc_channel") != what.npos)));
  co_return kind == rota::usage_error::kind::wrong_loop;
}

TEST_CASE("a task of a pool that would wait for what belongs to a loop is refused, and told what to use instead") {
  thread_pool pool(1);
  run([&]() -> task<> {
    rota::mutex m;
    rota::shared_mutex shared;
    rota::event e;
    auto [tx, rx] = rota::channel<int>(0);
    {
      const auto guard = co_await m.lock();
      const auto writes = co_await shared.lock();
      const bool mutex_refused = co_await is_refused(pool, locks, m);
      CHECK(mutex_refused);
      const bool shared_refused = co_await is_refused(pool, locks_shared, shared);
      CHECK(shared_refused);
    }
    const bool event_refused = co_await is_refused(pool, waits_for, e);
    CHECK(event_refused);
    const bool receiver_refused = co_await is_refused(pool, receives, rx);
    CHECK(receiver_refused);
    const bool sender_refused = co_await is_refused(pool, sends, tx);
    CHECK(sender_refused);
    CHECK(m.waiting() + shared.waiting() == 0);
    CHECK_FALSE(m.is_locked());
  });
}

TEST_CASE("a task of a pool that need not wait for what belongs to a loop is refused in builds with assertions") {
  thread_pool pool(1);
  run([&]() -> task<> {
    rota::mutex m;
    rota::event e;
    e.set();
    auto [tx, rx] = rota::channel<int>(4);
    const bool mutex_refused = co_await is_refused(pool, locks, m);
    CHECK(mutex_refused == bool{ROTA_ASSERTIONS});
    const bool event_refused = co_await is_refused(pool, waits_for, e);
    CHECK(event_refused == bool{ROTA_ASSERTIONS});
    const bool sender_refused = co_await is_refused(pool, sends, tx);
    CHECK(sender_refused == bool{ROTA_ASSERTIONS});
    CHECK_FALSE(m.is_locked());
  });
}

}  // namespace
