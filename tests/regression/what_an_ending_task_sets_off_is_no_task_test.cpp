// Siblings that a failing task cancels, and the handler of an error that nobody retrieved, run user code while a task ends.
// this_task was the ended task there, whose fields hold something else by then: it read and wrote through them.
#include <rota/rota.hpp>
#include <rota/scope/stop_token.hpp>

#include <optional>
#include <stdexcept>
#include <stop_token>

#include "support/rota_test.hpp"

namespace {

using rota::task;
using kind = rota::usage_error::kind;
namespace this_task = rota::this_task;

int refused = 0;

void look() {
  CHECK(rota_test::usage_error_of([] { return this_task::is_cancelled(); }) == kind::no_task);
  CHECK(rota_test::usage_error_of([] { return this_task::deadline(); }) == kind::no_task);
  CHECK(rota_test::usage_error_of([] { return this_task::stop_token(); }) == kind::no_task);
  ++refused;
}

task<> fails() {
  co_await rota::yield();
  throw std::runtime_error("no luck");
}
task<int> wins() {
  co_await rota::yield();
  co_return 1;
}
task<> watches_its_token() {
  const std::stop_callback when_stopped(this_task::stop_token(), look);
  co_await rota::sleep_for(std::chrono::hours(1));
}
task<> waits_for_a_callback() {
  rota::callback<> kept;
  const auto keep = [&kept](rota::callback<> c) { kept = std::move(c); };
  const auto give_up = [&kept] {
    look();
    kept();
  };
  co_await rota::from_callback<>(keep).on_cancel(give_up);
}

}  // namespace

TEST_CASE("what a failing child sets off in its siblings is not run by a task") {
  refused = 0;
  rota::event_loop loop;
  const auto body = [](rota::task_group& group) -> task<> {
    (void)group.spawn(watches_its_token);
    (void)group.spawn(waits_for_a_callback);
    (void)group.spawn(fails);
    co_return;
  };
  const auto program = [&body]() -> task<> { co_await rota::with_task_group(body); };
  CHECK_THROWS_AS(loop.run(program()), rota::exception_group);
  CHECK(refused == 2);
}

TEST_CASE("what a winner sets off in the others is not run by a task") {
  refused = 0;
  rota::event_loop loop;
  const auto program = []() -> task<> {
    auto winner = wins();
    auto loser = watches_its_token();
    co_await rota::when_any(std::move(winner), std::move(loser));
  };
  loop.run(program());
  CHECK(refused == 1);
}

TEST_CASE("the handler of an error that nobody retrieved is not run by a task") {
  refused = 0;
  rota::event_loop loop;
  loop.set_exception_handler([](const rota::exception_context&) { look(); });
  const auto program = []() -> task<> {
    (void)rota::spawn(fails);
    for (int i = 0; i != 4; ++i) co_await rota::yield();
  };
  loop.run(program());
  CHECK(refused == 1);
}
