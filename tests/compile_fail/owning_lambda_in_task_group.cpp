// expect: this GCC destroys a lambda that owns something twice when it is written inside a co_await expression
// only: GNU 12\.[0-2]
#include <string>

#include <rota/scope/task_group.hpp>

rota::task<> work(std::string name) {
  co_await rota::with_task_group([name](rota::task_group&) -> rota::task<> { co_return; });
}
