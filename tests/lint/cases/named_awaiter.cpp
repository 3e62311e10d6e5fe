#include "common.hpp"

#include <chrono>

#include <rota/rota.hpp>

using namespace std::chrono_literals;

const rota::task_local<int> level;
const rota::task_local<std::string> label;

task<> around(rota::thread_pool& pool, rota::receiver<int>& rx) {
  auto nap = rota::timeout(5s, rota::sleep_for(1ms));  // finds: named-awaiter
  co_await std::move(nap);
  auto braces{rota::timeout(5s, rota::sleep_for(1ms))};  // finds: named-awaiter
  co_await std::move(braces);
  static auto parentheses = (rota::timeout(5s, rota::sleep_for(1ms)));  // finds: named-awaiter
  co_await std::move(parentheses);
  auto until = rota::timeout_at(rota::time_point::max(), rota::sleep_for(1ms));  // finds: named-awaiter
  co_await std::move(until);
  auto limited = rota::timeout(1s, pool.run([] { return 3; }));  // finds: named-awaiter
  co_await std::move(limited);
  auto spawned = rota::timeout(1s, pool.spawn(get_int));  // finds: named-awaiter
  (void)co_await std::move(spawned);
  auto perhaps = rota::move_on_after(1s, rx.next());  // finds: named-awaiter
  (void)co_await std::move(perhaps);
  auto bound = rota::with_value(level, 1, rota::sleep_for(1ms));  // finds: named-awaiter
  co_await std::move(bound);
  auto code = rota::as_result(rota::sleep_for(1ms));  // finds: named-awaiter
  (void)co_await code;
}
task<> nested() {
  auto twice = rota::shield(1s, rota::timeout(1s, get_int()));  // finds: named-awaiter
  (void)co_await std::move(twice);
  auto code = rota::as_result(rota::timeout(1s, get_int()));  // finds: named-awaiter
  (void)co_await code;
  auto&& reference = rota::timeout(1s, rota::timeout(1s, get_int()));  // finds: named-awaiter
  (void)co_await std::move(reference);
}
task<> several(rota::receiver<int>& rx) {
  auto all = rota::when_all(get_int(), rota::sleep_for(1ms));  // finds: named-awaiter
  (void)co_await std::move(all);
  auto any = rota::when_any(rota::timeout(1s, get_int()), get_int());  // finds: named-awaiter
  (void)co_await std::move(any);
  auto first = rota::race(get_int(), rx.receive());  // finds: named-awaiter
  (void)co_await std::move(first);
  auto one = rota::select(rx.next(), rota::sleep_for(1s));  // finds: named-awaiter
  (void)co_await std::move(one);
}
task<> items(rota::sender<std::string>& tx, rota::sender<int>& numbers, rota::thread_sender<std::string>& far) {
  auto sent = tx.send(std::string("text"));  // finds: named-awaiter
  co_await std::move(sent);
  auto number = numbers.send(5);  // finds: named-awaiter
  co_await std::move(number);
  auto elsewhere = far.send("text");  // finds: named-awaiter
  co_await std::move(elsewhere);
}
auto given_back() {
  return rota::timeout(5s, rota::sleep_for(1ms));  // finds: named-awaiter
}

// ---- right

task<> in_one_expression(rota::sender<std::string>& tx, rota::receiver<int>& rx) {
  co_await rota::timeout(5s, rota::sleep_for(1ms));
  auto number = co_await rota::timeout(1s, rota::timeout(1s, get_int()));
  auto one = co_await rota::select(rx.next(), rota::sleep_for(1s));
  co_await tx.send("text");
  (void)number;
  (void)one;
}
task<> tasks_and_objects(rota::sender<std::string>& tx, std::string text) {
  auto job = rota::timeout(1s, get_int());
  (void)co_await std::move(job);
  auto bound = rota::with_value(label, std::string("a name"), get_int());
  (void)co_await std::move(bound);
  auto named = rota::sleep_for(1ms);
  auto limited = rota::timeout(1s, named);
  co_await std::move(limited);
  auto joined = rota::timeout(1s, rota::spawn(get_int));
  (void)co_await std::move(joined);
  rota::promise<int> promise;
  auto promised = rota::timeout(1s, promise.get_future());
  (void)co_await std::move(promised);
  auto all = rota::when_all(get_int(), [] { return get_int(); });
  (void)co_await std::move(all);
  auto code = rota::as_result(get_int());
  (void)co_await code;
  auto group = rota::timeout(1s, rota::with_task_group([](rota::task_group&) -> task<> { co_return; }));
  co_await std::move(group);
  auto copied = tx.send(text);
  co_await copied;
  auto moved = tx.send(std::move(text));
  co_await std::move(moved);
}
auto a_task_limited() { return rota::timeout(5s, get_int()); }
