// TCP between simulated hosts: links, partitions, crashes.
#include <rota/testing/simulation.hpp>

#include <chrono>
#include <string>
#include <system_error>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/simulated_hosts.hpp"

using namespace rota_test;

// ---- the network

TEST_CASE("hosts talk, and latency is exact") {
  const frame_balance nothing_left;
  simulation_options options;
  options.network = link_options(10ms);
  echo_hosts w(options);
  auto client = w.a.spawn(ask, w.b.address(7), std::string("hello"));
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == "hello");
  CHECK(w.world.elapsed() == 40ms);  // there and back to connect, there and back for the bytes
}

TEST_CASE("bandwidth is shared by what crosses a link") {
  simulation_options options;
  options.network = link_options(0ms, 0ms, 1'000'000);
  echo_hosts w(options);
  auto one = w.a.spawn(ask, w.b.address(7), std::string(100'000, 'x'));
  auto two = w.a.spawn(ask, w.b.address(7), std::string(100'000, 'y'));
  w.world.run_until([&] { return one.done() && two.done(); });
  CHECK(one.result() == std::string(100'000, 'x'));
  CHECK(two.result() == std::string(100'000, 'y'));
  CHECK(w.world.elapsed() > 200ms);
  CHECK(w.world.elapsed() < 300ms);
}

TEST_CASE("a writer waits for its reader") {
  two_hosts w;
  std::size_t written = 0;
  auto server = w.b.spawn([]() -> rota::task<> {
    rota::tcp_stream peer = co_await accept_one();
    co_await rota::sleep_for(1h);
    (void)co_await read_to_end(peer);
  });
  auto client = w.a.spawn([&]() -> rota::task<> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    const std::string block(10'000, 'x');
    for (int i = 0; i != 100; ++i) {
      co_await stream.write_all(rota::as_bytes(block));
      written += block.size();
    }
  });
  w.world.advance(30min);
  CHECK(written >= 250'000);  // both ends' buffers
  CHECK(written <= 262'144);
  w.world.run();
  CHECK(written == 1'000'000);
  CHECK(w.world.quiescent());
}

TEST_CASE("a reset that strikes a reader ends the writer that waits on the same socket") {
  simulation_options options;
  options.script = rota::testing::fault_script("connection_reset@3");  // after the write of a byte and of the block
  two_hosts w(options);
  auto server = w.b.spawn([]() -> rota::task<> {
    rota::tcp_stream peer = co_await accept_one();
    co_await peer.write_all(rota::as_bytes("x"));
    co_await rota::sleep_for(1h);
  });
  std::error_code written;
  auto client = w.a.spawn([&]() -> rota::task<> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    auto writer = rota::spawn([&]() -> rota::task<> {
      const std::string block(1'000'000, 'y');
      written = co_await error_of(stream.write_all(rota::as_bytes(block)));
    });
    co_await rota::sleep_for(1s);  // the writer waits
    const std::error_code code = co_await error_of(read_text(stream));
    CHECK(code == std::errc::connection_reset);
    co_await writer;
  });
  w.world.advance(2s);
  CHECK(client.done());
  CHECK(written == std::errc::broken_pipe);
  w.world.run();
  CHECK(w.world.quiescent());
}

TEST_CASE("nobody listens: refused; no such host: unreachable; a full backlog: later") {
  two_hosts w;
  auto client = w.a.spawn([&]() -> rota::task<> {
    std::error_code code = co_await error_of(rota::tcp_stream::connect(w.b.address(7)));
    CHECK(code == std::errc::connection_refused);
    code = co_await error_of(rota::tcp_stream::connect(rota::address("10.1.1.1", 7)));
    CHECK(code == std::errc::network_unreachable);
  });
  w.world.run();
  auto server = w.b.spawn([]() -> rota::task<> {
    rota::listen_options few;
    few.backlog = 1;
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7}, few);
    co_await rota::sleep_for(500ms);
    for (int i = 0; i != 2; ++i) {
      rota::tcp_stream peer = co_await listener.accept();
    }
  });
  auto both = w.a.spawn([&]() -> rota::task<> {
    const rota::time_point start = rota::event_loop::current()->now();
    rota::tcp_stream first = co_await rota::tcp_stream::connect(w.b.address(7));
    rota::tcp_stream second = co_await rota::tcp_stream::connect(w.b.address(7));
    CHECK(rota::event_loop::current()->now() - start > 1s);  // the request was sent again
  });
  w.world.run();
  CHECK(w.world.quiescent());
}

TEST_CASE("ports run out") {
  simulation_options options;
  options.first_port = 40'000;
  options.last_port = 40'001;
  echo_hosts w(options);
  auto client = w.a.spawn([&]() -> rota::task<> {
    rota::tcp_stream one = co_await rota::tcp_stream::connect(w.b.address(7));
    rota::tcp_stream two = co_await rota::tcp_stream::connect(w.b.address(7));
    CHECK(one.local_address().port() == 40'000);
    CHECK(two.local_address().port() == 40'001);
    std::error_code code = co_await error_of(rota::tcp_stream::connect(w.b.address(7)));
    CHECK(code == std::errc::address_not_available);
    co_await one.close();
    rota::tcp_stream three = co_await rota::tcp_stream::connect(w.b.address(7));
    CHECK(three.local_address().port() == 40'000);
    CHECK(three.peer_address() == w.b.address(7));
  });
  w.world.run_until([&] { return client.done(); });
  client.result();
}

// ---- partitions and crashes

TEST_CASE("a connection survives a partition that heals") {
  echo_hosts w;
  auto client = w.a.spawn([&]() -> rota::task<std::string> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    w.world.partition(w.a, w.b);
    co_await stream.write_all(rota::as_bytes("lost?"));
    std::string text = co_await read_text(stream);
    co_return text;
  });
  w.world.advance(5min);
  CHECK_FALSE(client.done());
  w.world.heal(w.a, w.b);
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == "lost?");
  CHECK(w.world.elapsed() < 5min + 1s);
}

TEST_CASE("a partition that lasts ends connections, and a hold does not") {
  for (const bool held : {false, true}) {
    echo_hosts w;
    auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
      rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
      if (held)
        w.world.hold(w.a, w.b);
      else
        w.world.partition(w.a, w.b);
      std::error_code code = co_await say_and_hear(stream, "lost?");
      co_return code;
    });
    w.world.advance(20min);
    CHECK(client.done() == !held);
    w.world.heal(w.a, w.b);
    w.world.run_until([&] { return client.done(); });
    CHECK(client.result() == (held ? std::error_code() : make_error_code(std::errc::timed_out)));
  }
}

TEST_CASE("a connect that had to wait does not keep what is written later from being given up") {
  echo_hosts w;
  w.world.partition(w.a, w.b);
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    w.world.partition(w.a, w.b);
    std::error_code code = co_await say_and_hear(stream, "lost");
    co_return code;
  });
  w.world.advance(1s);
  w.world.heal(w.a, w.b);
  w.world.advance(20min);
  CHECK(client.done());
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == std::errc::timed_out);
}

TEST_CASE("what a second partition holds up is given up 15 minutes later, whatever the first one held up") {
  echo_hosts w;
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    for (int i = 0; i != 2; ++i) {
      w.world.partition(w.a, w.b);
      std::error_code code = co_await say_and_hear(stream, "x");
      if (code) co_return code;
    }
    co_return std::error_code();
  });
  w.world.advance(10min);
  w.world.heal(w.a, w.b);
  w.world.advance(1s);  // the second partition has begun
  w.world.advance(15min);
  CHECK_FALSE(client.done());
  w.world.advance(1min);
  CHECK(client.done());
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == std::errc::timed_out);
}

TEST_CASE("what is held when a partition begins is given up like what meets it") {
  echo_hosts w;
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    w.world.hold(w.a, w.b);
    std::error_code code = co_await say_and_hear(stream, "lost");
    co_return code;
  });
  w.world.advance(1h);
  CHECK_FALSE(client.done());
  w.world.partition(w.a, w.b);
  w.world.advance(15min);
  CHECK_FALSE(client.done());
  w.world.advance(1min);
  CHECK(client.done());
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == std::errc::timed_out);
}

TEST_CASE("what was held arrives before what was sent after it") {
  simulation_options options;
  options.network = link_options(10ms);
  two_hosts w(options);
  std::string got;
  auto server = w.b.spawn([&]() -> rota::task<> {
    rota::tcp_stream peer = co_await accept_one();
    got = co_await read_to_end(peer);
  });
  auto client = w.a.spawn([&]() -> rota::task<> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    co_await stream.write_all(rota::as_bytes("held"));
    co_await rota::sleep_for(5ms);
    w.world.hold(w.a, w.b);
    co_await rota::sleep_for(6ms);  // the bytes have met the hold
    stream.shutdown();
    co_await rota::sleep_for(1ms);
    w.world.heal(w.a, w.b);  // the end of the stream is on its way
  });
  w.world.run();
  CHECK(got == "held");
}

TEST_CASE("a connect into a partition times out") {
  echo_hosts w;
  w.world.partition(w.a, w.b);
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    std::error_code code = co_await error_of(rota::tcp_stream::connect(w.b.address(7)));
    co_return code;
  });
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == std::errc::timed_out);
  CHECK(w.world.elapsed() > 2min);
}

TEST_CASE("a server learns that the client of a connection it took gave up before it heard so") {
  for (const bool crashes : {false, true}) {
    simulation_options options;
    options.network = link_options(10ms);
    two_hosts w(options);
    bool taken = false;
    std::error_code seen;
    auto server = w.b.spawn([&]() -> rota::task<> {
      rota::tcp_stream peer = co_await accept_one();
      taken = true;
      seen = co_await error_of(read_text(peer));
    });
    {
      auto client = w.a.spawn([&]() -> rota::task<> {
        const std::error_code code = co_await error_of(rota::tcp_stream::connect(w.b.address(7)));
        CHECK(code == std::errc::timed_out);
      });
      w.world.advance(15ms);  // the welcome is on its way
      CHECK(taken);
      w.world.partition(w.a, w.b);
      if (!crashes) w.world.advance(3min);
      CHECK(client.done() == !crashes);
    }
    if (crashes) w.world.restart(w.a);
    w.world.advance(1s);
    CHECK_FALSE(server.done());
    w.world.heal(w.a, w.b);
    w.world.advance(1s);
    CHECK(server.done());
    CHECK(seen == std::errc::connection_reset);
    CHECK(w.world.quiescent());
  }
}

// The peer's buffer is full, and nothing is on its way: TCP asks for room from time to time, and gives up when nobody answers.
TEST_CASE("a writer that waits for room is given up in a partition, whether or not its reader reads on") {
  for (const bool reads : {false, true}) {
    two_hosts w;
    bool may_read = false;
    auto server = w.b.spawn([&]() -> rota::task<> {
      rota::tcp_stream peer = co_await accept_one();
      while (!may_read) co_await rota::sleep_for(1s);
      (void)co_await error_of(read_to_end(peer));
    });
    auto client = w.a.spawn(send_a_million, w.b.address(7));
    w.world.advance(1s);
    w.world.partition(w.a, w.b);
    may_read = reads;
    w.world.advance(15min);
    CHECK_FALSE(client.done());
    w.world.advance(1min);
    CHECK(client.done());
    CHECK(client.result() == std::errc::timed_out);
    w.world.heal(w.a, w.b);
    server.cancel();  // nobody tells it
    w.world.run();
    CHECK(w.world.quiescent());
  }
}

TEST_CASE("a writer that waits for room goes on after a short partition") {
  two_hosts w;
  std::size_t received = 0;
  auto server = w.b.spawn([&]() -> rota::task<> {
    rota::tcp_stream peer = co_await accept_one();
    co_await rota::sleep_for(2min);
    const std::string all = co_await read_to_end(peer);
    received = all.size();
  });
  auto client = w.a.spawn(send_a_million, w.b.address(7));
  w.world.advance(1s);
  w.world.partition(w.a, w.b);
  w.world.advance(10min);
  CHECK_FALSE(client.done());
  w.world.heal(w.a, w.b);
  w.world.run();
  CHECK_FALSE(client.result());
  CHECK(received == 1'000'000);
}

TEST_CASE("a writer that waits for room of a host that crashed is reset after its restart, and given up without one") {
  for (const bool comes_back : {false, true}) {
    simulation world;
    simulation::host& server = world.add_host("server", []() -> rota::task<> {
      rota::tcp_stream peer = co_await accept_one();
      co_await rota::sleep_for(24h);
    });
    simulation::host& client = world.add_host("client");
    auto sending = client.spawn(send_a_million, server.address(7));
    world.advance(1s);
    world.crash(server);
    world.advance(1min);
    if (comes_back) world.restart(server);
    world.advance(1min);
    CHECK(sending.done() == comes_back);
    world.run_until([&] { return sending.done(); });
    CHECK(sending.result() == (comes_back ? std::errc::connection_reset : std::errc::timed_out));
    CHECK(world.elapsed() < 16min);
  }
}

TEST_CASE("a host that crashes says nothing; after its restart its peers are reset") {
  const frame_balance nothing_left;
  int lives = 0;  // before the world: its end unwinds tasks that count
  int unwound = 0;
  simulation world;
  simulation::host& server = world.add_host("server", [&]() -> rota::task<> {
    struct counter {
      int& n;
      ~counter() { ++n; }
    } const at_end{unwound};
    ++lives;
    co_await serve_echo();
  });
  simulation::host& client = world.add_host("client");
  auto talk = client.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(server.address(7));
    co_await stream.write_all(rota::as_bytes("one"));
    (void)co_await read_text(stream);
    world.crash(server);
    std::error_code code = co_await error_of(rota::timeout(10s, read_text(stream)));
    CHECK(code == rota::errc::timed_out);  // silence
    world.restart(server);
    code = co_await say_and_hear(stream, "two");
    std::string again = co_await ask(server.address(7), "new life");
    CHECK(again == "new life");
    co_return code;
  });
  world.run_until([&] { return talk.done(); });
  CHECK(talk.result() == std::errc::connection_reset);
  CHECK(lives == 2);
  CHECK(unwound == 1);
}

TEST_CASE("what is sent to a host that is down waits for its restart: a connect succeeds, a connection is reset") {
  simulation world;
  simulation::host& server = world.add_host("server", serve_echo);
  simulation::host& client = world.add_host("client");
  auto talk = client.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(server.address(7));
    co_await rota::sleep_for(2s);  // the server is down
    std::error_code code = co_await say_and_hear(stream, "hi");
    co_return code;
  });
  world.advance(1s);
  world.crash(server);
  auto connect = client.spawn(ask, server.address(7), std::string("new"));
  world.advance(2s);
  CHECK_FALSE(talk.done());
  CHECK_FALSE(connect.done());
  world.restart(server);
  world.advance(1s);
  CHECK(talk.done());
  CHECK(connect.done());
  world.run_until([&] { return talk.done() && connect.done(); });
  CHECK(talk.result() == std::errc::connection_reset);
  CHECK(connect.result() == "new");
}

TEST_CASE("a host that stays down is given up") {
  simulation world;
  simulation::host& server = world.add_host("server", serve_echo);
  simulation::host& client = world.add_host("client");
  auto talk = client.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(server.address(7));
    world.crash(server);
    std::error_code code = co_await say_and_hear(stream, "hi");
    CHECK(world.elapsed() > 15min);
    CHECK(code == std::errc::timed_out);
    code = co_await error_of(rota::tcp_stream::connect(server.address(7)));
    co_return code;
  });
  world.run_until([&] { return talk.done(); });
  CHECK(talk.result() == std::errc::timed_out);
  CHECK(world.elapsed() < 20min);
}

TEST_CASE("time passes for a task that does not stop while its host is taken down") {
  int swallowed = 0;
  bool over = false;
  simulation world;
  simulation::host& h = world.add_host("stubborn", [&]() -> rota::task<> {
    while (!over) {
      try {
        co_await rota::sleep_for(1s);
      } catch (const rota::cancelled&) {
        ++swallowed;
      }
    }
  });
  auto other = h.spawn([&]() -> rota::task<> {
    co_await rota::shield(2s, rota::sleep_for(1200ms));  // the last 200 ms are its own time
    over = true;
  });
  other = rota::join_handle<>();
  world.advance(1s);
  world.crash(h);
  CHECK(over);
  CHECK(swallowed > 0);
  CHECK(world.elapsed() == 1s);
  CHECK(world.tasks() == 0);
}

TEST_CASE("what a task does while its host is taken down has no effect on others") {
  std::string got;
  simulation world;
  simulation::host& a = world.add_host("a");
  simulation::host& b = world.add_host("b");
  auto reader = b.spawn([&]() -> rota::task<> {
    rota::tcp_stream peer = co_await accept_one();
    try {
      got += co_await read_text(peer);
    } catch (const std::system_error&) {
      got += "error";
    }
  });
  {
    auto writer = a.spawn([&]() -> rota::task<> {
      rota::tcp_stream stream = co_await rota::tcp_stream::connect(b.address(7));
      bool cancelled = false;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled&) {
        cancelled = true;
      }
      if (cancelled) co_await rota::shield(1s, stream.write_all(rota::as_bytes("last words")));
    });
    world.advance(1s);
  }
  const rota::duration before = world.elapsed();
  world.crash(a);
  CHECK(world.elapsed() == before);
  world.advance(1min);
  CHECK(got.empty());
  CHECK_FALSE(reader.done());
}
