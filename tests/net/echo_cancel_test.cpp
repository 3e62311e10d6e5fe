// An echo is cancelled at each of its suspension points in turn: no byte is lost or invented, no descriptor stays.
#include <rota/net/tcp.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "support/streams.hpp"

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::tcp_listener;
using rota::tcp_stream;

namespace {

/// What one side of the echo has done so far.
struct progress {
  std::size_t awaits = 0;   // begun
  std::size_t read = 0;     // bytes of reads that gave their value
  std::size_t written = 0;  // bytes of writes that gave their value
  std::size_t writing = 0;  // bytes of the write that has not
  bool finished = false;
  bool cancelled = false;
};

std::string message(std::size_t i, std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t k = 0; k != size; ++k) text[k] = static_cast<char>('a' + (i * 7 + k * 3) % 26);
  return text;
}

rota::task<> echo_once(tcp_listener& listener, progress& mine) {
  try {
    ++mine.awaits;
    tcp_stream peer = co_await listener.accept();
    std::vector<std::byte> buffer(16'384);
    for (;;) {
      ++mine.awaits;
      const std::size_t n = co_await peer.read_some(buffer);
      if (n == 0) break;
      mine.read += n;
      mine.writing = n;
      ++mine.awaits;
      co_await peer.write_all(std::span(buffer).first(n));
      mine.writing = 0;
      mine.written += n;
    }
    ++mine.awaits;
    co_await peer.close();
    mine.finished = true;
  } catch (const rota::cancelled&) {
    mine.cancelled = true;
    throw;
  }
}

/// `received` is what came back, in order.
rota::task<> ask_and_check(address at, std::vector<std::string> messages, progress& mine, std::string& received) {
  try {
    ++mine.awaits;
    tcp_stream stream = co_await tcp_stream::connect(at);
    std::vector<std::byte> buffer(16'384);
    for (const std::string& text : messages) {
      mine.writing = text.size();
      ++mine.awaits;
      co_await stream.write_all(as_bytes(text));
      mine.writing = 0;
      mine.written += text.size();
      while (mine.read != mine.written) {
        ++mine.awaits;
        const std::size_t n = co_await stream.read_some(buffer);
        if (n == 0) co_return;  // the server has gone
        mine.read += n;
        received += rota::as_text(std::span(buffer).first(n));
      }
    }
    ++mine.awaits;
    co_await stream.close();
    mine.finished = true;
  } catch (const rota::cancelled&) {
    mine.cancelled = true;
    throw;
  }
}

/// Lets others run; every second time the loop looks for completions as well.
rota::task<> one_turn(int i) {
  if (i % 2 == 0)
    co_await rota::sleep_for(0s);
  else
    co_await rota::yield();
}

enum class victim { server, client };

struct outcome {
  progress server, client;
  std::string received;
  bool was_cancelled = false;  // in time
};

/// Cancels the victim when it has begun its k-th await and `turns` more iterations of the loop have passed.
rota::task<outcome> echo_with_cancel(std::vector<std::string> messages, victim which, std::size_t k, int turns) {
  outcome result;
  tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
  auto server = rota::spawn(echo_once, std::ref(listener), std::ref(result.server));
  auto client = rota::spawn(ask_and_check, listener.local_address(), std::move(messages), std::ref(result.client),
                            std::ref(result.received));
  rota::join_handle<>& prey = which == victim::server ? server : client;
  const progress& watched = which == victim::server ? result.server : result.client;
  while (!prey.done() && watched.awaits < k) co_await rota::yield();
  for (int i = 0; i != turns && !prey.done(); ++i) co_await one_turn(i);
  result.was_cancelled = prey.cancel("at this point");

  // The other side notices when the connection goes; a client that never came does not wake an accept, nor does a
  // server that never accepted end a read.
  (void)co_await rota::as_result(prey);
  co_await listener.close();
  (void)co_await rota::as_result(which == victim::server ? client : server);
  co_return result;
}

void sweep(const std::vector<std::string>& messages, victim which, int turns) {
  std::string all;
  for (const std::string& text : messages) all += text;
  for (std::size_t k = 1;; ++k) {
    INFO("cancelled at await " << k << " after " << turns << " turns");
    const descriptor_balance nothing_left;
    const outcome o = rota_test::run(echo_with_cancel(messages, which, k, turns));
    const progress& prey = which == victim::server ? o.server : o.client;
    // Nothing was invented and nothing lost: what came back is the beginning of what was sent.
    REQUIRE(o.received == all.substr(0, o.received.size()));
    REQUIRE(o.received.size() == o.client.read);
    REQUIRE(o.client.read <= o.server.written + o.server.writing);
    REQUIRE(o.server.read <= o.client.written + o.client.writing);
    // What the server says it has echoed reaches a client that goes on reading.
    if (which == victim::server) REQUIRE(o.client.read >= o.server.written);
    // Either it happened or it was cancelled.
    REQUIRE_FALSE((prey.finished && prey.cancelled));
    if (!o.was_cancelled) REQUIRE_FALSE(prey.cancelled);
    if (prey.finished && !o.was_cancelled) {
      REQUIRE(o.client.finished);
      REQUIRE(o.server.finished);
      REQUIRE(o.received == all);
      if (turns == 0) REQUIRE(k > messages.size() * 2);  // the sweep has been everywhere
      return;
    }
    REQUIRE(k < 10'000);
  }
}

std::vector<std::string> small_messages() {
  std::vector<std::string> messages;
  for (std::size_t i = 0; i != 4; ++i) messages.push_back(message(i, 10 + i * 100));
  return messages;
}

}  // namespace

TEST_CASE("a server that is cancelled at any of its awaits loses nothing that it has echoed") {
  for (const int turns : {0, 1, 2, 3, 5}) sweep(small_messages(), victim::server, turns);
}

TEST_CASE("a client that is cancelled at any of its awaits leaves nothing behind") {
  for (const int turns : {0, 1, 2, 3, 5}) sweep(small_messages(), victim::client, turns);
}

TEST_CASE("a message of several rounds is cut off cleanly wherever the server is cancelled") {
  const std::vector<std::string> messages{message(1, 100'000), message(2, 5)};
  for (const int turns : {0, 2}) {
    std::string all = messages[0] + messages[1];
    for (std::size_t k = 1;; ++k) {
      const descriptor_balance nothing_left;
      const outcome o = rota_test::run(echo_with_cancel(messages, victim::server, k, turns));
      // Bytes that the server had not read make its close a reset, so the client may lack what was under way.
      REQUIRE(o.received == all.substr(0, o.received.size()));
      REQUIRE(o.client.read <= o.server.written + o.server.writing);
      if (o.server.finished && !o.was_cancelled) {
        REQUIRE(o.received == all);
        break;
      }
    }
  }
}

// ---- a cancel and a completion in the same breath

namespace {

/// Reads once; what it got stays even if the task is cancelled afterwards.
rota::task<> read_once(tcp_stream& from, std::string& got) {
  got = co_await read_text(from);
  co_await rota::yield();  // observes a cancel that lost against the value
}

}  // namespace

TEST_CASE("a cancel and the bytes in either order: the reader has them or the next one does") {
  const descriptor_balance nothing_left;
  std::size_t had = 0, left = 0;
  run([&]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    for (int round = 0; round != 200; ++round) {
      std::string got;
      auto reader = rota::spawn(read_once, std::ref(pair.client), std::ref(got));
      for (int i = 0; i != round % 5; ++i) co_await rota::yield();
      const bool bytes_first = round % 2 == 0;
      if (!bytes_first) reader.cancel();
      REQUIRE(::send(pair.server.native_handle(), "bytes", 5, MSG_NOSIGNAL) == 5);
      for (int i = 0; i != (round / 5) % 4; ++i) co_await one_turn(i);
      if (bytes_first) reader.cancel();
      (void)co_await rota::as_result(reader);
      if (got.empty()) {
        ++left;
        const std::string rest = co_await read_text(pair.client);
        REQUIRE(rest == "bytes");
      } else {
        ++had;
        REQUIRE(got == "bytes");
      }
    }
  });
  INFO("the reader had them " << had << " times and left them " << left << " times");
  CHECK(had > 0);
  CHECK(left > 0);
}

TEST_CASE("a cancel and a connection in either order: it is accepted, left in the backlog, or closed") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    for (int round = 0; round != 100; ++round) {
      tcp_stream accepted;
      auto accepting = rota::spawn(
          [](tcp_listener& from, tcp_stream& to) -> rota::task<> {
            to = co_await from.accept();
            co_await rota::yield();
          },
          std::ref(listener), std::ref(accepted));
      for (int i = 0; i != round % 4; ++i) co_await rota::yield();
      if (round % 2 != 0) accepting.cancel();
      tcp_stream client = co_await tcp_stream::connect(at);
      for (int i = 0; i != (round / 4) % 4; ++i) co_await one_turn(i);
      accepting.cancel();
      (void)co_await rota::as_result(accepting);
      if (!accepted.is_open()) accepted = co_await listener.accept();
      REQUIRE(accepted.peer_address() == client.local_address());
      co_await client.close();
      const std::string end = co_await read_text(accepted);
      REQUIRE(end.empty());
    }
  });
}

TEST_CASE("a timeout and the bytes at the same time: never both, never neither") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    for (int round = 0; round != 100; ++round) {
      auto writer = rota::spawn(
          [](tcp_stream& to, int late) -> rota::task<> {
            co_await rota::sleep_for(std::chrono::microseconds(late));
            co_await to.write_all(as_bytes("b"));
          },
          std::ref(pair.server), 20 + round % 10);
      std::array<std::byte, 8> buffer;
      auto read = co_await rota::as_result(rota::timeout(std::chrono::microseconds(25), pair.client.read_some(buffer)));
      if (!read) {
        REQUIRE(read.error() == rota::errc::timed_out);
        const std::size_t n = co_await pair.client.read_some(buffer);
        REQUIRE(n == 1);
      }
      co_await writer;
    }
  });
}

TEST_CASE("a close and the bytes in either order: the reader ends once") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    for (int round = 0; round != 60; ++round) {
      stream_pair pair = co_await connect_streams();
      auto reader = rota::spawn(
          [](tcp_stream& from) -> rota::task<std::string> {
            std::string text = co_await read_text(from);
            co_return text;
          },
          std::ref(pair.client));
      for (int i = 0; i != round % 4; ++i) co_await rota::yield();
      REQUIRE(::send(pair.server.native_handle(), "bytes", 5, MSG_NOSIGNAL) == 5);
      for (int i = 0; i != (round / 4) % 4; ++i) co_await one_turn(i);
      co_await pair.client.close();
      auto text = co_await rota::as_result(reader);
      if (text)
        REQUIRE(*text == "bytes");
      else
        REQUIRE(text.error() == rota::errc::closed);
    }
  });
}
