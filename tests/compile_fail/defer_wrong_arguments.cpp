// expect: defer(limit, f, args...): f cannot be called with these arguments
#include <chrono>

#include <rota/scope/task_group.hpp>

rota::task<> count(int& n);

void start(rota::task_group& group, int n) { group.defer(std::chrono::seconds(1), count, n); }
