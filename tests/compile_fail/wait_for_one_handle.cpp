// expect: wait() takes a range of join_handles: to wait for one, co_await it
#include <rota/rota.hpp>

using namespace std::chrono_literals;
rota::task<int> number();

rota::task<> wrong() {
  rota::join_handle<int> handle = rota::spawn(number);
  co_await rota::wait(handle, rota::wait_until::all_completed, 1s);
}
