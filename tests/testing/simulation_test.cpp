#include <rota/testing/run_simulated.hpp>

#include <signal.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::testing::link_options;
using rota::testing::simulation;
using rota::testing::simulation_options;

// ---- time

TEST_CASE("hours of sleep take no time, and exact instants come out") {
  const frame_balance nothing_left;
  const rota::duration slept = rota::testing::run_simulated([]() -> rota::task<rota::duration> {
    rota::event_loop& loop = *rota::event_loop::current();
    const rota::time_point start = loop.now();
    co_await rota::sleep_for(72h);
    co_await rota::sleep_for(1ns);
    co_return loop.now() - start;
  });
  CHECK(slept == 72h + 1ns);
}

TEST_CASE("advance lets exactly so much time pass") {
  simulation world;
  simulation::host& h = world.add_host("one");
  std::vector<rota::duration> ticks;
  auto handle = h.spawn([&]() -> rota::task<> {
    for (int i = 0; i != 5; ++i) {
      co_await rota::sleep_for(10s);
      ticks.push_back(world.elapsed());
    }
  });
  world.advance(25s);
  CHECK(ticks == std::vector<rota::duration>{10s, 20s});
  CHECK(world.elapsed() == 25s);
  world.advance(5s);  // the instant itself belongs to it
  CHECK(ticks.size() == 3);
  world.run();
  CHECK(world.elapsed() == 50s);
  CHECK(handle.done());
}

TEST_CASE("wait_all_tasks_blocked runs everything that needs no time") {
  simulation world;
  simulation::host& h = world.add_host("one");
  int steps = 0;
  auto handle = h.spawn([&]() -> rota::task<> {
    for (; steps != 100; ++steps) co_await rota::yield();
    co_await rota::sleep_for(1ms);
    ++steps;
  });
  world.wait_all_tasks_blocked();
  CHECK(steps == 100);
  CHECK(world.elapsed() == 0s);
  CHECK_FALSE(handle.done());
  world.run();
  CHECK(steps == 101);
}

TEST_CASE("a thread outside that is announced stops the time until its post has come") {
  simulation world;
  simulation::host& h = world.add_host("one");
  bool posted = false;
  gate done;
  std::thread worker;
  rota::duration at = -1ns;
  auto handle = h.spawn([&]() -> rota::task<> {
    worker = std::thread([&, work = std::make_unique<rota::testing::outside_work>(world)] {
      h.loop().post([&] {
        posted = true;
        done.open();
      });
    });
    co_await done;
    at = world.elapsed();
  });
  auto sleeper = h.spawn([&]() -> rota::task<> { co_await rota::sleep_for(1h); });
  world.run();
  worker.join();
  CHECK(posted);
  CHECK(at == 0s);
  CHECK(world.elapsed() == 1h);
}

TEST_CASE("a program that can never go on is a deadlock that names its tasks") {
  const frame_balance nothing_left;
  simulation world;
  simulation::host& h = world.add_host("lonely");
  auto handle = h.spawn([]() -> rota::task<> {
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 80});
    (void)co_await listener.accept();
  });
  std::string text;
  try {
    world.run();
  } catch (const rota::testing::deadlock& e) {
    text = e.what();
  }
  INFO(text);
  CHECK(text.find("lonely: ") != std::string::npos);
  CHECK(text.find("simulation_test.cpp") != std::string::npos);
}

TEST_CASE("an exception of a host's main leaves run") {
  simulation world;
  world.add_host("one", []() -> rota::task<> {
    co_await rota::sleep_for(1s);
    throw std::runtime_error("as told");
  });
  CHECK_THROWS_WITH(world.run(), "as told");
}

// ---- the network

namespace {

rota::task<std::string> ask(rota::address to, std::string text) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  co_await stream.write_all(rota::as_bytes(text));
  stream.shutdown();
  std::string answer = co_await read_to_end(stream);
  co_return answer;
}

rota::task<> serve_echo(int port) {
  rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", static_cast<std::uint16_t>(port)});
  co_await rota::serve(std::move(listener), echo);
}

rota::task<std::error_code> send_a_million(rota::address to) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  const std::string block(1'000'000, 'x');
  const std::error_code code = co_await error_of(stream.write_all(rota::as_bytes(block)));
  co_return code;
}

struct two_hosts {
  explicit two_hosts(const simulation_options& options = simulation_options())
      : world(options), a(world.add_host("a")), b(world.add_host("b")) {}
  simulation world;
  simulation::host& a;
  simulation::host& b;
};

}  // namespace

TEST_CASE("hosts talk, and latency is exact") {
  const frame_balance nothing_left;
  simulation_options options;
  options.network = link_options(10ms);
  two_hosts w(options);
  auto server = w.b.spawn(serve_echo, 7);
  auto client = w.a.spawn(ask, w.b.address(7), std::string("hello"));
  w.world.run_until([&] { return client.done(); });
  CHECK(client.result() == "hello");
  CHECK(w.world.elapsed() == 40ms);  // there and back to connect, there and back for the bytes
}

TEST_CASE("bandwidth is shared by what crosses a link") {
  simulation_options options;
  options.network = link_options(0ms, 0ms, 1'000'000);
  two_hosts w(options);
  auto server = w.b.spawn(serve_echo, 7);
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
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
    rota::tcp_stream peer = co_await listener.accept();
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
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
    rota::tcp_stream peer = co_await listener.accept();
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
  two_hosts w(options);
  auto server = w.b.spawn(serve_echo, 7);
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
  two_hosts w;
  auto server = w.b.spawn(serve_echo, 7);
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
    two_hosts w;
    auto server = w.b.spawn(serve_echo, 7);
    auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
      rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
      if (held)
        w.world.hold(w.a, w.b);
      else
        w.world.partition(w.a, w.b);
      co_await stream.write_all(rota::as_bytes("lost?"));
      std::error_code code = co_await error_of(read_text(stream));
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
  two_hosts w;
  auto server = w.b.spawn(serve_echo, 7);
  w.world.partition(w.a, w.b);
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    w.world.partition(w.a, w.b);
    co_await stream.write_all(rota::as_bytes("lost"));
    std::error_code code = co_await error_of(read_text(stream));
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
  two_hosts w;
  auto server = w.b.spawn(serve_echo, 7);
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    for (int i = 0; i != 2; ++i) {
      w.world.partition(w.a, w.b);
      co_await stream.write_all(rota::as_bytes("x"));
      std::error_code code = co_await error_of(read_text(stream));
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
  two_hosts w;
  auto server = w.b.spawn(serve_echo, 7);
  auto client = w.a.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(w.b.address(7));
    w.world.hold(w.a, w.b);
    co_await stream.write_all(rota::as_bytes("lost"));
    std::error_code code = co_await error_of(read_text(stream));
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
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
    rota::tcp_stream peer = co_await listener.accept();
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
  two_hosts w;
  auto server = w.b.spawn(serve_echo, 7);
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
    std::error_code seen;
    auto server = w.b.spawn([&]() -> rota::task<> {
      rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
      rota::tcp_stream peer = co_await listener.accept();
      seen = co_await error_of(read_text(peer));
    });
    {
      auto client = w.a.spawn([&]() -> rota::task<> {
        const std::error_code code = co_await error_of(rota::tcp_stream::connect(w.b.address(7)));
        CHECK(code == std::errc::timed_out);
      });
      w.world.advance(15ms);  // the welcome is on its way
      CHECK(w.b.loop().statistics().descriptors == 2);
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
      rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
      rota::tcp_stream peer = co_await listener.accept();
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
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
    rota::tcp_stream peer = co_await listener.accept();
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
      rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
      rota::tcp_stream peer = co_await listener.accept();
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
    co_await serve_echo(7);
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
    co_await stream.write_all(rota::as_bytes("two"));
    code = co_await error_of(read_text(stream));
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
  simulation::host& server = world.add_host("server", [] { return serve_echo(7); });
  simulation::host& client = world.add_host("client");
  auto talk = client.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(server.address(7));
    co_await rota::sleep_for(2s);  // the server is down
    co_await stream.write_all(rota::as_bytes("hi"));
    std::error_code code = co_await error_of(read_text(stream));
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
  simulation::host& server = world.add_host("server", [] { return serve_echo(7); });
  simulation::host& client = world.add_host("client");
  auto talk = client.spawn([&]() -> rota::task<std::error_code> {
    rota::tcp_stream stream = co_await rota::tcp_stream::connect(server.address(7));
    world.crash(server);
    co_await stream.write_all(rota::as_bytes("hi"));
    std::error_code code = co_await error_of(read_text(stream));
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
    rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 7});
    rota::tcp_stream peer = co_await listener.accept();
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

// ---- signals

TEST_CASE("each host has signals of its own, and a handler is called in the host's loop") {
  simulation world;
  std::string log;
  simulation::host& a = world.add_host("a");
  simulation::host& b = world.add_host("b");
  for (simulation::host* host : {&a, &b}) {
    auto handle = host->spawn([&, host]() -> rota::task<> {
      rota::event_loop::current()->add_signal_handler(SIGTERM, [&, host] {
        log += host->name();
        CHECK(rota::event_loop::current() == &host->loop());
      });
      co_return;
    });
  }
  world.wait_all_tasks_blocked();
  world.raise(b, SIGTERM);
  world.raise(b, SIGTERM);  // two before the loop looked are one
  world.raise(a, SIGWINCH);
  CHECK(log.empty());
  world.wait_all_tasks_blocked();
  CHECK(log == "b");
  world.raise(a, SIGTERM);
  world.wait_all_tasks_blocked();
  CHECK(log == "ba");
  CHECK(a.loop().remove_signal_handler(SIGTERM));
  CHECK_FALSE(a.loop().remove_signal_handler(SIGTERM));
  CHECK(usage_error_of([&] { world.raise(a, SIGKILL); }) == rota::usage_error::kind::invalid_argument);
  world.raise(a, SIGTERM);  // nobody handles it now, and there is no main to cancel
  CHECK_FALSE(a.is_up());
  CHECK(b.is_up());
}

TEST_CASE("SIGINT cancels a host's main, and a second one ends the host") {
  for (const bool twice : {false, true}) {
    std::string why;
    simulation world;
    simulation::host& h = world.add_host("h", [&]() -> rota::task<> {
      bool cancelled = false;
      try {
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        CHECK(c.kind() == rota::cancel_kind::interrupt);
        why = c.reason();
        cancelled = true;
      }
      if (cancelled) co_await rota::shield(10s, rota::sleep_for(5s));
    });
    world.advance(1s);
    world.raise(h, SIGINT);
    world.advance(1s);
    CHECK(why == "SIGINT");
    CHECK(h.is_up());
    if (twice) world.raise(h, SIGTERM);
    CHECK(h.is_up() != twice);
    world.run();
    CHECK(world.elapsed() == (twice ? 2s : 6s));
  }
}

// ---- equal runs

TEST_CASE("the same seed makes the same trace, another seed another one") {
  const auto run = [](std::uint64_t seed) {
    simulation_options options(seed);
    options.faults = rota::testing::fault_rates::harmless(100);
    options.shuffle = true;
    options.network = link_options(1ms, 5ms, 1'000'000);
    two_hosts w(options);
    auto server = w.b.spawn(serve_echo, 7);
    std::vector<rota::join_handle<std::string>> clients;
    for (int i = 0; i != 5; ++i) clients.push_back(w.a.spawn(ask, w.b.address(7), std::string(5'000, 'x')));
    w.world.run_until([&] {
      for (const auto& c : clients)
        if (!c.done()) return false;
      return true;
    });
    for (auto& c : clients) REQUIRE(c.result() == std::string(5'000, 'x'));
    return w.world.trace().text();
  };
  const std::string first = run(1);
  CHECK(first == run(1));
  CHECK(first != run(2));
  CHECK(first.find("connect #0 = 0") != std::string::npos);
}

TEST_CASE("timers leave a trace, and so does whose turn it is when several hosts could go on") {
  const auto run = [](rota::duration first) {
    two_hosts w;
    (void)w.a.spawn(
        [](rota::duration d) -> rota::task<> {
          co_await rota::sleep_for(d);
          co_await rota::sleep_for(1s);
        },
        first);
    (void)w.b.spawn([]() -> rota::task<> {
      const auto forever = []() -> rota::task<> { co_await rota::sleep_for(1h); };
      (void)co_await rota::move_on_after(2s, forever());
    });
    w.world.run();
    return w.world.trace().text();
  };
  CHECK(run(1s) ==
        "0.000000000 a turn\n"
        "0.000000000 b turn\n"
        "1.000000000 a timer\n"
        "2.000000000 a turn\n"
        "2.000000000 a timer\n"
        "2.000000000 b turn\n"
        "2.000000000 b timer\n");
  CHECK(run(1s) != run(1s + 1ns));
}

TEST_CASE("the trace of a run_simulated goes to stderr where the environment wants it, also of a run that fails") {
  const auto sleep_and_fail = []() -> rota::task<> {
    co_await rota::sleep_for(3s);
    throw std::runtime_error("as told");
  };
  for (const char* wanted : {"1", "0"}) {
    const child_outcome child = run_in_child([&] {
      ::setenv("ROTA_TRACE", wanted, 1);
      rota::testing::run_simulated(sleep_and_fail);
      return 0;
    });
    INFO(child.output);
    CHECK(child.says("as told"));
    CHECK(child.says("3.000000000 host timer\n") == (*wanted == '1'));
  }
}
