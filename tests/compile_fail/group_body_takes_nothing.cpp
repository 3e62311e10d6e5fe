// expect: the body takes one argument by reference
#include <rota/rota.hpp>

rota::task<> wrong() {
  co_await rota::with_task_group([]() -> rota::task<> { co_return; });
}
