// expect: spawn() and run() take a callable and its arguments, never a task
#include <rota/loop/spawn.hpp>

rota::task<int> number();

void start() { (void)rota::spawn(number()); }
