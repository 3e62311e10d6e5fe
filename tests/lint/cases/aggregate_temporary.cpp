#include "common.hpp"

struct aggregate_awaiter {
  std::string text;
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) {}
  int await_resume() { return int(text.size()); }
};
struct made_awaiter {
  std::string text;
  explicit made_awaiter(std::string t) : text(std::move(t)) {}
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) {}
  int await_resume() { return int(text.size()); }
};
owner make_owner();

task<int> argument() {
  co_return co_await take_owner(owner{1, "text"});  // finds: aggregate-temporary
}
task<int> braces_only() {
  co_return co_await take_owner({1, "text"});  // finds: aggregate-temporary
}
task<int> designated() {
  co_return co_await take_owner({.number = 1, .text = "text"});  // finds: aggregate-temporary
}
task<int> empty_braces() {
  co_return co_await take_owner({});  // finds: aggregate-temporary
}
task<int> by_reference() {
  co_return co_await take_owner_reference({1, "text"});  // finds: aggregate-temporary
}
task<int> parentheses() {
  co_return co_await take_owner(owner(1, "text"));  // finds: aggregate-temporary
}
task<int> awaiter() {
  co_return co_await aggregate_awaiter{"text"};  // finds: aggregate-temporary
}
task<int> array() {
  co_return co_await take(std::array<std::string, 2>{"a", "b"});  // finds: aggregate-temporary
}
task<int> beside_the_await() {
  co_return sum(owner{1, "text"}.number, co_await get_int());  // finds: aggregate-temporary
}
task<int> in_an_optional() {
  co_return co_await take(std::optional<owner>(owner{1, "text"}));  // finds: aggregate-temporary
}
task<int> moved_into(std::unique_ptr<int> p) {
  struct box {
    std::unique_ptr<int> p;
  };
  co_return co_await take(box{std::move(p)});  // finds: aggregate-temporary
}

// ---- right on every compiler

task<int> named() {
  owner o{1, "text"};
  co_return co_await take_owner(std::move(o));
}
task<int> from_a_function() { co_return co_await take_owner(make_owner()); }
task<int> value_initialised() { co_return co_await take_owner(owner()); }
task<int> copied(owner o) { co_return co_await take_owner(owner{o}); }
task<int> trivially_destructible() { co_return co_await take_plain({1, "text"}); }
task<int> with_constructor() { co_return co_await take_closed({1, "text"}); }
task<int> with_constructor_empty() { co_return co_await take_closed({}); }
task<int> awaiter_with_constructor() { co_return co_await made_awaiter("text"); }
task<int> pair() { co_return co_await take(std::pair<int, std::string>{1, "text"}); }
task<int> string_from_braces() { co_return co_await take_string({"text"}); }
task<int> statement_does_not_await() {
  int n = owner{1, "text"}.number;
  co_return n + co_await get_int();
}
task<int> task_is_named() {
  auto job = take_owner({1, "text"});
  co_return co_await std::move(job);
}
