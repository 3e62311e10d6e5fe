// expect: await_in_the_expression_that_makes_it
#include <rota/rota.hpp>

using namespace std::chrono_literals;

rota::task<> wrong() {
  auto limited = rota::timeout(1s, rota::sleep_for(2s));  // refers to a sleep that is gone at the end of this line
  co_await limited;
}
