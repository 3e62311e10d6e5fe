// expect: run_main() takes a task<>, or a task<int>
#include <rota/rota.hpp>

rota::task<std::string> work();

int main() { return rota::run_main(work()); }
