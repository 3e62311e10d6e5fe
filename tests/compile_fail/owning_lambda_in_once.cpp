// expect: this GCC destroys a lambda that owns something twice when it is written inside a co_await expression
// only: GNU 12\.[0-2]
#include <memory>

#include <rota/rota.hpp>

rota::task<> setup(rota::once& o) {
  auto owned = std::make_unique<int>(1);
  co_await o.call([p = std::move(owned)] { return *p; });
}
