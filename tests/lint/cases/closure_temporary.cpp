#include "common.hpp"

task<int> by_copy(std::string s) {
  co_return co_await call([s] { return int(s.size()); });  // finds: closure-temporary
}
task<int> by_move(std::string s) {
  int n = co_await call([s = std::move(s)] { return int(s.size()); });  // finds: closure-temporary
  co_return n;
}
task<int> by_default(std::string s) {
  co_return co_await call([=] { return int(s.size()); });  // finds: closure-temporary
}
task<int> shared(std::shared_ptr<int> p) {
  co_return co_await call([p] { return *p; });  // finds: closure-temporary
}
task<int> passed_by_reference(std::string s) {
  co_return co_await call_reference([s] { return int(s.size()); });  // finds: closure-temporary
}
task<int> in_std_function(std::string s) {
  co_return co_await call(std::function<int()>([s] { return int(s.size()); }));  // finds: closure-temporary
}
task<int> beside_the_await(std::string s) {
  co_return sum([s] { return int(s.size()); }(), co_await get_int());  // finds: closure-temporary
}
task<int> called_at_once(std::string s) {
  co_return co_await [s]() -> task<int> { co_return int(s.size()); }();  // finds: closure-temporary
}
task<int> in_a_condition(std::string s) {
  int n = 0;
  while (co_await call([s] { return int(s.size()); })) ++n;  // finds: closure-temporary
  co_return n;
}
task<int> capture_awaits() {
  auto f = [s = co_await get_string()] { return int(s.size()); };  // finds: closure-temporary
  co_return f();
}
task<int> two(std::string s) {
  co_return sum(co_await call([s] { return 1; }),   // finds: closure-temporary
                co_await call([s] { return 2; }));  // finds: closure-temporary
}
template <class T>
task<int> in_a_template(T s) {
  co_return co_await call([s] { return int(s.size()); });  // finds: closure-temporary
}
template task<int> in_a_template(std::string);
task<int> lambda_that_awaits(std::string s) {
  auto outer = [](std::string t) -> task<int> {
    co_return co_await call([t] { return int(t.size()); });  // finds: closure-temporary
  };
  co_return co_await outer(s);
}

// ---- right on every compiler

task<int> by_reference(std::string s) {
  co_return co_await call([&s] { return int(s.size()); });
}
task<int> trivially_destructible(int n) {
  co_return co_await call([n] { return n; });
}
task<int> pointer(std::string s) {
  co_return co_await call([p = &s] { return int(p->size()); });
}
task<int> without_capture() {
  co_return co_await call([] { return 7; });
}
task<int> named_task(std::string s) {
  auto job = call([s] { return int(s.size()); });
  co_return co_await std::move(job);
}
task<int> named_closure(std::string s) {
  auto f = [s] { return int(s.size()); };
  co_return co_await call(std::move(f));
}
task<int> arguments_instead(std::string s) {
  co_return co_await [](std::string t) -> task<int> { co_return int(t.size()); }(std::move(s));
}
// The lambda awaits, the expression that makes it does not.
int not_a_coroutine(std::string s) {
  auto job = call([s]() -> task<int> { co_return co_await get_int() + int(s.size()); });
  return job.valid();
}
task<int> coroutine_is_stored(std::string s) {
  auto job = call([s]() -> task<int> { co_return co_await get_int() + int(s.size()); });
  co_return co_await std::move(job);
}
task<int> captured_variable_was_awaited() {
  int n = co_await get_int();
  auto f = [n, s = std::string("text")] { return n + int(s.size()); };
  co_return f();
}
template <class T>
task<int> in_a_harmless_template(T n) {
  co_return co_await call([n] { return int(n); });
}
template task<int> in_a_harmless_template(int);
