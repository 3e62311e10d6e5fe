#include "common.hpp"

struct code {
  int number;
};

task<> argument_awaits() {
  throw std::runtime_error(co_await get_string());  // finds: await-in-throw
}
task<> awaited() {
  throw co_await get_string();  // finds: await-in-throw
}
task<int> in_a_conditional() {
  co_return co_await get_bool() ? 1 : throw std::runtime_error("text");  // finds: await-in-throw
}

// ---- right on every compiler

task<> separate() {
  auto text = co_await get_string();
  throw std::runtime_error(text);
}
task<> trivially_destructible() { throw code(co_await get_int()); }
task<> integer() { throw co_await get_int(); }
