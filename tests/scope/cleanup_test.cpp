// Cleanup that awaits: with(limit, resource, body), and what defer() runs at the end of scopes and groups.
#include <rota/scope/cleanup.hpp>

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"
#include "support/streams.hpp"

namespace {

using namespace std::chrono_literals;
using rota::cancel_scope;
using rota::exception_group;
using rota::task;
using rota::task_group;
using rota_test::caught;
using rota_test::code_of;
using rota_test::exception_of;
using rota_test::is_cancelled;
using rota_test::manual_loop;
using rota_test::run;
using rota_test::strings;
using rota_test::text_of;
using rota_test::texts;
using rota_test::tracked;

// Notes what happens to it; can only be moved.
class resource {
 public:
  enum class way { well, failing, hanging, failing_at_once };

  explicit resource(strings& log, way how = way::well) : log_(&log), how_(how) {}
  resource(resource&& other) noexcept : log_(std::exchange(other.log_, nullptr)), how_(other.how_) {}
  resource& operator=(resource&&) = delete;
  ~resource() {
    if (log_) log_->emplace_back("destroyed");
  }

  void use() { log_->emplace_back("used"); }
  task<> close() {
    if (how_ == way::failing_at_once) throw std::runtime_error("close");
    return closes();
  }

 private:
  task<> closes() {
    co_await rota::yield();
    log_->emplace_back("closing");
    if (how_ == way::hanging) co_await rota::sleep_for(1h);
    co_await rota::yield();
    if (how_ == way::failing) throw std::runtime_error("close");
    log_->emplace_back("closed");
  }

  strings* log_;
  way how_;
};

task<> say(strings& log, std::string text) {
  co_await rota::yield();
  log.push_back(text);
}
task<> fail(std::string text) {
  co_await rota::yield();
  throw std::runtime_error(text);
}

}  // namespace

// ---- with()

TEST_CASE("with() gives the body's value and closes before that, destroys after that") {
  run([]() -> task<> {
    strings log;
    const auto body = [](resource& r) -> task<int> {
      r.use();
      co_await rota::yield();
      co_return 5;
    };
    const int five = co_await rota::with(1s, resource(log), body);
    REQUIRE(five == 5);
    REQUIRE(log == strings{"used", "closing", "closed", "destroyed"});
  });
}

TEST_CASE("with() and bodies that give nothing, a reference, or what can only be moved") {
  run([]() -> task<> {
    strings log;
    int target = 0;
    const auto nothing = [](resource& r) -> task<> {
      r.use();
      co_return;
    };
    co_await rota::with(1s, resource(log), nothing);
    const auto reference = [&](resource&) -> task<int&> { co_return target; };
    int& same = co_await rota::with(1s, resource(log), reference);
    REQUIRE(&same == &target);
    const auto unique = [](resource&) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
    const std::unique_ptr<int> three = co_await rota::with(1s, resource(log), unique);
    REQUIRE(*three == 3);
    REQUIRE(log.size() == 10);
  });
}

TEST_CASE("an exception of the body passes, after the close") {
  run([]() -> task<> {
    for (const bool at_once : {true, false}) {
      strings log;
      const auto body = [=](resource&) -> task<int> {
        if (!at_once) co_await rota::yield();
        throw std::runtime_error("body");
        co_return 1;
      };
      const std::exception_ptr error = co_await exception_of(rota::with(1s, resource(log), body));
      REQUIRE(caught<std::runtime_error>(error).what() == std::string("body"));
      REQUIRE(log == strings{"closing", "closed", "destroyed"});
    }
    strings log;
    const auto no_task = [](resource&) -> task<int> { throw std::runtime_error("no task"); };
    const std::exception_ptr error = co_await exception_of(rota::with(1s, resource(log), no_task));
    REQUIRE(text_of(error) == "no task");
    REQUIRE(log == strings{"closing", "closed", "destroyed"});
  });
}

TEST_CASE("a cancel passes, after a close that it does not reach") {
  run([]() -> task<> {
    strings log;
    const auto body = [](resource& r) -> task<int> {
      r.use();
      co_await rota::sleep_for(1h);
      co_return 1;
    };
    const auto main = [&]() -> task<> {
      const int n = co_await rota::with(1s, resource(log), body);
      REQUIRE(n == 0);
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    (void)co_await exception_of(handle);
    REQUIRE(handle.cancelled());
    REQUIRE(log == strings{"used", "closing", "closed", "destroyed"});
  });
}

TEST_CASE("a cancel that comes during the close does not end it") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    struct slow {
      task<> close() {
        co_await rota::sleep_for(20ms);
        log->emplace_back("closed");
      }
      strings* log;
    };
    std::optional<int> value;
    std::exception_ptr next;
    const auto body = [](slow&) -> task<int> { co_return 1; };
    const auto main = [&]() -> task<> {
      slow s{&log};
      value = co_await rota::with(1s, std::move(s), body);
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(10ms);
    handle.cancel();
    co_await handle;
    REQUIRE(loop.elapsed() == 20ms);
    REQUIRE(log == strings{"closed"});
    REQUIRE(value == 1);  // everything was done
    REQUIRE(is_cancelled(next));
  }(m));
}

TEST_CASE("an error of close() alone is thrown as it is, and the value is gone") {
  run([]() -> task<> {
    for (const resource::way how : {resource::way::failing, resource::way::failing_at_once}) {
      strings log;
      const auto body = [](resource&) -> task<std::string> { co_return "value"; };
      const std::exception_ptr error = co_await exception_of(rota::with(1s, resource(log, how), body));
      REQUIRE(caught<std::runtime_error>(error).what() == std::string("close"));
      REQUIRE(log.back() == "destroyed");
    }
  });
}

TEST_CASE("errors of both body and close are one group, the body's first") {
  run([]() -> task<> {
    strings log;
    const auto body = [](resource&) -> task<> {
      co_await rota::yield();
      throw std::runtime_error("body");
    };
    const std::exception_ptr error = co_await exception_of(rota::with(1s, resource(log, resource::way::failing), body));
    REQUIRE(texts(error) == strings{"body", "close"});
    const auto group = caught<exception_group>(error);
    REQUIRE(group.message().starts_with("a body and its cleanup, "));
    REQUIRE(group.message().find("cleanup_test.cpp:") != std::string::npos);
    REQUIRE(group.members().front().where == "the body");
    REQUIRE(group.members().back().where == "cleanup");
  });
}

TEST_CASE("an error of close() wins over a cancel, which the next suspension throws again") {
  run([]() -> task<> {
    strings log;
    std::exception_ptr error, next;
    const auto body = [](resource&) -> task<> { co_await rota::sleep_for(1h); };
    const auto main = [&]() -> task<> {
      error = co_await exception_of(rota::with(1s, resource(log, resource::way::failing), body));
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> handle = rota::spawn(main);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    co_await handle;
    REQUIRE(caught<std::runtime_error>(error).what() == std::string("close"));
    REQUIRE(is_cancelled(next));
  });
}

TEST_CASE("a close that hangs is cut short by its limit, which is its failure") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    const auto body = [](resource&) -> task<int> { co_return 1; };
    const std::exception_ptr error =
        co_await exception_of(rota::with(50ms, resource(log, resource::way::hanging), body));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(loop.elapsed() == 50ms);
    REQUIRE(log == strings{"closing", "destroyed"});
    const auto fails = [](resource&) -> task<int> {
      throw std::runtime_error("body");
      co_return 1;
    };
    const std::exception_ptr both =
        co_await exception_of(rota::with(50ms, resource(log, resource::way::hanging), fails));
    const auto group = caught<exception_group>(both);
    REQUIRE(group.size() == 2);
    REQUIRE(group.find<std::runtime_error>() != nullptr);
    REQUIRE(text_of(group.members().front().error) == "body");
    REQUIRE(code_of(group.members().back().error) == rota::errc::timed_out);
    REQUIRE(loop.elapsed() == 100ms);
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a close that hangs after a cancel does not hang the task") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    const auto body = [](resource&) -> task<> { co_await rota::sleep_for(1h); };
    const std::exception_ptr error =
        co_await exception_of(rota::timeout(10ms, rota::with(50ms, resource(log, resource::way::hanging), body)));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(loop.elapsed() == 60ms);
    REQUIRE(log == strings{"closing", "destroyed"});
  }(m));
}

TEST_CASE("a limit of nothing, a negative one and a huge one") {
  run([]() -> task<> {
    strings log;
    const auto body = [](resource&) -> task<int> { co_return 1; };
    for (const rota::duration limit : {rota::duration(0), rota::duration(-1), rota::duration::min()}) {
      struct quick {
        task<> close() { co_return; }
      };
      const auto quick_body = [](quick&) -> task<int> { co_return 2; };
      const int two = co_await rota::with(limit, quick(), quick_body);  // closes without suspending
      REQUIRE(two == 2);
      const std::exception_ptr error =
          co_await exception_of(rota::with(limit, resource(log, resource::way::hanging), body));
      REQUIRE(code_of(error) == rota::errc::timed_out);
    }
    const int one = co_await rota::with(rota::duration::max(), resource(log), body);
    REQUIRE(one == 1);
    const int one_again = co_await rota::with(std::chrono::hours::max(), resource(log), body);
    REQUIRE(one_again == 1);
  });
}

TEST_CASE("a limit that is not a number is refused before anything begins, and the task is named") {
  run([]() -> task<> {
    rota::this_task::set_name("careless");
    constexpr std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    strings log;
    bool body_ran = false;
    const auto never_runs = [&](resource&) -> task<> {
      body_ran = true;
      co_return;
    };
    std::vector<std::string> refusals;
    const auto refused = [&](auto&& give) {
      try {
        give();
      } catch (const rota::usage_error& error) {
        refusals.push_back(error.what());
      }
    };
    refused([&] { (void)rota::with(nan, resource(log), never_runs); });
    const auto nothing = []() -> task<> { co_return; };
    const bool ended = co_await rota::with_cancel_scope([&](rota::cancel_scope& scope) -> task<> {
      refused([&] { scope.defer(nan, nothing); });
      co_return;
    });
    REQUIRE(ended);
    co_await rota::with_task_group([&](rota::task_group& group) -> task<> {
      refused([&] { group.defer(nan, nothing); });
      co_return;
    });
    REQUIRE(refusals.size() == 3);
    for (const std::string& text : refusals) REQUIRE(text.find("task 'careless'") == 0);
    REQUIRE(!body_ran);
  });
}

TEST_CASE("with() in with(): the inner resource closes first, whatever happens") {
  run([]() -> task<> {
    for (const bool fails : {true, false}) {
      strings outer_log, inner_log;
      const auto inner = [&](resource&) -> task<int> {
        co_await rota::yield();
        if (fails) throw std::runtime_error("body");
        co_return 1;
      };
      const auto outer = [&](resource& r) -> task<int> {
        const std::exception_ptr error = co_await exception_of(rota::with(1s, resource(inner_log), inner));
        REQUIRE(inner_log == strings{"closing", "closed", "destroyed"});
        REQUIRE(outer_log.empty());
        r.use();
        if (error) std::rethrow_exception(error);
        co_return 1;
      };
      const std::exception_ptr error = co_await exception_of(rota::with(1s, resource(outer_log), outer));
      REQUIRE((error != nullptr) == fails);
      REQUIRE(outer_log == strings{"used", "closing", "closed", "destroyed"});
    }
  });
}

TEST_CASE("a TCP stream as the resource: its peer sees the end, the descriptor is gone") {
  run([]() -> task<> {
    rota_test::stream_pair pair = co_await rota_test::connect_streams();
    const auto body = [](rota::tcp_stream& stream) -> task<std::size_t> {
      const std::string hello = "hello";
      co_await stream.write_all(std::as_bytes(std::span(hello)));
      co_return hello.size();
    };
    const std::size_t five = co_await rota::with(1s, std::move(pair.client), body);
    REQUIRE(five == 5);
    const std::string text = co_await rota_test::read_to_end(pair.server);
    REQUIRE(text == "hello");
  });
}

TEST_CASE("a TCP stream as the resource of a body that is cancelled in a read") {
  run([]() -> task<> {
    rota_test::stream_pair pair = co_await rota_test::connect_streams();
    const auto body = [](rota::tcp_stream& stream) -> task<std::string> {
      std::string text = co_await rota_test::read_text(stream);
      co_return text;
    };
    const std::optional<std::string> none =
        co_await rota::move_on_after(1ms, rota::with(1s, std::move(pair.client), body));
    REQUIRE_FALSE(none.has_value());
    const std::string text = co_await rota_test::read_to_end(pair.server);
    REQUIRE(text.empty());
  });
}

// ---- defer()

TEST_CASE("deferred cleanup runs at the end, the last one first, awaits, and keeps its arguments") {
  run([]() -> task<> {
    strings log;
    int alive = 0;
    const auto body = [&](cancel_scope& scope) -> task<int> {
      std::string text = "first, and too long for the small buffer of a string";
      scope.defer(1s, say, std::ref(log), text);
      text.assign(text.size(), 'x');
      const tracked token(alive);
      const auto holds = [token, &log]() -> task<> {
        co_await rota::yield();
        REQUIRE(*token.alive > 0);
        log.emplace_back("second");
      };
      scope.defer(1s, holds);
      scope.defer(1s, say, std::ref(log), std::string("third"));
      co_await rota::yield();
      log.emplace_back("body");
      co_return 5;
    };
    const std::optional<int> five = co_await rota::with_cancel_scope(body);
    REQUIRE(five == 5);
    REQUIRE(log == strings{"body", "third", "second", "first, and too long for the small buffer of a string"});
    REQUIRE(alive == 0);
  });
}

TEST_CASE("a group's cleanup runs when every child has ended") {
  run([]() -> task<> {
    strings log;
    const auto body = [&](task_group& group) -> task<> {
      group.defer(1s, say, std::ref(log), std::string("cleanup"));
      const auto child = [&]() -> task<> {
        for (int i = 0; i != 5; ++i) co_await rota::yield();
        // A child may defer, too, to the end of its group.
        group.defer(1s, say, std::ref(log), std::string("cleanup of the child"));
        log.emplace_back("child");
      };
      group.spawn(child);
      log.emplace_back("body");
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(log == strings{"body", "child", "cleanup of the child", "cleanup"});
  });
}

TEST_CASE("deferred cleanup runs after a failure, and the error passes") {
  run([]() -> task<> {
    strings log;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.defer(1s, say, std::ref(log), std::string("cleanup"));
      co_await rota::yield();
      throw std::runtime_error("body");
    };
    const std::exception_ptr error = co_await exception_of(rota::with_cancel_scope(body));
    REQUIRE(caught<std::runtime_error>(error).what() == std::string("body"));
    REQUIRE(log == strings{"cleanup"});
    const auto child_fails = [&](task_group& group) -> task<> {
      group.defer(1s, say, std::ref(log), std::string("cleanup of a group"));
      group.spawn(fail, std::string("child"));
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr second = co_await exception_of(rota::with_task_group(child_fails));
    REQUIRE(texts(second) == strings{"child"});
    REQUIRE(caught<exception_group>(second).size() == 1);
    REQUIRE(log == strings{"cleanup", "cleanup of a group"});
  });
}

TEST_CASE("deferred cleanup runs after a cancel of the scope, of the group, from outside, and after a deadline") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    const auto slow = [&]() -> task<> {
      co_await rota::sleep_for(20ms);
      log.emplace_back("cleanup");
    };
    const auto scope_body = [&](cancel_scope& scope) -> task<> {
      scope.defer(1s, slow);
      scope.cancel();
      co_await rota::sleep_for(1h);
    };
    const bool ended = co_await rota::with_cancel_scope(scope_body);
    REQUIRE_FALSE(ended);
    REQUIRE(loop.elapsed() == 20ms);

    const auto group_body = [&](task_group& group) -> task<> {
      group.defer(1s, slow);
      group.cancel();
      co_await rota::sleep_for(1h);
    };
    co_await rota::with_task_group(group_body);
    REQUIRE(loop.elapsed() == 40ms);

    const auto waits = [&](task_group& group) -> task<> {
      group.defer(1s, slow);
      co_await rota::sleep_for(1h);
    };
    const auto opens_group = [&]() -> task<> { co_await rota::with_task_group(waits); };
    rota::join_handle<> handle = rota::spawn(opens_group);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    (void)co_await exception_of(handle);
    REQUIRE(handle.cancelled());
    REQUIRE(loop.elapsed() == 60ms);

    const bool in_time = co_await rota::move_on_after(10ms, rota::with_task_group(waits));
    REQUIRE_FALSE(in_time);
    REQUIRE(loop.elapsed() == 90ms);
    REQUIRE(log == strings(4, "cleanup"));
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("the scope's own deadline does not reach its cleanup") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    const auto slow = [&]() -> task<> {
      co_await rota::sleep_for(20ms);
      log.emplace_back("cleanup");
    };
    const auto body = [&](cancel_scope& scope) -> task<int> {
      scope.set_deadline(loop.loop().now() + 10ms);
      scope.defer(1s, slow);
      co_await rota::sleep_for(5ms);
      co_return 1;
    };
    const std::optional<int> one = co_await rota::with_cancel_scope(body);
    REQUIRE(one == 1);
    REQUIRE(loop.elapsed() == 25ms);
    REQUIRE(log == strings{"cleanup"});
  }(m));
}

TEST_CASE("cleanup that hangs is cut short by its own limit, and the others run all the same") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    strings log;
    const auto hangs = [&]() -> task<> {
      const std::exception_ptr error = co_await exception_of(rota::sleep_for(1h));
      log.emplace_back(is_cancelled(error) ? "cut short" : "ended");
      std::rethrow_exception(error);
    };
    const auto body = [&](task_group& group) -> task<> {
      group.defer(1s, say, std::ref(log), std::string("last"));
      group.defer(30ms, hangs);
      group.defer(1s, say, std::ref(log), std::string("first"));
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(code_of(error) == rota::errc::timed_out);
    REQUIRE(loop.elapsed() == 30ms);
    REQUIRE(log == strings{"first", "cut short", "last"});
  }(m));
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("several cleanups that fail are one group, with the body's error in front") {
  run([]() -> task<> {
    strings log;
    const auto fails_at_once = []() -> task<> { throw std::runtime_error("no task"); };
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.defer(1s, fail, std::string("a"));
      scope.defer(1s, say, std::ref(log), std::string("between"));
      scope.defer(1s, fails_at_once);
      co_await rota::yield();
      throw std::runtime_error("body");
    };
    const std::exception_ptr error = co_await exception_of(rota::with_cancel_scope(body));
    REQUIRE(texts(error) == strings{"body", "no task", "a"});
    REQUIRE(log == strings{"between"});
    const auto fine = [&](cancel_scope& scope) -> task<> {
      scope.defer(1s, fail, std::string("a"));
      scope.defer(1s, fail, std::string("b"));
      co_return;
    };
    const std::exception_ptr second = co_await exception_of(rota::with_cancel_scope(fine));
    REQUIRE(texts(second) == strings{"b", "a"});
  });
}

TEST_CASE("a group's errors and those of its cleanup: both are there, the group is kept whole") {
  run([]() -> task<> {
    const auto body = [&](task_group& group) -> task<> {
      group.defer(1s, fail, std::string("cleanup"));
      group.spawn(fail, std::string("child"));
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    const auto group = caught<exception_group>(error);
    REQUIRE(texts(group) == strings{"child", "cleanup"});
    REQUIRE(texts(group.members().front().error) == strings{"child"});
  });
}

TEST_CASE("an error of a cleanup wins over a cancel, which the next suspension throws again") {
  run([]() -> task<> {
    std::exception_ptr error, next;
    const auto body = [](task_group& group) -> task<> {
      group.defer(1s, fail, std::string("cleanup"));
      co_await rota::sleep_for(1h);
    };
    const auto opens_group = [&]() -> task<> {
      error = co_await exception_of(rota::with_task_group(body));
      next = co_await exception_of(rota::yield());
    };
    rota::join_handle<> handle = rota::spawn(opens_group);
    co_await rota::sleep_for(0ms);
    handle.cancel();
    co_await handle;
    REQUIRE(text_of(error) == "cleanup");
    REQUIRE(is_cancelled(next));
  });
}

TEST_CASE("cleanup may defer more cleanup, and open scopes and groups of its own") {
  run([]() -> task<> {
    strings log;
    const auto body = [&](task_group& group) -> task<> {
      const auto again = [&]() -> task<> {
        group.defer(1s, say, std::ref(log), std::string("deferred by cleanup"));
        const auto inner = [&](task_group& own) -> task<> {
          own.spawn(say, std::ref(log), std::string("child of a cleanup's own group"));
          co_return;
        };
        co_await rota::with_task_group(inner);
        log.emplace_back("cleanup");
      };
      group.defer(1s, say, std::ref(log), std::string("first"));
      group.defer(1s, again);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(log == strings{"child of a cleanup's own group", "cleanup", "deferred by cleanup", "first"});
  });
}

TEST_CASE("cleanup chains that defer their next link end") {
  run([]() -> task<> {
    struct chain {
      static task<> link(cancel_scope& scope, int left, int& ran) {
        ++ran;
        co_await rota::yield();
        if (left != 0) scope.defer(1s, link, std::ref(scope), left - 1, std::ref(ran));
      }
    };
    int ran = 0;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.defer(1s, chain::link, std::ref(scope), 1000, std::ref(ran));
      co_return;
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE(ended);
    REQUIRE(ran == 1001);
  });
}

TEST_CASE("a hundred thousand cleanups on one scope") {
  const std::size_t count = rota_test::scaled(100'000, 5'000, 20'000);
  run([&]() -> task<> {
    std::size_t ran = 0;
    const auto counts = [&]() -> task<> {
      ++ran;
      co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
      for (std::size_t i = 0; i != count; ++i) group.defer(1s, counts);
      co_return;
    };
    co_await rota::with_task_group(body);
    REQUIRE(ran == count);
  });
}

TEST_CASE("a scope that absorbs its own cancel does so after its cleanup, and an outer cancel meanwhile passes") {
  run([]() -> task<> {
    bool went_on = false;
    strings log;
    const auto outer_body = [&](cancel_scope& outer) -> task<> {
      const auto cleanup = [&]() -> task<> {
        outer.cancel();
        co_await rota::yield();
        log.emplace_back("cleanup");
      };
      const auto body = [&](cancel_scope& inner) -> task<> {
        inner.defer(1s, cleanup);
        inner.cancel();
        co_await rota::sleep_for(1h);
      };
      (void)co_await rota::with_cancel_scope(body);
      went_on = true;
    };
    const bool ended = co_await rota::with_cancel_scope(outer_body);
    REQUIRE_FALSE(ended);
    REQUIRE_FALSE(went_on);
    REQUIRE(log == strings{"cleanup"});
  });
}

TEST_CASE("a cleanup that throws something that is no std::exception") {
  run([]() -> task<> {
    const auto odd = []() -> task<> {
      throw 42;
      co_return;
    };
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.defer(1s, odd);
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_cancel_scope(body));
    REQUIRE(caught<int>(error) == 42);
  });
}

TEST_CASE("the loop's end runs the cleanup of what it cancels") {
  strings log;
  {
    rota::event_loop loop;
    const auto body = [&](task_group& group) -> task<> {
      group.defer(1s, say, std::ref(log), std::string("cleanup"));
      co_await rota::sleep_for(1h);
    };
    const auto opens_group = [&]() -> task<> { co_await rota::with_task_group(body); };
    const auto main = [&]() -> task<> {
      (void)rota::spawn(opens_group);
      co_await rota::sleep_for(0ms);
    };
    loop.run(main());
    REQUIRE(log.empty());
  }
  REQUIRE(log == strings{"cleanup"});
}
