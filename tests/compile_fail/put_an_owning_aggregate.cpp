// expect: this GCC destroys an aggregate that owns something twice when it is made in a co_await statement
// only: GNU 12\.[0-2]
#include <string>

#include <rota/rota.hpp>

struct job {
  int number;
  std::string text;
};

rota::task<> produce(rota::queue<job>& q) { co_await q.put({1, "one"}); }
