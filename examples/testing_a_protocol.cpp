// Shows: unit tests of a protocol without a network: memory_stream in chosen pieces, an error in the middle, sequencer.
// Run:   build/release/examples/testing_a_protocol

#include <rota/rota.hpp>
#include <rota/testing/memory_stream.hpp>
#include <rota/testing/sequencer.hpp>

#include <array>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

namespace {

using rota::testing::chunking;
using rota::testing::memory_stream;
using rota::testing::memory_stream_options;

// ---- the program: a store that speaks in lines. "set NAME VALUE" and "get NAME"; what is no request gets "?".

using store = std::map<std::string, std::string>;

std::string answer(store& values, std::string_view line) {
  const std::size_t first = line.find(' '), second = line.find(' ', first + 1);
  const std::string verb(line.substr(0, first));
  if (first != line.npos && verb == "get") return values[std::string(line.substr(first + 1))] + "\n";
  if (second == line.npos || verb != "set") return "?\n";
  values[std::string(line.substr(first + 1, second - first - 1))] = line.substr(second + 1);
  return "ok\n";
}

// [session]
// A template: production gives it a rota::tcp_stream, tests one in memory.
template <class Stream>
rota::task<> session(Stream peer, store& values) {
  std::array<std::byte, 512> buffer;
  std::string unread;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    unread += rota::as_text(std::span(buffer).first(n));
    for (std::size_t end = unread.find('\n'); end != unread.npos; end = unread.find('\n')) {
      const std::string reply = answer(values, unread.substr(0, end));
      unread.erase(0, end + 1);
      co_await peer.write_all(rota::as_bytes(reply));
    }
  }
  co_await peer.close();
}
// [/session]

rota::task<std::string> read_to_end(memory_stream& from) {
  std::array<std::byte, 64> buffer;
  std::string all;
  for (;;) {
    const std::size_t n = co_await from.read_some(buffer);
    if (n == 0) break;
    all += rota::as_text(std::span(buffer).first(n));
  }
  co_return all;
}

// ---- its tests

// [conversation]
rota::task<> say(memory_stream& to, std::string_view text) {
  co_await to.write_all(rota::as_bytes(text));
  to.shutdown();
}

rota::task<std::string> conversation(std::string_view requests, chunking pieces) {
  memory_stream_options options;
  options.reads = options.writes = pieces;
  options.capacity = 8;  // neither side gets far ahead of the other
  auto [client, server] = memory_stream::pair(options);
  store values;
  auto serving = rota::spawn(session<memory_stream>, std::move(server), std::ref(values));
  const auto all = co_await rota::when_all(read_to_end(client), say(client, requests));
  co_await serving;
  co_return std::get<0>(all);
}

bool answers_do_not_depend_on_how_bytes_arrive() {
  bool good = true;
  for (const chunking pieces : {chunking::whole(), chunking::at_most(1), chunking::half(), chunking::seeded(7)})
    good &= rota::run(conversation("set a 1\nget a\nwhat\nget b\n", pieces)) == "ok\n1\n?\n\n";
  return good;
}
// [/conversation]

// [broken]
rota::task<bool> breaks_in_the_middle_of_a_request() {
  auto [client, server] = memory_stream::pair();
  server.fail_reads_after(12, std::make_error_code(std::errc::connection_reset));
  store values;
  auto serving = rota::spawn(session<memory_stream>, std::move(server), std::ref(values));
  co_await client.write_all(rota::as_bytes("set a 1\nset a 2\n"));
  const rota::result<> end = co_await rota::as_result(serving);
  co_return end.error() == std::errc::connection_reset&& values["a"] == "1";
}
// [/broken]

// [order]
// Two sessions share a store; the test says whose request is answered first.
rota::task<bool> the_later_value_stays() {
  store values;
  rota::testing::sequencer sequence;
  const auto writer = [&](std::size_t step, std::string_view request) -> rota::task<> {
    auto [client, server] = memory_stream::pair();
    auto serving = rota::spawn(session<memory_stream>, std::move(server), std::ref(values));
    {
      const auto turn = co_await sequence(step);
      co_await client.write_all(rota::as_bytes(request));
      std::array<std::byte, 3> ok;
      co_await client.read_some(ok);
    }
    co_await client.close();
    co_await serving;
  };
  co_await rota::when_all(writer(1, "set a late\n"), writer(0, "set a early\n"));
  co_return values["a"] == "late";
}
// [/order]

}  // namespace

int main() {
  const struct {
    const char* name;
    bool good;
  } tests[] = {{"answers do not depend on how bytes arrive", answers_do_not_depend_on_how_bytes_arrive()},
               {"breaks in the middle of a request", rota::run(breaks_in_the_middle_of_a_request())},
               {"the later value stays", rota::run(the_later_value_stays())}};
  bool good = true;
  for (const auto& test : tests) {
    std::printf("%-45s %s\n", test.name, test.good ? "ok" : "WRONG");
    good = good && test.good;
  }
  return good ? 0 : 1;
}
