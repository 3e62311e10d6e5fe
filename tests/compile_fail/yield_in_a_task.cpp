// expect: co_yield is for a coroutine that returns a rota::generator<T>
#include <rota/rota.hpp>

rota::task<int> wrong() {
  co_yield 1;
  co_return 2;
}
