// expect: this GCC destroys a lambda that owns something twice when it is written inside a co_await expression
// only: GNU 12\.[0-2]
#include <memory>

#include <rota/rota.hpp>

rota::task<> all() {
  auto owned = std::make_shared<int>(1);
  co_await rota::parallel_for(0, 10, [owned](int) { ++*owned; });
}
