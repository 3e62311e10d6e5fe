// expect: await_in_the_expression_that_makes_it
#include <rota/rota.hpp>

using namespace std::chrono_literals;

rota::task<> wrong() {
  auto both = rota::when_all(rota::sleep_for(1s), rota::sleep_for(2s));  // they are gone at the end of this line
  co_await both;
}
