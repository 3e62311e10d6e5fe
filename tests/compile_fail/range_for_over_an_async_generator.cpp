// expect: deleted function
#include <rota/rota.hpp>

rota::async_generator<int> numbers();

int wrong() {
  int sum = 0;
  for (const int n : numbers()) sum += n;
  return sum;
}
