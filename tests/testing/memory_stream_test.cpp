#include <rota/testing/memory_stream.hpp>

#include <array>
#include <concepts>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/net/tcp.hpp>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::as_bytes;
using rota::testing::chunking;
using rota::testing::memory_stream;
using rota::testing::memory_stream_options;

namespace {

// What templates over streams may ask for.
template <class S>
concept stream_shape = std::movable<S> && std::default_initializable<S> &&
                       requires(S s, const S c, rota::mutable_buffer in, rota::const_buffer out,
                                std::span<const rota::mutable_buffer> ins, std::span<const rota::const_buffer> outs) {
                         requires std::same_as<rota::await_result_t<decltype(s.read_some(in))>, std::size_t>;
                         requires std::same_as<rota::await_result_t<decltype(s.read_some(ins))>, std::size_t>;
                         requires std::same_as<rota::await_result_t<decltype(s.write_some(out))>, std::size_t>;
                         requires std::same_as<rota::await_result_t<decltype(s.write_some(outs))>, std::size_t>;
                         requires std::same_as<rota::await_result_t<decltype(s.write_all(out))>, std::size_t>;
                         requires std::same_as<rota::await_result_t<decltype(s.close())>, void>;
                         s.shutdown();
                         s.shutdown(rota::shutdown_direction::both);
                         { c.is_open() } -> std::same_as<bool>;
                       };
static_assert(stream_shape<rota::tcp_stream>);
static_assert(stream_shape<memory_stream>);

template <class Stream>
rota::task<std::string> read_text_of(Stream& from, std::size_t most = 4096) {
  std::string text(most, '\0');
  const std::size_t n = co_await from.read_some(std::as_writable_bytes(std::span(text)));
  text.resize(n);
  co_return text;
}
template <class Stream>
rota::task<std::string> read_all_of(Stream& from, std::size_t piece = 4096) {
  std::string all;
  for (;;) {
    const std::string part = co_await read_text_of(from, piece);
    if (part.empty()) break;
    all += part;
  }
  co_return all;
}
template <class Stream>
rota::task<> echo_of(Stream peer) {
  std::array<std::byte, 700> buffer;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
  co_await peer.close();  // the parameter lives as long as the task's handle
}

std::string letters(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i != n; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 26) % 26);
  return text;
}

rota::task<> write_and_end(memory_stream& to, std::string text) {
  co_await to.write_all(as_bytes(text));
  to.shutdown();
}

}  // namespace

TEST_CASE("what is written at one end is read at the other, in order, in both directions") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    co_await a.write_all(as_bytes("one"));
    co_await a.write_all(as_bytes("two"));
    co_await b.write_all(as_bytes("back"));
    CHECK(b.unread() == 6);
    const std::string first = co_await read_text_of(b, 4);
    const std::string second = co_await read_text_of(b, 4);
    const std::string back = co_await read_text_of(a);
    CHECK(first == "onet");
    CHECK(second == "wo");
    CHECK(back == "back");
  });
}

TEST_CASE("each read gives as many bytes as its chunking says") {
  run([]() -> rota::task<> {
    const struct {
      chunking pieces;
      std::vector<std::size_t> sizes;
    } cases[] = {{chunking::whole(), {10}},
                 {chunking::at_most(4), {4, 4, 2}},
                 {chunking::at_most(0), {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
                 {chunking::half(), {5, 3, 1, 1}}};
    for (const auto& c : cases) {
      memory_stream_options options;
      options.reads = c.pieces;
      auto [a, b] = memory_stream::pair(options);
      co_await a.write_all(as_bytes("0123456789"));
      a.shutdown();
      std::vector<std::size_t> sizes;
      for (;;) {
        const std::string part = co_await read_text_of(b);
        if (part.empty()) break;
        sizes.push_back(part.size());
      }
      CHECK(sizes == c.sizes);
    }
  });
}

TEST_CASE("a seed makes the same pieces again, another seed makes others") {
  const auto sizes_of = [](std::uint64_t seed) {
    chunking pieces = chunking::seeded(seed);
    std::vector<std::size_t> sizes;
    for (int i = 0; i != 20; ++i) sizes.push_back(pieces.next(1'000));
    for (const std::size_t n : sizes) REQUIRE((n >= 1 && n <= 1'000));
    return sizes;
  };
  CHECK(sizes_of(1) == sizes_of(1));
  CHECK(sizes_of(1) != sizes_of(2));
}

TEST_CASE("write_some writes a piece, write_all goes on") {
  run([]() -> rota::task<> {
    memory_stream_options options;
    options.writes = chunking::at_most(3);
    auto [a, b] = memory_stream::pair(options);
    const std::size_t some = co_await a.write_some(as_bytes("0123456789"));
    const std::size_t all = co_await a.write_all(as_bytes("abcdefghij"));
    const std::string text = co_await read_text_of(b);
    CHECK(some == 3);
    CHECK(all == 10);
    CHECK(text == "012abcdefghij");
  });
}

TEST_CASE("an echo loses, duplicates and reorders no byte in any pieces and with any capacity") {
  const std::string text = letters(2'000);
  for (const std::size_t capacity : {0u, 1u, 7u, 4096u}) {
    for (const chunking pieces : {chunking::whole(), chunking::at_most(1), chunking::half(), chunking::seeded(3)}) {
      const std::string received = run([&]() -> rota::task<std::string> {
        memory_stream_options options;
        options.reads = options.writes = pieces;
        options.capacity = capacity;
        auto [client, server] = memory_stream::pair(options);
        auto echoing = rota::spawn(echo_of<memory_stream>, std::move(server));
        const auto both = co_await rota::when_all(read_all_of(client, 333), write_and_end(client, text));
        co_await echoing;
        co_return std::get<0>(both);
      });
      REQUIRE(received == text);
    }
  }
}

TEST_CASE("a writer waits while the capacity is used up, and goes on when the peer reads") {
  run([]() -> rota::task<> {
    memory_stream_options options;
    options.capacity = 4;
    auto [a, b] = memory_stream::pair(options);
    auto writing = rota::spawn([](memory_stream& to) -> rota::task<> { co_await to.write_all(as_bytes("0123456789")); },
                               std::ref(a));
    co_await settle_tasks();
    CHECK_FALSE(writing.done());
    CHECK(b.unread() == 4);
    std::string got;
    for (int i = 0; i != 3; ++i) {
      const std::string part = co_await read_text_of(b);
      got += part;
    }
    CHECK(got == "0123456789");
    co_await writing;
  });
}

TEST_CASE("several buffers are filled and emptied in order") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    const std::array<rota::const_buffer, 3> out{as_bytes("ab"), as_bytes(""), as_bytes("cdef")};
    const std::size_t written = co_await a.write_some(out);
    std::string first(1, '.'), second(3, '.'), third(9, '.');
    const std::array<rota::mutable_buffer, 3> in{std::as_writable_bytes(std::span(first)),
                                                 std::as_writable_bytes(std::span(second)),
                                                 std::as_writable_bytes(std::span(third))};
    const std::size_t read = co_await b.read_some(in);
    CHECK(written == 6);
    CHECK(read == 6);
    CHECK(first + second + third == "abcdef.......");
  });
}

TEST_CASE("writes of nothing give nothing, at once, and a read into nothing is refused") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    bool refused = false;
    try {
      (void)co_await a.read_some(rota::mutable_buffer());
    } catch (const rota::usage_error& error) {
      refused = error.which() == rota::usage_error::kind::invalid_argument;
    }
    CHECK(refused);
    const std::size_t some = co_await a.write_some(rota::const_buffer());
    const std::size_t all = co_await a.write_all(rota::const_buffer());
    CHECK(some + all == 0);
  });
}

// ---- ends

TEST_CASE("a half-closed stream still reads") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    co_await a.write_all(as_bytes("last"));
    a.shutdown();
    const std::string last = co_await read_all_of(b);
    CHECK(last == "last");
    co_await b.write_all(as_bytes("answer"));
    const std::string answer = co_await read_text_of(a);
    CHECK(answer == "answer");
    const std::exception_ptr error = co_await exception_of(a.write_some(as_bytes("more")));
    CHECK(code_of(error) == std::errc::broken_pipe);
  });
}

TEST_CASE("a shutdown of reading ends a read that waits; what comes all the same can be read, as of a tcp_stream") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    auto reading = rota::spawn(read_text_of<memory_stream>, std::ref(a), 10u);
    co_await settle_tasks();
    a.shutdown(rota::shutdown_direction::receive);
    const std::string nothing = co_await reading;
    CHECK(nothing.empty());
    co_await b.write_all(as_bytes("late"));
    const std::string late = co_await read_all_of(a);
    CHECK(late == "late");
  });
}

TEST_CASE("after a shutdown of reading what was there already can still be read") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    co_await b.write_all(as_bytes("there"));
    a.shutdown(rota::shutdown_direction::both);
    const std::string there = co_await read_all_of(a);
    CHECK(there == "there");
    const std::string end = co_await read_all_of(b);
    CHECK(end.empty());
  });
}

TEST_CASE("failures can only be asked of an open stream") {
  memory_stream none;
  CHECK(usage_error_of([&] { none.fail_reads_after(3); }) == rota::usage_error::kind::invalid_argument);
  CHECK(usage_error_of([&] { none.fail_writes_after(3); }) == rota::usage_error::kind::invalid_argument);
}

TEST_CASE("close ends what waits at this end as closed, and what waits at the other as a peer's end") {
  run([]() -> rota::task<> {
    memory_stream_options options;
    options.capacity = 1;
    auto [a, b] = memory_stream::pair(options);
    const auto write = [](memory_stream& to) -> rota::task<> { co_await to.write_all(as_bytes("0123")); };
    auto my_read = rota::spawn(read_text_of<memory_stream>, std::ref(a), 10u);
    auto my_write = rota::spawn(write, std::ref(a));
    auto their_write = rota::spawn(write, std::ref(b));
    co_await settle_tasks();
    // The first byte was read by my_read already.
    const std::string byte = co_await my_read;
    CHECK(byte == "0");
    auto again = rota::spawn(
        [](memory_stream& from) -> rota::task<> {
          for (;;) {
            const std::string part = co_await read_text_of(from, 1);
            if (part.empty()) break;
          }
        },
        std::ref(a));
    co_await settle_tasks();
    co_await a.close();
    const std::exception_ptr read_error = co_await exception_of(again);
    const std::exception_ptr write_error = co_await exception_of(my_write);
    co_await their_write;  // its last byte had room
    CHECK(code_of(read_error) == rota::errc::closed);
    CHECK(code_of(write_error) == rota::errc::closed);
    const std::string rest = co_await read_all_of(b);
    CHECK(rest == "0");
    const std::exception_ptr gone = co_await exception_of(b.write_all(as_bytes("x")));
    CHECK(code_of(gone) == std::errc::broken_pipe);
    CHECK_FALSE(a.is_open());
    co_await a.close();
  });
}

TEST_CASE("a stream that is not open, or was moved from, is closed") {
  run([]() -> rota::task<> {
    memory_stream none;
    std::array<std::byte, 4> buffer;
    const std::exception_ptr read = co_await exception_of(none.read_some(buffer));
    CHECK(code_of(read) == rota::errc::closed);
    auto [a, b] = memory_stream::pair();
    const memory_stream moved = std::move(a);
    CHECK_FALSE(a.is_open());
    const std::exception_ptr write = co_await exception_of(a.write_all(as_bytes("x")));
    CHECK(code_of(write) == rota::errc::closed);
    CHECK(error_code_of([&] { a.shutdown(); }) == rota::errc::closed);
    CHECK(moved.is_open());
  });
}

TEST_CASE("destroying an end is closing it") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    auto reading = rota::spawn(read_text_of<memory_stream>, std::ref(b), 10u);
    co_await settle_tasks();
    a = memory_stream();
    const std::string text = co_await reading;
    CHECK(text.empty());
  });
}

// ---- errors

TEST_CASE("reads and writes fail after exactly so many bytes, again and again") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    b.fail_reads_after(5);
    a.fail_writes_after(8, std::make_error_code(std::errc::no_buffer_space));
    const std::exception_ptr write = co_await exception_of(a.write_all(as_bytes("0123456789")));
    CHECK(code_of(write) == std::errc::no_buffer_space);
    CHECK(b.unread() == 8);
    const std::string text = co_await read_text_of(b);
    CHECK(text == "01234");
    for (int i = 0; i != 2; ++i) {
      const std::exception_ptr read = co_await exception_of(read_text_of(b));
      CHECK(code_of(read) == std::errc::connection_reset);
      const std::exception_ptr more = co_await exception_of(a.write_some(as_bytes("x")));
      CHECK(code_of(more) == std::errc::no_buffer_space);
    }
  });
}

TEST_CASE("an error that is due at once ends what waits") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    auto reading = rota::spawn(read_text_of<memory_stream>, std::ref(b), 10u);
    co_await settle_tasks();
    b.fail_reads_after(0);
    const std::exception_ptr error = co_await exception_of(reading);
    CHECK(code_of(error) == std::errc::connection_reset);
  });
}

TEST_CASE("a second reader and a second writer are busy") {
  run([]() -> rota::task<> {
    memory_stream_options options;
    options.capacity = 1;
    auto [a, b] = memory_stream::pair(options);
    auto reading = rota::spawn(read_text_of<memory_stream>, std::ref(a), 10u);
    auto writing =
        rota::spawn([](memory_stream& to) -> rota::task<> { co_await to.write_all(as_bytes("01")); }, std::ref(a));
    co_await settle_tasks();
    const std::exception_ptr read = co_await exception_of(read_text_of(a));
    const std::exception_ptr write = co_await exception_of(a.write_some(as_bytes("x")));
    CHECK(code_of(read) == rota::errc::busy);
    CHECK(code_of(write) == rota::errc::busy);
    const std::string text = co_await read_text_of(b, 1);
    CHECK(text == "0");
    co_await b.write_all(as_bytes("r"));
    co_await reading;
    co_await writing;
  });
}

// ---- cancels

TEST_CASE("a cancelled read took nothing, and what comes next is there for another") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    std::array<std::byte, 8> buffer;
    const auto expired = co_await rota::move_on_after(0s, b.read_some(buffer));
    CHECK_FALSE(expired.has_value());
    co_await a.write_all(as_bytes("kept"));
    const std::string text = co_await read_text_of(b);
    CHECK(text == "kept");
  });
}

TEST_CASE("a read whose bytes came before the cancel gives them") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    auto reading = rota::spawn(read_text_of<memory_stream>, std::ref(b), 10u);
    co_await settle_tasks();
    co_await a.write_all(as_bytes("first"));
    reading.cancel();
    const std::string text = co_await reading;
    CHECK(text == "first");
  });
}

TEST_CASE("a write in a cancelled scope does not begin, one that waits leaves a part") {
  run([]() -> rota::task<> {
    memory_stream_options options;
    options.capacity = 3;
    auto [a, b] = memory_stream::pair(options);
    const auto late = [&](rota::cancel_scope& scope) -> rota::task<> {
      scope.cancel();
      co_await a.write_all(as_bytes("never"));
    };
    co_await rota::with_cancel_scope(late);
    CHECK(b.unread() == 0);
    const auto expired = co_await rota::move_on_after(0s, a.write_all(as_bytes("0123456789")));
    CHECK_FALSE(expired.has_value());
    CHECK(b.unread() == 3);
  });
}

TEST_CASE("always-ready streams let other tasks have their turn") {
  run([]() -> rota::task<> {
    auto [a, b] = memory_stream::pair();
    bool stop = false;
    auto other = rota::spawn(
        [](bool& flag) -> rota::task<> {
          co_await rota::yield();
          flag = true;
        },
        std::ref(stop));
    while (!stop) {
      co_await a.write_all(as_bytes("x"));
      const std::string text = co_await read_text_of(b);
      REQUIRE(text == "x");
    }
    co_await other;
  });
}
