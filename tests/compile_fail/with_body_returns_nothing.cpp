// expect: the body must return a rota::task
#include <rota/rota.hpp>

struct file {
  rota::task<> close();
};

rota::task<> wrong() {
  co_await rota::with(std::chrono::seconds(1), file(), [](file&) {});
}
