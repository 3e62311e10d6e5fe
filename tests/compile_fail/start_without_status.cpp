// expect: the first parameter of f must be a rota::task_status<V>
#include <rota/scope/task_group.hpp>

rota::task<> serve_at(int port);

rota::task<> work(rota::task_group& group) { co_await group.start(serve_at, 7000); }
