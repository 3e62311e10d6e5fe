// The task dump, by its text: what a task is, where it is, what it waits for.
#include <rota/loop/task_dump.hpp>

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;
using rota_test::run;

// What the loop that runs here dumps.
std::string dumped() {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* file = ::open_memstream(&text, &size);
  REQUIRE(file);
  rota::event_loop::current()->dump(file);
  std::fclose(file);
  std::string all(text, size);
  std::free(text);
  return all;
}

// The part of a dump that is about the task of this name.
std::string about(const std::string& dump, const std::string& name) {
  const std::size_t begin = dump.find("- task '" + name + "'");
  if (begin == std::string::npos) return {};
  return dump.substr(begin, dump.find("- task", begin + 1) - begin);
}
bool has(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }
std::string line(unsigned n) { return "task_dump_test.cpp:" + std::to_string(n); }

constexpr unsigned leaf_line = __LINE__ + 2;
task<int> leaf(rota::event& opened) {
  co_await opened.wait();
  co_return 1;
}
constexpr unsigned middle_line = __LINE__ + 1;
task<int> middle(rota::event& opened) { co_return co_await leaf(opened); }

}  // namespace

TEST_CASE("a dump shows the chain of awaits of a task that waits, innermost first") {
  run([]() -> task<> {
    rota::event opened;
    auto waiting = rota::spawn(middle, std::ref(opened)).set_name("deep");
    co_await rota::yield();
    const std::string text = about(dumped(), "deep");
    INFO(text);
    REQUIRE(has(text, "task 'deep' waits\n"));
    const std::size_t inner = text.find("leaf at "), outer = text.find("middle at ");
    REQUIRE(inner != std::string::npos);
    REQUIRE(outer != std::string::npos);
    REQUIRE(inner < outer);
    REQUIRE(has(text, line(leaf_line)));
    REQUIRE(has(text, line(middle_line)));
    REQUIRE_FALSE(has(text, "spawn.hpp"));  // what keeps the arguments is no part of the program
    opened.set();
    co_await waiting;
  });
}

TEST_CASE("a dump says what each task waits for") {
  run([]() -> task<> {
    const auto sleeper = []() -> task<> { co_await rota::sleep_for(1h); };
    const auto joiner = [](rota::join_handle<> of) -> task<> { co_await of; };
    const unsigned yields_at = __LINE__ + 1;
    const auto yielder = []() -> task<> { co_await rota::yield(); };
    const auto idle = []() -> task<> { co_return; };
    auto sleeps = rota::spawn(sleeper).set_name("sleeper");
    auto joins = rota::spawn(joiner, sleeps).set_name("joiner");
    auto yields = rota::spawn(yielder).set_name("yielder");
    rota::this_task::set_name("main");
    co_await rota::yield();
    auto begins = rota::spawn(idle).set_name("new");
    const std::string text = dumped();
    INFO(text);
    REQUIRE(has(about(text, "main"), "' runs"));
    REQUIRE(has(about(text, "sleeper"), "' sleeps for another "));
    REQUIRE(has(about(text, "joiner"), "' waits for the end of task 'sleeper', last at "));
    REQUIRE(has(about(text, "yielder"), "' is ready to go on"));
    REQUIRE(has(about(text, "yielder"), line(yields_at)));
    REQUIRE(has(about(text, "new"), "' has not begun"));
    REQUIRE(has(text, "tasks 5, ready "));
    sleeps.cancel("enough of it");
    const std::string cancelled = about(dumped(), "sleeper");
    INFO(cancelled);
    REQUIRE(has(cancelled, "; cancelled at "));
    REQUIRE(has(cancelled, ": enough of it"));
    rota_test::gate gate;
    const auto stubborn = [](rota_test::gate& at) -> task<> { co_await at; };
    auto waits = rota::spawn(stubborn, std::ref(gate)).set_name("stubborn");
    co_await begins;
    co_await yields;
    REQUIRE(has(about(dumped(), "stubborn"), "' waits (a cancel cannot end that)"));
    gate.open();
    co_await waits;
    co_await rota::yield();
    REQUIRE(joins.done());
    REQUIRE(joins.exception());  // task_cancelled; now somebody has seen it
  });
}

TEST_CASE("a dump is a tree: children stand below who waits for them, and library frames are left out") {
  run([]() -> task<> {
    const auto child = []() -> task<> {
      rota::this_task::set_name("child");
      co_await rota::sleep_for(1h);
    };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      rota::this_task::set_name("parent");
      group.spawn(child);
      group.spawn(child);
      co_return;
    };
    const auto parent = [&]() -> task<> { co_await rota::with_task_group(in_group); };
    auto handle = rota::spawn(parent);
    co_await rota::yield();
    co_await rota::yield();
    const std::string text = dumped();
    INFO(text);
    REQUIRE(has(text, "\n- task 'parent' waits for 2 children"));
    REQUIRE(has(text, "\n  - task 'child' sleeps for another "));
    REQUIRE_FALSE(has(text, "rota::detail"));
    handle.cancel();
    co_await rota::move_on_after(1h, rota::as_result(handle));
  });
}

TEST_CASE("a dump says what the kernel was asked for") {
  run([]() -> task<> {
    auto listener = rota::tcp_listener::bind({"127.0.0.1", 0});
    const auto accepting = [](rota::tcp_listener& on) -> task<> { (void)co_await on.accept(); };
    auto handle = rota::spawn(accepting, std::ref(listener)).set_name("acceptor");
    co_await rota::yield();
    co_await rota::yield();
    const std::string text = about(dumped(), "acceptor");
    INFO(text);
    REQUIRE(has(text, "' accepts connections on descriptor "));
    handle.cancel();
    (void)co_await rota::as_result(handle);
  });
}

TEST_CASE("in debug mode a dump also says when a task last ran, and where it was spawned") {
  rota::event_loop_options options;
  options.debug = true;
  rota::event_loop loop(options);
  unsigned step = 0;
  rota_test::run_on(loop, [&]() -> task<> {
    rota::event opened;
    step = __LINE__ + 1;
    co_await rota::yield();
    auto waiting = rota::spawn(middle, std::ref(opened)).set_name("deep");
    co_await rota::yield();
    const std::string text = about(dumped(), "deep");
    INFO(text);
    REQUIRE(has(text, " (last step 0."));
    REQUIRE(has(text, "spawned in the step that began at "));
    REQUIRE(has(text, line(step)));
    opened.set();
    co_await waiting;
  }());
}

TEST_CASE("a task that was spawned in its spawner's first step is said to be spawned there, not in the library") {
  rota::event_loop_options options;
  options.debug = true;
  rota::event_loop loop(options);
  rota_test::run_on(loop, []() -> task<> {
    rota::event opened;
    auto waiting = rota::spawn(middle, std::ref(opened)).set_name("deep");
    co_await rota::yield();
    const std::string text = about(dumped(), "deep");
    INFO(text);
    REQUIRE(has(text, "spawned in the step that began at "));
    REQUIRE_FALSE(has(text, "spawn.hpp"));
    opened.set();
    co_await waiting;
  }());
}

TEST_CASE("dump_tasks() reports the tasks of a loop from its own thread, whoever asks") {
  const captured_reports reports;
  run([&]() -> task<> {
    rota::this_task::set_name("main");
    std::thread([] { REQUIRE(rota::dump_tasks() >= 1); }).join();
    REQUIRE(reports.size() == 0);
    co_await rota::sleep_for(1ms);
    INFO(reports.all());
    REQUIRE(reports.contains("event loop "));
    REQUIRE(reports.contains("- task 'main' sleeps for another "));
    const std::size_t before = reports.size();
    co_await rota::sleep_for(1ms);
    REQUIRE(reports.size() == before);  // once
  });
}

TEST_CASE("a loop that has gone is not asked") {
  std::size_t with = 0;
  const std::size_t before = rota::dump_tasks();
  {
    const rota::event_loop loop;
    with = rota::dump_tasks();
  }
  REQUIRE(with == before + 1);
  REQUIRE(rota::dump_tasks() == before);
}

TEST_CASE("dump() on another thread is refused") {
  rota::event_loop loop;
  rota::usage_error::kind kind{};
  std::thread([&] {
    kind = rota_test::usage_error_of([&] {
      loop.dump();
      return 0;
    });
  }).join();
  REQUIRE(kind == rota::usage_error::kind::wrong_thread);
}

TEST_CASE("a dump of very many tasks is cut off, and says so") {
  run([]() -> task<> {
    const auto waiting = []() -> task<> { co_await rota::sleep_for(1h); };
    std::vector<rota::join_handle<>> handles;
    for (int i = 0; i != 1200; ++i) handles.push_back(rota::spawn(waiting));
    co_await rota::yield();
    const std::string text = dumped();
    REQUIRE(has(text, "and 201 more tasks\n"));
    for (auto& handle : handles) handle.cancel();
    for (auto& handle : handles) (void)co_await rota::as_result(handle);
  });
}

TEST_CASE("SIGQUIT makes a program in debug mode say what it waits for, and go on") {
  const auto outcome = rota_test::run_in_child([] {
    rota::event_loop_options options;
    options.debug = true;
    const auto main = []() -> task<int> {
      rota::this_task::set_name("main");
      ::raise(SIGQUIT);
      co_await rota::sleep_for(1ms);
      co_return 3;
    };
    return rota::run_main(main(), options);
  });
  INFO(outcome.output);
  REQUIRE(outcome.exit_code() == 3);
  REQUIRE(outcome.says("rota: loops and pools asked for their tasks:  1; one that does not answer"));
  REQUIRE(outcome.says("- task 'main' sleeps for another "));
}

TEST_CASE("without debug mode SIGQUIT is what it always was, and dump_on_signal() is for any signal") {
  const auto program = [](bool asks) {
    return rota_test::run_in_child([asks] {
      ::signal(SIGQUIT, SIG_DFL);
      rota::event_loop_options options;
      options.debug = false;
      if (asks) rota::dump_on_signal(SIGUSR1);
      const auto main = [asks]() -> task<int> {
        ::raise(asks ? SIGUSR1 : SIGQUIT);
        co_await rota::sleep_for(1ms);
        co_return 3;
      };
      return rota::run_main(main(), options);
    });
  };
  REQUIRE(program(false).signal() == SIGQUIT);
  const auto outcome = program(true);
  INFO(outcome.output);
  REQUIRE(outcome.exit_code() == 3);
  REQUIRE(outcome.says("sleeps for another "));
  REQUIRE(rota_test::error_code_of([] {
            rota::dump_on_signal(SIGKILL);
            return 0;
          }) == std::errc::invalid_argument);
}

TEST_CASE("what a debugger calls prints the tasks at once") {
  const auto outcome = rota_test::run_in_child([] {
    rota::run([]() -> task<> {
      ::rota_dump_tasks();
      std::fputs("afterwards\n", stderr);
      co_return;
    }());
    return 0;
  });
  INFO(outcome.output);
  REQUIRE(outcome.output.find("- task runs") < outcome.output.find("afterwards"));
}
