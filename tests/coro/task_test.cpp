// task<T>: values, errors, lifetimes, misuse.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/by_hand.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::sync_wait;
using rota::task;

task<int> number(int n) { co_return n; }
task<> nothing() { co_return; }

// Counts its living copies.
struct counted {
  static inline int alive = 0;
  explicit counted(int v) : value(v) { ++alive; }
  counted(const counted& other) : value(other.value) { ++alive; }
  counted(counted&& other) noexcept : value(std::exchange(other.value, -1)) { ++alive; }
  counted& operator=(const counted&) = default;
  ~counted() { --alive; }
  int value;
};

struct only_movable {
  explicit only_movable(int v) : value(std::make_unique<int>(v)) {}
  std::unique_ptr<int> value;
};

}  // namespace

TEST_CASE("an awaited task gives its value") {
  const auto body = []() -> task<int> {
    const int one = co_await number(1);
    const int two = co_await number(2);
    co_return one + two;
  };
  REQUIRE(sync_wait(body()) == 3);
}

TEST_CASE("a task of void runs its body to the end") {
  bool ran = false;
  const auto body = [&]() -> task<> {
    co_await nothing();
    ran = true;
  };
  sync_wait(body());
  REQUIRE(ran);
}

TEST_CASE("a task of a reference gives the very object") {
  int object = 1;
  const auto refer = [](int& to) -> task<int&> { co_return to; };
  const auto body = [&]() -> task<> {
    int& result = co_await refer(object);
    REQUIRE(&result == &object);
    result = 7;
  };
  sync_wait(body());
  REQUIRE(object == 7);
}

TEST_CASE("a task of a const reference gives the very object") {
  const std::string object = "constant";
  const auto refer = [](const std::string& to) -> task<const std::string&> { co_return to; };
  const auto body = [&]() -> task<> {
    const std::string& result = co_await refer(object);
    REQUIRE(&result == &object);
  };
  sync_wait(body());
}

TEST_CASE("a result may be movable only and without a default constructor") {
  const auto make = [](int v) -> task<only_movable> { co_return only_movable(v); };
  const auto body = [&]() -> task<int> {
    only_movable result = co_await make(5);
    co_return *result.value;
  };
  REQUIRE(sync_wait(body()) == 5);
}

TEST_CASE("a result is converted by co_return") {
  const auto body = []() -> task<std::string> { co_return "text"; };
  REQUIRE(sync_wait(body()) == "text");
  const auto maybe = []() -> task<std::optional<int>> { co_return 4; };
  REQUIRE(sync_wait(maybe()) == 4);
}

TEST_CASE("an exception of the body is thrown where the task is awaited") {
  const auto fail = []() -> task<int> {
    throw std::runtime_error("inside");
    co_return 1;
  };
  const auto body = [&]() -> task<std::string> {
    std::string caught;
    try {
      (void)co_await fail();
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    co_return caught;
  };
  REQUIRE(sync_wait(body()) == "inside");
  REQUIRE_THROWS_AS(sync_wait(fail()), std::runtime_error);
}

TEST_CASE("an exception of a task of void and of a reference arrives") {
  const auto fail = []() -> task<> {
    co_await nothing();
    throw 42;
  };
  const auto fail_reference = []() -> task<int&> {
    throw 43;
    co_return *static_cast<int*>(nullptr);
  };
  REQUIRE_THROWS_AS(sync_wait(fail()), int);
  REQUIRE_THROWS_AS(sync_wait(fail_reference()), int);
}

TEST_CASE("the body does not start before the task is awaited") {
  bool started = false;
  const auto set = [&]() -> task<> {
    started = true;
    co_return;
  };
  const auto body = [&]() -> task<> {
    task<> lazy = set();
    REQUIRE_FALSE(started);
    co_await nothing();
    REQUIRE_FALSE(started);
    co_await std::move(lazy);
    REQUIRE(started);
  };
  sync_wait(body());
}

TEST_CASE("parameters by value are destroyed exactly once") {
  counted::alive = 0;
  int inside = 0;
  const auto use = [&](counted a, counted b) -> task<int> {
    inside = counted::alive;
    co_await nothing();
    co_return a.value + b.value;
  };
  const auto body = [&]() -> task<int> {
    const counted first(1);
    const int sum = co_await use(first, counted(2));
    REQUIRE(counted::alive == 1);
    co_return sum;
  };
  REQUIRE(sync_wait(body()) == 3);
  REQUIRE(inside >= 3);
  REQUIRE(counted::alive == 0);
}

TEST_CASE("parameters are destroyed exactly once when the body throws and when it never starts") {
  const rota_test::captured_reports reports;
  counted::alive = 0;
  const auto use = [](counted) -> task<> {
    throw 1;
    co_return;
  };
  REQUIRE_THROWS_AS(sync_wait(use(counted(1))), int);
  REQUIRE(counted::alive == 0);
  {
    const task<> dropped = use(counted(2));
  }
  REQUIRE(counted::alive == 0);
}

TEST_CASE("locals and parameters are destroyed when a suspended task is destroyed") {
  counted::alive = 0;
  rota_test::manual_awaiter wait;
  const auto inner = [&](counted) -> task<> {
    const counted local(1);
    co_await wait;
  };
  const auto outer = [&]() -> task<> {
    const counted local(2);
    co_await inner(counted(3));
  };
  rota_test::by_hand<void> running(outer());
  running.start();
  REQUIRE(wait.waiting());
  REQUIRE(counted::alive >= 3);
  running.destroy();
  REQUIRE(counted::alive == 0);
}

TEST_CASE("a suspended task goes on where it was, and its awaiter after it") {
  rota_test::manual_awaiter wait;
  std::string log;
  const auto inner = [&]() -> task<int> {
    log += "a";
    co_await wait;
    log += "b";
    co_return 1;
  };
  const auto outer = [&]() -> task<int> {
    const int n = co_await inner();
    log += "c";
    co_return n + 1;
  };
  rota_test::by_hand<int> running(outer());
  running.start();
  REQUIRE(log == "a");
  REQUIRE_FALSE(running.done());
  running.resume(wait);
  REQUIRE(log == "abc");
  REQUIRE(running.done());
  REQUIRE(running.take() == 2);
}

TEST_CASE("a task that was moved from is not valid, and awaiting it is an error") {
  const auto body = []() -> task<> {
    task<int> t = number(1);
    REQUIRE(t.valid());
    task<int> other = std::move(t);
    REQUIRE_FALSE(t.valid());
    REQUIRE_FALSE(static_cast<bool>(t));
    auto kind = rota::usage_error::kind::forked;
    try {
      (void)co_await std::move(t);
    } catch (const rota::usage_error& error) {
      kind = error.which();
    }
    REQUIRE(kind == rota::usage_error::kind::invalid_task);
    const int n = co_await std::move(other);
    REQUIRE(n == 1);
  };
  sync_wait(body());
}

TEST_CASE("awaiting an empty task is an error") {
  const auto body = []() -> task<> {
    task<> empty;
    REQUIRE_FALSE(empty.valid());
    co_await std::move(empty);
  };
  REQUIRE(rota_test::usage_error_of([&] { sync_wait(body()); }) == rota::usage_error::kind::invalid_task);
}

TEST_CASE("awaiting a task twice is an error that says so") {
  const auto body = []() -> task<> {
    task<int> t = number(1);
    (void)co_await std::move(t);
    REQUIRE_FALSE(t.valid());
    (void)co_await std::move(t);
  };
  REQUIRE(rota_test::usage_error_of([&] { sync_wait(body()); }) == rota::usage_error::kind::already_awaited);
}

TEST_CASE("a task keeps knowing that it was awaited when it is moved") {
  const auto body = []() -> task<> {
    task<int> t = number(1);
    (void)co_await std::move(t);
    task<int> moved = std::move(t);
    (void)co_await std::move(moved);
  };
  REQUIRE(rota_test::usage_error_of([&] { sync_wait(body()); }) == rota::usage_error::kind::already_awaited);
}

TEST_CASE("a debug build reports a task that nobody awaited, with its coroutine and that one's line") {
  const rota_test::captured_reports reports;
  const auto forgotten = []() -> task<> { co_return; };
  const unsigned line = __LINE__ - 1;
  {
    const task<> dropped = forgotten();
  }
#if ROTA_ASSERTIONS
  INFO(reports.all());
  REQUIRE(reports.size() == 1);
  REQUIRE(reports.contains("without ever being awaited or spawned: a call of a lambda"));
  REQUIRE(reports.contains(", which is defined at "));
  REQUIRE_FALSE(reports.contains("dropped by"));  // no task runs here
  REQUIRE(reports.contains("task_test.cpp:" + std::to_string(line)));
#else
  (void)line;
  REQUIRE(reports.size() == 0);
#endif
}

#if ROTA_KNOWS_CALLERS
std::string output_of(const std::string& command) {
  std::string text;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (!pipe) return text;
  char part[256];
  while (std::fgets(part, sizeof part, pipe)) text += part;
  ::pclose(pipe);
  return text;
}
#endif

TEST_CASE("a build without optimisation tells the line that made the task that nobody awaited") {
#if !ROTA_KNOWS_CALLERS
  SKIP("functions are inlined here, and do not know who called them");
#else
  if (output_of("command -v addr2line").empty()) SKIP("addr2line (binutils) is not installed");
  const rota_test::captured_reports reports;
  const auto forgotten = [](int n) -> task<int> { co_return n; };
  unsigned line = 0;
  {
    std::vector<task<int>> tasks;  // dropped elsewhere, and later
    line = __LINE__ + 1;
    tasks.push_back(forgotten(1));
  }
  const std::string text = reports.all();
  INFO(text);
  const std::size_t begin = text.find("addr2line"), end = text.find(" tells the line");
  REQUIRE(text.find("; made at ") < begin);
  REQUIRE(end != std::string::npos);
  const std::string answer = output_of(text.substr(begin, end - begin));
  INFO(answer);
  REQUIRE(answer.find("task_test.cpp:" + std::to_string(line)) != std::string::npos);
#endif
}

TEST_CASE("who awaits a task twice, or an empty one, is told by name") {
  const auto text_of = [](rota::task<> program) {
    try {
      rota::event_loop loop;
      loop.run(std::move(program));
    } catch (const rota::usage_error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto twice = []() -> task<> {
    rota::this_task::set_name("main");
    task<int> t = number(1);
    (void)co_await std::move(t);
    (void)co_await std::move(t);
  };
  const auto empty = []() -> task<> {
    rota::this_task::set_name("main");
    co_await rota::yield();
    co_await task<>();
  };
  const auto no_handle = []() -> task<> {
    rota::this_task::set_name("main");
    co_await rota::yield();
    rota::join_handle<> none;
    co_await none;
  };
  REQUIRE(text_of(twice()).starts_with("a rota::task was awaited or spawned twice by task 'main', last at "));
  REQUIRE(text_of(empty()).starts_with(
      "an empty or moved-from rota::task was awaited or spawned by task 'main', last at "));
  REQUIRE(text_of(no_handle())
              .starts_with("an empty or moved-from join_handle was awaited or asked by task 'main', last "));
}

TEST_CASE("a task that was awaited, moved from or empty is dropped in silence") {
  const rota_test::captured_reports reports;
  const auto body = []() -> task<> {
    task<int> t = number(1);
    task<int> moved = std::move(t);
    (void)co_await std::move(moved);
    const task<int> empty;
  };
  sync_wait(body());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("assigning to a task drops what it held") {
  const rota_test::captured_reports reports;
  const rota_test::frame_balance nothing_left;
  const auto body = []() -> task<int> {
    task<int> t = number(1);
    t = number(2);
    task<int>& same = t;
    t = std::move(same);
    co_return co_await std::move(t);
  };
  REQUIRE(sync_wait(body()) == 2);
  REQUIRE(reports.size() == (ROTA_ASSERTIONS ? 1 : 0));
}

TEST_CASE("locals that are aligned to 64 bytes are") {
  struct alignas(64) wide {
    explicit wide(int v) noexcept : value(v) {}
    int value;
  };
  rota_test::manual_awaiter wait;
  const auto misaligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 64; };
  for (int i = 0; i != 20; ++i) {
    const auto inner = [&](int n) -> task<std::uintptr_t> {
      wide local(n);
      co_await wait;
      const std::uintptr_t before = misaligned(&local);
      co_return before + static_cast<std::uintptr_t>(local.value - n);
    };
    const auto outer = [&]() -> task<std::uintptr_t> {
      wide local(i);
      const std::uintptr_t below = co_await inner(i);
      co_return below + misaligned(&local);
    };
    rota_test::by_hand<std::uintptr_t> running(outer());
    running.start();
    running.resume(wait);
    REQUIRE(running.take() == 0);
  }
}

TEST_CASE("a task can be kept in a container and awaited later") {
  const auto body = []() -> task<int> {
    std::vector<task<int>> many;
    for (int i = 0; i != 10; ++i) many.push_back(number(i));
    int sum = 0;
    for (task<int>& t : many) {
      const int n = co_await std::move(t);
      sum += n;
    }
    co_return sum;
  };
  REQUIRE(sync_wait(body()) == 45);
}

TEST_CASE("a loop, a function and a recursion may await") {
  struct recursive {
    static task<std::uint64_t> fibonacci(unsigned n) {
      if (n < 2) co_return n;
      const std::uint64_t a = co_await fibonacci(n - 1);
      const std::uint64_t b = co_await fibonacci(n - 2);
      co_return a + b;
    }
  };
  const rota_test::frame_balance nothing_left;
  REQUIRE(sync_wait(recursive::fibonacci(15)) == 610);
}

TEST_CASE("a large result and a large frame pass through") {
  using block = std::array<unsigned char, 100'000>;
  const auto make = [](unsigned char v) -> task<block> {
    block b;
    b.fill(v);
    co_await nothing();
    co_return b;
  };
  const rota_test::frame_balance nothing_left;
  const auto body = [&]() -> task<int> {
    const block b = co_await make(7);
    co_return b.front() + b.back();
  };
  REQUIRE(sync_wait(body()) == 14);
}

TEST_CASE("an exception keeps its dynamic type and its object through a thousand levels") {
  struct special : std::runtime_error {
    explicit special(int v) : std::runtime_error("special"), value(v) {}
    int value;
  };
  struct level {
    static task<> down(int n) {
      if (n == 0) throw special(1234);
      co_await down(n - 1);
    }
  };
  const rota_test::frame_balance nothing_left;
  int value = 0;
  try {
    sync_wait(level::down(1000));
  } catch (const special& error) {
    value = error.value;
  }
  REQUIRE(value == 1234);
}

TEST_CASE("an exception that a local's destructor throws after co_return takes the place of the value") {
  struct throws_at_its_end {
    throws_at_its_end() {}
    ~throws_at_its_end() noexcept(false) { throw std::runtime_error("too late"); }
  };
  const auto body = []() -> task<std::string> {
    const throws_at_its_end local;
    co_return std::string(100, 'x');
  };
  const rota_test::frame_balance nothing_left;
  std::string caught;
  try {
    sync_wait(body());
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  REQUIRE(caught == "too late");
}
