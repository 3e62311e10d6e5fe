// Memory runs out at each allocation in turn: listeners, connections, servers, descriptors of other kinds, and what tests
// are made of. Needs a kernel: the simulated network cannot do without memory.
#include "support/allocation_sweep.hpp"

#include <array>
#include <string>

#include <rota/rota.hpp>
#include <rota/testing/faulty_reactor.hpp>
#include <rota/testing/memory_stream.hpp>
#include <rota/testing/sequencer.hpp>

#include "support/streams.hpp"

namespace {

using namespace std::chrono_literals;
using rota::address;
using rota::as_bytes;
using rota::task;
using rota::tcp_listener;
using rota::tcp_stream;
using rota_test::counted;
using rota_test::scenario;
using rota_test::stream_pair;

constexpr std::string_view long_text = "a text that is too long for the small buffer of a string";

template <class Stream>
task<> echo(Stream peer, counted) {
  std::array<std::byte, 16> buffer;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
  co_await peer.close();
}
/// True when everything comes back. A server that found no memory closes.
template <class Stream>
task<bool> ask(Stream& stream) {
  co_await stream.write_all(as_bytes(long_text));
  std::array<std::byte, 64> buffer;
  std::size_t got = 0;
  while (got < long_text.size()) {
    const std::size_t n = co_await stream.read_some(std::span(buffer).subspan(got));
    if (n == 0) break;
    got += n;
  }
  co_return rota::as_text(std::span(buffer).first(got)) == long_text;
}
[[noreturn]] void peer_has_gone() {
  throw std::system_error(std::make_error_code(std::errc::connection_reset), "the peer found no memory");
}

task<> handle(tcp_stream peer) { co_await echo(std::move(peer), counted()); }
task<> handle_until(tcp_stream peer, rota::stop_signal stop) {
  (void)co_await rota::move_on_when(stop, handle(std::move(peer)));
}

// Ends a server with the block that needs it.
class stopping {
 public:
  explicit stopping(rota::join_handle<>& server) noexcept : server_(server) {}
  stopping(const stopping&) = delete;
  stopping& operator=(const stopping&) = delete;
  ~stopping() { server_.cancel(); }

 private:
  rota::join_handle<>& server_;
};

// One conversation with a server that is then stopped.
template <class Handler>
task<bool> serve_one(Handler handler) {
  rota::serve_options options;
  options.exhausted_pause = 0ms;
  options.grace = 1ms;
  tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
  const address at = listener.local_address();
  auto server = rota::spawn(rota::serve<Handler>, std::move(listener), handler, options);
  const stopping at_end(server);
  const auto talk = [&]() -> task<bool> {
    tcp_stream client = co_await tcp_stream::connect(at);
    const bool right = co_await ask(client);
    co_await client.close();
    if (!right) peer_has_gone();
    co_return true;
  };
  auto client = rota::spawn(talk);
  const bool right = co_await client;
  server.cancel();
  (void)co_await rota::as_result(server);
  co_return right;
}

const scenario scenarios[] = {
    scenario("bind",
             []() -> task<bool> {
               const tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
               co_return listener.local_address().port() != 0;
             })
        .needs_kernel(),
    scenario("connect and accept",
             []() -> task<bool> {
               const stream_pair pair = co_await rota_test::connect_streams();
               co_return pair.client.is_open() && pair.server.is_open();
             })
        .needs_kernel(),
    scenario("a connect that is refused",
             []() -> task<bool> {
               address nobody("127.0.0.1", 0);
               {
                 const tcp_listener listener = tcp_listener::bind(nobody);
                 nobody = listener.local_address();
               }
               const auto end = co_await rota::as_result(tcp_stream::connect(nobody));
               co_return end.error() == std::errc::connection_refused;
             })
        .needs_kernel(),
    scenario("an echo",
             []() -> task<bool> {
               stream_pair pair = co_await rota_test::connect_streams();
               auto server = rota::spawn(echo<tcp_stream>, std::move(pair.server), counted());
               const bool right = co_await ask(pair.client);
               co_await pair.client.close();
               co_await server;
               co_return right;
             })
        .needs_kernel(),
    scenario("an echo under a time limit that expires",
             []() -> task<bool> {
               stream_pair pair = co_await rota_test::connect_streams();
               const bool ended =
                   co_await rota::move_on_after(0ms, echo<tcp_stream>(std::move(pair.server), counted()));
               co_return !ended;
             })
        .may_succeed()
        .needs_kernel(),
    scenario("reads and writes of several buffers",
             []() -> task<bool> {
               stream_pair pair = co_await rota_test::connect_streams();
               const std::array<rota::const_buffer, 2> out{as_bytes("ab"), as_bytes("cd")};
               const std::size_t written = co_await pair.client.write_some(out);
               std::array<std::byte, 2> first, second;
               const std::array<rota::mutable_buffer, 2> in{rota::mutable_buffer(first), rota::mutable_buffer(second)};
               const std::size_t read = co_await pair.server.read_some(in);
               co_return written == 4 && read == 4;
             })
        .needs_kernel(),
    scenario("a reader and a writer of one stream",
             []() -> task<bool> {
               stream_pair pair = co_await rota_test::connect_streams();
               std::array<std::byte, 8> buffer;
               const auto read = [&]() -> task<std::size_t> { co_return co_await pair.client.read_some(buffer); };
               const auto write = [&]() -> task<> {
                 co_await pair.client.write_all(as_bytes("ping"));
                 co_await pair.server.write_all(as_bytes("pong"));
               };
               const auto both = co_await rota::when_all(read(), write());
               co_return std::get<0>(both) == 4;
             })
        .needs_kernel(),
    scenario("a stream is closed under its reader",
             []() -> task<bool> {
               stream_pair pair = co_await rota_test::connect_streams();
               const auto read = [](tcp_stream& from, counted) -> task<> {
                 std::array<std::byte, 8> buffer;
                 (void)co_await from.read_some(buffer);
               };
               auto reader = rota::spawn(read, std::ref(pair.client), counted());
               co_await rota::yield();
               co_await pair.client.close();
               const auto end = co_await rota::as_result(reader);
               co_return end.error() == rota::errc::closed;
             })
        .needs_kernel(),
    scenario("a pipe",
             []() -> task<bool> {
               rota_test::descriptor_pair ends = rota_test::make_pipe();
               rota::fd_stream in = rota::fd_stream::adopt(std::move(ends.first));
               rota::fd_stream out = rota::fd_stream::adopt(std::move(ends.second));
               co_await out.write_all(as_bytes(long_text));
               std::array<std::byte, 64> buffer;
               const std::size_t n = co_await in.read_some(buffer);
               co_return n == long_text.size();
             })
        .needs_kernel(),
    scenario("serve", []() -> task<bool> { return serve_one(&handle); }).may_break_connections().needs_kernel(),
    scenario("serve with a handler that takes a stop_signal", []() -> task<bool> { return serve_one(&handle_until); })
        .may_break_connections()
        .needs_kernel(),
    scenario("a server is stopped with a connection that waits",
             []() -> task<bool> {
               rota::serve_options options;
               options.exhausted_pause = 0ms;
               options.grace = 0ms;
               tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
               const address at = listener.local_address();
               auto server = rota::spawn(rota::serve<decltype(&handle)>, std::move(listener), &handle, options);
               const stopping at_end(server);
               const tcp_stream client = co_await tcp_stream::connect(at);
               for (int i = 0; i != 4; ++i) co_await rota::sleep_for(0ms);
               server.cancel();
               const auto end = co_await rota::as_result(server);
               co_return end.error() == rota::errc::task_cancelled;
             })
        .may_succeed()
        .needs_kernel(),
    scenario("addresses and their texts",
             []() -> task<bool> {
               const address at("::1", 80);
               co_return at.to_string() == "[::1]:80" && at.host() == "::1";
             })
        .may_succeed(),
    scenario("an echo in memory",
             []() -> task<bool> {
               rota::testing::memory_stream_options options;
               options.capacity = 64;
               auto [client, server] = rota::testing::memory_stream::pair(options);
               auto echoing = rota::spawn(echo<rota::testing::memory_stream>, std::move(server), counted());
               const bool right = co_await ask(client);
               co_await client.close();
               co_await echoing;
               co_return right;
             }),
    scenario("a sequencer",
             []() -> task<bool> {
               rota::testing::sequencer sequence;
               std::string order;
               const auto step = [&](std::size_t n, counted) -> task<> {
                 const auto turn = co_await sequence(n);
                 order += static_cast<char>('0' + n);
               };
               co_await rota::when_all(step(1, counted()), step(0, counted()));
               co_return order == "01";
             })
        .may_succeed(),
    scenario("an echo behind a faulty reactor",
             [] {
               rota::testing::faulty_options options(3);
               options.faults = rota::testing::fault_rates::harmless(200);
               options.longest_delay = options.longest_stall = 10us;
               return rota::testing::run_with_faults(options, []() -> task<bool> {
                 stream_pair pair = co_await rota_test::connect_streams();
                 auto server = rota::spawn(echo<tcp_stream>, std::move(pair.server), counted());
                 const bool right = co_await ask(pair.client);
                 co_await pair.client.close();
                 co_await server;
                 co_return right;
               });
             })
        .may_break_connections()
        .needs_kernel(),
};

}  // namespace

TEST_CASE("whichever allocation of a connection or a server fails, nothing hangs and nothing is left open") {
  if (rota_test::under_tsan) {
    SKIP("operator new cannot be replaced here");
  }
  rota_test::sweep_allocations(scenarios);
}
