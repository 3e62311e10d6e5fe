// task_local: which tasks see a bound value, and how long it lives.
#include <rota/loop/task_local.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::run;

const rota::task_local<int> number;
const rota::task_local<std::string> text;

int seen() { return number.get_or(-1); }
task<int> see() { co_return seen(); }
task<int> see_after_a_while() {
  co_await rota::yield();
  co_await rota::yield();
  co_return seen();
}

struct counted {
  static inline int alive = 0;
  static inline int copies = 0;
  explicit counted(int v) : value(v) { ++alive; }
  counted(const counted& other) : value(other.value) {
    ++alive;
    ++copies;
  }
  counted(counted&& other) noexcept : value(other.value) { ++alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
  int value;
};
const rota::task_local<counted> owned;

}  // namespace

TEST_CASE("a bound value is seen in everything that is awaited, and not afterwards") {
  run([]() -> task<> {
    REQUIRE(number.try_get() == nullptr);
    const auto inner = []() -> task<int> {
      co_await rota::yield();
      const int below = co_await see_after_a_while();
      co_return seen() + below;
    };
    const int sum = co_await rota::with_value(number, 21, inner());
    REQUIRE(sum == 42);
    REQUIRE(number.try_get() == nullptr);
    REQUIRE(seen() == -1);
  });
}

TEST_CASE("a binding hides the one around it, and no other task_local") {
  run([]() -> task<> {
    const auto inner = []() -> task<std::string> {
      const int before = seen();
      const int hidden = co_await rota::with_value(number, 2, see());
      co_return text.get() + std::to_string(before) + std::to_string(hidden) + std::to_string(seen());
    };
    const auto outer = [&]() -> task<std::string> {
      std::string result = co_await rota::with_value(number, 1, inner());
      co_return result;
    };
    const std::string result = co_await rota::with_value(text, "text ", outer());
    REQUIRE(result == "text 121");
  });
}

TEST_CASE("outside of tasks, and in callbacks, there is no value") {
  REQUIRE(number.try_get() == nullptr);
  REQUIRE(number.get_or(7) == 7);
  run([]() -> task<> {
    int in_a_post = 0;
    const auto body = [&]() -> task<> {
      rota::event_loop::current()->post([&] { in_a_post = seen(); });
      co_await rota::sleep_for(0ms);
    };
    co_await rota::with_value(number, 5, body());
    REQUIRE(in_a_post == -1);
  });
}

TEST_CASE("a value that is not there is a usage_error which names task and line") {
  try {
    (void)number.get();
    FAIL("there was a value");
  } catch (const rota::usage_error& error) {
    REQUIRE(error.which() == rota::usage_error::kind::no_task);
    REQUIRE(std::string(error.what()).find("task_local_test.cpp:") != std::string::npos);
  }
  run([]() -> task<> {
    const auto body = []() -> task<std::string> {
      std::string what;
      try {
        (void)number.get();
      } catch (const rota::usage_error& error) {
        if (error.which() == rota::usage_error::kind::no_value) what = error.what();
      }
      co_return what;
    };
    rota::join_handle<std::string> handle = rota::spawn(body);
    handle.set_name("reader");
    const std::string what = co_await handle;
    INFO(what);
    REQUIRE(what.find("'reader'") != std::string::npos);
    REQUIRE(what.find("has no value") != std::string::npos);
  });
}

TEST_CASE("a spawned task inherits what is bound then, and keeps it when the binding has ended") {
  run([]() -> task<> {
    rota::join_handle<int> handle;
    const auto spawner = [&]() -> task<> {
      handle = rota::spawn(see_after_a_while);
      co_return;
    };
    co_await rota::with_value(number, 8, spawner());
    REQUIRE(seen() == -1);
    const int in_the_child = co_await handle;
    REQUIRE(in_the_child == 8);
  });
}

TEST_CASE("grandchildren inherit, siblings and parents are not touched") {
  run([]() -> task<> {
    const auto rebinding = []() -> task<int> {
      const auto grandchild = []() -> task<int> {
        rota::join_handle<int> handle = rota::spawn(see_after_a_while);
        co_return co_await handle;
      };
      rota::join_handle<int> first = rota::spawn(grandchild);
      const int mine = co_await rota::with_value(number, 100, see_after_a_while());
      const int others = co_await first;
      co_return mine + others;
    };
    const auto body = [&]() -> task<int> {
      rota::join_handle<int> a = rota::spawn(rebinding);
      rota::join_handle<int> b = rota::spawn(see_after_a_while);
      int sum = 0;
      for (int i = 0; i != 4; ++i) {
        sum += seen();
        co_await rota::yield();
      }
      const int from_a = co_await a;
      const int from_b = co_await b;
      REQUIRE(from_a == 103);
      REQUIRE(from_b == 3);
      co_return sum;
    };
    const int sum = co_await rota::with_value(number, 3, body());
    REQUIRE(sum == 12);
  });
}

TEST_CASE("children of a group inherit from who spawns them, started ones too") {
  run([]() -> task<> {
    int spawned = 0;
    int started = 0;
    const auto starter = [&](rota::task_status<> status) -> task<> {
      started = seen();
      status.started();
      co_return;
    };
    const auto child = [&]() -> task<> {
      spawned = seen();
      co_return;
    };
    const auto in_group = [&](rota::task_group& group) -> task<> {
      (void)group.spawn(child);
      co_await group.start(starter);
    };
    const auto body = [&]() -> task<> { co_await rota::with_task_group(in_group); };
    co_await rota::with_value(number, 6, body());
    REQUIRE(spawned == 6);
    REQUIRE(started == 6);
  });
}

TEST_CASE("anything may be awaited with a value: a yield, a handle, a timeout, another binding") {
  run([]() -> task<> {
    co_await rota::with_value(number, 1, rota::yield());
    rota::join_handle<int> handle = rota::spawn(see_after_a_while);
    const int from_handle = co_await rota::with_value(number, 1, handle);
    REQUIRE(from_handle == -1);
    const int same = co_await rota::with_value(number, 1, handle);  // done by now
    REQUIRE(same == -1);
    const int in_a_timeout = co_await rota::with_value(number, 2, rota::timeout(1h, see_after_a_while()));
    REQUIRE(in_a_timeout == 2);
    const int twice = co_await rota::with_value(number, 3, rota::with_value(number, 4, see()));
    REQUIRE(twice == 4);
    // GCC 12 begins the second of these before it ends the first.
    const int both = co_await rota::with_value(number, 5, see()) + co_await rota::with_value(number, 6, see());
    REQUIRE(both == 11);
    REQUIRE(seen() == -1);
  });
}

TEST_CASE("a binding ends with an exception, a cancel, and a refused await") {
  run([]() -> task<> {
    int caught = 0;
    const auto fail = []() -> task<> {
      co_await rota::yield();
      throw std::runtime_error("broken");
    };
    try {
      co_await rota::with_value(number, 1, fail());
    } catch (const std::runtime_error&) {
      caught += seen() == -1;
    }
    rota::join_handle<> empty;
    try {
      co_await rota::with_value(number, 1, empty);
    } catch (const rota::usage_error&) {
      caught += seen() == -1;
    }
    const auto sleeper = [&]() -> task<> {
      try {
        co_await rota::with_value(number, 1, rota::sleep_for(1h));
      } catch (const rota::cancelled&) {
        caught += seen() == -1;
        throw;
      }
    };
    rota::join_handle<> handle = rota::spawn(sleeper);
    co_await rota::yield();
    handle.cancel();
    (void)co_await rota::as_result(handle);
    REQUIRE(caught == 3);
  });
}

TEST_CASE("a value is stored once, shared, and destroyed with the last task that knows it") {
  counted::alive = counted::copies = 0;
  run([]() -> task<> {
    std::vector<rota::join_handle<>> handles;
    const auto child = []() -> task<> {
      co_await rota::yield();
      REQUIRE(owned.get().value == 9);
    };
    const auto spawner = [&]() -> task<> {
      for (int i = 0; i != 10; ++i) handles.push_back(rota::spawn(child));
      co_return;
    };
    const counted original(9);
    co_await rota::with_value(owned, original, spawner());
    REQUIRE(counted::alive == 2);
    REQUIRE(counted::copies == 1);
    for (auto& handle : handles) co_await handle;
    REQUIRE(counted::alive == 2);  // the handles keep their tasks
    handles.clear();
    REQUIRE(counted::alive == 1);
  });
  REQUIRE(counted::alive == 0);
}

TEST_CASE("a binding that is not awaited, or whose task never begins, frees its value") {
  counted::alive = 0;
  const rota_test::captured_reports reports;  // the tasks that are not awaited
  run([]() -> task<> {
    {
      [[maybe_unused]] auto unused = rota::with_value(owned, counted(1), see());
      REQUIRE(counted::alive == 1);
    }
    REQUIRE(counted::alive == 0);
    const auto spawner = []() -> task<> {
      rota::join_handle<int> handle = rota::spawn(see);
      handle.cancel();
      co_return;
    };
    co_await rota::with_value(owned, counted(2), spawner());
    co_await rota::yield();
    REQUIRE(counted::alive == 0);
  });
  REQUIRE(counted::alive == 0);
}

TEST_CASE("a task without values costs its children nothing") {
  run([]() -> task<> {
    const auto spawner = []() -> task<bool> {
      rota::join_handle<int> handle = rota::spawn(see);
      const bool none = handle.task().extras() == nullptr;
      (void)co_await handle;
      co_return none;
    };
    const bool plain = co_await spawner();
    REQUIRE(plain);
    rota::join_handle<bool> named = rota::spawn(spawner);
    named.set_name("named");
    const bool of_a_named = co_await named;
    REQUIRE(of_a_named);
    const bool with_a_value = co_await rota::with_value(number, 1, spawner());
    REQUIRE_FALSE(with_a_value);
  });
}

TEST_CASE("a spawn that fails after it took what the child inherits gives it back") {
  counted::alive = 0;
  run([]() -> task<> {
    const auto body = []() -> task<> {
      struct thrower {
        task<> operator()() const { return task<>(); }
      };
      bool refused = false;
      try {
        (void)rota::spawn(thrower());
      } catch (const rota::usage_error&) {
        refused = true;
      }
      REQUIRE(refused);
      rota::join_handle<> next = rota::spawn([]() -> task<> {
        REQUIRE(owned.get().value == 4);
        co_return;
      });
      co_await next;
    };
    co_await rota::with_value(owned, counted(4), body());
    REQUIRE(counted::alive == 0);
  });
}

TEST_CASE("ten thousand bindings around each other, inherited by the innermost, are freed one by one") {
  struct nest {
    static task<int> deeper(int left) {
      if (left == 0) {
        rota::join_handle<int> handle = rota::spawn(see_after_a_while);
        co_return co_await handle;
      }
      co_return co_await rota::with_value(number, left, deeper(left - 1));
    }
  };
  run([]() -> task<> {
    const int innermost = co_await nest::deeper(10'000);
    REQUIRE(innermost == 1);
  });
}

TEST_CASE("values are bound without a loop, too") {
  const auto body = []() -> task<int> { co_return co_await rota::with_value(number, 12, see()); };
  REQUIRE(rota::sync_wait(body()) == 12);
}
