// expect: run() takes a task: call the coroutine function, rota::run(f())
#include <rota/rota.hpp>

rota::task<> work();

int main() { rota::run(work); }
