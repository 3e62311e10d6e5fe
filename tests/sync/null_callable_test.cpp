// What is called later is looked at where it is given.
#include <rota/rota.hpp>

#include <functional>

#include "support/rota_test.hpp"

using rota::task;
using namespace rota_test;
using kind = rota::usage_error::kind;

TEST_CASE("once, a condition's wait and a watch refuse a callable that is empty, where it is given") {
  run([]() -> task<> {
    rota::once o;
    std::function<task<>()> nothing;
    void (*null)() = nullptr;
    REQUIRE(usage_error_of([&] { (void)o.call(nothing).valid(); }) == kind::invalid_argument);
    REQUIRE(usage_error_of([&] { (void)o.call(null).valid(); }) == kind::invalid_argument);
    REQUIRE(!o.is_done());

    rota::mutex m;
    rota::condition_variable c;
    auto guard = co_await m.lock();
    bool (*no_condition)() = nullptr;
    REQUIRE(usage_error_of([&] { (void)c.wait(guard, no_condition).valid(); }) == kind::invalid_argument);
    REQUIRE(guard);

    auto [tx, rx] = rota::watch<int>(1);
    const std::function<void(int&)> no_change;
    bool (*no_decision)(int&) = nullptr;
    REQUIRE(usage_error_of([&] { tx.modify(no_change); }) == kind::invalid_argument);
    REQUIRE(usage_error_of([&] { (void)tx.modify_if(no_decision); }) == kind::invalid_argument);
    REQUIRE(!rx.has_changed());
  });
}
