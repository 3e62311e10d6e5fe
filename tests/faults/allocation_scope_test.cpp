// Memory runs out at each allocation in turn, in groups, combinators and cleanup: nothing lost, everyone joined, no cleanup
// left out.
#include "support/allocation_sweep.hpp"

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <rota/rota.hpp>

#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota::task_group;
using rota::task_status;
using rota_test::counted;
using rota_test::scenario;

constexpr const char* long_text = "a text that is too long for the small buffer of a string";

task<int> leaf(counted, int n) {
  co_await rota::yield();
  co_return n;
}
task<int> child(const counted& by_reference, int n) {
  const counted local(by_reference);
  const int value = co_await leaf(counted(), n);
  co_return value;
}
task<> service(task_status<std::string> status, counted) {
  co_await rota::yield();
  status.started(long_text);
  co_await rota::yield();
}
task<int> fail(counted, int yields) {
  for (int i = 0; i != yields; ++i) co_await rota::yield();
  throw std::runtime_error(long_text);
}
task<int> fail_when_cancelled(counted) {
  try {
    co_await rota::sleep_for(1h);
  } catch (const rota::cancelled&) {
  }
  throw std::runtime_error(long_text);
}
task<int> sleep_long(counted) {
  co_await rota::sleep_for(1h);
  co_return 0;
}
rota::join_handle<int> spawn_leaf(int n) { return rota::spawn(leaf, counted(), n); }

// Rethrows an error that memory had to do with; else says whether it is a group of `count` failures. One of them may have
// become a report for want of memory.
bool has_failures(const std::exception_ptr& error, std::size_t count) {
  try {
    std::rethrow_exception(error);
  } catch (const rota::exception_group& group) {
    if (group.find<std::bad_alloc>()) throw;
    const std::size_t found = group.flatten().size();
    return found == count || found + 1 == count;
  }
}

// How often something was to be done at the end, and was.
struct cleanups {
  static inline int asked = 0, done = 0;
  // (Without any memory to the end no cleanup has a frame.)
  static bool all_but(int missing) { return done >= asked - missing || !rota_test::fails_once; }
  static void begin() { asked = done = 0; }
};
task<> cleanup(counted) {
  ++cleanups::done;
  co_await rota::yield();
}
struct resource {
  static task<> let_go() { co_await rota::yield(); }
  task<> close() {
    ++cleanups::done;  // not in a coroutine, which would need a frame
    return let_go();
  }
  counted token;
};

const scenario scenarios[] = {
    // ---- groups
    scenario("a group with children",
             []() -> task<bool> {
               const auto body = [](task_group& group) -> task<int> {
                 rota::join_handle<int> one = group.spawn(child, counted(), 1);
                 (void)group.spawn(leaf, counted(), 2);
                 rota::join_handle<int> three = group.spawn(leaf, counted(), 3);
                 const int first = co_await one;
                 const int third = co_await three;
                 co_return first + third;
               };
               const int four = co_await rota::with_task_group(body);
               co_return four == 4;
             }),
    scenario("a child spawns into its group",
             []() -> task<bool> {
               int sum = 0;
               const auto body = [&sum](task_group& group) -> task<> {
                 const auto spawner = [&](counted) -> task<> {
                   rota::join_handle<int> one = group.spawn(leaf, counted(), 1);
                   sum += co_await one;
                 };
                 (void)group.spawn(spawner, counted());
                 co_await rota::yield();
               };
               co_await rota::with_task_group(body);
               co_return sum == 1;
             }),
    scenario("a group in a group",
             []() -> task<bool> {
               const auto inner = [](task_group& group) -> task<int> {
                 rota::join_handle<int> one = group.spawn(leaf, counted(), 1);
                 const int n = co_await one;
                 co_return n;
               };
               const auto outer = [&](task_group& group) -> task<int> {
                 (void)group.spawn(leaf, counted(), 2);
                 const int n = co_await rota::with_task_group(inner);
                 co_return n;
               };
               const int one = co_await rota::with_task_group(outer);
               co_return one == 1;
             }),
    scenario("start",
             []() -> task<bool> {
               const auto body = [](task_group& group) -> task<bool> {
                 (void)group.spawn(leaf, counted(), 1);
                 const std::string text = co_await group.start(service, counted());
                 co_return text == long_text;
               };
               const bool right = co_await rota::with_task_group(body);
               co_return right;
             }),
    scenario("start from another task of the loop",
             []() -> task<bool> {
               rota::join_handle<> outsider;
               const auto body = [&](task_group& group) -> task<> {
                 const auto starts = [&group]() -> task<> { (void)co_await group.start(service, counted()); };
                 outsider = rota::spawn(starts);
                 co_await rota::yield();
               };
               co_await rota::with_task_group(body);
               co_await outsider;
               co_return true;
             }),
    scenario("start of a task that fails first",
             []() -> task<bool> {
               const auto fails = [](task_status<int>, counted) -> task<> {
                 co_await rota::yield();
                 throw std::runtime_error(long_text);
               };
               const auto body = [&](task_group& group) -> task<> { (void)co_await group.start(fails, counted()); };
               const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
               co_return has_failures(error, 1);
             }),
    scenario("a child fails, the others are cancelled",
             []() -> task<bool> {
               const auto body = [](task_group& group) -> task<> {
                 (void)group.spawn(sleep_long, counted());
                 (void)group.spawn(fail, counted(), 1);
                 co_await rota::sleep_for(1h);
               };
               const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
               co_return has_failures(error, 1);
             })
        .may_succeed(),
    scenario("everyone fails",
             []() -> task<bool> {
               const auto body = [](task_group& group) -> task<> {
                 for (int i = 0; i != 3; ++i) (void)group.spawn(fail_when_cancelled, counted());
                 (void)co_await fail(counted(), 2);
               };
               const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
               co_return has_failures(error, 4);
             })
        .may_succeed(),
    scenario("a group is cancelled for a reason",
             []() -> task<bool> {
               const auto body = [](task_group& group) -> task<> {
                 (void)group.spawn(sleep_long, counted());
                 co_await rota::yield();
                 group.cancel(long_text);
                 co_await rota::sleep_for(1h);
               };
               co_await rota::with_task_group(body);
               co_return true;
             })
        .may_succeed(),
    scenario("a group runs into a time limit",
             []() -> task<bool> {
               const auto body = [](task_group& group) -> task<> {
                 (void)group.spawn(sleep_long, counted());
                 co_await rota::sleep_for(1h);
               };
               const bool in_time = co_await rota::move_on_after(0ms, rota::with_task_group(body));
               co_return !in_time;
             })
        .may_succeed(),

    // ---- cleanup
    scenario("deferred cleanups of a group that fails",
             []() -> task<bool> {
               if (!cleanups::all_but(1)) co_return false;  // in the run before; one may have found no memory
               cleanups::begin();
               const auto body = [](task_group& group) -> task<> {
                 for (int i = 0; i != 3; ++i) {
                   group.defer(1s, cleanup, counted());
                   ++cleanups::asked;
                 }
                 (void)group.spawn(fail, counted(), 1);
                 co_await rota::sleep_for(1h);
               };
               const std::exception_ptr error = co_await rota_test::exception_of(rota::with_task_group(body));
               co_return has_failures(error, 1);
             })
        .may_succeed(),
    scenario("deferred cleanups of a scope",
             []() -> task<bool> {
               cleanups::begin();
               const auto body = [](rota::cancel_scope& scope) -> task<> {
                 for (int i = 0; i != 2; ++i) {
                   scope.defer(1s, cleanup, counted());
                   ++cleanups::asked;
                 }
                 co_await rota::yield();
               };
               co_await rota::with_cancel_scope(body);
               co_return cleanups::done == 2;
             }),
    scenario("with",
             []() -> task<bool> {
               if (!cleanups::all_but(0)) co_return false;  // in the run before: what was opened was closed
               cleanups::begin();
               const auto body = [](resource&) -> task<int> {
                 ++cleanups::asked;
                 const int one = co_await leaf(counted(), 1);
                 co_return one;
               };
               const int one = co_await rota::with(1s, resource(), body);
               co_return one == 1 && cleanups::done == 1;
             }),
    scenario("with, whose body fails",
             []() -> task<bool> {
               cleanups::begin();
               const auto body = [](resource&) -> task<int> {
                 ++cleanups::asked;
                 const int none = co_await fail(counted(), 1);
                 co_return none;
               };
               const std::exception_ptr error = co_await rota_test::exception_of(rota::with(1s, resource(), body));
               if (!cleanups::all_but(0)) co_return false;
               try {
                 std::rethrow_exception(error);
               } catch (const std::runtime_error&) {
                 co_return true;
               }
             })
        .may_succeed(),

    // ---- combinators
    scenario("when_all of several",
             []() -> task<bool> {
               const auto function = [] { return leaf(counted(), 3); };
               const auto some =
                   co_await rota::when_all(child(counted(), 1), rota::yield(), leaf(counted(), 2), function);
               co_return std::get<0>(some) + std::get<2>(some) + std::get<3>(some) == 6;
             }),
    scenario("when_all of a range",
             []() -> task<bool> {
               std::vector<task<int>> tasks;
               for (int i = 0; i != 3; ++i) tasks.push_back(leaf(counted(), i));
               const std::vector<int> range = co_await rota::when_all(std::move(tasks));
               co_return range == std::vector<int>{0, 1, 2};
             }),
    scenario("when_all, of which one fails",
             []() -> task<bool> {
               const std::exception_ptr error = co_await rota_test::exception_of(
                   rota::when_all(sleep_long(counted()), fail(counted(), 1), leaf(counted(), 2)));
               co_return rota_test::text_of(error).find("too long") != std::string::npos || has_failures(error, 1);
             })
        .may_succeed(),
    scenario("when_any",
             []() -> task<bool> {
               const auto first =
                   co_await rota::when_any(sleep_long(counted()), fail(counted(), 0), leaf(counted(), 2));
               co_return first.value == 2;
             })
        .may_succeed(),  // a child that finds no memory may lose to one that does well
    scenario("when_any, of which all fail",
             []() -> task<bool> {
               const std::exception_ptr error =
                   co_await rota_test::exception_of(rota::when_any(fail(counted(), 0), fail(counted(), 1)));
               co_return has_failures(error, 2);
             })
        .may_succeed(),
    scenario("race",
             []() -> task<bool> {
               std::vector<task<int>> tasks;
               tasks.push_back(sleep_long(counted()));
               tasks.push_back(leaf(counted(), 3));
               const auto racing = co_await rota::race(std::move(tasks));
               co_return racing.value == 3;
             })
        .may_succeed(),
    scenario("gather of several",
             []() -> task<bool> {
               const auto both = co_await rota::gather(spawn_leaf(1), spawn_leaf(2));
               co_return std::get<0>(both) + std::get<1>(both) == 3;
             }),
    scenario("gather of a range, twice",
             []() -> task<bool> {
               std::vector<rota::join_handle<int>> handles;
               for (int i = 0; i != 3; ++i) handles.push_back(spawn_leaf(i));
               const std::vector<int> values = co_await rota::gather(handles);
               const auto outcomes = co_await rota::gather(rota::return_exceptions, handles);
               co_return values[2] == 2 && outcomes[2].value() == 2;
             }),
    scenario("wait",
             []() -> task<bool> {
               std::vector<rota::join_handle<int>> handles;
               for (int i = 0; i != 3; ++i) handles.push_back(spawn_leaf(i));
               auto waited = co_await rota::wait(handles, rota::wait_until::all_completed, 1h);
               co_return waited.done.size() == 3;
             }),
    scenario("as_completed",
             []() -> task<bool> {
               std::vector<rota::join_handle<int>> handles;
               for (int i = 0; i != 3; ++i) handles.push_back(spawn_leaf(i));
               auto completions = rota::as_completed(std::move(handles));
               int sum = 0;
               for (;;) {
                 auto handle = co_await completions.next();
                 if (!handle) break;
                 sum += handle->result();
               }
               co_return sum == 3;
             }),
    scenario("nested combinators under a timeout",
             []() -> task<bool> {
               const auto inner = [] { return rota::when_all(child(counted(), 1), leaf(counted(), 2)); };
               const auto racing =
                   co_await rota::timeout(1h, rota::when_any(sleep_long(counted()), leaf(counted(), 3)));
               const auto both = co_await rota::timeout(1h, inner());
               co_return racing.value + std::get<0>(both) == 4;
             })
        .may_succeed(),
};

}  // namespace

TEST_CASE("whichever allocation of a group, a combinator or a cleanup fails, everyone is joined and nothing is left") {
  if (rota_test::under_tsan) {
    SKIP("operator new cannot be replaced here");
  }
  rota_test::sweep_allocations(scenarios);
}
