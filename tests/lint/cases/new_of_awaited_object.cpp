#include "common.hpp"

task<> parentheses() {
  std::unique_ptr<std::string> p(new std::string(co_await get_string()));  // finds: new-of-awaited-object
}
task<std::string*> braces() {
  co_return new std::string{co_await get_string()};  // finds: aggregate-initialised-by-awaits
}
task<> aggregate(task<owner> made) {
  std::unique_ptr<owner> p(new owner(co_await std::move(made)));  // finds: new-of-awaited-object
}

// ---- right on every compiler

task<> make_unique() { auto p = std::make_unique<std::string>(co_await get_string()); }
task<> await_first() {
  auto text = co_await get_string();
  std::unique_ptr<std::string> p(new std::string(std::move(text)));
}
task<> another_type() { std::unique_ptr<closed> p(new closed(co_await get_int(), co_await get_string())); }
task<> from_a_reference(task<std::string&> text) {
  std::unique_ptr<std::string> p(new std::string(co_await std::move(text)));
}
task<> trivially_destructible(task<plain> made) { std::unique_ptr<plain> p(new plain(co_await std::move(made))); }
task<> integer() { std::unique_ptr<int> p(new int(co_await get_int())); }
