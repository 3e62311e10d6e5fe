// What a program sees of each kind of fault, one at a time.
#include <rota/testing/faults.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/testing/run_simulated.hpp>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::testing::fault_script;
using rota::testing::run_simulated;
using rota::testing::simulation;
using rota::testing::simulation_options;

namespace {

/// Exactly these faults, and long delays.
simulation_options with_faults(std::string_view script) {
  simulation_options options;
  options.script = fault_script(script);
  options.longest_delay = options.longest_stall = 1h;
  return options;
}

/// Runs the test in a world with the faults, all of which have to strike.
void run_with(std::string_view script, const std::function<rota::task<>()>& test) {
  simulation world(with_faults(script));
  simulation::host& host = world.add_host("one", test);
  world.run();
  CHECK(to_script(world.faults()) == script);
  CHECK(world.quiescent());
  CHECK(host.is_up());
}

rota::duration now() { return rota::event_loop::current()->now().time_since_epoch(); }

}  // namespace

TEST_CASE("a short read leaves the rest for the next one") {
  run_with("short_read@1", []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(rota::as_bytes("0123456789"));
    const std::string part = co_await read_text(pair.server);
    CHECK(part.size() < 10);
    const std::string rest = co_await read_text(pair.server);
    CHECK(part + rest == "0123456789");
  });
}

TEST_CASE("a short write says how much it took, and write_all goes on") {
  for (const bool all : {false, true}) {
    run_with("short_write@1", [all]() -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      const std::string text(1'000, 'x');
      std::size_t n = text.size();
      if (all)
        co_await pair.client.write_all(rota::as_bytes(text));
      else
        n = co_await pair.client.write_some(rota::as_bytes(text));
      CHECK((n < text.size()) == !all);
      pair.client.shutdown();
      const std::string got = co_await read_to_end(pair.server);
      CHECK(got == text.substr(0, n));
    });
  }
}

TEST_CASE("an operation that could complete at once comes later, as after EAGAIN, and can be cancelled before") {
  for (const bool cancelled : {false, true}) {
    run_with("delay@4", [cancelled]() -> rota::task<> {  // after connect, accept and write
      stream_pair pair = co_await connect_streams();
      co_await pair.client.write_all(rota::as_bytes("late"));
      const rota::duration before = now();
      const auto text = co_await rota::move_on_after(cancelled ? 1ns : 2h, read_text(pair.server));
      CHECK(text.has_value() == !cancelled);
      CHECK(now() > before);
      if (cancelled) {
        const std::string again = co_await read_text(pair.server);
        CHECK(again == "late");
      }
    });
  }
}

TEST_CASE("a connection breaks under a read: ECONNRESET for it, then EPIPE, at both ends") {
  run_with("connection_reset@2", []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(rota::as_bytes("x"));
    std::error_code code = co_await error_of(read_text(pair.server));
    CHECK(code == std::errc::connection_reset);
    code = co_await error_of(pair.server.write_all(rota::as_bytes("y")));
    CHECK(code == std::errc::broken_pipe);
    code = co_await error_of(read_text(pair.client));
    CHECK(code == std::errc::connection_reset);
    code = co_await error_of(pair.client.write_all(rota::as_bytes("y")));
    CHECK(code == std::errc::broken_pipe);
  });
}

TEST_CASE("no buffers: a connect or a write is refused with ENOBUFS, and the next one goes well") {
  run_with("no_buffers@1,no_buffers@3", []() -> rota::task<> {
    rota::tcp_listener listener = rota::tcp_listener::bind({"127.0.0.1", 0});
    std::error_code code = co_await error_of(rota::tcp_stream::connect(listener.local_address()));
    CHECK(code == std::errc::no_buffer_space);
    rota::tcp_stream client = co_await rota::tcp_stream::connect(listener.local_address());
    rota::tcp_stream server = co_await listener.accept();
    code = co_await error_of(client.write_all(rota::as_bytes("lost")));
    CHECK(code == std::errc::no_buffer_space);
    co_await client.write_all(rota::as_bytes("kept"));
    const std::string text = co_await read_text(server);
    CHECK(text == "kept");
  });
}

TEST_CASE("no memory: a socket or a read is refused with ENOMEM, and the bytes stay") {
  run_with("no_memory@1,no_memory@4", []() -> rota::task<> {
    CHECK(error_code_of([] { (void)rota::tcp_listener::bind({"127.0.0.1", 0}); }) == std::errc::not_enough_memory);
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(rota::as_bytes("kept"));
    const std::error_code code = co_await error_of(read_text(pair.server));
    CHECK(code == std::errc::not_enough_memory);
    const std::string text = co_await read_text(pair.server);
    CHECK(text == "kept");
  });
}

TEST_CASE("too many files: a socket is refused with EMFILE, and an accept leaves the connection in the backlog") {
  run_with("too_many_files@1,too_many_files@4", []() -> rota::task<> {
    CHECK(error_code_of([] { (void)rota::tcp_listener::bind({"127.0.0.1", 0}); }) == std::errc::too_many_files_open);
    rota::tcp_listener listener = rota::tcp_listener::bind({"127.0.0.1", 0});
    rota::tcp_stream client = co_await rota::tcp_stream::connect(listener.local_address());
    const std::error_code code = co_await error_of(listener.accept());
    CHECK(code == std::errc::too_many_files_open);
    rota::tcp_stream server = co_await listener.accept();
    CHECK(server.peer_address() == client.local_address());
  });
}

TEST_CASE("a wait that a signal interrupts is noticed by nobody") {
  run_with("interrupted@1,interrupted@2", []() -> rota::task<> {
    const rota::duration before = now();
    co_await rota::sleep_for(1s);
    CHECK(now() - before == 1s);
    co_await rota::sleep_for(1s);
    CHECK(now() - before == 2s);
  });
}

TEST_CASE("a cancel that takes effect late gives what came meanwhile, and the next suspension is cancelled") {
  for (const bool comes : {false, true}) {
    run_with("late_cancel@1", [comes]() -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      std::string got;
      bool cancelled_later = false;
      auto reader = rota::spawn([&]() -> rota::task<> {
        got = co_await read_text(pair.server);
        try {
          co_await rota::sleep_for(0s);
        } catch (const rota::cancelled&) {
          cancelled_later = true;
          throw;
        }
      });
      co_await rota::sleep_for(1s);
      reader.cancel();
      if (comes) co_await pair.client.write_all(rota::as_bytes("value"));
      const std::error_code code = co_await error_of(reader);
      CHECK(code == rota::errc::task_cancelled);
      CHECK(got == (comes ? "value" : ""));
      CHECK(cancelled_later == comes);
    });
  }
}

TEST_CASE("a cancel that comes too late for what is there gives it") {
  run_with("delay@4,beaten_cancel@1", []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.client.write_all(rota::as_bytes("there"));
    const auto text = co_await rota::move_on_after(1ns, read_text(pair.server));  // delayed, and cancelled
    CHECK(text == "there");
  });
}

TEST_CASE("a clock that stalls stands still, and then is right again") {
  simulation world(with_faults("clock_stall@2"));
  rota::duration shown{}, passed{};
  world.add_host("one", [&]() -> rota::task<> {
    const rota::duration start = now();
    co_await rota::sleep_for(1s);  // when that is over the clock stalls
    co_await rota::sleep_for(1ms);
    shown = now() - start;
    passed = world.elapsed();
  });
  world.run();
  CHECK(to_script(world.faults()) == "clock_stall@2");
  CHECK(shown == passed);
  CHECK(shown > 1001ms);  // late by the stall
  CHECK(shown < 1h + 2s);
}

TEST_CASE("what completes at one instant is handed over in any order, the same for a seed") {
  const auto order_of = [](std::uint64_t seed) {
    simulation_options options(seed);
    options.shuffle = true;
    return run_simulated(options, []() -> rota::task<std::string> {
      std::string order;
      std::vector<stream_pair> pairs;
      for (int i = 0; i != 4; ++i) pairs.push_back(co_await connect_streams());
      std::vector<rota::join_handle<>> readers;
      for (int i = 0; i != 4; ++i) {
        readers.push_back(rota::spawn([&, i]() -> rota::task<> {
          (void)co_await read_text(pairs[static_cast<std::size_t>(i)].server);
          order += static_cast<char>('0' + i);
        }));
      }
      co_await rota::sleep_for(1ms);
      for (stream_pair& pair : pairs) co_await pair.client.write_all(rota::as_bytes("x"));
      for (auto& reader : readers) co_await reader;
      co_return order;
    });
  };
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed != 40; ++seed) {
    orders.insert(order_of(seed));
    REQUIRE(order_of(seed) == order_of(seed));
  }
  CHECK(orders.size() > 5);
}
