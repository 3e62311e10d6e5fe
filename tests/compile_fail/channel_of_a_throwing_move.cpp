// expect: what goes through a channel must be an object whose move constructor is noexcept
#include <rota/rota.hpp>

struct throws_when_moved {
  throws_when_moved(throws_when_moved&&) {}
};

void wrong() { auto ends = rota::channel<throws_when_moved>(1); }
