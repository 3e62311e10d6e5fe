// expect: deleted
#include <rota/coro/task.hpp>

rota::task<int> number();

rota::task<int> twice() {
  rota::task<int> t = number();
  int n = co_await t;  // a task is awaited once: co_await std::move(t)
  co_return n;
}
