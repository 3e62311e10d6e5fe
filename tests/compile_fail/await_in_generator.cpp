// expect: use of deleted function
// only: GNU
#include <rota/coro/generator.hpp>
#include <rota/coro/task.hpp>

rota::task<int> number();

rota::generator<int> numbers() { co_yield co_await number(); }
