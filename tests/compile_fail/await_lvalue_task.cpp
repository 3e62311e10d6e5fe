// expect: await_a_task_once_as_in__co_await_std_move_t
#include <rota/coro/task.hpp>

rota::task<int> number();

rota::task<int> twice() {
  rota::task<int> t = number();
  int n = co_await t;  // a task is awaited once: co_await std::move(t)
  co_return n;
}
