// expect: a rota::task is awaited once: hand it over, std::move(task), a range of tasks as a whole
#include <vector>

#include <rota/rota.hpp>

rota::task<int> number();

rota::task<> wrong(std::vector<rota::task<int>> tasks) { (void)co_await rota::when_all(tasks); }
