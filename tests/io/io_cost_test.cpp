// What reading and writing cost once a connection is warm: memory on both backends, system calls on epoll.
#include "support/faulty_sys.hpp"

#include <rota/io/byte_stream.hpp>

#include "support/counted_heap.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::tcp_stream;

namespace {

struct counters {
  std::uint64_t heap = 0;
  std::int64_t frames = 0;
  std::uint64_t epoll_ctl = 0, epoll_waits = 0, recv = 0, recv_again = 0, send = 0, all = 0;

  static counters now() {
    counters c;
    c.heap = allocations;
    c.frames = rota_test::frames();
    c.epoll_ctl = faulty_sys::calls(call::epoll_ctl);
    c.epoll_waits = faulty_sys::calls(call::epoll_wait) + faulty_sys::calls(call::epoll_wait_until);
    c.recv = faulty_sys::calls(call::recv);
    c.recv_again = faulty_sys::plan(call::recv).again;
    c.send = faulty_sys::calls(call::send);
    c.all = faulty_sys::all_calls();
    return c;
  }
};

/// The same as echo, without a frame per read: what a server's loop looks like.
rota::task<> answer(tcp_stream& peer) {
  std::array<std::byte, 256> buffer;
  for (;;) {
    const std::size_t n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

rota::task<> ask_often(tcp_stream& stream, std::size_t times) {
  std::array<std::byte, 64> question{};
  std::array<std::byte, 128> answer_to_it;  // larger: a read that fills its buffer says nothing about what follows
  for (std::size_t i = 0; i != times; ++i) {
    co_await stream.write_all(question);
    for (std::size_t had = 0; had != question.size();) {
      const std::size_t n = co_await stream.read_some(std::span(answer_to_it).subspan(had));
      if (n == 0) co_return;
      had += n;
    }
  }
}

struct measured {
  counters before, after;
  bool epoll = false;
};

rota::task<measured> round_trips(std::size_t warm_up, std::size_t times) {
  measured m;
  m.epoll = rota::event_loop::current()->backend() == rota::backend::epoll;
  stream_pair pair = co_await connect_streams();
  auto server = rota::spawn(answer, std::ref(pair.server));
  co_await ask_often(pair.client, warm_up);
  m.before = counters::now();
  co_await ask_often(pair.client, times);
  m.after = counters::now();
  co_await pair.client.close();
  co_await server;
  co_return m;
}

}  // namespace

TEST_CASE("the counter of allocations counts") {
  if (!counts_allocations) SKIP("the sanitizers own the heap");
  const std::uint64_t before = allocations;
  ::operator delete(::operator new(10));
  ::operator delete(::operator new(128, std::align_val_t(64)), std::align_val_t(64));
  std::free(std::malloc(10));
  CHECK(allocations >= before + 3);
}

TEST_CASE("ten thousand round trips on a warm connection allocate nothing") {
  if (!counts_allocations) SKIP("the sanitizers own the heap");
  const measured m = rota_test::run(round_trips(100, 10'000));
  CHECK(m.after.heap == m.before.heap);
  CHECK(m.after.frames == m.before.frames);
}

TEST_CASE("a read's awaiter is part of every connection's frame, and small") {
  CHECK(sizeof(rota::detail::transfer_awaiter) <= 128);
}

TEST_CASE("on epoll a warm round trip costs its reads and writes and a share of the waits, nothing else") {
  const std::size_t times = 10'000;
  const measured m = rota_test::run(round_trips(100, times));
  if (!m.epoll) SKIP("this is about epoll; the ring's calls are the kernel's own");
  CHECK(m.after.epoll_ctl == m.before.epoll_ctl);    // each descriptor is registered once
  CHECK(m.after.recv_again == m.before.recv_again);  // nothing is tried after a short read
  CHECK(m.after.recv - m.before.recv == 2 * times);
  CHECK(m.after.send - m.before.send == 2 * times);
  CHECK(m.after.epoll_waits - m.before.epoll_waits <= 2 * times + 10);
  CHECK(m.after.all - m.before.all ==
        (m.after.recv - m.before.recv) + (m.after.send - m.before.send) + (m.after.epoll_waits - m.before.epoll_waits));
}

TEST_CASE("on epoll a stream of full buffers is read without a wait in between") {
  bool epoll = false;
  std::uint64_t ctl = 0;
  run([&]() -> rota::task<> {
    epoll = rota::event_loop::current()->backend() == rota::backend::epoll;
    stream_pair pair = co_await connect_streams();
    std::vector<std::byte> block(64 * 1024);
    co_await pair.client.write_all(block);
    co_await settle_tasks();
    const std::uint64_t before = faulty_sys::calls(call::epoll_ctl);
    std::size_t reads = 0;
    for (std::size_t had = 0; had < block.size(); ++reads) {
      const std::size_t n = co_await pair.server.read_some(std::span(block).first(1024));
      had += n;
    }
    CHECK(reads == 64);
    ctl = faulty_sys::calls(call::epoll_ctl) - before;
  });
  if (!epoll) SKIP("this is about epoll");
  CHECK(ctl == 0);  // it never had to wait, so the descriptor was never registered
}

TEST_CASE("on epoll a descriptor is registered once for reading, and once more when a write has to wait") {
  faulty_sys::reset();
  bool epoll = false;
  std::uint64_t for_reading = 0, for_writing = 0, later = 0;
  run([&]() -> rota::task<> {
    epoll = rota::event_loop::current()->backend() == rota::backend::epoll;
    stream_pair pair = co_await connect_streams();
    make_narrow(pair);
    auto count = [] { return faulty_sys::calls(call::epoll_ctl); };
    std::uint64_t before = count();
    auto reader = rota::spawn(answer, std::ref(pair.server));
    co_await settle_tasks();
    for_reading = count() - before;
    (void)reader.cancel();
    (void)co_await error_of(reader);

    before = count();
    const std::string text(more_than_fits, 'w');
    for (int i = 0; i != 3; ++i) {
      auto writer = rota::spawn([&]() -> rota::task<> { co_await pair.client.write_all(rota::as_bytes(text)); });
      for (std::size_t had = 0; had != text.size();) {
        const std::string part = co_await read_text(pair.server, 65'536);
        had += part.size();
      }
      co_await writer;
      (i == 0 ? for_writing : later) += count() - before;
      before = count();
    }
  });
  if (!epoll) SKIP("this is about epoll");
  CHECK(for_reading == 1);
  CHECK(for_writing <= 1);  // connecting may have done it already
  CHECK(later == 0);
}
