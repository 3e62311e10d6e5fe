// The exception handler of a loop: who tells it what, and what becomes of its own errors.
#include <rota/loop/exception_context.hpp>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"
#include "support/sockets.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;

void run_once(rota::event_loop& loop) {
  loop.stop();
  loop.run();
}

// What the handler was told, copied.
struct told {
  std::string message;
  std::string what;
  std::string task;
  std::string file;
  unsigned line;
};

/// Collects what a loop's handler is told. Keeps it beyond the loop.
class collected {
 public:
  void listen_to(rota::event_loop& loop) {
    loop.set_exception_handler([this](const rota::exception_context& c) {
      told t;
      t.message = c.message;
      try {
        std::rethrow_exception(c.exception);
      } catch (const std::exception& e) {
        t.what = e.what();
      } catch (int n) {
        t.what = "int " + std::to_string(n);
      }
      t.task = c.task_name;
      t.file = c.where.file_name();
      t.line = static_cast<unsigned>(c.where.line());
      all.push_back(std::move(t));
    });
  }
  const told& only() const {
    REQUIRE(all.size() == 1);
    return all.front();
  }
  std::vector<told> all;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

task<> failing() {
  co_await rota::yield();
  throw std::runtime_error("no luck");
}

}  // namespace

TEST_CASE("the handler hears of a callback that failed: its line, and what was thrown") {
  const captured_reports reports;
  collected handler;
  rota::event_loop loop;
  handler.listen_to(loop);
  const unsigned line = __LINE__ + 1;
  loop.call_soon([] { throw 42; });
  run_once(loop);
  REQUIRE(contains(handler.only().message, "callback"));
  REQUIRE(handler.only().what == "int 42");
  REQUIRE(handler.only().task.empty());
  REQUIRE(contains(handler.only().file, "exception_context_test.cpp"));
  REQUIRE(handler.only().line == line);
  REQUIRE(reports.size() == 0);
}

TEST_CASE("every way to ask for a callback notes the line") {
  const captured_reports reports;
  collected handler;
  rota::event_loop loop;
  handler.listen_to(loop);
  const auto fail = [](auto...) { throw 1; };
  std::vector<unsigned> lines;
  loop.call_soon(fail), lines.push_back(__LINE__);
  loop.call_soon(fail, 1), lines.push_back(__LINE__);
  loop.call_soon(fail, 1, 2), lines.push_back(__LINE__);
  loop.call_soon_threadsafe(fail), lines.push_back(__LINE__);
  loop.call_soon_threadsafe(fail, 1), lines.push_back(__LINE__);
  loop.call_soon_threadsafe(fail, 1, 2), lines.push_back(__LINE__);
  loop.post(fail), lines.push_back(__LINE__);
  loop.call_later(-3ms, fail, 1, 2, 3), lines.push_back(__LINE__);
  loop.call_at(loop.now(), fail, 1, 2, 3), lines.push_back(__LINE__);
  rota::prepared_call prepared(fail);
  lines.push_back(__LINE__ - 1);
  loop.call_soon_threadsafe(prepared);
  run_once(loop);
  std::vector<unsigned> heard;
  for (const told& t : handler.all) heard.push_back(t.line);
  std::sort(heard.begin(), heard.end());
  REQUIRE(heard == lines);
}

TEST_CASE("the handler hears of a task that nobody looked at: its name and its line") {
  const captured_reports reports;
  collected handler;
  rota::event_loop loop;
  handler.listen_to(loop);
  const auto body = [&]() -> task<> {
    rota::spawn(failing).set_name("the unlucky");
    for (int i = 0; i != 4; ++i) co_await rota::yield();
    rota::join_handle<> held = rota::spawn(failing);
    held.set_name("the other");
    while (!held.done()) co_await rota::yield();
    REQUIRE(handler.all.size() == 1);
    held = rota::join_handle<>();
  };
  rota_test::run_on(loop, body());
  REQUIRE(handler.all.size() == 2);
  REQUIRE(handler.all[0].task == "the unlucky");
  REQUIRE(handler.all[1].task == "the other");
  for (const told& t : handler.all) {
    REQUIRE(contains(t.message, "'" + t.task + "'"));
    REQUIRE(contains(t.message, "nobody retrieved"));
    REQUIRE(t.what == "no luck");
    REQUIRE(contains(t.file, "exception_context_test.cpp"));
    REQUIRE(t.line != 0);
  }
  REQUIRE(reports.size() == 0);
}

TEST_CASE("the handler hears of a connection's handler that failed") {
  const captured_reports reports;
  collected handler;
  rota::event_loop loop;
  handler.listen_to(loop);
  const auto session = [](rota::tcp_stream) -> task<> {
    co_await rota::yield();
    throw std::runtime_error("bad request");
  };
  const auto server = [&](rota::tcp_listener listener) -> task<> {
    co_await rota::serve(std::move(listener), session);
  };
  const auto body = [&]() -> task<> {
    rota::tcp_listener listener = rota::tcp_listener::bind(rota::address("127.0.0.1", 0));
    const rota::address at = listener.local_address();
    rota::join_handle<> serving = rota::spawn(server, std::move(listener));
    rota::tcp_stream client = co_await rota::tcp_stream::connect(at);
    while (handler.all.empty()) co_await rota::sleep_for(0ms);
    serving.cancel();
    while (!serving.done()) co_await rota::sleep_for(0ms);
    co_await client.close();
  };
  rota_test::run_on(loop, body());
  REQUIRE(contains(handler.only().message, "connection's handler"));
  REQUIRE(handler.only().what == "bad request");
  REQUIRE(handler.only().line != 0);
  REQUIRE(reports.size() == 0);
}

TEST_CASE("the handler hears of errors during the shutdown") {
  const captured_reports reports;
  collected handler;
  {
    rota::event_loop loop;
    handler.listen_to(loop);
    const auto worker = []() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        throw std::runtime_error("could not save");
      }
    };
    const auto body = [&]() -> task<> {
      (void)rota::spawn(worker);
      co_await rota::yield();
    };
    loop.run(body());
  }
  REQUIRE(handler.only().what == "could not save");
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a handler that fails falls back to the default, which tells both errors, and the loop goes on") {
  const captured_reports reports;
  rota::event_loop loop;
  int asked = 0;
  loop.set_exception_handler([&](const rota::exception_context&) {
    ++asked;
    throw 7;
  });
  int ran = 0;
  for (int i = 0; i != 2; ++i) loop.call_soon([] { throw std::runtime_error("the first error"); });
  loop.call_soon([&] { ++ran; });
  run_once(loop);
  INFO(reports.all());
  REQUIRE(asked == 2);
  REQUIRE(ran == 1);
  REQUIRE(reports.count("the first error") == 2);
  REQUIRE(reports.count("exception handler of an event loop failed") == 2);
}

TEST_CASE("a handler may replace itself, and go back to the default") {
  const captured_reports reports;
  const rota_test::frame_balance nothing_left;
  rota::event_loop loop;
  std::string log;
  const auto fail = [] { throw std::runtime_error("oops"); };
  loop.set_exception_handler([&, kept = std::make_unique<char>('a')](const rota::exception_context&) {
    loop.set_exception_handler([&](const rota::exception_context&) {
      log += 'b';
      loop.set_exception_handler(nullptr);
    });
    log += *kept;  // what runs lives until it returns
  });
  for (int i = 0; i != 3; ++i) loop.call_soon(fail);
  run_once(loop);
  REQUIRE(log == "ab");
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("oops"));
}

TEST_CASE("an error that the handler makes goes to the default, not round in circles") {
  const captured_reports reports;
  rota::event_loop loop;
  int asked = 0;
  loop.set_exception_handler([&](const rota::exception_context&) {
    ++asked;
    rota::exception_context own;
    own.message = "a nested error";
    loop.call_exception_handler(own);
  });
  loop.call_soon([] { throw 1; });
  run_once(loop);
  REQUIRE(asked == 1);
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("a nested error"));
}

TEST_CASE("a program's own errors may take the same way, and a handler may pass them on to the default") {
  const captured_reports reports;
  rota::event_loop loop;
  int asked = 0;
  loop.set_exception_handler([&](const rota::exception_context& context) {
    ++asked;
    rota::event_loop::default_exception_handler(context);
  });
  rota::exception_context context;
  context.message = "the cache is full";
  context.exception = std::make_exception_ptr(std::runtime_error("1000 entries"));
  loop.call_exception_handler(context);
  REQUIRE(asked == 1);
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("the cache is full: "));
  REQUIRE(reports.contains("1000 entries"));
}

TEST_CASE("a handle that is dropped after its loop tells the default handler") {
  const captured_reports reports;
  collected handler;
  rota::join_handle<> held;
  {
    rota::event_loop loop;
    handler.listen_to(loop);
    const auto body = [&]() -> task<> {
      held = rota::spawn(failing);
      while (!held.done()) co_await rota::yield();
    };
    loop.run(body());
  }
  held = rota::join_handle<>();
  REQUIRE(handler.all.empty());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("no luck"));
}
