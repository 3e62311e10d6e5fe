// expect: f takes the join_handle, or nothing
#include <rota/loop/join_handle.hpp>

void start(rota::join_handle<int>& handle) {
  handle.on_done([](int) {});
}
