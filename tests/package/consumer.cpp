#include <rota/rota.hpp>
rota::task<int> f() { co_return 42; }
int main() { return rota::run(f()) - 42; }
