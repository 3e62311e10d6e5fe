// Shows: a C library with callbacks, wrapped both ways: its callbacks as awaitables, and tasks run for code without any.
// Run:   build/release/examples/legacy_callbacks

#include <rota/rota.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

// ---- The library, as it may have been written in C: a thermometer with a thread of its own.
namespace {
extern "C" {

struct thermo;
typedef void (*thermo_reading_fn)(void* user, int millidegrees, int error);  // a one-shot: once for each thermo_read
typedef void (*thermo_change_fn)(int millidegrees, void* user);              // a stream: until thermo_unwatch

enum { thermo_ok = 0, thermo_aborted = 1, thermo_broken = 2 };

thermo* thermo_open();
void thermo_close(thermo*);
void thermo_read(thermo*, int sensor, thermo_reading_fn, void* user);  // calls back from the library's thread
void thermo_abort(thermo*);                                            // every pending read calls back: thermo_aborted
void thermo_watch(thermo*, thermo_change_fn, void* user);
void thermo_unwatch(thermo*);
}
}  // namespace

// ---- First way: callbacks become awaitables.

// [one_shot]
// The callback needs a C function of the library's own signature; what it gets turns into a value or an error.
extern "C" {
static void on_reading(void* user, int millidegrees, int error) {
  const auto done = rota::callback<int>::from_user_data(user);
  if (error == thermo_ok)
    done(millidegrees);
  else if (error == thermo_aborted)
    done.error(std::make_error_code(std::errc::operation_canceled));
  else
    done.error(std::make_error_code(std::errc::io_error));
}
}

rota::task<int> read_sensor(thermo* t, int sensor) {
  const auto start = [&](rota::callback<int> done) { thermo_read(t, sensor, &on_reading, done.to_user_data()); };
  const auto stop = [&] { thermo_abort(t); };
  co_return co_await rota::from_callback<int>(start).on_cancel(stop);  // a cancel asks the library, then waits for it
}
// [/one_shot]

// [stream]
rota::task<> watch(thermo* t, int changes) {
  using stream = rota::callback_stream<int>;
  stream readings(4, rota::when_full::drop_oldest);  // who is too slow misses the oldest ones
  thermo_watch(t, &stream::user_data_last, readings.user_data());
  for (int n = 0; n != changes; ++n) {
    const auto reading = co_await readings.next();
    std::printf("changed to %d\n", *reading);
  }
  thermo_unwatch(t);
}
// [/stream]

rota::task<int> average(thermo* t) {
  int sum = 0;
  for (int sensor = 1; sensor != 4; ++sensor) sum += co_await read_sensor(t, sensor);
  co_return sum / 3;
}

// ---- Second way: code without coroutines runs tasks. This class could be a handler in an old program.

// [start]
class display {
 public:
  explicit display(thermo* t) : thermo_(t) {}

  void button_pressed() {
    rota::start(
        average(thermo_), [this](int value) { show("average", value); },
        [this](std::exception_ptr) { show("broken sensor", 0); }, [this] { show("cancelled", 0); });
  }

 private:
  void show(const char* what, int value) { std::printf("display: %s %d\n", what, value); }

  thermo* thermo_;
};
// [/start]

rota::task<> program(thermo* t, display& d) {
  std::printf("sensor 1: %d\n", co_await read_sensor(t, 1));

  const auto broken = co_await rota::as_result(read_sensor(t, 13));
  std::printf("sensor 13: %s\n", broken.error().message().c_str());

  const auto slow = co_await rota::move_on_after(20ms, read_sensor(t, 99));  // answers only when it is aborted
  std::printf("sensor 99: %s\n", slow ? "answered" : "no answer in time");

  co_await watch(t, 3);

  d.button_pressed();
  co_await rota::sleep_for(100ms);
}

int main() {
  thermo* const t = thermo_open();
  display d(t);
  const int code = rota::run_main(program(t, d));
  thermo_close(t);
  return code;
}

// ---- What is inside the library does not matter to its users.

namespace {

struct thermo {
  struct request {
    int sensor;
    thermo_reading_fn call;
    void* user;
  };
  std::mutex mutex;
  std::vector<request> requests;
  bool aborting = false;
  thermo_change_fn on_change = nullptr;
  void* change_user = nullptr;
  int temperature = 20'000;
  std::atomic<bool> closing{false};
  std::thread worker;

  void work() {
    while (!closing) {
      std::this_thread::sleep_for(2ms);
      std::vector<request> ready;
      thermo_change_fn changed = nullptr;
      void* user = nullptr;
      bool abort = false;
      {
        const std::lock_guard guard(mutex);
        abort = std::exchange(aborting, false);
        for (std::size_t i = 0; i != requests.size();) {
          if (abort || requests[i].sensor != 99) {
            ready.push_back(requests[i]);
            requests.erase(requests.begin() + static_cast<std::ptrdiff_t>(i));
          } else {
            ++i;
          }
        }
        temperature += 250;
        changed = on_change;
        user = change_user;
      }
      for (const request& r : ready) {
        const int error = abort ? thermo_aborted : r.sensor == 13 ? thermo_broken : thermo_ok;
        r.call(r.user, r.sensor * 1000 + 18'000, error);
      }
      if (changed) changed(temperature, user);
    }
  }
};

extern "C" {
thermo* thermo_open() {
  auto* t = new thermo;
  t->worker = std::thread([t] { t->work(); });
  return t;
}
void thermo_close(thermo* t) {
  t->closing = true;
  t->worker.join();
  delete t;
}
void thermo_read(thermo* t, int sensor, thermo_reading_fn call, void* user) {
  const std::lock_guard guard(t->mutex);
  t->requests.push_back({sensor, call, user});
}
void thermo_abort(thermo* t) {
  const std::lock_guard guard(t->mutex);
  t->aborting = true;
}
void thermo_watch(thermo* t, thermo_change_fn call, void* user) {
  const std::lock_guard guard(t->mutex);
  t->on_change = call;
  t->change_user = user;
}
void thermo_unwatch(thermo* t) {
  const std::lock_guard guard(t->mutex);
  t->on_change = nullptr;
}
}

}  // namespace
