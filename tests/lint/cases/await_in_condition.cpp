#include "common.hpp"

void work();

task<int> if_condition() {
  if (co_await get_bool()) co_return 1;  // finds: await-in-condition
  co_return 0;
}
task<int> parameters_do_not_help(std::string s) {
  if (co_await get_bool()) co_return int(s.size());  // finds: await-in-condition
  co_return 0;
}
task<> while_condition() {
  while (co_await get_bool()) work();  // finds: await-in-condition
}
task<> do_condition() {
  do {  // finds: await-in-condition
    work();
  } while (co_await get_bool());
}
task<> for_condition() {
  for (; co_await get_bool();) work();  // finds: await-in-condition
}
task<int> switch_condition() {
  switch (co_await get_int()) {  // finds: await-in-condition
    case 1: co_return 1;
    default: co_return 0;
  }
}
task<int> each_of_two() {
  if (co_await get_bool()) co_return 1;  // finds: await-in-condition
  if (co_await get_bool()) co_return 2;  // finds: await-in-condition
  co_return 0;
}
task<> in_a_loop() {
  for (;;) {
    if (!co_await get_bool()) break;  // finds: await-in-condition
    work();
  }
}
task<> in_try() {
  try {
    if (co_await get_int() == 1) work();  // finds: await-in-condition
  } catch (...) {
  }
}
task<> function_try() try {
  if (co_await get_bool()) work();  // finds: await-in-condition
} catch (...) {
}
task<> after_static_assert(bool b) {
  static_assert(sizeof(int) == 4);
  if (b && co_await get_bool()) work();  // finds: await-in-condition
}
struct member {
  int number = 0;
  task<int> function() {
    if (co_await get_bool()) co_return number;  // finds: await-in-condition
    co_return 0;
  }
};
template <class T>
task<T> in_a_template() {
  if (co_await get_bool()) co_return T(1);  // finds: await-in-condition
  co_return T(0);
}
template task<int> in_a_template();

// ---- right on every compiler

task<int> named() {
  bool ok = co_await get_bool();
  if (ok) co_return 1;
  co_return 0;
}
task<int> declared_in_the_condition() {
  if (bool ok = co_await get_bool()) co_return ok;
  co_return 0;
}
task<int> any_local() {
  int n = 0;
  while (co_await get_bool()) ++n;
  co_return n;
}
task<> local_further_in() {
  while (co_await get_bool()) {
    int n = 0;
    (void)n;
  }
}
task<> loop_variable() {
  for (int i = 0; i < co_await get_int(); ++i) work();
}
task<> range_for(std::vector<int> v) {
  for (int n : v)
    if (co_await take(n)) work();
}
task<> handler_with_a_type() {
  try {
    if (co_await get_bool()) work();
  } catch (const std::exception&) {
  }
}
task<> lambda_elsewhere() {
  if (co_await get_bool()) co_await call([] { return 7; });
}
task<int> inside_a_lambda() {
  return []() -> task<int> {
    if (co_await get_bool()) co_return 1;
    co_return 0;
  }();
}
task<> condition_does_not_await(bool b) {
  if (b) co_await get_bool();
}
