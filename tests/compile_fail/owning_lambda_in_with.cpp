// expect: this GCC destroys a lambda that owns something twice when it is written inside a co_await expression
// only: GNU 12\.[0-2]
#include <chrono>
#include <string>
#include <utility>

#include <rota/scope/cleanup.hpp>

struct resource {
  rota::task<> close();
};

rota::task<> work(resource r, std::string name) {
  co_await rota::with(std::chrono::seconds(1), std::move(r), [name](resource&) -> rota::task<> { co_return; });
}
