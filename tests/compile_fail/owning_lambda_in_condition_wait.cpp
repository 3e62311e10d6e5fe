// expect: this GCC destroys a lambda that owns something twice when it is written inside a co_await expression
// only: GNU 12\.[0-2]
#include <memory>

#include <rota/rota.hpp>

rota::task<> wait(rota::condition_variable& cv, rota::mutex::guard& guard) {
  auto owned = std::make_unique<bool>(true);
  co_await cv.wait(guard, [p = std::move(owned)] { return *p; });
}
