// What is for tasks of one loop, used on another thread: free or not, awaited or not, it is noticed in builds with assertions.
#include <rota/rota.hpp>

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

using rota::task;
using namespace rota_test;

namespace {

struct shared {
  shared() {
    for (int i = 0; i != 9; ++i) {  // each use takes one of these
      (void)undone.try_put(i);
      permits.push_back(stock.try_acquire());
      senders.push_back(ends.tx.clone());
      receivers.push_back(ends.rx.clone());
      readers.push_back(news.subscribe());
      setters.push_back(value.tx.clone());
    }
  }

  rota::mutex m;
  rota::shared_mutex sm;
  rota::semaphore s{1, 9};
  rota::capacity_limiter l{1};
  rota::event e{rota::event_reset::automatic};
  rota::latch count{9};
  rota::condition_variable cv;
  rota::barrier b{2};
  rota::queue<int> q{9};
  rota::channel_ends<rota::sender<int>, rota::receiver<int>> ends = rota::channel<int>(9);
  rota::broadcast_sender<int> news = rota::broadcast<int>(1);
  rota::broadcast_receiver<int> reader = news.subscribe();
  rota::channel_ends<rota::watch_sender<int>, rota::watch_receiver<int>> value = rota::watch<int>(1);

  rota::queue<int> undone{9};
  rota::semaphore stock{9};
  std::vector<rota::semaphore::permits> permits;
  std::vector<rota::sender<int>> senders;
  std::vector<rota::receiver<int>> receivers;
  std::vector<rota::broadcast_receiver<int>> readers;
  std::vector<rota::watch_sender<int>> setters;
  rota::mutex::guard guard;
  rota::capacity_limiter::token token;
};

struct use {
  const char* what;
  void (*once)(shared&);
};

const use uses[] = {
    {"a mutex", [](shared& its) { (void)its.m.try_lock().owns_lock(); }},
    {"a shared_mutex", [](shared& its) { (void)its.sm.try_lock().owns_lock(); }},
    {"a shared_mutex", [](shared& its) { (void)its.sm.try_lock_shared().owns_lock(); }},
    {"a semaphore", [](shared& its) { (void)its.s.try_acquire().count(); }},
    {"a semaphore", [](shared& its) { its.s.release(); }},
    {"a capacity_limiter", [](shared& its) { its.l.set_total(3); }},
    {"a capacity_limiter", [](shared& its) { its.l.try_acquire().release(); }},
    {"an event", [](shared& its) { its.e.set(); }},
    {"an event", [](shared& its) { (void)its.e.try_wait(); }},
    {"a latch", [](shared& its) { its.count.count_down(); }},
    {"a condition variable", [](shared& its) { its.cv.notify_all(); }},
    {"a barrier", [](shared& its) { its.b.reset(); }},
    {"a channel's item", [](shared& its) { (void)its.q.try_put(1); }},
    {"a channel's item", [](shared& its) { (void)its.ends.tx.try_send(1); }},
    {"a channel's item", [](shared& its) { (void)its.ends.rx.try_receive(); }},
    {"a broadcast", [](shared& its) { its.news.send(1); }},
    {"a watched value", [](shared& its) { its.value.tx.send(1); }},
    {"a queue's end", [](shared& its) { its.undone.task_done(); }},
    {"a semaphore",
     [](shared& its) {
       its.permits.back().forget();
       its.permits.pop_back();
     }},
    {"a semaphore", [](shared& its) { its.permits.pop_back(); }},
    {"a channel's item", [](shared& its) { (void)its.ends.tx.clone().is_open(); }},
    {"a channel's item", [](shared& its) { its.senders.pop_back(); }},
    {"a channel's item", [](shared& its) { its.receivers.pop_back(); }},
    {"a broadcast", [](shared& its) { (void)its.reader.clone().behind(); }},
    {"a broadcast", [](shared& its) { its.readers.pop_back(); }},
    {"a watched value", [](shared& its) { (void)its.value.tx.clone().receivers(); }},
    {"a watched value", [](shared& its) { its.setters.pop_back(); }},
    // Taken by one use, given back by the next.
    {"a mutex", [](shared& its) { its.guard = its.guard ? rota::mutex::guard() : its.m.try_lock(); }},
    {"a capacity_limiter",
     [](shared& its) { its.token = its.token ? rota::capacity_limiter::token() : its.l.try_acquire(); }},
};

}  // namespace

#if ROTA_ASSERTIONS
TEST_CASE("whatever is for one loop ends the program when a second thread uses it, even while nobody waits for it") {
  for (const use& one : uses) {
    const child_outcome end_of_it = run_in_child([&one] {
      shared all;
      rota::run([](const use& way, shared& its) -> task<> {
        way.once(its);
        co_await rota::yield();
        std::thread([&] { way.once(its); }).join();
      }(one, all));
      return 0;
    });
    INFO(one.what << ": " << end_of_it.output);
    CHECK(end_of_it.signal() == SIGABRT);
    CHECK(end_of_it.says(std::string(one.what) + " is for tasks of one event loop, and was used on another thread"));
    CHECK(end_of_it.says("by no task"));
  }
}

TEST_CASE("a free mutex that tasks of two loops lock, one after the other, ends the program and says who was second") {
  const child_outcome end_of_it = run_in_child([] {
    rota::mutex m;
    const auto visit = [](rota::mutex& its) -> task<> {
      rota::this_task::set_name("stranger");
      const auto guard = co_await its.lock();
    };
    rota::run([](rota::mutex& its, auto other) -> task<> {
      {
        const auto guard = co_await its.lock();
      }
      std::thread([&] { rota::run(other(its)); }).join();
    }(m, visit));
    return 0;
  });
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(
      end_of_it.says("a mutex is for tasks of one event loop, and was used on another thread than its loop's, task "
                     "'stranger', last at "));
}

TEST_CASE("a task of a pool that tries a mutex of a loop ends the program") {
  const child_outcome end_of_it = run_in_child([] {
    rota::mutex m;
    rota::run([](rota::mutex& its) -> task<> {
      rota::thread_pool pool(1);
      const auto tries = [](rota::mutex& one) { return one.try_lock().owns_lock(); };
      const auto work = [](rota::mutex& one, auto f) -> task<> {
        (void)f(one);
        co_return;
      };
      co_await pool.run(work, std::ref(its), tries);
    }(m));
    return 0;
  });
  INFO(end_of_it.output);
  REQUIRE(end_of_it.signal() == SIGABRT);
  REQUIRE(end_of_it.says("a mutex is for tasks of one event loop"));
}
#endif

TEST_CASE("before its loop and after it, each may be used on any thread, and then by another loop") {
  for (const use& one : uses) {
    shared all;
    const auto twice = [](const use& way, shared& its) -> task<> {
      way.once(its);
      co_await rota::yield();
      way.once(its);
    };
    one.once(all);
    std::thread([&] { rota::run(twice(one, all)); }).join();
    one.once(all);
    rota::run(twice(one, all));
    std::thread([&] { one.once(all); }).join();
  }
}
