#include "common.hpp"

task<int> strings() {
  co_return co_await take(std::vector<std::string>{"a", "b"});  // finds: initializer-list
}
task<int> integers() {
  co_return co_await take(std::vector<int>{1, 2});  // finds: initializer-list
}
task<int> of_awaits() {
  std::vector<int> v{co_await get_int(), 2};  // finds: initializer-list
  co_return v[0];
}
task<int> of_owning_awaits() {
  std::vector<std::string> v{"a", co_await get_string()};  // finds: initializer-list
  co_return int(v.size());
}

// ---- right on every compiler

task<int> separate() {
  std::vector<std::string> v{"a", "b"};
  co_return co_await take(std::move(v));
}
task<int> no_list() { co_return co_await take(std::vector<int>(3)); }
task<int> range_for() {
  int s = 0;
  for (int n : {1, 2, 3}) s += co_await take(n);
  co_return s;
}
