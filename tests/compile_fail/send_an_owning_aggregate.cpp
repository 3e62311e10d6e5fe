// expect: this GCC destroys an aggregate that owns something twice when it is made in a co_await statement
// only: GNU 12\.[0-2]
#include <string>

#include <rota/rota.hpp>

struct job {
  int number;
  std::string text;
};

rota::task<> produce(rota::sender<job> tx) { co_await tx.send(job{1, "one"}); }
