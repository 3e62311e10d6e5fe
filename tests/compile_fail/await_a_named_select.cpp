// expect: await_in_the_expression_that_makes_it
#include <rota/rota.hpp>

rota::task<> wrong(rota::receiver<int>& a, rota::receiver<int>& b) {
  auto either = rota::select(a.next(), b.next());  // they are gone at the end of this line
  (void)co_await either;
}
