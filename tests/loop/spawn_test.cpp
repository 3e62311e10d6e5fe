// spawn and join_handle: what is stored, who runs when, who sees the outcome.
#include <array>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;
using rota_test::run;

task<int> number(int n) { co_return n; }
task<std::string> after_a_while(std::string text) {
  co_await rota::sleep_for(1ms);
  co_return text;
}
task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

struct counted {
  static inline int alive = 0;
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
};

// What `body` throws when it is awaited: a usage_error's kind, a system_error's code, or neither.
struct failure {
  std::optional<rota::usage_error::kind> usage;
  std::error_code code;
};
template <class T>
task<failure> failure_of(task<T> body) {
  failure f;
  try {
    (void)co_await std::move(body);
  } catch (const rota::usage_error& error) {
    f.usage = error.which();
  } catch (const std::system_error& error) {
    f.code = error.code();
  }
  co_return f;
}
template <class T>
task<> await(rota::join_handle<T> handle) {
  (void)co_await handle;
}
task<> await(rota::join_handle<> handle) { co_await handle; }

struct sized {
  template <std::size_t N>
  static task<std::array<unsigned char, N>> make(unsigned char v) {
    std::array<unsigned char, N> a;
    a.fill(v);
    co_await rota::yield();
    co_return a;
  }
  template <std::size_t N>
  static task<int> check() {
    rota::join_handle<std::array<unsigned char, N>> handle = rota::spawn(&make<N>, static_cast<unsigned char>(N));
    const auto& result = co_await handle;
    int wrong = 0;
    for (const unsigned char v : result) wrong += v != static_cast<unsigned char>(N);
    co_return wrong;
  }
  // The frame has room for its locals, but not for the result behind them.
  template <std::size_t N>
  static task<std::array<unsigned char, N>> make_last(std::size_t n) {
    std::array<unsigned char, 450> local;
    local.fill(static_cast<unsigned char>(n));
    co_await rota::yield();
    std::array<unsigned char, N> a;
    a.fill(local[n]);
    co_return a;
  }
  template <std::size_t N>
  static task<int> check_last() {
    rota::join_handle<std::array<unsigned char, N>> handle = rota::spawn(&make_last<N>, std::size_t{7});
    const auto& result = co_await handle;
    co_return result.back() == 7 ? 0 : 1;
  }
};

// No coroutine: makes a task, drops it, and returns another one.
struct choosy {
  template <std::size_t N>
  static task<int> filled(unsigned char v) {
    std::array<unsigned char, N> local;
    local.fill(v);
    co_await rota::yield();
    int wrong = 0;
    for (const unsigned char byte : local) wrong += byte != v;
    co_return wrong;
  }
  template <std::size_t Unwanted, std::size_t Wanted>
  static task<int> make(unsigned char v) {
    {
      const task<int> dropped = filled<Unwanted>(v);
    }
    return filled<Wanted>(v);
  }
  template <std::size_t Unwanted, std::size_t Wanted>
  static task<int> check() {
    std::vector<rota::join_handle<int>> handles;
    for (unsigned char v = 0; v != 20; ++v) handles.push_back(rota::spawn(&make<Unwanted, Wanted>, v));
    int wrong = 0;
    for (auto& handle : handles) wrong += co_await handle;
    co_return wrong;
  }
};

}  // namespace

TEST_CASE("a spawned task runs and its handle gives the result") {
  run([]() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 7);
    REQUIRE(handle.valid());
    REQUIRE_FALSE(handle.done());
    const int n = co_await handle;
    REQUIRE(n == 7);
    REQUIRE(handle.done());
    REQUIRE_FALSE(handle.cancelled());
  });
}

TEST_CASE("first steps are never inline and run in the order of spawning") {
  run([]() -> task<> {
    std::string log;
    const auto step = [&log](char name) -> task<> {
      log += name;
      co_await rota::yield();
      log += static_cast<char>(name - 'a' + 'A');
    };
    std::vector<rota::join_handle<>> handles;
    for (const char name : {'a', 'b', 'c', 'd'}) handles.push_back(rota::spawn(step, name));
    REQUIRE(log.empty());
    co_await rota::yield();
    REQUIRE(log == "abcd");
    for (auto& handle : handles) co_await handle;
    REQUIRE(log == "abcdABCD");
  });
}

TEST_CASE("what is ready already goes before a new task") {
  run([]() -> task<> {
    std::string log;
    const auto early = [&log]() -> task<> {
      log += "1";
      co_await rota::yield();
      log += "2";
    };
    const auto spawner = [&log]() -> task<> {
      const auto child = [&log]() -> task<> {
        log += "c";
        co_return;
      };
      rota::join_handle<> handle = rota::spawn(child);
      log += "s";
      co_await handle;
    };
    rota::join_handle<> a = rota::spawn(early);
    rota::join_handle<> b = rota::spawn(spawner);
    co_await a;
    co_await b;
    REQUIRE(log == "1s2c");
  });
}

TEST_CASE("a lambda with captures by value is stored with its task") {
  run([]() -> task<> {
    rota::join_handle<std::string> handle;
    {
      std::string text = "a text that is too long for the small buffer of a string";
      const auto read = [text]() -> task<std::string> {
        co_await rota::yield();
        co_return text + "!";
      };
      handle = rota::spawn(read);
    }
    const std::string result = co_await handle;
    REQUIRE(result == "a text that is too long for the small buffer of a string!");
  });
}

TEST_CASE("arguments may be movable only") {
  run([]() -> task<> {
    const auto use = [](std::unique_ptr<int> p) -> task<int> {
      co_await rota::yield();
      co_return *p;
    };
    auto owned = std::make_unique<int>(5);
    rota::join_handle<int> plain = rota::spawn(use, std::move(owned));
    const auto by_reference = [](std::unique_ptr<int>&& p) -> task<int> {
      co_await rota::yield();
      co_return *p;
    };
    auto second = std::make_unique<int>(6);
    rota::join_handle<int> stored = rota::spawn(by_reference, std::move(second));
    const int five = co_await plain;
    const int six = co_await stored;
    REQUIRE(five == 5);
    REQUIRE(six == 6);
  });
}

TEST_CASE("std::ref passes a reference") {
  run([]() -> task<> {
    int n = 1;
    const auto increment = [](int& to) -> task<> {
      co_await rota::yield();
      ++to;
    };
    rota::join_handle<> handle = rota::spawn(increment, std::ref(n));
    co_await handle;
    REQUIRE(n == 2);
  });
}

TEST_CASE("a reference parameter refers to the stored argument, not to the caller's") {
  run([]() -> task<> {
    rota::join_handle<std::string> handle;
    const auto read = [](const std::string& text) -> task<std::string> {
      co_await rota::yield();
      co_return text;
    };
    {
      std::string text = "a text that is too long for the small buffer of a string";
      handle = rota::spawn(read, text);
      text = "overwritten, and again too long for the small buffer of a string";
    }
    const std::string result = co_await handle;
    REQUIRE(result == "a text that is too long for the small buffer of a string");
  });
}

TEST_CASE("a parameter that views the argument views the stored one") {
  // string_view and span are passed by value, but what they refer to is the caller's.
  run([]() -> task<> {
    rota::join_handle<std::string> handle;
    const auto read = [](std::string_view text) -> task<std::string> {
      co_await rota::yield();
      co_return std::string(text);
    };
    {
      std::string text = "a text that is too long for the small buffer of a string";
      handle = rota::spawn(read, text);
      text.assign(text.size(), 'x');
    }
    const std::string result = co_await handle;
    REQUIRE(result == "a text that is too long for the small buffer of a string");
  });
}

TEST_CASE("a member function is spawned with its object, or with a pointer to it") {
  struct account {
    explicit account(int b) : balance(b) {}
    task<int> deposit(int amount) {
      co_await rota::yield();
      co_return balance += amount;
    }
    int balance;
  };
  run([]() -> task<> {
    account mine(10);
    rota::join_handle<int> through_pointer = rota::spawn(&account::deposit, &mine, 5);
    rota::join_handle<int> through_copy = rota::spawn(&account::deposit, mine, 100);
    rota::join_handle<int> through_reference = rota::spawn(&account::deposit, std::ref(mine), 7);
    const int a = co_await through_pointer;
    const int b = co_await through_copy;
    const int c = co_await through_reference;
    REQUIRE(a == 15);
    REQUIRE(b == 110);
    REQUIRE(c == 22);
    REQUIRE(mine.balance == 22);
  });
}

TEST_CASE("a function that is no coroutine may hand over a task that it has from elsewhere") {
  run([]() -> task<> {
    task<int> made_before = number(3);
    const auto hand_over = [&made_before]() -> task<int> { return std::move(made_before); };
    rota::join_handle<int> handle = rota::spawn(hand_over);
    const int three = co_await handle;
    REQUIRE(three == 3);
    const auto forward = [](int n) -> task<int> { return number(n); };
    rota::join_handle<int> forwarded = rota::spawn(forward, 4);
    const int four = co_await forwarded;
    REQUIRE(four == 4);
  });
}

TEST_CASE("a function that makes and drops tasks before the one that it returns") {
  const captured_reports reports;  // a dropped task is reported in debug builds
  run([]() -> task<> {
    int wrong = 0;
    // Frames of nearly equal sizes, which may lie at the same place one after the other.
    wrong += co_await choosy::check<8, 40>();
    wrong += co_await choosy::check<40, 8>();
    wrong += co_await choosy::check<16, 32>();
    wrong += co_await choosy::check<24, 48>();
    wrong += co_await choosy::check<100, 120>();
    wrong += co_await choosy::check<64, 200>();
    wrong += co_await choosy::check<900, 8>();
    REQUIRE(wrong == 0);
  });
}

TEST_CASE("a function that returns an empty task cannot be spawned") {
  run([]() -> task<> {
    const auto empty = []() -> task<> { return task<>(); };
    REQUIRE(rota_test::usage_error_of([&] { (void)rota::spawn(empty); }) == rota::usage_error::kind::invalid_task);
    co_return;
  });
}

TEST_CASE("a functor that throws before it has made a task leaves nothing behind") {
  counted::alive = 0;
  run([]() -> task<> {
    struct thrower {
      task<> operator()(const counted&) const { throw 1; }
    };
    // Stored functors are called in the task's first step, so the error is the task's.
    rota::join_handle<> handle = rota::spawn(thrower(), counted());
    bool thrown = false;
    try {
      co_await handle;
    } catch (int) {
      thrown = true;
    }
    REQUIRE(thrown);
  });
  REQUIRE(counted::alive == 0);
}

TEST_CASE("functor and arguments are destroyed once, when the task has ended") {
  counted::alive = 0;
  run([]() -> task<> {
    const counted captured;
    const auto body = [captured](counted, const counted&) -> task<> { co_await rota::yield(); };
    (void)rota::spawn(body, counted(), counted());
    co_await rota::yield();
    REQUIRE(counted::alive > 2);
    co_await rota::yield();
    co_await rota::yield();
  });
  REQUIRE(counted::alive == 0);
}

TEST_CASE("spawn needs a running loop") {
  REQUIRE(rota_test::usage_error_of([] { (void)rota::spawn(forever); }) == rota::usage_error::kind::no_event_loop);
  const rota::event_loop loop;
  REQUIRE(rota_test::usage_error_of([] { (void)rota::spawn(forever); }) == rota::usage_error::kind::no_event_loop);
}

TEST_CASE("a result may be asked for by reference again and again") {
  run([]() -> task<> {
    rota::join_handle<std::string> handle = rota::spawn(after_a_while, std::string("result"));
    std::string& first = co_await handle;
    std::string& second = co_await handle;
    REQUIRE(&first == &second);
    REQUIRE(&handle.result() == &first);
    first += "!";
    REQUIRE(handle.result() == "result!");
    const std::string moved = co_await std::move(handle);
    REQUIRE(moved == "result!");
  });
}

TEST_CASE("a result may be a reference or movable only") {
  run([]() -> task<> {
    int object = 1;
    const auto refer = [](int& to) -> task<int&> { co_return to; };
    rota::join_handle<int&> reference = rota::spawn(refer, std::ref(object));
    int& result = co_await reference;
    REQUIRE(&result == &object);

    const auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(9); };
    const std::unique_ptr<int> owned = co_await rota::spawn(make);
    REQUIRE(*owned == 9);
  });
}

TEST_CASE("several tasks join one, and are resumed in the order in which they came") {
  run([]() -> task<> {
    std::string log;
    rota::join_handle<int> worker = rota::spawn([]() -> task<int> {
      co_await rota::sleep_for(1ms);
      co_return 5;
    });
    const auto join = [&log](rota::join_handle<int> handle, char name) -> task<int> {
      const int n = co_await handle;
      log += name;
      co_return n;
    };
    std::vector<rota::join_handle<int>> joiners;
    for (const char name : {'a', 'b', 'c'}) joiners.push_back(rota::spawn(join, worker, name));
    int sum = 0;
    for (auto& joiner : joiners) sum += co_await joiner;
    REQUIRE(sum == 15);
    REQUIRE(log == "abc");
  });
}

TEST_CASE("several joiners all get the exception") {
  run([]() -> task<> {
    const auto fail = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("broken");
    };
    rota::join_handle<> worker = rota::spawn(fail);
    int caught = 0;
    const auto join = [&caught](rota::join_handle<> handle) -> task<> {
      try {
        co_await handle;
      } catch (const std::runtime_error&) {
        ++caught;
      }
    };
    rota::join_handle<> a = rota::spawn(join, worker);
    rota::join_handle<> b = rota::spawn(join, worker);
    co_await a;
    co_await b;
    REQUIRE(caught == 2);
    REQUIRE_THROWS_AS(worker.result(), std::runtime_error);
    REQUIRE(worker.exception() != nullptr);
  });
}

TEST_CASE("asking a task that has not ended for its outcome is an error") {
  run([]() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 1);
    const auto kind = rota::usage_error::kind::invalid_argument;
    REQUIRE(rota_test::usage_error_of([&] { (void)handle.result(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { (void)handle.exception(); }) == kind);
    const int n = co_await handle;
    REQUIRE(n == 1);
    REQUIRE(handle.exception() == nullptr);
  });
}

TEST_CASE("an empty handle has nothing to cancel and no name, and can be asked for nothing else") {
  run([]() -> task<> {
    const auto nothing = []() -> task<> { co_return; };
    rota::join_handle<> empty = rota::spawn(nothing);
    rota::join_handle<> other = std::move(empty);
    REQUIRE(other.valid());
    co_await other;
    REQUIRE_FALSE(empty.valid());
    REQUIRE_FALSE(empty.cancel());
    REQUIRE(empty.name().empty());
    const auto kind = rota::usage_error::kind::invalid_task;
    REQUIRE(rota_test::usage_error_of([&] { (void)empty.done(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { (void)empty.cancelled(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { (void)empty.id(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { (void)empty.on_done([] {}); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { empty.result(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { (void)empty.exception(); }) == kind);
    REQUIRE(rota_test::usage_error_of([&] { empty.set_name("nobody"); }) == kind);
    const failure f = co_await failure_of(await(empty));
    REQUIRE(f.usage == rota::usage_error::kind::invalid_task);
  });
}

TEST_CASE("a task that is cancelled before its first step never runs, and its arguments are destroyed") {
  counted::alive = 0;
  bool ran = false;
  run([&]() -> task<> {
    const auto body = [&ran](counted) -> task<> {
      ran = true;
      co_return;
    };
    rota::join_handle<> handle = rota::spawn(body, counted());
    REQUIRE(handle.cancel("not wanted"));
    REQUIRE_FALSE(handle.cancel());
    const failure f = co_await failure_of(await(handle));
    REQUIRE(f.code == rota::errc::task_cancelled);
    REQUIRE(handle.cancelled());
    REQUIRE_FALSE(handle.cancel());
  });
  REQUIRE_FALSE(ran);
  REQUIRE(counted::alive == 0);
}

TEST_CASE("tasks that are cancelled before their first step are freed without a handle, too") {
  counted::alive = 0;
  const auto spawn_three = [](bool stay) -> task<> {
    const auto body = [](counted) -> task<> { co_return; };
    for (int i = 0; i != 3; ++i) {
      rota::join_handle<> handle = rota::spawn(body, counted());
      handle.cancel();
    }
    if (stay) {
      co_await rota::yield();
      co_await rota::yield();
      REQUIRE(counted::alive == 0);
    }
  };
  rota_test::run(spawn_three(true));
  REQUIRE(counted::alive == 0);
  {
    const rota_test::frame_balance nothing_left;
    rota::event_loop loop;
    loop.run(spawn_three(false));
    REQUIRE(counted::alive == 3);
  }
  REQUIRE(counted::alive == 0);
}

TEST_CASE("a cancel ends a sleep, a join and a yield") {
  run([]() -> task<> {
    rota::join_handle<> sleeper = rota::spawn(forever);
    rota::join_handle<> joiner = rota::spawn([sleeper]() mutable -> task<> { co_await sleeper; });
    rota::join_handle<> yielder = rota::spawn([]() -> task<> {
      for (;;) co_await rota::yield();
    });
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(joiner.cancel());
    REQUIRE(yielder.cancel());
    const failure joined = co_await failure_of(await(joiner));
    REQUIRE(joined.code == rota::errc::task_cancelled);
    REQUIRE_FALSE(sleeper.done());  // whoever waited for it has gone, it goes on
    const failure yielded = co_await failure_of(await(yielder));
    REQUIRE(yielded.code == rota::errc::task_cancelled);
    REQUIRE(sleeper.cancel());
    const failure slept = co_await failure_of(await(sleeper));
    REQUIRE(slept.code == rota::errc::task_cancelled);
  });
}

TEST_CASE("the cancelled task sees who cancelled it and why") {
  run([]() -> task<> {
    std::string reason;
    auto kind = rota::cancel_kind::shutdown;
    unsigned line = 0;
    const auto body = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        reason = c.reason();
        kind = c.kind();
        line = c.where().line();
        throw;
      }
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::yield();
    handle.cancel("enough");
    const unsigned here = __LINE__ - 1;
    (void)co_await failure_of(await(handle));
    REQUIRE(reason == "enough");
    REQUIRE(kind == rota::cancel_kind::requested);
    REQUIRE(line == here);
  });
}

TEST_CASE("a task may end with a value in spite of a cancel") {
  run([]() -> task<> {
    const auto stubborn = []() -> task<int> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
      }
      co_return 3;
    };
    rota::join_handle<int> handle = rota::spawn(stubborn);
    co_await rota::yield();
    handle.cancel();
    const int n = co_await handle;
    REQUIRE(n == 3);
    REQUIRE_FALSE(handle.cancelled());
  });
}

TEST_CASE("a task that awaits itself gets an error instead of waiting for ever") {
  run([]() -> task<> {
    rota::join_handle<> me;
    failure f;
    const auto body = [&]() -> task<> { f = co_await failure_of(await(me)); };
    me = rota::spawn(body);
    co_await me;
    REQUIRE(f.usage == rota::usage_error::kind::join_cycle);
    me = {};
  });
}

TEST_CASE("awaiting a task of another loop is an error") {
  rota::event_loop first;
  rota::join_handle<> of_first;
  first.run([](rota::join_handle<>& out) -> task<> {
    out = rota::spawn(forever);
    co_return;
  }(of_first));
  run([&]() -> task<> {
    const failure f = co_await failure_of(await(of_first));
    REQUIRE(f.usage == rota::usage_error::kind::wrong_loop);
  });
  of_first.cancel();
}

TEST_CASE("a task that one loop's thread made and another one awaits runs on the one that awaits it") {
  std::optional<task<rota::event_loop*>> made;
  rota::event_loop first;
  const auto make = [&made]() -> task<> {
    const auto where = []() -> task<rota::event_loop*> {
      rota::event_loop* const before = rota::event_loop::current();
      co_await rota::sleep_for(1ms);
      co_return before == rota::event_loop::current() ? before : nullptr;
    };
    made.emplace(where());
    co_return;
  };
  first.run(make());
  rota::event_loop* ran_on = &first;
  rota::event_loop* other = nullptr;
  std::thread([&] {
    rota::event_loop second;
    other = &second;
    const auto body = [&]() -> task<> { ran_on = co_await std::move(*made); };
    second.run(body());
    if (!second.statistics().quiescent()) other = nullptr;
  }).join();
  REQUIRE(ran_on != nullptr);
  REQUIRE(ran_on == other);
  rota_test::require_quiescent(first);
}

TEST_CASE("an error that nobody retrieved is reported once, with its text and a line") {
  const captured_reports reports;
  run([]() -> task<> {
    const auto fail = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("the disk is full");
    };
    (void)rota::spawn(fail);
    for (int i = 0; i != 4; ++i) co_await rota::yield();
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("the disk is full"));
  REQUIRE(reports.contains("nobody retrieved"));
  REQUIRE(reports.contains("spawn_test.cpp:"));
}

TEST_CASE("an error of a task whose arguments are stored is reported with its own line") {
  const captured_reports reports;
  int line = 0;
  run([&]() -> task<> {
    const auto fail = [&line](const std::string& text) -> task<> {
      line = __LINE__ + 1;
      co_await rota::yield();
      throw std::runtime_error(text);
    };
    (void)rota::spawn(fail, std::string("kept in the task's frame"));
    for (int i = 0; i != 4; ++i) co_await rota::yield();
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("std::runtime_error: kept in the task's frame"));
  REQUIRE(reports.contains("spawn_test.cpp:" + std::to_string(line) + " "));
}

TEST_CASE("an error is reported when the last handle goes without having asked") {
  const captured_reports reports;
  run([]() -> task<> {
    const auto fail = []() -> task<> {
      throw std::runtime_error("forgotten");
      co_return;
    };
    rota::join_handle<> handle = rota::spawn(fail);
    handle.set_name("the forgetful");
    rota::join_handle<> copy = handle;
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(handle.done());
    handle = {};
    copy = {};
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("forgotten"));
  REQUIRE(reports.contains("'the forgetful'"));
}

TEST_CASE("an error that was retrieved is not reported") {
  const captured_reports reports;
  run([]() -> task<> {
    const auto fail = []() -> task<> {
      throw std::runtime_error("seen");
      co_return;
    };
    rota::join_handle<> awaited = rota::spawn(fail);
    rota::join_handle<> asked = rota::spawn(fail);
    bool thrown = false;
    try {
      co_await awaited;
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    REQUIRE(thrown);
    REQUIRE(asked.exception() != nullptr);
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a cancelled task is no error and is not reported") {
  const captured_reports reports;
  run([]() -> task<> {
    rota::join_handle<> handle = rota::spawn(forever);
    co_await rota::yield();
    handle.cancel();
    co_await rota::yield();
    REQUIRE(handle.cancelled());
  });
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a dropped handle leaves its task running") {
  int steps = 0;
  run([&]() -> task<> {
    const auto body = [&]() -> task<> {
      for (int i = 0; i != 3; ++i) {
        co_await rota::yield();
        ++steps;
      }
    };
    (void)rota::spawn(body);
    for (int i = 0; i != 5; ++i) co_await rota::yield();
  });
  REQUIRE(steps == 3);
}

TEST_CASE("a handle may outlive its loop and still has the result") {
  const rota_test::frame_balance nothing_left;
  rota::join_handle<std::string> handle;
  {
    rota::event_loop loop;
    const auto body = [&]() -> task<> {
      handle = rota::spawn(after_a_while, std::string("kept"));
      (void)co_await handle;
    };
    loop.run(body());
  }
  REQUIRE(handle.result() == "kept");
  handle = {};
}

TEST_CASE("a handle is copied, moved and swapped") {
  run([]() -> task<> {
    rota::join_handle<int> one = rota::spawn(number, 1);
    rota::join_handle<int> two = rota::spawn(number, 2);
    std::swap(one, two);
    rota::join_handle<int> copy = one;
    rota::join_handle<int>& same = copy;
    copy = same;
    const rota::join_handle<int> moved = std::move(one);
    REQUIRE_FALSE(one.valid());
    REQUIRE(moved.valid());
    const int from_copy = co_await copy;
    REQUIRE(from_copy == 2);
    const int from_other = co_await two;
    REQUIRE(from_other == 1);
  });
}

TEST_CASE("a task may be named") {
  run([]() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 1);
    REQUIRE(handle.name().empty());
    handle.set_name("importer");
    REQUIRE(handle.name() == "importer");
    const int n = co_await handle;
    REQUIRE(n == 1);
    REQUIRE(handle.name() == "importer");
  });
}

TEST_CASE("results of many sizes and frames of many sizes are stored") {
  run([]() -> task<> {
    int wrong = 0;
    for (int i = 0; i != 3; ++i) {
      wrong += co_await sized::check<1>();
      wrong += co_await sized::check<63>();
      wrong += co_await sized::check<200>();
      wrong += co_await sized::check<500>();
      wrong += co_await sized::check<900>();
      wrong += co_await sized::check<1000>();
      wrong += co_await sized::check<1300>();
      wrong += co_await sized::check<5000>();
      wrong += co_await sized::check<100'000>();
      wrong += co_await sized::check_last<300>();
      wrong += co_await sized::check_last<380>();
      wrong += co_await sized::check_last<400>();
      wrong += co_await sized::check_last<420>();
      wrong += co_await sized::check_last<600>();
      wrong += co_await sized::check_last<700>();
      wrong += co_await sized::check_last<800>();
      wrong += co_await sized::check_last<850>();
    }
    REQUIRE(wrong == 0);
  });
}

TEST_CASE("a million tasks that are spawned and forgotten leave nothing behind") {
  const std::size_t times = rota_test::scaled(1'000'000, 100'000, 300'000);
  std::size_t ran = 0;
  run([&]() -> task<> {
    const std::int64_t before = rota_test::frames();
    const auto body = [](std::size_t& counter) -> task<> {
      ++counter;
      co_return;
    };
    for (std::size_t i = 0; i != times; ++i) {
      (void)rota::spawn(body, std::ref(ran));
      if (i % 64 == 0) co_await rota::yield();
    }
    while (ran != times) co_await rota::yield();
    co_await rota::yield();
    REQUIRE(rota_test::frames() == before);
  });
  REQUIRE(ran == times);
}

TEST_CASE("a hundred thousand tasks at once, each joined") {
  const std::size_t times = rota_test::scaled(100'000, 10'000, 30'000);
  run([&]() -> task<> {
    std::vector<rota::join_handle<int>> handles;
    for (std::size_t i = 0; i != times; ++i) handles.push_back(rota::spawn(number, 1));
    std::size_t sum = 0;
    for (auto& handle : handles) sum += static_cast<std::size_t>(co_await handle);
    REQUIRE(sum == times);
  });
}

// ---- rule R4: debug builds say who used a handle on another thread

namespace {

// Runs `misuse(handle)` on a second thread, inside a task of another loop, while the handle's task sleeps.
template <class F>
rota_test::child_outcome on_another_thread(F misuse) {
  return rota_test::run_in_child([misuse] {
    rota::event_loop loop;
    const auto main = [&]() -> task<> {
      rota::join_handle<> handle = rota::spawn(forever);
      handle.set_name("the sleeper");
      co_await rota::yield();
      std::thread([&] {
        const auto intruder = [&]() -> task<> {
          misuse(handle);
          co_return;
        };
        rota::run(intruder());
      }).join();
    };
    loop.run(main());
    return 0;
  });
}

}  // namespace

TEST_CASE("debug builds end the program when a handle is used on another thread, and name both tasks") {
  if (!ROTA_ASSERTIONS) {
    SKIP("this build has no debug checks");
  }
  const auto check = [](const rota_test::child_outcome& child, std::string_view what) {
    INFO(child.output);
    CHECK(child.signal() == SIGABRT);
    CHECK(child.says(what));
    CHECK(child.says("'the sleeper', last at "));
    CHECK(child.says("in task, last at "));
  };
  check(on_another_thread([](rota::join_handle<>& handle) { handle.cancel(); }), "join_handle::cancel() was called");
  check(on_another_thread([](rota::join_handle<>& handle) { const rota::join_handle<> copy = handle; }),
        "a join_handle was copied");
  check(on_another_thread([](rota::join_handle<>& handle) { handle = {}; }), "a join_handle was destroyed");
  check(on_another_thread([](rota::join_handle<>& handle) { (void)handle.exception(); }),
        "a join_handle was awaited or asked");
}

TEST_CASE("a handle may be moved to another thread and back, as long as it is used on its own") {
  rota::event_loop loop;
  const auto main = [&]() -> task<> {
    rota::join_handle<int> handle = rota::spawn(number, 3);
    std::thread([&] {
      const auto there = std::make_unique<rota::join_handle<int>>(std::move(handle));
      handle = std::move(*there);
    }).join();
    const int three = co_await handle;
    CHECK(three == 3);
  };
  rota_test::run_on(loop, main());
}

TEST_CASE("a task's arguments go when it ends, and not with its last handle, whose result stays") {
  struct end_of_a_pipe {
    explicit end_of_a_pipe(int& o) : open(&o) { ++o; }
    end_of_a_pipe(end_of_a_pipe&& other) noexcept : open(std::exchange(other.open, nullptr)) {}
    end_of_a_pipe& operator=(end_of_a_pipe&&) = delete;
    ~end_of_a_pipe() {
      if (open) --*open;
    }
    int* open;
  };
  using large = std::array<char, 2000>;  // a frame that is not of the cache
  run([]() -> task<> {
    int open = 0;
    std::vector<rota::join_handle<std::string>> handles;
    const auto by_value = [](end_of_a_pipe) -> task<std::string> { co_return "the result, longer than fifteen"; };
    const auto by_reference = [](const end_of_a_pipe&) -> task<std::string> { co_return "a result, and a long one"; };
    const auto in_a_large_frame = [](end_of_a_pipe, large block) -> task<std::string> {
      co_return std::string("the result of a large one ") + block[0];
    };
    handles.push_back(rota::spawn(by_value, end_of_a_pipe(open)));
    handles.push_back(rota::spawn(by_reference, end_of_a_pipe(open)));
    handles.push_back(rota::spawn(in_a_large_frame, end_of_a_pipe(open), large{'!'}));
    rota::join_handle<std::string> never_begun = rota::spawn(by_value, end_of_a_pipe(open));
    never_begun.cancel();
    REQUIRE(open == 4);
    co_await rota::yield();
    REQUIRE(open == 0);
    REQUIRE(never_begun.cancelled());
    std::vector<std::string> results;
    for (rota::join_handle<std::string>& handle : handles) results.push_back(co_await handle);
    REQUIRE(results[0] == "the result, longer than fifteen");
    REQUIRE(results[1] == "a result, and a long one");
    REQUIRE(results[2] == "the result of a large one !");
  });
}
