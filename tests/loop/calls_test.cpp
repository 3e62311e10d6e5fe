// call_soon, call_soon_threadsafe, call_later, call_at: their order, their handles, and what goes wrong.
#include <rota/loop/calls.hpp>

#include <signal.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/rota_test.hpp"
#include "support/sockets.hpp"

namespace {

using namespace std::chrono_literals;
using rota::task;
using rota_test::captured_reports;

/// Runs what is ready now, and what is due.
void run_once(rota::event_loop& loop) {
  loop.stop();
  loop.run();
}

// How many of them live.
struct counted {
  static inline std::atomic<int> alive{0};
  counted() noexcept { ++alive; }
  counted(const counted&) noexcept { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
};

struct ticker {
  int ticks = 0;
  void tick(int n) { ticks += n; }
};

}  // namespace

// ---- order --------------------------------------------------------------------------------------------------------------

// The string is what asyncio of CPython 3.11.7 gives for the same program.
TEST_CASE("callbacks, watches, timers and tasks run in asyncio's order") {
  rota::event_loop loop;
  std::string log;
  const auto note = [&log](char c) { log += c; };
  const rota_test::descriptor_pair pipe = rota_test::make_pipe();
  rota_test::write_text(pipe.second.get(), "x");
  int reads = 0;
  const auto read = [&] {
    log += 'R';
    if (++reads == 3) loop.remove_reader(pipe.first.get());
    loop.call_soon(note, 'r');
  };
  const auto second = [&] {
    log += 'a';
    loop.call_later(0ms, note, 't');
    loop.call_soon([&] {
      log += '3';
      loop.call_soon(note, '4');
    });
  };
  const auto first = [&] {
    log += 'A';
    loop.call_soon(second);
    loop.call_later(0ms, note, 'T');
    loop.call_later(-1s, note, 'N');
    loop.call_soon_threadsafe(note, 'S');
    loop.call_soon(note, 'U');
  };
  const auto child = [&]() -> task<> {
    log += 'x';
    co_await rota::yield();
    log += 'y';
    co_await rota::yield();
    log += 'z';
  };
  const auto body = [&]() -> task<> {
    log += 'M';
    loop.add_reader(pipe.first.get(), read);
    loop.call_later(0ms, note, 'L');
    loop.call_soon(first);
    rota::join_handle<> t = rota::spawn(child);
    t.on_done([&] { log += 'D'; });
    t.on_done([&] { log += 'E'; });
    loop.call_soon(note, 'B');
    co_await rota::yield();
    log += 'm';
    co_await t;
    log += 'j';
    t.on_done([&] { log += 'F'; });
    for (int i = 0; i != 6; ++i) {
      co_await rota::yield();
      log += '|';
    }
  };
  rota_test::run_on(loop, body());
  REQUIRE(log == "MAxBmRLaSUyrRNT3zrRt4DEjrF||||||");
}

// As above: "asbt|noc|y02".
TEST_CASE("stop lets the batch finish, and what it asked for waits for the next run, as in asyncio") {
  rota::event_loop loop;
  std::string log;
  const auto note = [&log](char c) { log += c; };
  loop.call_soon(note, 'a');
  loop.call_soon([&] {
    log += 's';
    loop.call_soon(note, 'n');
    loop.stop();
    loop.call_soon(note, 'o');
  });
  loop.call_soon(note, 'b');
  loop.call_later(0ms, note, 't');
  loop.run();
  log += '|';
  loop.call_soon(note, 'c');
  run_once(loop);
  log += '|';
  rota::call_handle cancelled = loop.call_soon(note, 'x');
  REQUIRE(cancelled.cancel());
  loop.call_soon(note, 'y');
  std::vector<rota::call_handle> handles;
  for (std::size_t i = 0; i != 4; ++i)
    handles.push_back(loop.call_soon([&, i] {
      log += static_cast<char>('0' + i);
      if (i != 3) handles[i + 1].cancel();
    }));
  run_once(loop);
  REQUIRE(log == "asbt|noc|y02");
  rota_test::require_quiescent(loop);
}

TEST_CASE("a callback never runs within the call that asks for it") {
  rota::event_loop loop;
  bool ran = false;
  const auto body = [&]() -> task<> {
    loop.call_soon([&] { ran = true; });
    loop.call_soon_threadsafe([&] { ran = true; });
    loop.call_later(0ms, [&] { ran = true; });
    REQUIRE_FALSE(ran);
    co_await rota::yield();
    REQUIRE(ran);
  };
  rota_test::run_on(loop, body());
}

TEST_CASE("a callback that asks for itself again starves neither tasks, nor timers, nor posts") {
  rota::event_loop loop;
  std::atomic<bool> posted{false};
  bool slept = false;
  struct repeat {
    rota::event_loop& loop;
    const bool& slept;
    const std::atomic<bool>& posted;
    void operator()() const {
      if (!slept || !posted) loop.call_soon(*this);
    }
  };
  std::thread other;
  const auto body = [&]() -> task<> {
    loop.call_soon(repeat{loop, slept, posted});
    other = std::thread([&] { loop.post([&] { posted = true; }); });
    co_await rota::sleep_for(1ms);
    slept = true;
    while (!posted) co_await rota::yield();
    co_await rota::yield();
    co_await rota::yield();
  };
  rota_test::run_on(loop, body());
  other.join();
}

TEST_CASE("within a callback the loop is the current one, no task is running, and tasks may be spawned") {
  rota::event_loop loop;
  bool ran = false;
  const auto child = [&]() -> task<> {
    ran = true;
    co_return;
  };
  const auto body = [&]() -> task<> {
    const void* running = &loop;
    rota::event_loop* current = nullptr;
    loop.call_soon([&] {
      running = rota::detail::running_task();
      current = rota::event_loop::current();
      (void)rota::spawn(child);
    });
    co_await rota::yield();
    REQUIRE(running == nullptr);
    REQUIRE(current == &loop);
    co_await rota::yield();
    REQUIRE(ran);
  };
  rota_test::run_on(loop, body());
}

// ---- what is called -----------------------------------------------------------------------------------------------------

TEST_CASE("function and arguments are stored, may be movable only, and are destroyed right after the call") {
  const rota_test::frame_balance nothing_left;
  counted::alive = 0;
  int sum = 0;
  {
    rota::event_loop loop;
    auto number = std::make_unique<int>(3);
    loop.call_soon([n = std::move(number), c = counted()](std::unique_ptr<int> m, counted) { n ? * m += *n : *m; },
                   std::make_unique<int>(1), counted());
    loop.call_soon([](const std::string& text, int& by_reference) { by_reference += static_cast<int>(text.size()); },
                   "four", std::ref(sum));
    ticker t;
    loop.call_soon(&ticker::tick, &t, 5);
    loop.call_soon_threadsafe(&ticker::tick, std::ref(t), 2);
    loop.call_later(0ms, &ticker::tick, &t, 10);
    loop.call_soon([&] { REQUIRE(counted::alive == 0); });
    REQUIRE(counted::alive == 2);
    run_once(loop);
    REQUIRE(counted::alive == 0);
    REQUIRE(sum == 4);
    REQUIRE(t.ticks == 17);
  }
}

TEST_CASE("a large callable is stored like a small one") {
  const rota_test::frame_balance nothing_left;
  rota::event_loop loop;
  struct alignas(64) large {
    char bytes[4096] = {};
  };
  std::uintptr_t misaligned = 1;
  loop.call_soon([content = large(), &misaligned] { misaligned = reinterpret_cast<std::uintptr_t>(&content) % 64; });
  run_once(loop);
  REQUIRE(misaligned == 0);
}

TEST_CASE("callbacks in steady state come from the frame memory, and go back there") {
  rota::event_loop loop;
  const auto before = rota_test::frames();
  for (int i = 0; i != 3; ++i) {
    for (int n = 0; n != 1000; ++n) loop.call_soon([] {});
    REQUIRE(rota_test::frames() == before + 1000);
    run_once(loop);
    REQUIRE(rota_test::frames() == before);
  }
}

// ---- timers -------------------------------------------------------------------------------------------------------------

TEST_CASE("equal deadlines are called in the order in which they were asked for, whatever came between") {
  rota_test::manual_loop m;
  std::string log;
  const rota::time_point when = m.loop().now() + 5ms;
  for (char c = 'a'; c != 'z'; ++c) m.loop().call_at(when, [&log, c] { log += c; });
  m.loop().call_later(4ms, [&] { log += '<'; });
  m.loop().call_later(6ms, [&] {
    log += '>';
    m.loop().stop();
  });
  m.loop().run();
  REQUIRE(log == "<abcdefghijklmnopqrstuvwxy>");
  REQUIRE(m.elapsed() == 6ms);
}

TEST_CASE("a timer is called once its time has come, and not before") {
  rota_test::manual_loop m;
  std::vector<rota::duration> at;
  rota::call_handle first = m.loop().call_later(3ms, [&] { at.push_back(m.elapsed()); });
  rota::call_handle second = m.loop().call_later(1.5s, [&] {
    at.push_back(m.elapsed());
    m.loop().stop();
  });
  REQUIRE(first.when() == m.loop().now() + 3ms);
  REQUIRE(second.when() == m.loop().now() + 1500ms);
  m.loop().run();
  REQUIRE(at == std::vector<rota::duration>{3ms, 1500ms});
}

TEST_CASE("a delay of zero or less is the next iteration, behind what is ready then") {
  rota_test::manual_loop m;
  std::string log;
  m.loop().call_soon([&] {
    m.loop().call_later(0ns, [&] { log += 'z'; });
    m.loop().call_later(std::chrono::nanoseconds::min(), [&] { log += 'm'; });
    m.loop().call_at(rota::time_point::min(), [&] { log += 'p'; });
    m.loop().call_later(std::chrono::duration<double>(-std::numeric_limits<double>::infinity()), [&] { log += 'i'; });
    m.loop().call_soon([&] { log += 's'; });
    m.loop().call_later(1ns, [&] {
      log += '|';
      m.loop().stop();
    });
  });
  m.loop().run();
  REQUIRE(log.size() == 6);
  REQUIRE(log.front() == 's');
  REQUIRE(log.substr(4) == "z|");
  REQUIRE(m.elapsed() == 1ns);
}

TEST_CASE("a delay without end is never due, and can be cancelled") {
  rota_test::manual_loop m;
  std::vector<rota::call_handle> handles;
  const auto fail = [] { FAIL("it was called"); };
  handles.push_back(m.loop().call_later(std::chrono::hours::max(), fail));
  handles.push_back(m.loop().call_later(std::chrono::duration<double>(1e300), fail));
  handles.push_back(m.loop().call_later(std::chrono::nanoseconds::max(), fail));
  handles.push_back(m.loop().call_at(rota::time_point::max(), fail));
  m.loop().call_later(24h * 365 * 100, [&] { m.loop().stop(); });
  m.loop().run();
  for (rota::call_handle& handle : handles) {
    REQUIRE(handle.when() > m.loop().now());
    REQUIRE(handle.cancel());
  }
  rota_test::require_quiescent(m.loop());
}

TEST_CASE("a delay or a time that is not a number is refused, and nothing is left of it") {
  rota::event_loop loop;
  const auto kind = rota::usage_error::kind::invalid_argument;
  const double nan = std::nan("");
  REQUIRE(rota_test::usage_error_of([&] { loop.call_later(std::chrono::duration<double>(nan), [] {}); }) == kind);
  using float_time = std::chrono::time_point<rota::clock, std::chrono::duration<double>>;
  REQUIRE(rota_test::usage_error_of([&] { loop.call_at(float_time(std::chrono::duration<double>(nan)), [] {}); }) ==
          kind);
  rota_test::require_quiescent(loop);
}

// ---- handles ------------------------------------------------------------------------------------------------------------

TEST_CASE("cancelling destroys the callable at once, is told the second time, and is nothing after the call") {
  rota::event_loop loop;
  counted::alive = 0;
  int ran = 0;
  const auto ask = [&](auto how) {
    rota::call_handle handle = how([&ran, c = counted()] { ++ran; });
    REQUIRE(handle.valid());
    REQUIRE(counted::alive == 1);
    REQUIRE_FALSE(handle.cancelled());
    REQUIRE(handle.cancel());
    REQUIRE(counted::alive == 0);
    REQUIRE(handle.cancelled());
    REQUIRE_FALSE(handle.cancel());
    run_once(loop);
    REQUIRE(ran == 0);
    rota_test::require_quiescent(loop);

    handle = how([&ran, c = counted()] { ++ran; });
    run_once(loop);
    REQUIRE(ran == 1);
    ran = 0;
    REQUIRE(counted::alive == 0);
    REQUIRE_FALSE(handle.cancel());
    REQUIRE_FALSE(handle.cancelled());
  };
  ask([&](auto f) { return loop.call_soon(std::move(f)); });
  ask([&](auto f) { return loop.call_later(0ms, std::move(f)); });
  ask([&](auto f) { return loop.call_at(loop.now(), std::move(f)); });
}

TEST_CASE("dropping a handle changes nothing, and an empty one does nothing") {
  rota::event_loop loop;
  int ran = 0;
  {
    rota::call_handle handle = loop.call_soon([&] { ++ran; });
    const rota::call_handle copy = handle;
    handle = rota::call_handle();
    REQUIRE_FALSE(handle.valid());
    REQUIRE_FALSE(handle.cancel());
    REQUIRE_FALSE(handle.cancelled());
    REQUIRE(copy.valid());
  }
  run_once(loop);
  REQUIRE(ran == 1);
}

TEST_CASE("only a timer has a time") {
  rota::event_loop loop;
  const rota::call_handle handle = loop.call_soon([] {});
  REQUIRE(rota_test::usage_error_of([&] { return handle.when(); }) == rota::usage_error::kind::invalid_argument);
  REQUIRE(rota_test::usage_error_of([] { return rota::call_handle().when(); }) ==
          rota::usage_error::kind::invalid_argument);
  run_once(loop);
}

TEST_CASE("a callback that cancels itself is called all the same, and told that it is too late") {
  rota::event_loop loop;
  rota::call_handle handle;
  std::optional<bool> cancelled;
  handle = loop.call_soon([&] { cancelled = handle.cancel(); });
  run_once(loop);
  REQUIRE(cancelled == false);
}

TEST_CASE("a callback may own its handle: cancelling it from outside and calling it free both") {
  const rota_test::frame_balance nothing_left;
  rota::event_loop loop;
  auto inside = std::make_shared<rota::call_handle>();
  *inside = loop.call_later(1h, [inside] {});
  rota::call_handle& only_one = *inside;
  inside.reset();
  REQUIRE(only_one.cancel());  // destroys the handle that was asked
  auto other = std::make_shared<rota::call_handle>();
  *other = loop.call_soon([other] {});
  other.reset();
  run_once(loop);
  rota_test::require_quiescent(loop);
}

TEST_CASE("handles may outlive the loop; what was left in it counts as cancelled") {
  const rota_test::frame_balance nothing_left;
  counted::alive = 0;
  rota::call_handle called, timer, from_elsewhere;
  {
    rota::event_loop loop;
    called = loop.call_soon([] {});
    run_once(loop);
    timer = loop.call_later(1h, [c = counted()] { FAIL("it was called"); });
    loop.shutdown();
    REQUIRE(timer.cancelled());
    REQUIRE(counted::alive == 0);
    from_elsewhere = loop.call_soon_threadsafe([c = counted()] { FAIL("it was called"); });
  }
  REQUIRE(counted::alive == 0);
  REQUIRE_FALSE(called.cancelled());
  REQUIRE(from_elsewhere.cancelled());
  for (rota::call_handle* handle : {&called, &timer, &from_elsewhere}) REQUIRE_FALSE(handle->cancel());
  REQUIRE_NOTHROW(timer.when());
}

TEST_CASE("a hundred thousand timers of which most are cancelled leave nothing") {
  const std::size_t count = rota_test::scaled(100'000, 10'000);
  rota_test::manual_loop m;
  std::size_t called = 0;
  std::vector<rota::call_handle> handles;
  for (std::size_t i = 0; i != count; ++i)
    handles.push_back(m.loop().call_later(std::chrono::microseconds(i % 1000), [&] { ++called; }));
  for (std::size_t i = 0; i != count; ++i)
    if (i % 20 != 0) REQUIRE(handles[i].cancel());
  REQUIRE(m.loop().statistics().timers == count / 20);
  m.loop().call_later(1s, [&] { m.loop().stop(); });
  m.loop().run();
  REQUIRE(called == count / 20);
  rota_test::require_quiescent(m.loop());
}

// ---- other threads and signal handlers ----------------------------------------------------------------------------------

TEST_CASE("callbacks of four threads are all called, in order per thread, and wake a loop that sleeps") {
  const int each = static_cast<int>(rota_test::scaled(20'000, 2'000));
  rota::event_loop loop;
  std::vector<int> last(4, -1);
  int out_of_order = 0;
  int left = each * 4;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t != 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i != each; ++i)
        loop.call_soon_threadsafe([&, t, i] {
          out_of_order += last[t] + 1 != i;
          last[t] = i;
          if (--left == 0) loop.stop();
        });
    });
  loop.run();
  for (std::thread& thread : threads) thread.join();
  REQUIRE(left == 0);
  REQUIRE(out_of_order == 0);
  run_once(loop);
  rota_test::require_quiescent(loop);
}

TEST_CASE("another thread may cancel what any thread asked for: it is called or cancelled, and destroyed on the loop") {
  const int rounds = static_cast<int>(rota_test::scaled(5'000, 500));
  rota::event_loop loop;
  counted::alive = 0;
  std::atomic<int> called{0};
  int cancelled = 0;
  std::thread other([&] {
    for (int i = 0; i != rounds; ++i) {
      rota::call_handle handle = loop.call_soon_threadsafe([&called, c = counted()] { ++called; });
      const rota::call_handle copy = handle;
      if (handle.cancel()) {
        ++cancelled;
        if (!copy.cancelled() || handle.cancel()) cancelled = -rounds;
      }
    }
    loop.stop();
  });
  loop.run();
  other.join();
  run_once(loop);
  REQUIRE(called + cancelled == rounds);
  REQUIRE(counted::alive == 0);
}

TEST_CASE("what another thread asks for after the shutdown is dropped in silence") {
  const captured_reports reports;
  counted::alive = 0;
  {
    rota::event_loop loop;
    loop.shutdown();
    std::thread([&] { loop.call_soon_threadsafe([c = counted()] { FAIL("it was called"); }); }).join();
    loop.post([c = counted()] { FAIL("it was called"); });
  }
  REQUIRE(counted::alive == 0);
  REQUIRE(reports.size() == 0);
}

namespace {
rota::event_loop* loop_of_the_handler = nullptr;
rota::prepared_call* call_of_the_handler = nullptr;

/// While it lives, SIGUSR1 asks for a prepared call.
class prepared_signal {
 public:
  prepared_signal(rota::event_loop& loop, rota::prepared_call& call) {
    loop_of_the_handler = &loop;
    call_of_the_handler = &call;
    struct sigaction action{};
    action.sa_handler = [](int) { loop_of_the_handler->call_soon_threadsafe(*call_of_the_handler); };
    action.sa_flags = SA_RESTART;
    REQUIRE(::sigaction(SIGUSR1, &action, &before_) == 0);
  }
  prepared_signal(const prepared_signal&) = delete;
  prepared_signal& operator=(const prepared_signal&) = delete;
  ~prepared_signal() { ::sigaction(SIGUSR1, &before_, nullptr); }

 private:
  struct sigaction before_{};
};
}  // namespace

TEST_CASE("a prepared call is asked for by a signal handler, and wakes a loop that sleeps") {
  rota::event_loop loop;
  const void* running = &loop;
  rota::prepared_call call([&] {
    running = rota::detail::running_task();
    loop.stop();
  });
  {
    const prepared_signal signal(loop, call);
    const pthread_t me = ::pthread_self();
    std::thread other([me] { ::pthread_kill(me, SIGUSR1); });
    loop.run();
    other.join();
  }
  REQUIRE(running == nullptr);
  rota_test::require_quiescent(loop);
}

TEST_CASE("those who ask before a prepared call begins share it, and who asks within it gets another one") {
  rota::event_loop loop;
  int calls = 0;
  rota::prepared_call call([&] { ++calls; });
  REQUIRE(loop.call_soon_threadsafe(call));
  REQUIRE_FALSE(loop.call_soon_threadsafe(call));
  run_once(loop);
  REQUIRE(calls == 1);
  rota::prepared_call* itself = nullptr;
  rota::prepared_call again([&] {
    if (++calls < 10) loop.call_soon_threadsafe(*itself);
  });
  itself = &again;
  loop.call_soon_threadsafe(again);
  const auto body = [&]() -> task<> {
    while (calls != 10) co_await rota::yield();
    co_await rota::yield();
  };
  rota_test::run_on(loop, body());
  REQUIRE(calls == 10);
}

TEST_CASE("a flood of signals loses no call that comes after the last one began") {
  rota::event_loop loop;
  std::atomic<int> sent{0};
  int seen = 0;
  const int count = static_cast<int>(rota_test::scaled(2'000, 200));
  rota::prepared_call call([&] {
    seen = sent;
    if (seen == count) loop.stop();
  });
  const prepared_signal signal(loop, call);
  const pthread_t me = ::pthread_self();
  std::thread other([&, me] {
    for (int i = 0; i != count; ++i) {
      ++sent;
      ::pthread_kill(me, SIGUSR1);
    }
  });
  loop.run();
  other.join();
  REQUIRE(seen == count);
  run_once(loop);
}

TEST_CASE("a prepared call may be destroyed while it is on its way, within itself, and after its loop") {
  const rota_test::frame_balance nothing_left;
  counted::alive = 0;
  std::optional<rota::prepared_call> after;
  {
    rota::event_loop loop;
    int calls = 0;
    std::optional<rota::prepared_call> call;
    call.emplace([&calls, c = counted()] { ++calls; });
    loop.call_soon_threadsafe(*call);
    call.reset();
    REQUIRE(counted::alive == 0);
    run_once(loop);
    REQUIRE(calls == 0);

    call.emplace([&, c = counted()] {
      ++calls;
      loop.call_soon_threadsafe(*call);
      call.reset();
      REQUIRE(counted::alive == 1);  // its own callable lives until it returns
    });
    loop.call_soon_threadsafe(*call);
    run_once(loop);
    run_once(loop);
    REQUIRE(calls == 1);
    REQUIRE(counted::alive == 0);

    after.emplace([] { FAIL("it was called"); });
    loop.shutdown();
    loop.call_soon_threadsafe(*after);
  }
}

// ---- errors -------------------------------------------------------------------------------------------------------------

TEST_CASE("an exception out of a callback is told with its line, and ends neither the loop nor the other callbacks") {
  const captured_reports reports;
  rota::event_loop loop;
  int ran = 0;
  counted::alive = 0;
  loop.call_soon([&] { ++ran; });
  const auto line = std::to_string(__LINE__ + 1);
  loop.call_soon([c = counted()] { throw std::runtime_error("out of luck"); });
  loop.call_soon_threadsafe([c = counted()] { throw 42; });  // not a std::exception
  loop.call_later(0ms, [c = counted()] { throw rota::cancelled(nullptr, nullptr); });
  loop.call_soon([&] { ++ran; });
  run_once(loop);
  INFO(reports.all());
  REQUIRE(ran == 2);
  REQUIRE(counted::alive == 0);
  REQUIRE(reports.size() == 3);
  REQUIRE(reports.count("the callback made at ") == 3);
  REQUIRE(reports.count("calls_test.cpp:" + line + " failed: ") == 1);
  REQUIRE(reports.count("out of luck") == 1);
  REQUIRE(reports.count("cancelled") == 1);
  rota_test::require_quiescent(loop);
}

TEST_CASE("nothing to call, a null pointer or an empty function, is refused when it is given") {
  rota::event_loop loop;
  using kind = rota::usage_error::kind;
  const std::function<void()> empty;
  void (*const null)() = nullptr;
  void (ticker::* const null_member)(int) = nullptr;
  ticker t;
  const auto refused = [](auto&& f) { return rota_test::usage_error_of(f) == kind::invalid_argument; };
  REQUIRE(refused([&] { return loop.call_soon(empty); }));
  REQUIRE(refused([&] { return loop.call_soon(null); }));
  REQUIRE(refused([&] { return loop.call_soon(null_member, &t, 1); }));
  REQUIRE(refused([&] { return loop.call_soon_threadsafe(empty); }));
  REQUIRE(refused([&] {
    loop.post(empty);
    return 0;
  }));
  REQUIRE(refused([&] { return loop.call_later(1ms, null); }));
  REQUIRE(refused([&] { return loop.call_at(rota::time_point::max(), empty); }));
  REQUIRE(refused([&] {
    loop.add_reader(0, empty);
    return 0;
  }));
  REQUIRE(refused([&] {
    loop.add_writer(0, null);
    return 0;
  }));
  REQUIRE(refused([&] {
    loop.add_signal_handler(SIGUSR1, empty);
    return 0;
  }));
  REQUIRE(refused([&] { return std::make_unique<rota::prepared_call>(null); }));
  const std::function<void(const rota::exception_context&)> no_handler;
  REQUIRE(refused([&] {
    loop.set_exception_handler(no_handler);
    return 0;
  }));
  const auto body = [&]() -> task<> {
    const auto idle = []() -> task<> { co_return; };
    rota::join_handle<> handle = rota::spawn(idle);
    REQUIRE(refused([&] { return handle.on_done(empty); }));
    co_await handle;
    REQUIRE(refused([&] { return handle.on_done(null); }));
    const std::function<task<>()> no_task;
    REQUIRE(refused([&] { return rota::spawn(no_task).valid(); }));
    co_await rota::yield();
  };
  rota_test::run_on(loop, body());
  std::string said;
  try {
    loop.call_soon(null);
  } catch (const rota::usage_error& error) {
    said = error.what();
  }
  REQUIRE(said == "an event loop's callback was given nothing to call: a null pointer, or an empty std::function");
}

TEST_CASE("after the shutdown a new callback is refused") {
  rota::event_loop loop;
  loop.shutdown();
  const auto kind = rota::usage_error::kind::loop_shut_down;
  REQUIRE(rota_test::usage_error_of([&] { loop.call_soon([] {}); }) == kind);
  REQUIRE(rota_test::usage_error_of([&] { loop.call_later(1ms, [] {}); }) == kind);
  REQUIRE(rota_test::usage_error_of([&] { loop.call_at(loop.now(), [] {}); }) == kind);
  rota_test::require_quiescent(loop);
}

TEST_CASE("the shutdown calls what is ready, once, and drops what that asks for and every timer") {
  const captured_reports reports;
  const rota_test::frame_balance nothing_left;
  counted::alive = 0;
  std::string log;
  {
    rota::event_loop loop;
    struct repeat {
      rota::event_loop& loop;
      std::string& log;
      void operator()() const {
        log += 'r';
        loop.call_soon(*this);
      }
    };
    loop.call_soon(repeat{loop, log});
    loop.call_later(1h, [c = counted()] { FAIL("it was called"); });
    const auto worker = [&]() -> task<> {
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        loop.call_soon([&] { log += 'w'; });
        throw;
      }
    };
    const auto body = [&]() -> task<> {
      (void)rota::spawn(worker);
      co_await rota::yield();
    };
    loop.run(body());
    log.clear();
  }
  INFO(reports.all());
  REQUIRE(log.find('w') != std::string::npos);
  REQUIRE(counted::alive == 0);
  REQUIRE(reports.size() == 0);
}

TEST_CASE("in debug builds and in debug mode a callback from another thread is refused, and so is its cancel") {
  rota::event_loop_options options;
  options.debug = !ROTA_ASSERTIONS;
  rota::event_loop loop(options);
  rota::call_handle handle = loop.call_later(1h, [] {});
  std::vector<rota::usage_error::kind> kinds;
  std::thread([&] {
    kinds.push_back(rota_test::usage_error_of([&] { loop.call_soon([] {}); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.call_later(1ms, [] {}); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.call_at(loop.now(), [] {}); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.add_reader(0, [] {}); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.remove_writer(0); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.add_signal_handler(SIGUSR1, [] {}); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.remove_signal_handler(SIGUSR1); }));
    kinds.push_back(rota_test::usage_error_of([&] { loop.set_exception_handler(nullptr); }));
    kinds.push_back(rota_test::usage_error_of([&] { handle.cancel(); }));
  }).join();
  REQUIRE(kinds == std::vector<rota::usage_error::kind>(9, rota::usage_error::kind::wrong_thread));
  REQUIRE(handle.cancel());
  rota_test::require_quiescent(loop);
}
