// expect: spawn() takes a callable that returns a rota::task
#include <rota/loop/spawn.hpp>

int number();

void start() { (void)rota::spawn(number); }
