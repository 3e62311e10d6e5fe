// expect: await_in_the_expression_that_makes_it
#include <string>

#include <rota/rota.hpp>

rota::task<> wrong(rota::sender<std::string>& tx) {
  auto sending = tx.send(std::string("gone at the end of this line"));
  co_await sending;
}
