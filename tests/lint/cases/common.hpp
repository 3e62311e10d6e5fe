// What the cases share. `owner` owns something and is an aggregate, `plain` owns nothing, `closed` has a constructor.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <rota/coro/task.hpp>

using rota::task;

struct owner {
  int number = 0;
  std::string text = {};
};
struct plain {
  int number = 0;
  const char* text = "";
};
struct closed {
  int number;
  std::string text;
  closed(int n = 0, std::string t = {}) : number(n), text(std::move(t)) {}
};

task<int> get_int();
task<bool> get_bool();
task<std::string> get_string();
template <class F>
task<int> call(F) {
  co_return 7;
}
template <class F>
task<int> call_reference(const F&) {
  co_return 7;
}
template <class T>
task<int> take(T) {
  co_return 7;
}
task<int> take_owner(owner value);
task<int> take_owner_reference(const owner& value);
task<int> take_plain(plain value);
task<int> take_closed(closed value);
task<int> take_string(std::string value);
int sum(int a, int b);
