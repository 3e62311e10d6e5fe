// expect: spawn(f, args...), run(f, args...): f cannot be called with these arguments
#include <rota/loop/spawn.hpp>

rota::task<> count(int& n);

void start(int n) { (void)rota::spawn(count, n); }
