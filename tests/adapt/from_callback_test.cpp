// from_callback: a callback that comes at once, later, from another thread, twice, too late, or never.
#include <rota/adapt/from_callback.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using namespace std::chrono_literals;
using rota::callback;
using rota::task;
using rota_test::captured_reports;
using rota_test::run;

// A library that calls back when the test says so.
template <class... Ts>
struct later {
  std::vector<callback<Ts...>> waiting;
  auto keep() {
    return [this](callback<Ts...> done) { waiting.push_back(std::move(done)); };
  }
};

task<std::error_code> code_of(task<> body) {
  std::error_code code;
  try {
    co_await std::move(body);
  } catch (const std::system_error& error) {
    code = error.code();
  }
  co_return code;
}

// A C library: one request at a time, the user data first or last.
extern "C" {
struct c_library {
  void (*first)(void*, int) = nullptr;
  void (*last)(int, void*) = nullptr;
  void (*nothing)(void*) = nullptr;
  void* data = nullptr;
};
}

}  // namespace

TEST_CASE("a callback that comes before the registering call returns completes the await without suspending") {
  run([]() -> task<> {
    const auto steps = rota::event_loop::current()->statistics().steps;
    for (int i = 0; i != 3; ++i) {
      const int v = co_await rota::from_callback<int>([i](callback<int> done) { REQUIRE(done(i)); });
      REQUIRE(v == i);
    }
    REQUIRE(rota::event_loop::current()->statistics().steps == steps);
  });
}

TEST_CASE("a callback that comes later resumes the task on its loop") {
  later<std::string> library;
  const auto wait = [&]() -> task<std::string> { co_return co_await rota::from_callback<std::string>(library.keep()); };
  run([&]() -> task<> {
    auto handle = rota::spawn(std::ref(wait));
    co_await rota::yield();
    REQUIRE(library.waiting.size() == 1);
    REQUIRE(library.waiting[0].expected());
    REQUIRE(library.waiting[0]("text"));
    REQUIRE_FALSE(library.waiting[0].expected());
    REQUIRE_FALSE(handle.done());
    const std::string text = co_await handle;
    REQUIRE(text == "text");
  });
}

TEST_CASE("a callback brings nothing, one value, a reference, something that only moves, or a tuple") {
  run([]() -> task<> {
    co_await rota::from_callback<>([](callback<> done) { done(); });
    co_await rota::from_callback<void>([](callback<void> done) { done(); });
    int object = 3;
    int& same = co_await rota::from_callback<int&>([&](callback<int&> done) { done(object); });
    REQUIRE(&same == &object);
    const auto owned = co_await rota::from_callback<std::unique_ptr<int>>(
        [](callback<std::unique_ptr<int>> done) { done(std::make_unique<int>(4)); });
    REQUIRE(*owned == 4);
    const auto pair =
        co_await rota::from_callback<int, std::string>([](callback<int, std::string> done) { done(5, "five"); });
    REQUIRE(pair == std::tuple<int, std::string>(5, "five"));
  });
}

TEST_CASE("an error code and an exception of the callback come out of the await") {
  run([]() -> task<> {
    const auto fail = []() -> task<> {
      (void)co_await rota::from_callback<int>(
          [](callback<int> done) { REQUIRE(done.error(std::make_error_code(std::errc::io_error))); });
    };
    const std::error_code code = co_await code_of(fail());
    REQUIRE(code == std::errc::io_error);
    std::string text;
    try {
      (void)co_await rota::from_callback<int>(
          [](callback<int> done) { done.error(std::make_exception_ptr(std::runtime_error("theirs"))); });
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    REQUIRE(text == "theirs");
    // as_result takes the code without an exception of the user's making.
    const auto result = co_await rota::as_result(
        rota::from_callback<int>([](callback<int> done) { done.error(std::make_error_code(std::errc::io_error)); }));
    REQUIRE(result.error() == std::errc::io_error);
  });
}

TEST_CASE("an error that is none, a code of success or a null exception, is a usage error of the await") {
  const auto text_of = [](task<> t) -> task<std::string> {
    std::string text;
    try {
      co_await std::move(t);
    } catch (const rota::usage_error& error) {
      if (error.which() == rota::usage_error::kind::invalid_argument) text = error.what();
    }
    co_return text;
  };
  run([&]() -> task<> {
    const auto success = []() -> task<> {
      co_await rota::from_callback<>([](callback<> done) { REQUIRE(done.error(std::error_code())); });
    };
    const std::string of_success = co_await text_of(success());
    REQUIRE(of_success == "a callback's error() was given a std::error_code that says success");
    const auto null = []() -> task<> {
      co_await rota::from_callback<>([](callback<> done) { REQUIRE(done.error(std::exception_ptr())); });
    };
    const std::string of_null = co_await text_of(null());
    REQUIRE(of_null == "a callback's error() was given a null exception");
  });
}

TEST_CASE("a value whose constructor throws makes its exception the outcome") {
  struct refuses {
    explicit refuses(int) { throw std::runtime_error("no value"); }
  };
  run([]() -> task<> {
    std::string text;
    try {
      (void)co_await rota::from_callback<refuses>([](callback<refuses> done) { REQUIRE(done(1)); });
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    REQUIRE(text == "no value");
  });
}

TEST_CASE("a callback that comes from another thread resumes the task on its own loop") {
  std::vector<std::thread> threads;
  run([&]() -> task<> {
    for (int i = 0; i != 200; ++i) {
      const auto home = std::this_thread::get_id();
      const int v = co_await rota::from_callback<int>(
          [&, i](callback<int> done) { threads.emplace_back([done = std::move(done), i] { done(i); }); });
      REQUIRE(v == i);
      REQUIRE(std::this_thread::get_id() == home);
    }
  });
  for (std::thread& t : threads) t.join();
}

TEST_CASE("a callback from another thread may end the program's loop") {
  for (std::size_t i = rota_test::scaled(300, 200); i != 0; --i) {
    std::thread thread;
    run([&]() -> task<> {
      co_await rota::from_callback<>(
          [&](callback<> done) { thread = std::thread([done = std::move(done)] { done(); }); });
    });
    thread.join();  // it may have been inside post() until now
  }
}

TEST_CASE("from_callback works in sync_wait") {
  std::thread thread;
  const auto wait = [&]() -> task<int> {
    const int near = co_await rota::from_callback<int>([](callback<int> done) { done(1); });
    const int far = co_await rota::from_callback<int>(
        [&](callback<int> done) { thread = std::thread([done = std::move(done)] { done(2); }); });
    co_return near + far;
  };
  REQUIRE(rota::sync_wait(wait()) == 3);
  thread.join();
}

TEST_CASE("a second call is ignored, and reported once with the line of the await") {
  const captured_reports reports;
  run([&]() -> task<> {
    std::vector<callback<int>> copies;
    const auto twice = [&](callback<int> done) {
      copies = {done, done, done};
      REQUIRE(done(1));
      REQUIRE_FALSE(done(2));  // the await still runs
    };
    const unsigned line = __LINE__ + 1;
    const int v = co_await rota::from_callback<int>(twice);
    REQUIRE(v == 1);
    REQUIRE(reports.count("from_callback_test.cpp:" + std::to_string(line)) == 1);
    REQUIRE_FALSE(copies[0](3));  // and now it has ended
    REQUIRE_FALSE(copies[1].error(std::make_error_code(std::errc::io_error)));
    REQUIRE(reports.size() == 1);
  });
  run([&]() -> task<> {
    std::optional<callback<>> copy;
    co_await rota::from_callback<>([&](callback<> done) {
      copy = done;
      done();
    });
    REQUIRE_FALSE((*copy)());
    REQUIRE_FALSE((*copy)());
    REQUIRE(reports.count("called more than once") == 2);
  });
}

TEST_CASE("a second call that comes when its slot serves another await is ignored") {
  const captured_reports reports;
  run([&]() -> task<> {
    std::optional<callback<int>> old;
    (void)co_await rota::from_callback<int>([&](callback<int> done) {
      old = done;
      done(0);
    });
    for (int i = 1; i != 2000; ++i) {
      const int v = co_await rota::from_callback<int>([&](callback<int> done) {
        REQUIRE_FALSE(old->expected());
        if (i >= 64) REQUIRE_FALSE((*old)(-1));
        done(i);
      });
      REQUIRE(v == i);
    }
    REQUIRE(reports.size() == 0);
  });
}

TEST_CASE("when all copies are gone and none was called the await throws broken_promise") {
  run([]() -> task<> {
    const auto drop = []() -> task<> { (void)co_await rota::from_callback<int>([](const callback<int>&) {}); };
    const std::error_code at_once = co_await code_of(drop());
    REQUIRE(at_once == rota::errc::broken_promise);
    REQUIRE(at_once.message() == "the promise or callback was destroyed without having been used");

    later<int> library;
    const auto wait = [&]() -> task<> { (void)co_await rota::from_callback<int>(library.keep()); };
    auto handle = rota::spawn([&]() -> task<std::error_code> { co_return co_await code_of(wait()); });
    co_await rota::yield();
    auto copy = library.waiting[0];
    library.waiting.clear();
    co_await rota::yield();
    REQUIRE_FALSE(handle.done());
    copy = callback<int>();
    const std::error_code later_on = co_await handle;
    REQUIRE(later_on == rota::errc::broken_promise);
  });
}

TEST_CASE("copies dropped on other threads break the promise once") {
  run([]() -> task<> {
    std::vector<std::thread> threads;
    for (int i = 0; i != 50; ++i) {
      const auto wait = [&]() -> task<> {
        co_await rota::from_callback<>([&](callback<> done) {
          for (int t = 0; t != 3; ++t) threads.emplace_back([copy = done]() mutable { copy = callback<>(); });
        });
      };
      const std::error_code code = co_await code_of(wait());
      REQUIRE(code == rota::errc::broken_promise);
    }
    for (std::thread& t : threads) t.join();
  });
}

TEST_CASE("one of many threads that call at once wins") {
  const captured_reports reports;
  run([]() -> task<> {
    for (int round = 0; round != 50; ++round) {
      std::atomic<int> taken{0};
      std::vector<std::thread> threads;
      const int v = co_await rota::from_callback<int>([&](callback<int> done) {
        for (int t = 1; t != 4; ++t)
          threads.emplace_back([copy = done, t, &taken] {
            if (copy(t)) taken += t;
          });
      });
      for (std::thread& t : threads) t.join();
      REQUIRE(v == taken);
    }
  });
}

// Counts how often a value is put into an await, and taken out.
struct parcel {
  explicit parcel(char content) : text(100, content) {}
  parcel(parcel&& other) noexcept : text(std::move(other.text)) { moves.fetch_add(1, std::memory_order_relaxed); }

  std::string text;
  static inline std::atomic<std::size_t> moves{0};
};

TEST_CASE("a C library that calls twice, on the loop's thread and on three others at once, is taken once") {
  const captured_reports reports;
  std::atomic<void*> shared{nullptr};
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int t = 0; t != 3; ++t)
    others.emplace_back([&] {
      for (void* last = nullptr; !stop.load();)
        if (void* const data = shared.load(); std::exchange(last, data) != data)
          callback<parcel>::user_data_first(data, parcel('t'));
    });
  const std::size_t rounds = rota_test::scaled(5'000, 1'000);
  std::size_t intact = 0;
  parcel::moves = 0;
  run([&]() -> task<> {
    for (std::size_t round = 0; round != rounds; ++round) {
      const auto begin = [&](callback<parcel> done) {
        void* const data = done.to_user_data();
        shared.store(data);
        const auto call = [data] { callback<parcel>::user_data_first(data, parcel('l')); };
        if (round % 2 == 0)
          call();
        else
          rota::event_loop::current()->call_soon(call);
      };
      const parcel got = co_await rota::from_callback<parcel>(begin);
      intact += got.text == std::string(100, 't') || got.text == std::string(100, 'l');
    }
    co_await rota::yield();  // the last round's call_soon may still wait for its turn
  });
  stop = true;
  for (std::thread& other : others) other.join();
  REQUIRE(intact == rounds);
  REQUIRE(parcel::moves == 2 * rounds);
}

TEST_CASE("what the registering function throws comes out of the await, and late calls do nothing") {
  const captured_reports reports;
  run([&]() -> task<> {
    std::optional<callback<int>> kept;
    for (const bool called : {false, true}) {
      std::string text;
      try {
        (void)co_await rota::from_callback<int>([&](callback<int> done) {
          kept = done;
          if (called) done(1);
          throw std::runtime_error("no such host");
        });
      } catch (const std::runtime_error& error) {
        text = error.what();
      }
      REQUIRE(text == "no such host");
      REQUIRE_FALSE((*kept)(2));
    }
  });
}

TEST_CASE("what the registering function throws comes out of the await also when another thread has called by then") {
  run([]() -> task<> {
    for (const bool hook : {false, true}) {
      int asked = 0;
      std::string text;
      const auto start = [](callback<std::string> done) {
        std::thread([&done] { REQUIRE(done("value")); }).join();
        throw std::runtime_error("no such host");
      };
      try {
        if (hook)
          (void)co_await rota::from_callback<std::string>(start).on_cancel([&] { ++asked; });
        else
          (void)co_await rota::from_callback<std::string>(start);
      } catch (const std::runtime_error& error) {
        text = error.what();
      }
      REQUIRE(text == "no such host");
      REQUIRE(asked == 0);
    }
  });
}

TEST_CASE("without a hook a cancel ends the await at once, and a late call is ignored in silence") {
  const captured_reports reports;
  later<std::string> library;
  run([&]() -> task<> {
    const auto wait = [&]() -> task<> { (void)co_await rota::from_callback<std::string>(library.keep()); };
    auto handle = rota::spawn(std::ref(wait));
    co_await rota::yield();
    handle.cancel("enough");
    co_await rota::yield();
    REQUIRE(handle.cancelled());
    REQUIRE_FALSE(library.waiting[0].expected());
    std::string kept = "kept";
    REQUIRE_FALSE(library.waiting[0](std::move(kept)));
    REQUIRE(kept == "kept");  // what was not taken is not touched

    const auto late = co_await rota::move_on_after(1ms, rota::from_callback<std::string>(library.keep()));
    REQUIRE_FALSE(late);
    REQUIRE_FALSE(library.waiting[1]("too late"));
  });
  REQUIRE_FALSE(library.waiting[0]("the loop is gone"));
  REQUIRE(reports.size() == 0);
}

TEST_CASE("in a cancelled scope nothing is registered") {
  run([]() -> task<> {
    int registered = 0;
    const bool finished = co_await rota::with_cancel_scope([&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await rota::from_callback<>([&](callback<>) { ++registered; });
    });
    REQUIRE_FALSE(finished);
    REQUIRE(registered == 0);
  });
}

TEST_CASE("a registering function that cancels its own scope ends the await") {
  run([]() -> task<> {
    for (const bool hook : {false, true}) {
      std::optional<callback<>> kept;
      int asked = 0;
      const bool finished = co_await rota::with_cancel_scope([&](rota::cancel_scope& scope) -> task<> {
        const auto start = [&](callback<> done) {
          kept = std::move(done);
          scope.cancel();
        };
        const auto stop = [&] {
          ++asked;
          kept->error(std::make_error_code(std::errc::operation_canceled));
        };
        if (hook)
          co_await rota::from_callback<>(start).on_cancel(stop);
        else
          co_await rota::from_callback<>(start);
      });
      REQUIRE_FALSE(finished);
      REQUIRE(asked == int(hook));
    }
  });
}

TEST_CASE("a result that came before the cancel is delivered, the next await throws") {
  later<int> library;
  run([&]() -> task<> {
    int got = 0;
    const auto wait = [&]() -> task<> {
      got = co_await rota::from_callback<int>(library.keep());
      co_await rota::yield();
      got = -1;
    };
    auto handle = rota::spawn(std::ref(wait));
    co_await rota::yield();
    library.waiting[0](7);
    handle.cancel();
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(got == 7);
    REQUIRE(handle.cancelled());
  });
}

TEST_CASE("with a hook a cancel asks the library, and the await ends with the callback") {
  later<int> library;
  int asked = 0;
  int got = 0;
  const auto wait = [&]() -> task<> {
    got = co_await rota::from_callback<int>(library.keep()).on_cancel([&] { ++asked; });
  };
  const auto start = [&]() -> task<rota::join_handle<>> {
    library.waiting.clear();
    asked = got = 0;
    auto handle = rota::spawn(std::ref(wait));
    co_await rota::yield();
    handle.cancel();
    co_await rota::yield();
    REQUIRE(asked == 1);
    REQUIRE_FALSE(handle.done());  // the library may still write to our memory
    co_return handle;
  };
  run([&]() -> task<> {
    {
      auto handle = co_await start();
      library.waiting[0](3);  // it came all the same
      co_await rota::yield();
      REQUIRE(handle.done());
      REQUIRE(got == 3);
    }
    {
      auto handle = co_await start();
      library.waiting[0].error(std::make_error_code(std::errc::operation_canceled));
      co_await rota::yield();
      REQUIRE(handle.cancelled());
    }
    {
      auto handle = co_await start();
      library.waiting.clear();  // dropped without a call
      co_await rota::yield();
      REQUIRE(handle.cancelled());
    }
    {
      auto handle = co_await start();
      library.waiting[0].error(std::make_error_code(std::errc::io_error));  // another error stays what it is
      co_await rota::yield();
      REQUIRE(handle.done());
      REQUIRE_FALSE(handle.cancelled());
      REQUIRE(rota_test::error_code_of([&] { handle.result(); }) == std::errc::io_error);
    }
  });
}

TEST_CASE("a hook may call back from within, and is not called when the callback came first") {
  later<int> library;
  run([&]() -> task<> {
    const auto within = [&]() -> task<> {
      (void)co_await rota::from_callback<int>(library.keep()).on_cancel([&] {
        library.waiting[0].error(std::make_error_code(std::errc::operation_canceled));
      });
    };
    auto handle = rota::spawn(std::ref(within));
    co_await rota::yield();
    handle.cancel();
    co_await rota::yield();
    REQUIRE(handle.cancelled());

    int asked = 0;
    const auto first = [&]() -> task<> {
      (void)co_await rota::from_callback<int>(library.keep()).on_cancel([&] { ++asked; });
    };
    handle = rota::spawn(std::ref(first));
    co_await rota::yield();
    library.waiting[1](1);
    handle.cancel();
    co_await rota::yield();
    REQUIRE(handle.done());
    REQUIRE(asked == 0);
  });
}

TEST_CASE("what a hook throws goes to the loop's exception handler, and the await goes on waiting") {
  const captured_reports reports;
  later<> library;
  run([&]() -> task<> {
    std::string told;
    rota::event_loop::current()->set_exception_handler([&](const rota::exception_context& context) {
      told = std::string(context.message) + ", of " + std::string(context.task_name) + ", " + context.where.file_name();
      rota::event_loop::default_exception_handler(context);
    });
    const auto wait = [&]() -> task<> {
      co_await rota::from_callback<>(library.keep()).on_cancel([] { throw std::runtime_error("cannot stop"); });
    };
    auto handle = rota::spawn(std::ref(wait)).set_name("waiter");
    co_await rota::yield();
    handle.cancel();
    INFO(told);
    REQUIRE(told.starts_with("the cancel hook of the from_callback awaited at "));
    REQUIRE(told.find(" failed, of waiter, ") != std::string::npos);
    REQUIRE(told.ends_with("from_callback_test.cpp"));
    REQUIRE(reports.contains("cannot stop"));
    co_await rota::yield();
    REQUIRE_FALSE(handle.done());
    library.waiting[0]();
    co_await rota::yield();
    REQUIRE(handle.done());
  });
}

TEST_CASE("a program that ends while a callback has never come does not hang") {
  later<> without;
  later<> with;
  std::thread thread;
  const auto wait = [&]() -> task<> { co_await rota::from_callback<>(without.keep()); };
  const auto wait_with_hook = [&]() -> task<> {
    co_await rota::from_callback<>(with.keep()).on_cancel([&] {
      thread = std::thread([done = std::move(with.waiting[0])] { done(); });
    });
  };
  const auto program = [&]() -> task<> {
    (void)rota::spawn(std::ref(wait));
    (void)rota::spawn(std::ref(wait_with_hook));
    co_await rota::yield();
    rota::event_loop::current()->stop();
    co_await rota::from_callback<>([](callback<> done) { (void)done.to_user_data(); });  // C code that forgot it
  };
  {
    rota::event_loop loop;
    REQUIRE(rota_test::error_code_of([&] { loop.run(program()); }) == rota::errc::loop_stopped);
  }
  REQUIRE_FALSE(without.waiting[0].expected());
  thread.join();
}

TEST_CASE("cancels and callbacks of another thread race without losing either") {
  const captured_reports reports;
  run([]() -> task<> {
    std::vector<std::thread> threads;
    std::atomic<int> taken{0};
    int got = 0;
    int cancelled = 0;
    const int rounds = static_cast<int>(rota_test::scaled(300, 200));
    for (int i = 0; i != rounds; ++i) {
      const auto value =
          co_await rota::move_on_after(i % 2 ? 0us : 50us, rota::from_callback<int>([&](callback<int> done) {
                                         threads.emplace_back([done = std::move(done), &taken] {
                                           if (done(1)) ++taken;
                                         });
                                       }));
      if (value)
        ++got;
      else
        ++cancelled;
    }
    for (std::thread& t : threads) t.join();
    REQUIRE(got == taken);
    REQUIRE(got + cancelled == rounds);
  });
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a C function gets the callback as user data, first or last") {
  run([]() -> task<> {
    c_library library;
    const int first = co_await rota::from_callback<int>([&](callback<int> done) {
      library.first = &callback<int>::user_data_first;
      library.first(done.to_user_data(), 3);
    });
    REQUIRE(first == 3);
    const int last = co_await rota::from_callback<int>([&](callback<int> done) {
      library.last = &callback<int>::user_data_last;
      library.last(4, done.to_user_data());
    });
    REQUIRE(last == 4);
    co_await rota::from_callback<void>([&](callback<void> done) {
      library.nothing = &callback<void>::user_data_first;
      library.nothing(done.to_user_data());
    });
    const auto pair = co_await rota::from_callback<int, double>(
        [&](callback<int, double> done) { callback<int, double>::user_data_first(done.to_user_data(), 5, 0.5); });
    REQUIRE(pair == std::tuple(5, 0.5));
  });
}

TEST_CASE("a C library calls from its own thread; twice and late do nothing") {
  captured_reports reports;
  run([&]() -> task<> {
    void* data = nullptr;
    std::thread thread;
    const int v = co_await rota::from_callback<int>([&](callback<int> done) {
      data = done.to_user_data();
      thread = std::thread([data] { callback<int>::user_data_first(data, 6); });
    });
    thread.join();
    REQUIRE(v == 6);
    callback<int>::user_data_first(data, 7);
    callback<int>::user_data_first(data, 8);
    REQUIRE(reports.count("called more than once") == 1);
    reports.clear();

    const auto none = co_await rota::move_on_after(
        0s, rota::from_callback<int>([&](callback<int> done) { data = done.to_user_data(); }));
    REQUIRE_FALSE(none);
    callback<int>::user_data_last(9, data);
    callback<int>::user_data_last(9, nullptr);
    REQUIRE(reports.size() == 0);
  });
}

TEST_CASE("user data turns back into a callback") {
  run([]() -> task<> {
    const int v = co_await rota::from_callback<int>([](callback<int> done) {
      void* const data = done.to_user_data();
      done = callback<int>();
      auto again = callback<int>::from_user_data(data);
      REQUIRE(again.expected());
      REQUIRE(again(5));
    });
    REQUIRE(v == 5);
    REQUIRE_FALSE(callback<int>::from_user_data(nullptr)(1));
    REQUIRE(callback<int>().to_user_data() == nullptr);
  });
}

TEST_CASE("user data of another type ends the program with a message") {
  const auto outcome = rota_test::run_in_child([] {
    rota::run([]() -> task<> {
      co_await rota::from_callback<>([](callback<> done) { callback<int>::user_data_first(done.to_user_data(), 1); });
    }());
    return 0;
  });
  REQUIRE(outcome.signal() == SIGABRT);
  REQUIRE(outcome.says("of another type"));
}

TEST_CASE("slots are used again and again, each after a rest") {
  std::set<std::uintptr_t> used;
  std::thread([&] {
    run([&]() -> task<> {
      for (int i = 0; i != 10'000; ++i) {
        void* data = nullptr;
        co_await rota::from_callback<>([&](callback<> done) {
          data = done.to_user_data();
          done();
        });
        used.insert(reinterpret_cast<std::uintptr_t>(data) & 0xff'ffff);
      }
    });
  }).join();
  REQUIRE(used.size() <= 64);
  REQUIRE(used.size() > 8);
}

TEST_CASE("ten thousand callbacks wait at once") {
  later<std::size_t> library;
  std::vector<std::size_t> got;
  run([&]() -> task<> {
    const auto wait = [&]() -> task<> {
      const std::size_t v = co_await rota::from_callback<std::size_t>(library.keep());
      got.push_back(v);
    };
    std::vector<rota::join_handle<>> handles;
    for (int i = 0; i != 10'000; ++i) handles.push_back(rota::spawn(std::ref(wait)));
    co_await rota::yield();
    REQUIRE(library.waiting.size() == 10'000);
    for (std::size_t i = library.waiting.size(); i-- != 0;) library.waiting[i](i);
    for (auto& h : handles) co_await h;
    REQUIRE(got.size() == 10'000);
    for (std::size_t i = 0; i != got.size(); ++i) REQUIRE(got[i] == 9'999 - i);
  });
}
