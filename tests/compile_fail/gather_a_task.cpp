// expect later: gather() waits for tasks that run already
#include <rota/rota.hpp>

rota::task<int> number();

rota::task<int> wrong() {
  const auto all = co_await rota::gather(number());
  co_return 0;
}
