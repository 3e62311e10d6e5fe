// A program is cancelled at each point at which it can be: before its first step, between any two turns of the world, at any
// instant at which something happens. Each time it ends, as cancelled or with its value, and nothing is left.
#include <rota/testing/simulation.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/rota_test.hpp"
#include "support/simulated_hosts.hpp"

using namespace rota_test;

namespace {

struct sweep {
  std::size_t points = 0;
  std::size_t cancelled = 0;
};

/// Runs the program, which gives true, in a world with an echo server; cancels it at the first point, the second, ... as
/// long as it is not done before.
sweep cancel_everywhere(rota::task<bool> (*program)(rota::address), std::string_view faults = {}) {
  sweep found;
  for (bool reached = true; reached; ++found.points) {
    const frame_balance nothing_left;
    simulation_options options;
    options.network = link_options(1ms);
    options.receive_buffer = options.send_buffer = 1'024;
    options.script = rota::testing::fault_script(faults);
    echo_hosts w(options);
    auto client = w.a.spawn(program, w.b.address(7));
    std::size_t looks = 0;
    w.world.run_until([&] { return client.done() || looks++ == found.points; });
    reached = !client.done();
    client.cancel("here");
    w.world.run_until([&] { return client.done(); });
    INFO("cancelled at point " << found.points << ", after " << w.world.elapsed().count() << " ns");
    if (client.cancelled())
      ++found.cancelled;
    else
      CHECK(client.result());
    w.world.advance(1h);
    CHECK(w.a.loop().statistics().quiescent());
    CHECK(w.b.loop().statistics().descriptors == 1);  // the server's listener: it has seen the end of every connection
    CHECK(w.b.loop().statistics().tasks == 1);
  }
  return found;
}

rota::task<> send_and_shut(rota::tcp_stream& to, std::string_view text) {
  co_await to.write_all(rota::as_bytes(text));
  to.shutdown();
}
rota::task<bool> echo_through(rota::address to) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  const std::string text(5'000, 'x');
  const auto both = co_await rota::when_all(send_and_shut(stream, text), read_to_end(stream));
  co_await stream.close();
  co_return std::get<1>(both) == text;
}

rota::task<> serve_until_cancelled(rota::task_status<rota::address> status) {
  rota::tcp_listener listener = rota::tcp_listener::bind({"0.0.0.0", 0});
  status.started(listener.local_address());
  co_await rota::serve(std::move(listener), echo);
}
rota::task<bool> with_everything(rota::address to) {
  bool good = true;
  const auto body = [&good, to](rota::task_group& group) -> rota::task<> {
    group.defer(1s, [] { return rota::sleep_for(10ms); });
    const rota::address mine = co_await group.start(serve_until_cancelled);
    rota::mutex lock;
    auto [tx, rx] = rota::channel<int>(1);
    auto first = group.spawn(echo_through, to);
    auto second = group.spawn(echo_through, rota::address("127.0.0.1", mine.port()));
    {
      const auto held = co_await lock.lock();
      co_await rota::shield(1s, rota::sleep_for(2ms));
    }
    co_await tx.send(1);
    const auto item = co_await rx.next();
    good = good && item == 1;
    const auto slow = co_await rota::move_on_after(1ms, rota::sleep_for(1h));
    good = good && !slow;
    const auto winner = co_await rota::race(rota::sleep_for(1ms), rota::sleep_for(2ms));
    good = good && winner.index == 0;
    const bool a = co_await first;
    const bool b = co_await second;
    good = good && a && b;
    group.cancel();
  };
  co_await rota::with_task_group(body);
  co_return good;
}

}  // namespace

TEST_CASE("an echo that is cancelled at any point ends, and so does its server's side") {
  const sweep found = cancel_everywhere(echo_through);
  INFO(found.points << " points, cancelled " << found.cancelled << " times");
  CHECK(found.points > 20);
  CHECK(found.cancelled > 15);
}

TEST_CASE("an echo whose cancels come too late, or take effect late, ends as well") {
  for (const std::string_view faults : {"late_cancel@1,late_cancel@2", "beaten_cancel@1,beaten_cancel@2"}) {
    const sweep found = cancel_everywhere(echo_through, faults);
    CHECK(found.points > 20);
    CHECK(found.cancelled > 0);
  }
}

TEST_CASE("groups, servers, locks, channels, shields and cleanups that are cancelled at any point leave nothing") {
  const sweep found = cancel_everywhere(with_everything);
  INFO(found.points << " points, cancelled " << found.cancelled << " times");
  CHECK(found.points > 30);
  CHECK(found.cancelled > 20);
}
