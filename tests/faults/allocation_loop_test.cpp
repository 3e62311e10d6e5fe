// Memory runs out at each allocation in turn: tasks, timeouts, futures, callbacks and the adapters.
#include "support/allocation_sweep.hpp"

#include <csignal>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <rota/adapt/guest_loop.hpp>
#include <rota/adapt/spawn_threadsafe.hpp>
#include <rota/rota.hpp>
#include <rota/scope/stop_token.hpp>

namespace {

using namespace std::chrono_literals;
using rota::event_loop;
using rota::task;
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
task<int> sleep_long(counted) {
  co_await rota::sleep_for(1h);
  co_return 0;
}
task<> fail(counted) {
  co_await rota::yield();
  throw std::runtime_error(long_text);
}
task<> settle() {
  for (int i = 0; i != 4; ++i) co_await rota::sleep_for(0ms);
}
/// An outcome that std::bad_alloc must not become.
void rethrow_memory(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
  }
}

const rota::task_local<counted> bound;
task<int> inheriting() {
  rota::join_handle<int> one = rota::spawn(leaf, counted(), bound.try_get() ? 1 : 100);
  const int n = co_await one;
  co_return n;
}

// A library that calls back when it is told to.
struct library {
  static inline std::optional<rota::callback<std::string>> waiting;
  static void start(rota::callback<std::string> done) { waiting = std::move(done); }
  static void finish() {
    if (waiting) (void)(*waiting)(long_text);
    waiting.reset();
  }
};

const scenario scenarios[] = {
    // ---- loops
    scenario("a loop is made and destroyed", [] { return event_loop().statistics().quiescent(); }),
    scenario("a loop in debug mode",
             [] {
               rota::event_loop_options options;
               options.debug = true;
               event_loop loop(options);
               return loop.run(leaf(counted(), 1)) == 1;
             })
        .may_succeed(),  // what debug mode notes about a task
    scenario("rota::run", [] { return rota::run(child(counted(), 1)) == 1; }),
    scenario("a loop is destroyed with tasks that wait",
             [] {
               event_loop loop;
               loop.run([]() -> task<> {
                 (void)rota::spawn(sleep_long, counted());
                 (void)rota::spawn(child, counted(), 1);
                 co_await rota::yield();
               }());
               return true;
             })
        .may_succeed(),
    scenario("guest_loop",
             [] {
               rota::guest_loop guest;
               auto handle = guest.spawn(child, counted(), 1);
               while (!handle.done()) guest.step();
               const int one = handle.result();
               return one == 1;
             })
        .needs_kernel(),

    // ---- tasks
    scenario("a task awaits a task",
             []() -> task<bool> {
               const int one = co_await child(counted(), 1);
               co_return one == 1;
             }),
    scenario("spawn and join",
             []() -> task<bool> {
               rota::join_handle<int> a = rota::spawn(child, counted(), 1);
               rota::join_handle<int> b = rota::spawn(leaf, counted(), 2);
               const int one = co_await a;
               const int two = co_await b;
               co_return one + two == 3;
             }),
    scenario("spawn of a closure that owns",
             []() -> task<bool> {
               const auto closure = [token = counted(), text = std::string(long_text)]() -> task<std::size_t> {
                 co_await rota::yield();
                 co_return text.size();
               };
               auto handle = rota::spawn(closure);
               const std::size_t size = co_await handle;
               co_return size == std::string(long_text).size();
             }),
    scenario("more tasks than the ready queue had room for",
             []() -> task<bool> {
               std::vector<rota::join_handle<int>> handles;
               for (int i = 0; i != 70; ++i) handles.push_back(rota::spawn(leaf, counted(), 1));
               int sum = 0;
               for (auto& handle : handles) {
                 const int one = co_await handle;
                 sum += one;
               }
               co_return sum == 70;
             }),
    scenario("a task whose handle is dropped fails",
             []() -> task<bool> {
               rota::spawn(fail, counted()).set_name(long_text);
               co_await settle();
               co_return true;
             })
        .may_succeed(),
    scenario("a task is cancelled for a reason",
             []() -> task<bool> {
               auto handle = rota::spawn(sleep_long, counted());
               co_await rota::yield();
               handle.cancel(long_text);
               const auto end = co_await rota::as_result(handle);
               co_return end.error() == rota::errc::task_cancelled;
             })
        .may_succeed(),
    scenario("this_task: name, id, stop_token",
             []() -> task<bool> {
               rota::this_task::set_name(long_text);
               const auto id = rota::this_task::id();
               const auto token = rota::this_task::stop_token();
               co_await rota::yield();
               co_return id != 0 && rota::this_task::name() == long_text && !token.stop_requested();
             }),
    scenario("task_local",
             []() -> task<bool> {
               const int one = co_await rota::with_value(bound, counted(), inheriting());
               co_return one == 1;
             }),
    scenario("as_result of an error",
             []() -> task<bool> {
               auto handle = rota::spawn(fail, counted());
               try {
                 (void)co_await rota::as_result(handle);
               } catch (const std::runtime_error&) {
                 co_return true;
               }
               co_return false;
             }),

    // ---- time and scopes
    scenario("sleeps",
             []() -> task<bool> {
               co_await rota::sleep_for(0ms);
               co_await rota::sleep_until(event_loop::current()->now());
               co_return true;
             }),
    scenario("timeout around a value",
             []() -> task<bool> {
               const int one = co_await rota::timeout(1h, child(counted(), 1));
               co_return one == 1;
             }),
    scenario("timeout that expires",
             []() -> task<bool> {
               const auto end = co_await rota::as_result(rota::timeout(0ms, sleep_long(counted())));
               co_return end.error() == rota::errc::timed_out;
             })
        .may_succeed(),
    scenario("move_on_after that expires",
             []() -> task<bool> {
               const auto none = co_await rota::move_on_after(0ms, sleep_long(counted()));
               co_return !none.has_value();
             })
        .may_succeed(),
    scenario("with_cancel_scope that is cancelled for a reason",
             []() -> task<bool> {
               const auto body = [](rota::cancel_scope& scope) -> task<int> {
                 scope.cancel(long_text);
                 co_return co_await leaf(counted(), 4);
               };
               const std::optional<int> none = co_await rota::with_cancel_scope(body);
               co_return !none;
             })
        .may_succeed(),
    scenario("shield",
             []() -> task<bool> {
               const int one = co_await rota::shield(1h, child(counted(), 1));
               co_return one == 1;
             }),

    // ---- futures
    scenario("promise and future",
             []() -> task<bool> {
               rota::promise<std::string> promise;
               auto future = promise.get_future();
               const auto set = [](rota::promise<std::string> p, counted) -> task<> {
                 co_await rota::yield();
                 p.set_value(long_text);
               };
               auto setter = rota::spawn(set, std::move(promise), counted());
               const std::string text = co_await future;
               co_await setter;
               co_return text == long_text;
             })
        .may_break_connections(),
    scenario("a shared future with two waiters",
             []() -> task<bool> {
               rota::promise<std::string> promise;
               auto future = promise.get_future().share();
               const auto wait = [](rota::shared_future<std::string> f, counted) -> task<bool> {
                 const std::string& text = co_await f;
                 co_return text == long_text;
               };
               auto first = rota::spawn(wait, future, counted());
               auto second = rota::spawn(wait, future, counted());
               co_await rota::yield();
               promise.set_value(long_text);
               const bool one = co_await first;
               const bool two = co_await second;
               co_return one&& two;
             }),
    scenario("a promise is set to an exception",
             []() -> task<bool> {
               rota::promise<int> promise;
               auto future = promise.get_future();
               promise.set_exception(std::make_exception_ptr(std::runtime_error(long_text)));
               try {
                 (void)co_await future;
               } catch (const std::runtime_error&) {
                 co_return true;
               }
               co_return false;
             }),

    // ---- callbacks
    scenario("call_soon, call_later, call_at",
             []() -> task<bool> {
               event_loop& loop = *event_loop::current();
               static int ran;  // callbacks outlive a scenario that fails
               ran = 0;
               const auto f = [](const counted&) { ++ran; };
               const rota::call_handle soon = loop.call_soon(f, counted());
               const rota::call_handle later = loop.call_later(0ms, f, counted());
               const rota::call_handle at = loop.call_at(loop.now(), f, counted());
               co_await settle();
               co_return ran == 3;
             }),
    scenario("call_soon_threadsafe, post, prepared_call",
             []() -> task<bool> {
               event_loop& loop = *event_loop::current();
               static int ran;
               ran = 0;
               loop.call_soon_threadsafe([token = counted()] { ++ran; });
               loop.post([token = counted()] { ++ran; });
               rota::prepared_call prepared([token = counted()] { ++ran; });
               loop.call_soon_threadsafe(prepared);
               co_await settle();
               co_return ran == 3;
             }),
    scenario("on_done",
             []() -> task<bool> {
               static int ran;
               ran = 0;
               auto handle = rota::spawn(leaf, counted(), 1);
               (void)handle.on_done([token = counted()] { ++ran; });
               co_await handle;
               co_await settle();
               co_return ran == 1;
             }),
    scenario("a callback throws, and an exception handler hears of it",
             []() -> task<bool> {
               event_loop& loop = *event_loop::current();
               static int heard;
               heard = 0;
               loop.set_exception_handler([token = counted()](const rota::exception_context&) { ++heard; });
               const rota::call_handle call = loop.call_soon([] { throw std::runtime_error(long_text); });
               co_await settle();
               loop.set_exception_handler(nullptr);
               co_return heard == 1;
             })
        .may_succeed(),
    scenario("add_reader and add_writer",
             []() -> task<bool> {
               event_loop& loop = *event_loop::current();
               static int reads, writes;
               reads = writes = 0;
               const rota_test::descriptor_pair ends = rota_test::make_socket_pair();
               const int fd = ends.first.get();
               const auto stop_reading = [&loop, fd, token = counted()] {
                 ++reads;
                 loop.remove_reader(fd);
               };
               const auto stop_writing = [&loop, fd, token = counted()] {
                 ++writes;
                 loop.remove_writer(fd);
               };
               std::exception_ptr error;
               try {
                 loop.add_reader(fd, stop_reading);
                 loop.add_writer(fd, stop_writing);
               } catch (...) {
                 error = std::current_exception();
               }
               rota_test::write_text(ends.second.get(), "x");
               for (int i = 0; i != 100 && !error && (reads == 0 || writes == 0); ++i) co_await rota::sleep_for(0ms);
               loop.remove_reader(fd);
               loop.remove_writer(fd);
               co_await settle();
               if (error) std::rethrow_exception(error);
               co_return reads == 1 && writes == 1;
             })
        .needs_kernel(),
    scenario("add_signal_handler",
             []() -> task<bool> {
               event_loop& loop = *event_loop::current();
               static int came;
               came = 0;
               loop.add_signal_handler(SIGUSR1, [token = counted()] { ++came; });
               ::raise(SIGUSR1);
               for (int i = 0; i != 100 && came == 0; ++i) co_await rota::sleep_for(0ms);
               loop.remove_signal_handler(SIGUSR1);
               co_await settle();
               co_return came == 1;
             })
        .needs_kernel(),

    // ---- adapters
    scenario("from_callback that is called at once",
             []() -> task<bool> {
               const auto now = [](rota::callback<std::string> done) { (void)done(long_text); };
               const std::string text = co_await rota::from_callback<std::string>(now);
               co_return text == long_text;
             }),
    scenario("from_callback that is called later",
             []() -> task<bool> {
               const auto finish = [](counted) -> task<> {
                 co_await rota::yield();
                 library::finish();
               };
               auto finisher = rota::spawn(finish, counted());
               const std::string text = co_await rota::from_callback<std::string>(&library::start);
               co_await finisher;
               co_return text == long_text;
             }),
    scenario("from_callback for a C library",
             []() -> task<bool> {
               static void* data;
               const auto start = [](rota::callback<int> done) { data = done.to_user_data(); };
               const auto finish = [](counted) -> task<> {
                 co_await rota::yield();
                 rota::callback<int>::from_user_data(data)(1);
               };
               auto finisher = rota::spawn(finish, counted());
               const int one = co_await rota::from_callback<int>(start);
               co_await finisher;
               co_return one == 1;
             }),
    scenario("from_callback that is cancelled",
             []() -> task<bool> {
               const auto none = co_await rota::move_on_after(0ms, rota::from_callback<std::string>(&library::start));
               library::finish();
               co_return !none.has_value();
             })
        .may_succeed(),
    scenario("callback_stream",
             []() -> task<bool> {
               rota::callback_stream<std::string> stream(2, rota::when_full::refuse);
               const auto push = [](rota::callback_stream<std::string>& to, counted) -> task<> {
                 for (int i = 0; i != 3; ++i) {
                   (void)to.push(long_text);
                   co_await rota::yield();
                 }
                 to.close();
               };
               auto pusher = rota::spawn(push, std::ref(stream), counted());
               int items = 0;
               for (;;) {
                 // A pusher that found no memory never closes the stream.
                 if (pusher.done()) stream.close();
                 const auto item = co_await rota::move_on_after(10ms, stream.next());
                 if (!item && !pusher.done()) continue;
                 if (!item || !*item) break;
                 ++items;
               }
               co_await pusher;
               co_return items == 3;
             }),
    scenario("start with three callbacks",
             []() -> task<bool> {
               static int value, others;
               value = others = 0;
               (void)rota::start(
                   child(counted(), 1), [token = counted()](int n) { value = n; },
                   [token = counted()](std::exception_ptr error) {
                     ++others;
                     rethrow_memory(error);
                   },
                   [token = counted()] { ++others; });
               co_await settle();
               co_return value + others == 1;
             })
        .may_succeed(),
    scenario("spawn_threadsafe",
             []() -> task<bool> {
               auto future = rota::spawn_threadsafe(*event_loop::current(), child, counted(), 1);
               const int one = co_await rota::as_awaitable(std::move(future));
               co_return one == 1;
             }),
    scenario("as_awaitable of a future of the standard",
             []() -> task<bool> {
               std::promise<std::string> promise;
               auto future = promise.get_future();
               promise.set_value(long_text);
               const std::string text = co_await rota::as_awaitable(std::move(future));
               co_return text == long_text;
             }),
};

}  // namespace

TEST_CASE("the injector fails the first allocation, the n-th, and all from there on") {
  if (rota_test::under_tsan) {
    SKIP("operator new cannot be replaced here");
  }
  using rota_test::allocations_left;
  const auto failing = [](long n, bool once, int attempts) {
    std::string failed;
    rota_test::fails_once = once;
    allocations_left = n;
    for (int i = 0; i != attempts; ++i) {
      char mark = '-';
      try {
        ::operator delete(::operator new(1));  // clang leaves out a new and its delete
      } catch (const std::bad_alloc&) {
        mark = 'X';
      }
      failed += mark;  // fits without memory
    }
    allocations_left = -1;
    rota_test::no_memory = false;
    rota_test::fails_once = true;
    return failed;
  };
  CHECK(failing(0, true, 4) == "X---");
  CHECK(failing(2, true, 4) == "--X-");
  CHECK(failing(1, false, 4) == "-XXX");
  CHECK(failing(-1, true, 4) == "----");
  const long before = rota_test::live_blocks;
  void* const one = ::operator new(1);
  CHECK(rota_test::live_blocks == before + 1);
  ::operator delete(one);
  CHECK(rota_test::live_blocks == before);
}

TEST_CASE("whichever allocation of a loop, a task or a callback fails, it is refused and nothing is left of it") {
  if (rota_test::under_tsan) {
    SKIP("operator new cannot be replaced here");
  }
  rota_test::sweep_allocations(scenarios);
}
