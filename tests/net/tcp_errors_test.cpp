// Connections that do not go well: refused, reset, closed under a reader, used wrongly.
#include <rota/net/tcp.hpp>

#include <signal.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/streams.hpp"

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::tcp_listener;
using rota::tcp_stream;

namespace {

/// A listener that takes no more connections: further ones wait for an answer.
struct full_listener {
  address at{"127.0.0.1", 0};
  rota::unique_fd listener = make_listener(at, 0);
  std::vector<rota::unique_fd> clients;

  full_listener() {
    for (int i = 0; i != 4; ++i) {
      clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)::connect(clients.back().get(), at.data(), at.size());
    }
  }
};

rota::task<std::string> read_into_string(tcp_stream& from) {
  std::string text = co_await read_text(from);
  co_return text;
}

}  // namespace

// ---- listening and connecting

TEST_CASE("binding to a used port fails with a text that shows the address") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    const tcp_listener first = tcp_listener::bind(address("127.0.0.1", 0));
    std::string text;
    std::error_code code;
    try {
      const tcp_listener second = tcp_listener::bind(first.local_address());
    } catch (const std::system_error& error) {
      code = error.code();
      text = error.what();
    }
    CHECK(code == std::errc::address_in_use);
    INFO(text);
    CHECK(text.find(first.local_address().to_string()) != std::string::npos);
    co_return;
  });
}

TEST_CASE("binding to an address that is not ours fails") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    const std::error_code code = error_code_of([] { return tcp_listener::bind(address("192.0.2.1", 0)); });
    CHECK(code == std::errc::address_not_available);
    co_return;
  });
}

TEST_CASE("listening and connecting need a loop") {
  CHECK(usage_error_of([] { return tcp_listener::bind(address("127.0.0.1", 0)); }) ==
        rota::usage_error::kind::no_event_loop);
}

TEST_CASE("a connect to a port where nobody listens is refused") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    address at("127.0.0.1", 0);
    make_listener(at).reset();
    for (int i = 0; i != 3; ++i) {
      const std::error_code code = co_await error_of(tcp_stream::connect(at));
      CHECK(code == std::errc::connection_refused);
    }
  });
}

TEST_CASE("a connect to an address that cannot be reached fails") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    const std::error_code code = co_await error_of(tcp_stream::connect(address("255.255.255.255", 9)));
    INFO(code.message());
    CHECK((code == std::errc::network_unreachable || code == std::errc::permission_denied));
  });
}

TEST_CASE("a connect that gets no answer ends with its timeout and leaves nothing behind") {
  const descriptor_balance nothing_left;
  const full_listener full;
  run([&full]() -> rota::task<> {
    const std::error_code code = co_await error_of(rota::timeout(3ms, tcp_stream::connect(full.at)));
    CHECK(code == rota::errc::timed_out);
    CHECK(code == std::errc::timed_out);
    co_await settle_tasks();
  });
}

TEST_CASE("a connect that waits can be cancelled, and leaves nothing behind") {
  const descriptor_balance nothing_left;
  const full_listener full;
  run([&full]() -> rota::task<> {
    auto connecting =
        rota::spawn([&full]() -> rota::task<> { const tcp_stream stream = co_await tcp_stream::connect(full.at); });
    co_await settle_tasks();
    CHECK_FALSE(connecting.done());
    connecting.cancel();
    const std::error_code code = co_await error_of(connecting);
    CHECK(code == rota::errc::task_cancelled);
    co_await settle_tasks();
  });
}

TEST_CASE("an error of connect can be had as a result") {
  run([]() -> rota::task<> {
    address at("127.0.0.1", 0);
    make_listener(at).reset();
    auto refused = co_await rota::as_result(tcp_stream::connect(at));
    CHECK_FALSE(refused);
    CHECK(refused.error() == std::errc::connection_refused);
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    auto connected = co_await rota::as_result(tcp_stream::connect(listener.local_address()));
    CHECK(connected);
    CHECK(connected->is_open());
  });
}

TEST_CASE("an accept that times out takes no connection") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const std::error_code code = co_await error_of(rota::timeout(1ms, listener.accept()));
    CHECK(code == rota::errc::timed_out);
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    const tcp_stream server = co_await listener.accept();
    CHECK(server.peer_address() == client.local_address());
  });
}

// ---- two at once

TEST_CASE("a second reader gets errc::busy and the first one its bytes") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto first = rota::spawn(read_into_string, std::ref(pair.client));
    co_await settle_tasks();
    std::array<std::byte, 8> buffer;
    const std::error_code code = co_await error_of(pair.client.read_some(buffer));
    CHECK(code == rota::errc::busy);
    CHECK(code == std::errc::device_or_resource_busy);
    auto result = co_await rota::as_result(pair.client.read_some(buffer));
    CHECK(result.error() == rota::errc::busy);
    co_await pair.server.write_all(as_bytes("for the first"));
    const std::string text = co_await first;
    CHECK(text == "for the first");
  });
}

TEST_CASE("a second writer gets errc::busy and the first one writes on") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    make_narrow(pair);
    const std::string text(more_than_fits, 'w');
    auto first = rota::spawn([&]() -> rota::task<std::size_t> {
      const std::size_t n = co_await pair.client.write_all(as_bytes(text));
      pair.client.shutdown();
      co_return n;
    });
    co_await settle_tasks();
    REQUIRE_FALSE(first.done());
    const std::error_code code = co_await error_of(pair.client.write_all(as_bytes("intruder")));
    CHECK(code == rota::errc::busy);
    const std::string received = co_await read_to_end(pair.server);
    CHECK(received == text);
    const std::size_t n = co_await first;
    CHECK(n == text.size());
  });
}

TEST_CASE("a second accept gets errc::busy") {
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    auto first = rota::spawn([&]() -> rota::task<> { const tcp_stream peer = co_await listener.accept(); });
    co_await settle_tasks();
    const std::error_code code = co_await error_of(listener.accept());
    CHECK(code == rota::errc::busy);
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    co_await first;
  });
}

// ---- closing

TEST_CASE("closing a stream ends a read that waits with errc::closed, before close() returns") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    std::vector<std::string> order;
    auto reader = rota::spawn([&]() -> rota::task<std::error_code> {
      const std::error_code code = co_await error_of(read_text(pair.client));
      order.push_back("reader");
      co_return code;
    });
    co_await settle_tasks();
    co_await pair.client.close();
    order.push_back("closer");
    const std::error_code code = co_await reader;
    CHECK(code == rota::errc::closed);
    CHECK(order == std::vector<std::string>{"reader", "closer"});
    CHECK_FALSE(pair.client.is_open());
    const std::string end = co_await read_text(pair.server);
    CHECK(end.empty());
  });
}

TEST_CASE("close() returns when the kernel has closed the descriptor") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const int fd = pair.client.native_handle();
    auto reader = rota::spawn([&]() -> rota::task<> { (void)co_await error_of(read_text(pair.client)); });
    co_await settle_tasks();
    REQUIRE(is_open(fd));
    co_await pair.client.close();
    CHECK_FALSE(is_open(fd));
    co_await reader;
  });
}

TEST_CASE("closing a stream ends a reader and a writer that wait") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    make_narrow(pair);
    const std::string text(more_than_fits, 'w');
    auto reader = rota::spawn([&]() -> rota::task<std::error_code> {
      std::array<std::byte, 8> buffer;
      const std::error_code code = co_await error_of(pair.client.read_some(buffer));
      co_return code;
    });
    auto writer = rota::spawn([&]() -> rota::task<std::error_code> {
      const std::error_code code = co_await error_of(pair.client.write_all(as_bytes(text)));
      co_return code;
    });
    co_await settle_tasks();
    REQUIRE_FALSE(writer.done());
    co_await pair.client.close();
    const std::error_code read = co_await reader;
    const std::error_code written = co_await writer;
    CHECK(read == rota::errc::closed);
    CHECK(written == rota::errc::closed);
  });
}

TEST_CASE("closing a listener ends an accept that waits with errc::closed") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto accepting = rota::spawn([&]() -> rota::task<std::error_code> {
      const std::error_code code = co_await error_of(listener.accept());
      co_return code;
    });
    co_await settle_tasks();
    co_await listener.close();
    const std::error_code code = co_await accepting;
    CHECK(code == rota::errc::closed);
    const std::error_code refused = co_await error_of(tcp_stream::connect(at));
    CHECK(refused == std::errc::connection_refused);
  });
}

TEST_CASE("a connection whose number is 0 is one like others") {
  const child_outcome child = run_in_child([] {
    std::string answer;
    run([&]() -> rota::task<> {
      tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      tcp_stream client = co_await tcp_stream::connect(listener.local_address());
      ::close(0);
      tcp_stream server = co_await listener.accept();
      if (server.native_handle() != 0) co_return;
      co_await client.write_all(as_bytes("hello"));
      answer = co_await read_text(server);
    });
    return answer == "hello" && !is_open(0) ? 0 : 1;
  });
  CHECK(child.exit_code() == 0);
}

TEST_CASE("a connection that was accepted and that nobody takes is closed, whatever its number") {
  struct given : rota::detail::accept_awaiter {
    explicit given(rota::event_loop& loop) : accept_awaiter(&loop, -1) {}
    using operation_awaiter::op_;
  };
  const child_outcome child = run_in_child([] {
    rota::event_loop loop;
    {
      const given nothing(loop);
    }
    if (!is_open(0)) return 1;
    {
      given zero(loop);
      zero.op_.result = 0;
    }
    return is_open(0) ? 2 : 0;
  });
  CHECK(child.exit_code() == 0);
}

TEST_CASE("a cancel does not interrupt close()") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto reader = rota::spawn([&]() -> rota::task<std::error_code> {
      const std::error_code code = co_await error_of(read_text(pair.client));
      co_return code;
    });
    co_await settle_tasks();
    bool closed = false;
    auto closer = rota::spawn([&]() -> rota::task<> {
      co_await pair.client.close();
      closed = true;
    });
    co_await rota::yield();
    closer.cancel();
    (void)co_await error_of(closer);
    CHECK(closed);
    const std::error_code code = co_await reader;
    CHECK(code == rota::errc::closed);
  });
}

TEST_CASE("the destructor of a stream ends a read that waits on it") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto owned = std::make_unique<tcp_stream>(std::move(pair.client));
    auto reader = rota::spawn(
        [](tcp_stream& from) -> rota::task<std::error_code> {
          std::array<std::byte, 8> buffer;
          const std::error_code code = co_await error_of(from.read_some(buffer));
          co_return code;
        },
        std::ref(*owned));
    co_await settle_tasks();
    owned.reset();
    const std::error_code code = co_await reader;
    CHECK(code == rota::errc::closed);
    const std::string end = co_await read_text(pair.server);
    CHECK(end.empty());
  });
}

TEST_CASE("a closed, moved-from or empty stream is refused with errc::closed") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const tcp_stream moved = std::move(pair.client);
    co_await pair.server.close();
    co_await pair.server.close();  // does nothing
    tcp_stream never_open;
    std::array<std::byte, 8> buffer;
    const std::array<rota::mutable_buffer, 1> list{rota::mutable_buffer(buffer)};
    for (tcp_stream* stream : {&pair.client, &pair.server, &never_open}) {
      CHECK_FALSE(stream->is_open());
      const std::error_code read = co_await error_of(stream->read_some(buffer));
      const std::error_code scattered = co_await error_of(stream->read_some(list));
      const std::error_code written = co_await error_of(stream->write_some(as_bytes("x")));
      const std::error_code all = co_await error_of(stream->write_all(as_bytes("x")));
      CHECK(read == rota::errc::closed);
      CHECK(scattered == rota::errc::closed);
      CHECK(written == rota::errc::closed);
      CHECK(all == rota::errc::closed);
      const rota::result<std::size_t> as_code = co_await rota::as_result(stream->read_some(buffer));
      CHECK(as_code.error() == rota::errc::closed);
      const std::error_code limited =
          co_await error_of(rota::timeout(1s, rota::timeout(2s, stream->read_some(buffer))));
      CHECK(limited == rota::errc::closed);
      CHECK(error_code_of([&] { return stream->peer_address().port(); }) == std::errc::bad_file_descriptor);
      CHECK(error_code_of([&] { return stream->shutdown(), 0; }) == std::errc::bad_file_descriptor);
      CHECK(error_code_of([&] { return stream->set_no_delay(true), 0; }) == std::errc::bad_file_descriptor);
    }
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    co_await listener.close();
    const std::error_code accepted = co_await error_of(listener.accept());
    CHECK(accepted == rota::errc::closed);
  });
}

TEST_CASE("what is left of a number that is used again does not reach the new stream") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    for (int round = 0; round != 20; ++round) {
      stream_pair old = co_await connect_streams();
      const int number = old.client.native_handle();
      co_await old.server.write_all(as_bytes("stale"));
      co_await old.client.close();
      stream_pair fresh = co_await connect_streams();
      CHECK((fresh.client.native_handle() == number || fresh.server.native_handle() == number || round == 0));
      co_await fresh.server.write_all(as_bytes("fresh"));
      const std::string text = co_await read_text(fresh.client);
      REQUIRE(text == "fresh");
    }
  });
}

// ---- the peer

TEST_CASE("a peer that resets ends a read that waits with connection_reset") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    for (const bool waits : {true, false}) {
      stream_pair pair = co_await connect_streams();
      auto reader = rota::spawn([&]() -> rota::task<std::error_code> {
        if (!waits) co_await settle_tasks();
        const std::error_code code = co_await error_of(read_text(pair.client));
        co_return code;
      });
      if (waits) co_await settle_tasks(2);
      pair.server.set_linger(0s);
      co_await pair.server.close();
      const std::error_code code = co_await reader;
      CHECK(code == std::errc::connection_reset);
      const std::error_code written = co_await error_of(pair.client.write_all(as_bytes("x")));
      CHECK(rota::peer_has_gone(written));
    }
  });
}

TEST_CASE("a peer that resets ends a write_all that waits, without a signal") {
  REQUIRE(::signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    make_narrow(pair);
    const std::string text(more_than_fits, 'w');
    auto writer = rota::spawn([&]() -> rota::task<std::error_code> {
      const std::error_code code = co_await error_of(pair.client.write_all(as_bytes(text)));
      co_return code;
    });
    co_await settle_tasks();
    REQUIRE_FALSE(writer.done());
    const std::string part = co_await read_text(pair.server, 100'000);  // half-way
    CHECK_FALSE(part.empty());
    pair.server.set_linger(0s);
    co_await pair.server.close();
    const std::error_code code = co_await writer;
    INFO(code.message());
    CHECK(rota::peer_has_gone(code));
  });
}

TEST_CASE("a peer that ends half-way through a message: what came is read, then the end of the stream") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    for (const bool waits : {true, false}) {
      stream_pair pair = co_await connect_streams();
      auto reader = rota::spawn([&]() -> rota::task<std::string> {
        if (!waits) co_await settle_tasks();
        std::string text = co_await read_to_end(pair.server);
        co_return text;
      });
      if (waits) co_await settle_tasks(2);
      co_await pair.client.write_all(as_bytes("Content-Length: 10\n\nhalf"));
      co_await pair.client.close();
      const std::string text = co_await reader;
      CHECK(text == "Content-Length: 10\n\nhalf");
      const std::string more = co_await read_text(pair.server);
      CHECK(more.empty());
    }
  });
}

TEST_CASE("a peer that falls silent half-way through a message is given up, and what came is kept") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    std::string message;
    const auto read_message = [&]() -> rota::task<> {
      while (message.size() < 10) message += co_await read_text(pair.server);
    };
    co_await pair.client.write_all(as_bytes("half"));
    const std::error_code code = co_await error_of(rota::timeout(2ms, read_message()));
    CHECK(code == rota::errc::timed_out);
    CHECK(message == "half");
    // The stream is as good as before: nothing was taken by the read that was given up.
    co_await pair.client.write_all(as_bytes("-later"));
    co_await read_message();
    CHECK(message == "half-later");
  });
}

TEST_CASE("a peer that stops taking an answer half-way is given up, and one that closes ends the write") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    const std::string text(more_than_fits, 'w');
    for (const bool closes : {true, false}) {
      stream_pair pair = co_await connect_streams();
      make_narrow(pair);
      const rota::duration limit = closes ? rota::duration(1h) : rota::duration(2ms);
      auto writer = rota::spawn([&]() -> rota::task<std::error_code> {
        const std::error_code code = co_await error_of(rota::timeout(limit, pair.client.write_all(as_bytes(text))));
        co_return code;
      });
      const std::string part = co_await read_text(pair.server, 100'000);
      CHECK_FALSE(part.empty());
      if (closes) co_await pair.server.close();  // with bytes unread: the kernel resets the connection
      const std::error_code code = co_await writer;
      CHECK((closes ? rota::peer_has_gone(code) : code == rota::errc::timed_out));
    }
  });
}

TEST_CASE("writing to a peer that has gone is an error and not a signal") {
  REQUIRE(::signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.server.close();
    std::error_code code;
    const std::array<rota::const_buffer, 2> parts{as_bytes("a"), as_bytes("b")};
    for (int i = 0; i != 100 && !code; ++i) {
      code = co_await error_of(pair.client.write_all(as_bytes("into the void")));
      co_await settle_tasks(2);
    }
    CHECK(rota::peer_has_gone(code));
    const std::error_code gathered = co_await error_of(pair.client.write_some(parts));
    CHECK(gathered == std::errc::broken_pipe);
    const std::error_code some = co_await error_of(pair.client.write_some(as_bytes("x")));
    CHECK(some == std::errc::broken_pipe);
  });
}

TEST_CASE("writing after one's own shutdown is an error and not a signal") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    pair.client.shutdown();
    const std::error_code code = co_await error_of(pair.client.write_all(as_bytes("x")));
    CHECK(code == std::errc::broken_pipe);
  });
}

// ---- cancel

TEST_CASE("a cancelled read takes no bytes: the next one has them") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    for (int round = 0; round != 20; ++round) {
      auto reader = rota::spawn(read_into_string, std::ref(pair.client));
      co_await settle_tasks(2);
      if (round % 2 == 0) reader.cancel();
      co_await pair.server.write_all(as_bytes("kept"));
      reader.cancel();  // races with the bytes
      std::string text;
      try {
        text = co_await reader;
      } catch (const std::system_error& error) {
        CHECK(error.code() == rota::errc::task_cancelled);
      }
      if (text.empty()) text = co_await read_text(pair.client);
      REQUIRE(text == "kept");
    }
  });
}

TEST_CASE("a value that was there before the cancel is delivered, and the next await throws") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.server.write_all(as_bytes("value"));
    co_await settle_tasks();
    std::string got;
    bool next_was_cancelled = false;
    rota::join_handle<> reader;
    reader = rota::spawn([&]() -> rota::task<> {
      std::array<std::byte, 16> buffer;
      std::size_t n = 0;
      {
        auto reading = pair.client.read_some(buffer);
        n = co_await reading;
      }
      reader.cancel();
      got = rota::as_text(std::span(buffer).first(n));
      try {
        (void)co_await pair.client.read_some(buffer);
      } catch (const rota::cancelled&) {
        next_was_cancelled = true;
        throw;
      }
    });
    const std::error_code code = co_await error_of(reader);
    CHECK(code == rota::errc::task_cancelled);
    CHECK(got == "value");
    CHECK(next_was_cancelled);
  });
}

TEST_CASE("a write_all of more than the kernel takes at once is refused, not cut short") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    const std::span<const std::byte> too_much(reinterpret_cast<const std::byte*>(&pair), std::size_t{3} << 30);
    const std::error_code code = co_await error_of(pair.client.write_all(too_much));
    CHECK(code == std::errc::message_size);
    co_await pair.client.close();
    const std::string nothing = co_await read_to_end(pair.server);
    CHECK(nothing.empty());
  });
}

TEST_CASE("a cancelled write_all leaves a stream that can be closed") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    make_narrow(pair);
    const std::string text(more_than_fits, 'w');
    const std::error_code code = co_await error_of(rota::timeout(2ms, pair.client.write_all(as_bytes(text))));
    CHECK(code == rota::errc::timed_out);
    co_await pair.client.close();
    const std::string received = co_await read_to_end(pair.server);
    CHECK_FALSE(received.empty());
    CHECK(received.size() < text.size());
    CHECK(received == text.substr(0, received.size()));
  });
}

// ---- the wrong loop

TEST_CASE("a stream used on another loop's thread is a usage_error, and the stream stays as it was") {
  rota::event_loop mine;
  stream_pair pair = mine.run(connect_streams());
  std::thread([&] {
    rota::event_loop other;
    other.run([](tcp_stream& stranger) -> rota::task<> {
      std::array<std::byte, 8> buffer;
      rota::usage_error::kind kind{};
      try {
        (void)co_await stranger.read_some(buffer);
      } catch (const rota::usage_error& error) {
        kind = error.which();
      }
      CHECK(kind == rota::usage_error::kind::wrong_loop);
      kind = {};
      try {
        co_await stranger.close();
      } catch (const rota::usage_error& error) {
        kind = error.which();
      }
      CHECK(kind == rota::usage_error::kind::wrong_loop);
      CHECK(stranger.is_open());
    }(pair.client));
  }).join();
  run_on(mine, [](stream_pair both) -> rota::task<> {
    co_await both.client.write_all(as_bytes("still works"));
    const std::string text = co_await read_text(both.server);
    CHECK(text == "still works");
  }(std::move(pair)));
}

TEST_CASE("a read into an empty buffer is refused: its 0 bytes would look like the end of the stream") {
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    co_await pair.server.write_all(as_bytes("text"));
    std::array<std::byte, 4> room;
    const std::array<rota::mutable_buffer, 2> nothing{};
    std::string what;
    try {
      (void)co_await pair.client.read_some(rota::mutable_buffer(room).first(0));
    } catch (const rota::usage_error& error) {
      CHECK(error.which() == rota::usage_error::kind::invalid_argument);
      what = error.what();
    }
    CHECK(what.find("tcp_errors_test.cpp:" + std::to_string(__LINE__ - 5)) != std::string::npos);
    bool refused = false;
    try {
      (void)co_await pair.client.read_some(nothing);
    } catch (const rota::usage_error&) {
      refused = true;
    }
    CHECK(refused);
    const std::size_t none = co_await pair.client.write_some(rota::const_buffer());
    CHECK(none == 0);  // of a write it says what happened
    const std::size_t n = co_await pair.client.read_some(room);
    CHECK(n == 4);
  });
}

TEST_CASE("debug builds, and debug mode, end the program when a stream is destroyed on another thread") {
  const child_outcome child = run_in_child([] {
    rota::event_loop_options options;
    options.debug = !ROTA_ASSERTIONS;
    rota::event_loop loop(options);
    loop.run([]() -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      auto away = std::make_unique<tcp_stream>(std::move(pair.client));
      std::thread([&] { away.reset(); }).join();
    }());
    return 0;
  });
  INFO(child.output);
  CHECK(child.signal() == SIGABRT);
  CHECK(child.says("a stream or listener was destroyed on another thread than its event loop's, by no task"));
}

TEST_CASE("serve with a listener of another loop is a usage_error") {
  rota::event_loop mine;
  const auto make = []() -> rota::task<rota::tcp_listener> { co_return rota::tcp_listener::bind({"127.0.0.1", 0}); };
  rota::tcp_listener listener = mine.run(make());
  rota::event_loop other;
  rota::usage_error::kind kind{};
  try {
    other.run(rota::serve(std::move(listener), [](tcp_stream) -> rota::task<> { co_return; }));
  } catch (const rota::usage_error& error) {
    kind = error.which();
  }
  CHECK(kind == rota::usage_error::kind::wrong_loop);
}

TEST_CASE("a child process that awaits its parent's stream gets usage_error, and the parent its bytes") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    auto reader = rota::spawn(read_into_string, std::ref(pair.client));
    co_await settle_tasks();
    // fork() in the middle of a task: the child goes on in the same coroutine.
    std::fflush(nullptr);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int code = 1;
      try {
        co_await pair.server.write_all(as_bytes("from the child"));
        code = 2;
      } catch (const rota::usage_error& error) {
        code = error.which() == rota::usage_error::kind::forked ? 0 : 3;
      } catch (...) {
        code = 4;
      }
      ::_exit(code);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    co_await pair.server.write_all(as_bytes("from the parent"));
    const std::string text = co_await reader;
    CHECK(text == "from the parent");
  });
}

TEST_CASE("a child process may destroy its parent's loop with everything on it, and the parent goes on") {
  const descriptor_balance nothing_left;
  auto loop = std::make_unique<rota::event_loop>();
  stream_pair pair = loop->run(connect_streams());
  auto reader = rota::join_handle<std::string>();
  loop->run([](rota::join_handle<std::string>& handle, stream_pair& both) -> rota::task<> {
    handle = rota::spawn(read_into_string, std::ref(both.client));
    co_await settle_tasks();
  }(reader, pair));
  const child_outcome child = run_in_child([&] {
    const auto kind = usage_error_of([&] { return loop->run([]() -> rota::task<int> { co_return 1; }()); });
    loop.reset();
    if (kind != rota::usage_error::kind::forked) return 1;
    return run([]() -> rota::task<int> {  // a loop of its own
      stream_pair own = co_await connect_streams();
      co_await own.client.write_all(as_bytes("own"));
      const std::string text = co_await read_text(own.server);
      co_return text == "own" ? 0 : 2;
    });
  });
  INFO(child.output);
  CHECK(child.exit_code() == 0);
  const std::string text =
      run_on(*loop, [](rota::join_handle<std::string> handle, stream_pair both) -> rota::task<std::string> {
        co_await both.server.write_all(as_bytes("still"));
        std::string result = co_await handle;
        co_return result;
      }(std::move(reader), std::move(pair)));
  CHECK(text == "still");
}

// ---- the loop's end

TEST_CASE("a loop is destroyed with a thousand operations in flight") {
  const std::size_t n = allow_descriptors(scaled(1'000, 300, 500) * 2) / 2;
  const descriptor_balance nothing_left;
  std::size_t cancelled = 0;
  {
    rota::event_loop loop;
    loop.run([](std::size_t count, std::size_t& ended) -> rota::task<> {
      for (std::size_t i = 0; i != count; ++i) {
        stream_pair pair = co_await connect_streams();
        (void)rota::spawn(
            [](stream_pair both, std::size_t& sum) -> rota::task<> {
              std::array<std::byte, 64> buffer;
              try {
                (void)co_await both.server.read_some(buffer);
              } catch (const rota::cancelled&) {
                ++sum;
                throw;
              }
            },
            std::move(pair), std::ref(ended));
      }
      co_await settle_tasks();
    }(n, cancelled));
    REQUIRE(loop.statistics().operations == n);
  }
  CHECK(cancelled == n);
}

TEST_CASE("a task that reads again and again after a cancel does not hold up the end of the loop") {
  const descriptor_balance nothing_left;
  std::size_t times = 0;
  {
    rota::event_loop loop;
    loop.run([](std::size_t& count) -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      (void)rota::spawn(
          [](stream_pair both, std::size_t& sum) -> rota::task<> {
            std::array<std::byte, 64> buffer;
            for (int i = 0; i != 3; ++i) {
              try {
                (void)co_await both.server.read_some(buffer);
              } catch (const rota::cancelled&) {
                ++sum;
              }
            }
          },
          std::move(pair), std::ref(count));
      co_await settle_tasks();
    }(times));
  }
  CHECK(times == 3);  // a cancelled scope stays cancelled
}
