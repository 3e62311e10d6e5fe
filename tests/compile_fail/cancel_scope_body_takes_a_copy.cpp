// expect later: the body takes one argument by reference
#include <rota/rota.hpp>

rota::task<> wrong() {
  co_await rota::with_cancel_scope([](rota::cancel_scope) -> rota::task<> { co_return; });
}
