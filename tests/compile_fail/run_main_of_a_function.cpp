// expect: run_main() takes a task: call the coroutine function, return rota::run_main(f())
#include <rota/rota.hpp>

rota::task<> server();

int main() { return rota::run_main(server); }
