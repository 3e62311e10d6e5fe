#include "common.hpp"

int length(const std::string& s);

task<std::string> both_await(bool b) {
  co_return b ? co_await get_string() : co_await get_string();  // finds: conditional-operator
}
task<int> one_awaits(bool b) {
  std::string s = b ? std::string("text") : co_await get_string();  // finds: conditional-operator
  co_return length(s);
}
task<int> condition_awaits() {
  std::string s = co_await get_bool() ? std::string("text") : std::string();  // finds: conditional-operator
  co_return length(s);
}
task<int> argument(bool b) {
  co_return co_await take_string(b ? std::string("text") : std::string());  // finds: conditional-operator
}
task<int> one_named(bool b, std::string s) {
  co_return co_await take_string(b ? s : "text");  // finds: conditional-operator
}
task<int> beside_the_await(bool b) {
  co_return sum(length(b ? std::string("text") : "t"), co_await get_int());  // finds: conditional-operator
}
task<int> of_tasks(bool b) {
  co_return co_await (b ? get_int() : take_string("text"));  // finds: conditional-operator
}
task<> or_null(bool b) {
  std::unique_ptr<int> p = b ? nullptr : std::make_unique<int>(co_await get_int());  // finds: conditional-operator
}
task<int> throws(bool b) {
  std::string s = b ? co_await get_string() : throw 1;  // finds: conditional-operator
  co_return length(s);
}

// ---- right on every compiler

task<int> scalars(bool b) { co_return b ? co_await get_int() : length(co_await get_string()); }
task<int> literals(bool b) { co_return co_await take_string(b ? "text" : "t"); }
task<int> between_named(bool b, std::string s, std::string t) { co_return co_await take_string(b ? s : t); }
task<int> between_moved(bool b, std::string s, std::string t) {
  co_return co_await take_string(b ? std::move(s) : std::move(t));
}
task<int> trivially_destructible(bool b) {
  plain p = b ? plain{co_await get_int(), ""} : plain{};
  co_return p.number;
}
task<int> separate(bool b) {
  auto job = b ? get_int() : take_string("text");
  co_return co_await std::move(job);
}
task<int> statement(bool b) {
  std::string s;
  if (b)
    s = co_await get_string();
  else
    s = "text";
  co_return length(s);
}
task<int> inside_the_constructor(bool b) { co_return co_await take_string(std::string(b ? "text" : "t")); }
