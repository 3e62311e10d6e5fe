// Whatever is destroyed while a task waits for it ends the program, and names the thing and who waits.
#include <rota/rota.hpp>

#include <chrono>
#include <functional>

#include "support/rota_test.hpp"

using rota::task;
using namespace rota_test;

namespace {

struct misuse {
  const char* says;
  task<> (*body)();
};

task<> wait_with(auto& thing) { co_await thing.wait(); }

// A task that is called 'patient' begins to wait, and then what it waits for goes.
template <class T, class Wait>
task<> destroy_under(T* thing, Wait wait) {
  rota::spawn(wait, std::ref(*thing)).set_name("patient");
  co_await rota::yield();
  delete thing;
}

task<> never_done(rota::once& o) {
  const auto waits = []() -> task<> { co_await rota::sleep_for(std::chrono::hours(1)); };
  co_await o.call(waits);
}
task<> destroy_a_once() {
  auto* const o = new rota::once;
  rota::spawn(never_done, std::ref(*o)).set_name("runner");
  co_await rota::yield();
  co_await destroy_under(o, never_done);
}

const misuse misuses[] = {
    {"a once was destroyed while 1 waited for it, first task 'patient'", [] { return destroy_a_once(); }},
    {"an event was destroyed while 1 waited for it, first task 'patient'",
     [] { return destroy_under(new rota::event, wait_with<rota::event>); }},
    {"a latch was destroyed while 1 waited for it, first task 'patient'",
     [] { return destroy_under(new rota::latch(1), wait_with<rota::latch>); }},
    {"a barrier was destroyed while 1 waited for it, first task 'patient'",
     [] { return destroy_under(new rota::barrier(2), [](rota::barrier& b) -> task<> { (void)co_await b.wait(); }); }},
    {"a semaphore was destroyed while 1 waited for it, first task 'patient'",
     [] {
       return destroy_under(new rota::semaphore(0),
                            [](rota::semaphore& s) -> task<> { const auto permit = co_await s.acquire(); });
     }},
    {"a capacity_limiter was destroyed while 1 waited for it, first task 'patient'",
     [] {
       return destroy_under(new rota::capacity_limiter(0),
                            [](rota::capacity_limiter& l) -> task<> { const auto token = co_await l.acquire(); });
     }},
    {"a queue's end was destroyed while 1 waited for it, first task 'patient'",
     [] {
       auto* const q = new rota::queue<int>(1);
       (void)q->try_put(1);
       return destroy_under(q, [](rota::queue<int>& its) -> task<> { co_await its.join(); });
     }},
    {"a channel's item was destroyed while 1 waited for it, first task 'patient'",
     [] {
       return destroy_under(new rota::queue<int>(1), [](rota::queue<int>& its) -> task<> { (void)co_await its.get(); });
     }},
    {"an any_thread::semaphore was destroyed while tasks waited for it",
     [] {
       return destroy_under(new rota::any_thread::semaphore(0),
                            [](rota::any_thread::semaphore& s) -> task<> { const auto permit = co_await s.acquire(); });
     }},
    {"an any_thread::event was destroyed while tasks waited for it",
     [] { return destroy_under(new rota::any_thread::event, wait_with<rota::any_thread::event>); }},
};

}  // namespace

TEST_CASE("whatever is destroyed while a task waits for it ends the program and says who waits") {
  for (const misuse& one : misuses) {
    const child_outcome end_of_it = run_in_child([&one] {
      rota::run(one.body());
      return 0;
    });
    INFO(one.says << ": " << end_of_it.output);
    CHECK(end_of_it.signal() == SIGABRT);
    CHECK(end_of_it.says(one.says));
  }
}
