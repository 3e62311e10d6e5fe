// expect: the resource has a close() that can be awaited
#include <rota/rota.hpp>

struct file {
  void close();
};

rota::task<> wrong() {
  co_await rota::with(std::chrono::seconds(1), file(), [](file&) -> rota::task<> { co_return; });
}
