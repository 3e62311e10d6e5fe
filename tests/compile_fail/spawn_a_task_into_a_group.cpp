// expect: spawn() and run() take a callable and its arguments, never a task
#include <rota/scope/task_group.hpp>

rota::task<int> number();

void start(rota::task_group& group) { group.spawn(number()); }
