// Shows: a value that follows a request through every task that it starts, the deadline that a task sees, names in reports.
// Run:   ./dev build release && build/release/examples/task_locals        or, to be told more: ROTA_DEBUG=1 ...

// [program]
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

const rota::task_local<std::string> request;  // its address is what counts, so it is global and never copied

// No parameter says which request this is about; a plain function, called from whichever task.
void log(const char* what) {
  std::printf("[%s, task %llu] %s\n", request.get_or("no request").c_str(),
              static_cast<unsigned long long>(rota::this_task::id()), what);
}

rota::task<> query(const char* table) {
  log(table);
  co_await rota::sleep_for(10ms);
  // The deadline is the caller's, too: nobody passed it down.
  const auto left = rota::this_task::deadline() - rota::clock::now();
  log(left < 500ms ? "too late for details" : "there is time for details");
}

rota::task<> write_audit() {
  co_await rota::sleep_for(30ms);  // the request has ended by then
  log("written");
}

rota::task<> handle_request() {
  log("begins");
  rota::spawn(write_audit).set_name("audit");  // inherits the value, and keeps it
  co_await rota::when_all(query("users"), query("orders"));
  log("ends");
}

rota::task<> server() {
  co_await rota::with_value(request, "GET /a", rota::timeout(5s, handle_request()));
  co_await rota::with_value(request, "GET /b", rota::timeout(100ms, handle_request()));
  log("idle");
  co_await rota::sleep_for(50ms);
}

int main() { return rota::run_main(server()); }
// [/program]
