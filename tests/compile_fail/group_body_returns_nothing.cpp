// expect: the body must return a rota::task
#include <rota/rota.hpp>

rota::task<> wrong() {
  co_await rota::with_task_group([](rota::task_group&) {});
}
