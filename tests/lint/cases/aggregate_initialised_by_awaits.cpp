#include "common.hpp"

task<int> variable() {
  owner o{co_await get_int(), co_await get_string()};  // finds: aggregate-initialised-by-awaits
  co_return o.number;
}
task<int> one_await() {
  owner o{co_await get_int(), "text"};  // finds: aggregate-initialised-by-awaits
  co_return o.number;
}
task<int> default_member() {
  owner o{co_await get_int()};  // finds: aggregate-initialised-by-awaits
  co_return o.number;
}
task<int> with_auto() {
  auto o = owner{.number = co_await get_int()};  // finds: aggregate-initialised-by-awaits
  co_return o.number;
}
task<int> parentheses() {
  owner o(co_await get_int(), "text");  // finds: aggregate-initialised-by-awaits
  co_return o.number;
}
task<owner> returned() {
  co_return owner{co_await get_int(), "text"};  // finds: aggregate-initialised-by-awaits
}
task<owner> returned_braces() {
  co_return {co_await get_int(), "text"};  // finds: aggregate-initialised-by-awaits
}
task<> pushed(std::vector<owner>& v) {
  v.push_back({co_await get_int(), "text"});  // finds: aggregate-initialised-by-awaits
}
task<> assigned(owner& o) {
  o = {co_await get_int(), "text"};  // finds: aggregate-initialised-by-awaits
}
task<> allocated() {
  std::unique_ptr<owner> p(new owner{co_await get_int(), "text"});  // finds: aggregate-initialised-by-awaits
}
task<int> nested() {
  struct nest {
    owner o;
    int n;
  };
  nest x{{co_await get_int(), "text"}, 1};  // finds: aggregate-initialised-by-awaits
  co_return x.n;
}
task<int> array_of_class() {
  std::string v[2] = {"text", co_await get_string()};  // finds: aggregate-initialised-by-awaits
  co_return int(v[1].size());
}
task<int> std_array() {
  std::array<std::string, 2> v{"text", co_await get_string()};  // finds: aggregate-initialised-by-awaits
  co_return int(v[1].size());
}
task<int> structured_binding() {
  auto [n, text] = owner{co_await get_int(), "text"};  // finds: aggregate-initialised-by-awaits
  co_return n;
}

// ---- right on every compiler

task<owner> await_first() {
  int n = co_await get_int();
  co_return owner{n, "text"};
}
task<int> trivially_destructible() {
  plain p{co_await get_int(), "text"};
  int a[2] = {co_await get_int(), co_await get_int()};
  std::array<int, 2> b{co_await get_int(), co_await get_int()};
  co_return p.number + a[0] + b[0];
}
task<int> constructors() {
  closed c{co_await get_int(), co_await get_string()};
  std::pair<int, std::string> p{co_await get_int(), co_await get_string()};
  co_return c.number + p.first;
}
task<int> lambda_member_awaits() {
  struct job {
    std::string name;
    std::function<task<int>()> run;
  };
  job j{"text", []() -> task<int> { co_return co_await get_int(); }};
  co_return co_await j.run();
}
