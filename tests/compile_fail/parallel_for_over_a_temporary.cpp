// expect: the range would be gone when its elements are visited: name it first
#include <vector>

#include <rota/rota.hpp>

rota::task<> all() {
  return rota::parallel_for(std::vector<int>{1, 2}, [](int) {});
}
