// expect: the first parameter of f must be a rota::task_status<V>, and f must not be a member function or a template
#include <rota/scope/task_group.hpp>

rota::task<> work(rota::task_group& group) {
  const auto listen = [](auto status) -> rota::task<> {
    status.started();
    co_return;
  };
  co_await group.start(listen);
}
