// A decorator injects faults over both real backends. That it is a reactor like any other, when no fault strikes, is shown
// by the conformance tests, which run behind it too (support/plain_operations.hpp).
#include <rota/testing/faulty_reactor.hpp>

#include <array>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "support/outcomes.hpp"
#include "support/plain_operations.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::tcp_listener;
using rota::tcp_stream;
using rota::testing::fault;
using rota::testing::fault_at;
using rota::testing::fault_rates;
using rota::testing::faulty_options;
using rota::testing::faulty_reactor;
using rota::testing::operation_kind;

namespace {

/// Runs the program with faults; nothing may be left. Gives the faults that struck.
template <class F>
std::vector<fault_at> run_faulty(const faulty_options& options, F program) {
  const descriptor_balance no_descriptors;
  const frame_balance no_frames;
  auto made = std::make_unique<faulty_reactor>(options);
  const faulty_reactor& reactor = *made;
  rota::event_loop loop(std::move(made));
  rota_test::run_on(loop, program());
  return reactor.struck();
}
faulty_options script(const char* text) {
  faulty_options options;
  options.script = rota::testing::fault_script(text);
  return options;
}

char letter(std::size_t i) { return static_cast<char>('a' + (i * 7 + i / 26) % 26); }

rota::task<> send_letters(tcp_stream& stream, std::size_t count) {
  std::string block(3'000, '\0');
  for (std::size_t sent = 0; sent != count;) {
    const std::size_t n = std::min(block.size(), count - sent);
    for (std::size_t i = 0; i != n; ++i) block[i] = letter(sent + i);
    const std::size_t half = n / 2;
    const std::string_view text(block.data(), n);
    if (sent % 2 == 0) {
      co_await stream.write_all(as_bytes(text));
      sent += n;
    } else {
      const std::array<rota::const_buffer, 2> parts{as_bytes(text.substr(0, half)), as_bytes(text.substr(half))};
      const std::size_t some = co_await stream.write_some(parts);
      sent += some;
    }
  }
  stream.shutdown();
}
rota::task<> receive_letters(tcp_stream& stream, std::string& all) {
  std::string first(700, '\0'), second(900, '\0');
  for (bool in_parts = false;; in_parts = !in_parts) {
    const std::array<rota::mutable_buffer, 2> parts{std::as_writable_bytes(std::span(first)),
                                                    std::as_writable_bytes(std::span(second))};
    std::size_t n = 0;
    if (in_parts)
      n = co_await stream.read_some(parts);
    else
      n = co_await stream.read_some(parts[0]);
    if (n == 0) break;
    all.append(first, 0, std::min(n, first.size()));
    if (n > first.size()) all.append(second, 0, n - first.size());
  }
}

std::string letters_until(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i != n; ++i) text[i] = letter(i);
  return text;
}

struct echo_outcome {
  std::string received;
  bool failed = false;
};

rota::task<> echo_and_close(tcp_stream& peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
  co_await peer.close();
}

// An echo over real sockets; errors are noted, not hidden.
rota::task<> echo_letters(echo_outcome& outcome, std::size_t count) {
  try {
    stream_pair pair = co_await connect_streams();
    co_await rota::when_all(echo_and_close(pair.server), receive_letters(pair.client, outcome.received),
                            send_letters(pair.client, count));
  } catch (const std::system_error&) {
    outcome.failed = true;
  } catch (const rota::exception_group&) {
    outcome.failed = true;
  }
}

}  // namespace

// ---- one fault each

TEST_CASE("the n-th operation of a kind fails with the errno that was asked for, the others do not") {
  for (const int error : {EIO, ENOBUFS, ECONNRESET}) {
    faulty_options options;
    options.failing = {{operation_kind::recv, 2, error}, {operation_kind::send, 1, error}};
    run_faulty(options, [error]() -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      const std::exception_ptr first = co_await exception_of(pair.client.write_all(as_bytes("lost")));
      CHECK(code_of(first) == std::error_code(error, std::generic_category()));
      co_await pair.client.write_all(as_bytes("bytes"));
      const std::string text = co_await read_text(pair.server, 3);
      CHECK(text == "byt");
      const std::exception_ptr second = co_await exception_of(read_text(pair.server));
      CHECK(code_of(second) == std::error_code(error, std::generic_category()));
      const std::string rest = co_await read_text(pair.server);
      CHECK(rest == "es");
    });
  }
}

TEST_CASE("an accept that fails leaves the connection in the backlog") {
  const auto struck = run_faulty(script("too_many_files@3"), []() -> rota::task<> {  // two sockets come first
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    const std::exception_ptr error = co_await exception_of(listener.accept());
    CHECK(code_of(error) == std::errc::too_many_files_open);
    const tcp_stream server = co_await listener.accept();
    CHECK(server.is_open());
  });
  CHECK(struck == std::vector<fault_at>{{fault::too_many_files, 3}});
}

TEST_CASE("sockets and connects can be refused") {
  run_faulty(script("too_many_files@2,no_memory@2,no_buffers@1"), []() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    for (const std::errc expected :
         {std::errc::too_many_files_open, std::errc::not_enough_memory, std::errc::no_buffer_space}) {
      const std::exception_ptr error = co_await exception_of(tcp_stream::connect(at));
      CHECK(code_of(error) == expected);
    }
    const tcp_stream client = co_await tcp_stream::connect(at);
    CHECK(client.is_open());
  });
}

TEST_CASE("a short read leaves the rest, a short write of everything goes on") {
  const auto struck = run_faulty(script("short_write@1,short_write@2,short_read@1"), []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const std::string text = letters_until(5'000);
    const std::size_t written = co_await pair.client.write_all(as_bytes(text));
    CHECK(written == text.size());
    const std::string first = co_await read_text(pair.server, 5'000);
    CHECK(first.size() < text.size());
    std::string all = first;
    while (all.size() < text.size()) {
      const std::string more = co_await read_text(pair.server, 5'000);
      all += more;
    }
    CHECK(all == text);
    const std::size_t some = co_await pair.client.write_some(as_bytes(text));
    CHECK(some == text.size());  // no fault was left for it
  });
  CHECK(struck.size() == 3);
}

TEST_CASE("a reset breaks both ends, and what waits in the other direction") {
  run_faulty(script("connection_reset@2"), []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto reading =
        rota::spawn([](tcp_stream& from) -> rota::task<> { (void)co_await read_text(from); }, std::ref(pair.client));
    co_await settle_tasks();
    const std::exception_ptr error = co_await exception_of(pair.client.write_all(as_bytes("never")));
    CHECK(code_of(error) == std::errc::connection_reset);
    const std::exception_ptr waiting = co_await exception_of(reading);
    CHECK(code_of(waiting) == std::errc::connection_reset);
    const std::exception_ptr later = co_await exception_of(pair.client.write_some(as_bytes("x")));
    CHECK(code_of(later) == std::errc::broken_pipe);
    const std::string end = co_await read_text(pair.client);
    CHECK(end.empty());
    const std::exception_ptr peer = co_await exception_of(read_text(pair.server));
    CHECK(code_of(peer) == std::errc::connection_reset);
  });
}

TEST_CASE("an operation that comes late can be cancelled before the kernel has seen it") {
  faulty_options options = script("delay@1");
  options.longest_delay = 1h;
  run_faulty(options, []() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    auto accepting =
        rota::spawn([](tcp_listener& l) -> rota::task<> { (void)co_await l.accept(); }, std::ref(listener));
    co_await settle_tasks();
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    co_await settle_tasks();
    CHECK_FALSE(accepting.done());
    accepting.cancel();
    const std::exception_ptr error = co_await exception_of(accepting);
    CHECK(code_of(error) == rota::errc::task_cancelled);
    const tcp_stream server = co_await listener.accept();
    CHECK(server.is_open());
  });
}

TEST_CASE("a late operation on a descriptor that is closed ends as closed") {
  faulty_options options = script("delay@3");
  options.longest_delay = 1h;
  run_faulty(options, []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto reading =
        rota::spawn([](tcp_stream& from) -> rota::task<> { (void)co_await read_text(from); }, std::ref(pair.client));
    co_await settle_tasks();
    co_await pair.client.close();
    const std::exception_ptr error = co_await exception_of(reading);
    CHECK(code_of(error) == rota::errc::closed);
  });
}

TEST_CASE("a cancel that is beaten, or late, gives the value of what came meanwhile") {
  for (const char* const text : {"beaten_cancel@1", "late_cancel@1"}) {
    INFO(text);
    faulty_options options = script(text);
    options.longest_delay = 1h;  // the cancel takes longer than the bytes
    const auto struck = run_faulty(options, []() -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      std::string got;
      auto reading =
          rota::spawn([](tcp_stream& from, std::string& to) -> rota::task<> { to = co_await read_text(from); },
                      std::ref(pair.client), std::ref(got));
      co_await settle_tasks();
      write_text(pair.server.native_handle(), "in time");
      reading.cancel();
      co_await reading;
      CHECK(got == "in time");
    });
    CHECK(struck.size() == 1);
  }
}

TEST_CASE("a late cancel of what never comes takes effect") {
  run_faulty(script("late_cancel@1,beaten_cancel@2"), []() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    for (int i = 0; i != 2; ++i) {
      std::array<std::byte, 8> buffer;
      const auto expired = co_await rota::move_on_after(0s, pair.client.read_some(buffer));
      CHECK_FALSE(expired.has_value());
    }
  });
}

TEST_CASE("a stalled clock stands still, then goes on; interrupted waits lose nothing") {
  const auto struck =
      run_faulty(script("clock_stall@1,interrupted@1,interrupted@2,interrupted@3"), []() -> rota::task<> {
        rota::event_loop& loop = *rota::event_loop::current();
        const rota::time_point before = loop.now();
        for (int i = 0; i != 5; ++i) co_await rota::sleep_for(1ms);
        CHECK(loop.now() - before >= 5ms);
      });
  CHECK(struck.size() == 4);
}

TEST_CASE("an unsuited piece of data is never cut: event descriptors and datagrams stay whole") {
  for (const reactor_kind& kind : reactor_kinds()) {
    const descriptor_balance nothing_left;
    faulty_options options;
    options.faults.set(fault::short_read, 1'000).set(fault::short_write, 1'000).set(fault::connection_reset, 1'000);
    faulty_reactor r(kind.make(), options);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
    const rota::unique_fd theirs(ends[1]);
    const int mine = adopt(r, rota::unique_fd(ends[0]));
    std::string text = "a datagram", buffer(20, '.');
    request writing(opcode::send, mine, text);
    CHECK(perform(r, writing) == 10);
    CHECK(read_text(theirs.get()) == text);
    write_text(theirs.get(), text);
    request reading(opcode::recv, mine, buffer);
    CHECK(perform(r, reading) == 10);
    r.close(mine);
  }
}

// ---- an echo under everything

TEST_CASE("an echo over a real kernel gets everything through when only sizes, orders and times go wrong") {
  std::map<fault, std::size_t> kinds;
  for (std::uint64_t seed = 1; seed <= scaled(40, 8, 15); ++seed) {
    INFO("seed " << seed);
    faulty_options options(seed);
    options.faults = fault_rates::harmless(100);
    options.longest_delay = 200us;
    options.longest_stall = 200us;
    echo_outcome outcome;
    const auto struck = run_faulty(options, [&] { return echo_letters(outcome, 40'000); });
    REQUIRE_FALSE(outcome.failed);
    REQUIRE(outcome.received == letters_until(40'000));
    for (const fault_at& f : struck) ++kinds[f.kind];
  }
  for (const fault kind : {fault::short_read, fault::short_write, fault::delay, fault::interrupted, fault::clock_stall})
    CHECK(kinds[kind] != 0);
}

TEST_CASE("an echo over a real kernel loses, duplicates and reorders no byte under all faults, and leaks nothing") {
  const captured_reports reports;
  std::size_t complete = 0, failed = 0;
  const std::string all = letters_until(20'000);
  for (std::uint64_t seed = 1; seed <= scaled(150, 20, 50); ++seed) {
    INFO("seed " << seed);
    faulty_options options(seed);
    options.faults = fault_rates::harmless(100);
    for (const fault error : {fault::connection_reset, fault::no_buffers, fault::no_memory, fault::too_many_files})
      options.faults.set(error, 5);
    options.longest_delay = 100us;
    options.longest_stall = 100us;
    echo_outcome outcome;
    (void)run_faulty(options, [&] { return echo_letters(outcome, all.size()); });
    REQUIRE(all.compare(0, outcome.received.size(), outcome.received) == 0);
    if (!outcome.failed) REQUIRE(outcome.received.size() == all.size());
    ++(outcome.failed ? failed : complete);
  }
  INFO(complete << " complete, " << failed << " failed");
  CHECK(complete != 0);
  CHECK(failed != 0);
}

TEST_CASE("cancelled operations under all faults are joined, and their descriptors closed") {
  const captured_reports reports;
  for (std::uint64_t seed = 1; seed <= scaled(100, 15, 30); ++seed) {
    INFO("seed " << seed);
    faulty_options options(seed);
    options.faults = fault_rates::all(50);
    options.faults.set(fault::late_cancel, 400).set(fault::beaten_cancel, 400);
    options.longest_delay = 200us;
    options.longest_stall = 100us;
    (void)run_faulty(options, [&]() -> rota::task<> {
      echo_outcome outcome;
      (void)co_await rota::move_on_after(std::chrono::microseconds(seed * 10), echo_letters(outcome, 10'000));
    });
  }
}

TEST_CASE("run_with_faults is a run on a bad day") {
  // [run_with_faults]
  rota::testing::faulty_options options(7);    // a seed
  options.faults = fault_rates::harmless(50);  // sizes, orders and times, at 5 % of their opportunities
  options.failing = {{operation_kind::connect, 1, EHOSTUNREACH}};  // and the first connect fails
  const auto program = []() -> rota::task<std::error_code> {
    co_return co_await error_of(tcp_stream::connect(address("127.0.0.1", 1)));
  };
  const std::error_code code = rota::testing::run_with_faults(options, program);
  // [/run_with_faults]
  CHECK(code == std::errc::host_unreachable);
}
