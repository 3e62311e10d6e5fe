// expect: and name the type: a lambda's `auto&` would be the std::reference_wrapper
#include <rota/rota.hpp>

void start(int& n) {
  (void)rota::spawn(
      [](auto& x) -> rota::task<> {
        ++x;
        co_return;
      },
      std::ref(n));
}
