// expect: await_in_the_expression_that_makes_it
#include <rota/rota.hpp>

const rota::task_local<int> number;

rota::task<> wrong() {
  auto bound = rota::with_value(number, 1, rota::yield());  // refers to a yield that is gone at the end of this line
  co_await bound;
}
