// Scopes: who is cancelled, how often, by whom, and where it ends. Rules R2 and R3.
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::cancel_scope;
using rota::task;
using rota_test::manual_loop;
using rota_test::number_after;
using rota_test::run;

task<> forever() {
  for (;;) co_await rota::sleep_for(1h);
}

// What a suspended task saw of a cancel.
struct seen {
  int times = 0;
  std::string reason;
  rota::cancel_kind kind = rota::cancel_kind::sibling;
  unsigned line = 0;
};
// Sleeps, notes the cancel that ends it, and lets it pass.
task<> note_cancel(seen& out) {
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled& c) {
    ++out.times;
    out.reason = c.reason();
    out.kind = c.kind();
    out.line = c.where().line();
    throw;
  }
}

}  // namespace

TEST_CASE("a scope that nobody cancels gives its body's value") {
  run([]() -> task<> {
    const auto body = [](cancel_scope& scope) -> task<int> {
      REQUIRE_FALSE(scope.cancel_requested());
      co_await rota::yield();
      co_return 5;
    };
    const std::optional<int> value = co_await rota::with_cancel_scope(body);
    REQUIRE(value == 5);
    const auto nothing = [](cancel_scope&) -> task<> { co_return; };
    const bool ended = co_await rota::with_cancel_scope(nothing);
    REQUIRE(ended);
  });
}

TEST_CASE("a scope that its body cancels gives nothing") {
  run([]() -> task<> {
    bool reached = false;
    const auto body = [&](cancel_scope& scope) -> task<int> {
      scope.cancel("done with it");
      REQUIRE(scope.cancel_requested());
      co_await rota::yield();
      reached = true;
      co_return 5;
    };
    const std::optional<int> value = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(value.has_value());
    const auto nothing = [](cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await rota::sleep_for(1h);
    };
    const bool ended = co_await rota::with_cancel_scope(nothing);
    REQUIRE_FALSE(ended);
    REQUIRE_FALSE(reached);
    co_await rota::yield();  // the cancel went no further
  });
}

TEST_CASE("the value of a body that does not suspend any more beats the cancel") {
  run([]() -> task<> {
    const auto body = [](cancel_scope& scope) -> task<int> {
      scope.cancel();
      co_return 5;
    };
    const std::optional<int> value = co_await rota::with_cancel_scope(body);
    REQUIRE(value == 5);
  });
}

TEST_CASE("an exception of the body passes a cancelled scope") {
  run([]() -> task<> {
    const auto body = [](cancel_scope& scope) -> task<int> {
      scope.cancel();
      throw std::runtime_error("own");
      co_return 5;
    };
    std::string caught;
    try {
      (void)co_await rota::with_cancel_scope(body);
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    REQUIRE(caught == "own");
  });
}

TEST_CASE("a body that throws before it makes a task leaves no open scope") {
  run([]() -> task<> {
    const auto body = [](cancel_scope&) -> task<int> { throw std::runtime_error("no task"); };
    bool thrown = false;
    try {
      (void)co_await rota::with_cancel_scope(body);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    REQUIRE(thrown);
    const auto fine = [](cancel_scope&) -> task<int> { co_return 1; };
    const std::optional<int> value = co_await rota::with_cancel_scope(fine);
    REQUIRE(value == 1);
  });
}

TEST_CASE("in a cancelled scope every suspension throws, again and again") {
  run([]() -> task<> {
    int thrown = 0;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel();
      for (int i = 0; i != 4; ++i) {
        try {
          if (i % 2 == 0)
            co_await rota::yield();
          else
            co_await rota::sleep_for(0ms);
        } catch (const rota::cancelled&) {
          ++thrown;
        }
      }
      co_await rota::sleep_for(1h);
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(thrown == 4);
  });
}

TEST_CASE("catching std::exception does not swallow a cancel") {
  run([]() -> task<> {
    bool swallowed = false;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel();
      try {
        co_await rota::sleep_for(1h);
      } catch (const std::exception&) {
        swallowed = true;
      }
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE_FALSE(swallowed);
  });
}

TEST_CASE("awaiting a task in a cancelled scope runs it up to its first suspension") {
  run([]() -> task<> {
    bool started = false;
    bool went_on = false;
    const auto child = [&]() -> task<> {
      started = true;
      co_await rota::yield();
      went_on = true;
    };
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await child();
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(started);
    REQUIRE_FALSE(went_on);
  });
}

TEST_CASE("a scope can be cancelled from another task, and says why and where") {
  run([]() -> task<> {
    seen saw;
    unsigned line = 0;
    const auto body = [&](cancel_scope& scope) -> task<> {
      const auto canceller = [&](cancel_scope& target) -> task<> {
        target.cancel("from outside");
        line = __LINE__ - 1;
        co_return;
      };
      (void)rota::spawn(canceller, std::ref(scope));
      co_await note_cancel(saw);
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(saw.times == 1);
    REQUIRE(saw.reason == "from outside");
    REQUIRE(saw.kind == rota::cancel_kind::requested);
    REQUIRE(saw.line == line);
  });
}

TEST_CASE("the first cancel of a scope is the one that counts") {
  run([]() -> task<> {
    seen saw;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel("first");
      scope.cancel("second");
      co_await note_cancel(saw);
    };
    (void)co_await rota::with_cancel_scope(body);
    REQUIRE(saw.reason == "first");
  });
}

TEST_CASE("the reason is copied") {
  run([]() -> task<> {
    seen saw;
    const auto body = [&](cancel_scope& scope) -> task<> {
      {
        std::string reason = "a reason that is too long for the small buffer of a string";
        scope.cancel(reason);
        reason.assign(reason.size(), 'x');
      }
      co_await note_cancel(saw);
    };
    (void)co_await rota::with_cancel_scope(body);
    REQUIRE(saw.reason == "a reason that is too long for the small buffer of a string");
  });
}

TEST_CASE("a cancelled exception outlives the scope that it tells of") {
  run([]() -> task<> {
    std::optional<rota::cancelled> kept;
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.cancel("remembered");
      try {
        co_await rota::yield();
      } catch (const rota::cancelled& c) {
        kept = c;
        throw;
      }
    };
    (void)co_await rota::with_cancel_scope(body);
    const rota::cancelled copy = *kept;
    kept.reset();
    REQUIRE(copy.reason() == "remembered");
  });
}

TEST_CASE("cancelling an inner scope leaves the outer one alone") {
  run([]() -> task<> {
    const auto inner = [](cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await rota::yield();
    };
    const auto outer = [&](cancel_scope&) -> task<int> {
      const bool ended = co_await rota::with_cancel_scope(inner);
      REQUIRE_FALSE(ended);
      co_await rota::yield();
      co_return 1;
    };
    const std::optional<int> value = co_await rota::with_cancel_scope(outer);
    REQUIRE(value == 1);
  });
}

TEST_CASE("cancelling an outer scope passes through the inner one") {
  run([]() -> task<> {
    bool after_inner = false;
    seen saw;
    const auto outer = [&](cancel_scope& out) -> task<int> {
      const auto inner = [&](cancel_scope&) -> task<> {
        out.cancel("outer");
        co_await note_cancel(saw);
      };
      (void)co_await rota::with_cancel_scope(inner);
      after_inner = true;
      co_return 1;
    };
    const std::optional<int> value = co_await rota::with_cancel_scope(outer);
    REQUIRE_FALSE(value.has_value());
    REQUIRE_FALSE(after_inner);
    REQUIRE(saw.reason == "outer");
  });
}

TEST_CASE("when both scopes are cancelled the outermost wins, in either order") {
  run([]() -> task<> {
    for (const bool inner_first : {true, false}) {
      seen saw;
      bool after_inner = false;
      const auto outer = [&](cancel_scope& out) -> task<int> {
        const auto inner = [&](cancel_scope& in) -> task<> {
          if (inner_first) in.cancel("inner");
          out.cancel("outer");
          in.cancel("inner");
          co_await note_cancel(saw);
        };
        (void)co_await rota::with_cancel_scope(inner);
        after_inner = true;
        co_return 1;
      };
      const std::optional<int> value = co_await rota::with_cancel_scope(outer);
      REQUIRE_FALSE(value.has_value());
      REQUIRE_FALSE(after_inner);
      REQUIRE(saw.times == 1);
      REQUIRE(saw.reason == "outer");
    }
  });
}

TEST_CASE("a handle's cancel passes through the scopes of its task") {
  run([]() -> task<> {
    seen saw;
    bool after = false;
    const auto body = [&]() -> task<> {
      const auto inner = [&](cancel_scope&) -> task<> { co_await note_cancel(saw); };
      (void)co_await rota::with_cancel_scope(inner);
      after = true;
    };
    rota::join_handle<> handle = rota::spawn(body);
    co_await rota::yield();
    handle.cancel("whole task");
    co_await rota::yield();
    co_await rota::yield();
    REQUIRE(handle.cancelled());
    REQUIRE_FALSE(after);
    REQUIRE(saw.reason == "whole task");
  });
}

TEST_CASE("a spawned task is not in the scope of who spawned it") {
  run([]() -> task<> {
    rota::join_handle<int> handle;
    const auto body = [&](cancel_scope& scope) -> task<> {
      handle = rota::spawn(number_after, rota::duration(1ms), 4);
      scope.cancel();
      co_await rota::yield();
    };
    (void)co_await rota::with_cancel_scope(body);
    const int n = co_await handle;
    REQUIRE(n == 4);
  });
}

TEST_CASE("joining a cancelled task is an error of the joiner's, not its own cancel") {
  run([]() -> task<> {
    rota::join_handle<> worker = rota::spawn(forever);
    co_await rota::yield();
    worker.cancel();
    std::error_code code;
    const auto body = [&](cancel_scope&) -> task<> { co_await worker; };
    try {
      (void)co_await rota::with_cancel_scope(body);
    } catch (const std::system_error& error) {
      code = error.code();
    }
    REQUIRE(code == rota::errc::task_cancelled);
  });
}

TEST_CASE("a deadline cancels the scope at its very instant") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    seen saw;
    const auto body = [&](cancel_scope& scope) -> task<> {
      REQUIRE(scope.deadline() == rota::time_point::max());
      scope.set_deadline(loop.loop().now() + 5ms);
      REQUIRE(scope.deadline() == loop.loop().now() + 5ms);
      co_await note_cancel(saw);
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(loop.elapsed() == 5ms);
    REQUIRE(saw.kind == rota::cancel_kind::deadline);
  }(m));
  REQUIRE(m.loop().statistics().quiescent());
}

TEST_CASE("a deadline can be moved later, earlier, and taken away") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto start = loop.loop().now();
    const auto later = [&](cancel_scope& scope) -> task<> {
      scope.set_deadline(start + 5ms);
      co_await rota::sleep_for(3ms);
      scope.set_deadline(start + 20ms);
      co_await rota::sleep_for(1h);
    };
    (void)co_await rota::with_cancel_scope(later);
    REQUIRE(loop.elapsed() == 20ms);
    const auto earlier = [&](cancel_scope& scope) -> task<> {
      scope.set_deadline(start + 1h);
      scope.set_deadline(start + 25ms);
      co_await rota::sleep_for(1h);
    };
    (void)co_await rota::with_cancel_scope(earlier);
    REQUIRE(loop.elapsed() == 25ms);
    const auto none = [&](cancel_scope& scope) -> task<> {
      scope.set_deadline(start + 30ms);
      scope.set_deadline(rota::time_point::max());
      co_await rota::sleep_for(100ms);
    };
    const bool ended = co_await rota::with_cancel_scope(none);
    REQUIRE(ended);
    REQUIRE(loop.elapsed() == 125ms);
  }(m));
  REQUIRE(m.loop().statistics().quiescent());
}

TEST_CASE("a deadline may be set by another task, while the scope's own task sleeps") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto body = [&](cancel_scope& scope) -> task<> {
      const auto other = [&](cancel_scope& target) -> task<> {
        co_await rota::sleep_for(2ms);
        target.set_deadline(loop.loop().now() + 3ms);
      };
      (void)rota::spawn(other, std::ref(scope));
      co_await rota::sleep_for(1h);
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(loop.elapsed() == 5ms);
  }(m));
}

TEST_CASE("a deadline in the past cancels the next suspension that lasts") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.set_deadline(loop.loop().now() - 1s);
      co_await rota::sleep_for(1h);
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(loop.elapsed() == 0ms);
  }(m));
}

TEST_CASE("a scope that ended has taken its deadline with it") {
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    const auto body = [&](cancel_scope& scope) -> task<> {
      scope.set_deadline(loop.loop().now() + 1ms);
      co_return;
    };
    (void)co_await rota::with_cancel_scope(body);
    REQUIRE(loop.loop().statistics().timers == 0);
    co_await rota::sleep_for(5ms);
  }(m));
}

TEST_CASE("a scope ends with its await, not with the full expression around it") {
  // The second await stands in the same full expression as the first one's awaiter.
  manual_loop m;
  m.run([](manual_loop& loop) -> task<> {
    cancel_scope* leaked = nullptr;
    const auto first = [&](cancel_scope& scope) -> task<int> {
      scope.set_deadline(loop.loop().now() + 1ms);
      leaked = &scope;
      co_return 1;
    };
    const auto second = [](std::optional<int> n) -> task<int> {
      co_await rota::sleep_for(10ms);
      co_return *n + 1;
    };
    const int two = co_await second(co_await rota::with_cancel_scope(first));
    REQUIRE(two == 2);
    REQUIRE(loop.elapsed() == 10ms);
  }(m));
}

TEST_CASE("two tasks with scopes of their own are cancelled apart") {
  run([]() -> task<> {
    std::vector<cancel_scope*> scopes(2, nullptr);
    std::vector<bool> ended(2, true);
    const auto worker = [&](std::size_t i) -> task<> {
      const auto body = [&](cancel_scope& scope) -> task<> {
        scopes[i] = &scope;
        co_await rota::sleep_for(5ms);
      };
      const bool normally = co_await rota::with_cancel_scope(body);
      ended[i] = normally;
    };
    rota::join_handle<> a = rota::spawn(worker, std::size_t{0});
    rota::join_handle<> b = rota::spawn(worker, std::size_t{1});
    co_await rota::yield();
    scopes[1]->cancel();
    co_await a;
    co_await b;
    REQUIRE(ended[0]);
    REQUIRE_FALSE(ended[1]);
  });
}

TEST_CASE("a hundred nested scopes, cancelled in the middle") {
  struct nest {
    static task<int> down(int depth, int cancel_at, std::vector<cancel_scope*>& open) {
      if (depth == 100) {
        open[static_cast<std::size_t>(cancel_at)]->cancel();
        co_await rota::sleep_for(1h);
        co_return 0;
      }
      const auto body = [&](cancel_scope& scope) -> task<int> {
        open.push_back(&scope);
        co_return co_await down(depth + 1, cancel_at, open);
      };
      const std::optional<int> below = co_await rota::with_cancel_scope(body);
      open.pop_back();
      if (!below) co_return depth;  // this scope absorbed the cancel
      co_return *below;
    }
  };
  run([]() -> task<> {
    for (const int at : {0, 50, 99}) {
      std::vector<cancel_scope*> open;
      const int absorbed_by = co_await nest::down(0, at, open);
      REQUIRE(absorbed_by == at);
    }
  });
}

TEST_CASE("a scope in a loop a hundred thousand times") {
  const std::size_t times = rota_test::scaled(100'000, 20'000, 50'000);
  run([&]() -> task<> {
    const auto body = [](cancel_scope&) -> task<int> { co_return 1; };
    std::size_t n = 0;
    for (std::size_t i = 0; i != times; ++i) {
      const std::optional<int> one = co_await rota::with_cancel_scope(body);
      n += static_cast<std::size_t>(*one);
    }
    REQUIRE(n == times);
  });
}
