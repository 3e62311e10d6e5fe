// expect: a generator is handed over: write co_yield rota::elements_of(std::move(inner))
#include <rota/coro/generator.hpp>

rota::generator<int> inner();

rota::generator<int> outer() {
  rota::generator<int> numbers = inner();
  co_yield rota::elements_of(numbers);
}
