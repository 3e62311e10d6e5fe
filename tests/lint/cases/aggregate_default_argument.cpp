#include "common.hpp"

task<int> aggregate_reference(int n, const owner& o = {});
task<int> aggregate_value(int n, owner o = {1, "text"});
task<int> aggregate_named(int n, owner o = owner{1, "text"});
task<int> owning_closure(std::function<int()> f = [s = std::string("text")] { return int(s.size()); });
struct constructed {
  int number;
  constructed(int n, const owner& o = {});
};
task<int> of_plain(int n, plain p = {1, "text"});
task<int> of_closed(int n, closed c = {});
task<int> of_string(int n, std::string s = "text");
task<int> of_vector(int n, std::vector<int> v = {});
task<int> of_function(int n, std::function<int()> f = [] { return 7; });

task<int> by_reference() {
  co_return co_await aggregate_reference(1);  // finds: aggregate-default-argument
}
task<int> by_value() {
  co_return co_await aggregate_value(1);  // finds: aggregate-default-argument
}
task<int> by_name() {
  co_return co_await aggregate_named(1);  // finds: aggregate-default-argument
}
task<int> closure() {
  co_return co_await owning_closure();  // finds: aggregate-default-argument
}
task<int> constructor() {
  co_return sum(constructed(1).number, co_await get_int());  // finds: aggregate-default-argument
}

// ---- right on every compiler

task<int> given(owner o) { co_return co_await aggregate_reference(1, o); }
task<int> separate() {
  auto job = aggregate_value(1);
  co_return co_await std::move(job);
}
task<int> others() {
  int n = co_await of_plain(1);
  n += co_await of_closed(1);
  n += co_await of_string(1);
  n += co_await of_vector(1);
  n += co_await of_function(1);
  co_return n;
}
