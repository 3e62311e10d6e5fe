// expect: this GCC destroys an aggregate that owns something twice when it is made in a co_yield statement
// only: GNU 12\.[0-2]
#include <string>

#include <rota/coro/generator.hpp>

struct entry {
  std::string name;
  int size;
};

rota::generator<entry> entries() { co_yield entry{"readme", 1}; }
