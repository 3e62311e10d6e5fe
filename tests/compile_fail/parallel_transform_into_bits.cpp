// expect: two threads cannot write them
#include <vector>

#include <rota/rota.hpp>

rota::task<> all(std::vector<int>& from, std::vector<bool>& to) {
  return rota::parallel_transform(from, to, [](int n) { return n != 0; });
}
