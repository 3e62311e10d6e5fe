// What channels and selects cost in memory once they are warm: nothing.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/counted_heap.hpp"
#include "support/rota_test.hpp"

namespace {

using rota::task;

constexpr int items = 200;

task<> send_some(rota::sender<int>& tx) {
  for (int i = 0; i != items; ++i) co_await tx.send(i);
}
task<> send_by_permits(rota::sender<int>& tx) {
  for (int i = 0; i != items; ++i) {
    auto room = co_await tx.reserve();
    room.send(i);
  }
}
task<> receive_some(rota::receiver<int>& rx) {
  for (int i = 0; i != items; ++i) (void)co_await rx.receive();
}
task<> receive_many(rota::receiver<int>& rx, std::vector<int>& into) {
  for (std::size_t n = 0; n != items;) {
    into.clear();
    n += co_await rx.receive_many(into, 8);
  }
}
task<> select_some(rota::receiver<int>& a, rota::receiver<int>& b) {
  for (int i = 0; i != 2 * items; ++i) {
    const auto r = co_await rota::select(a.next(), b.next());
    REQUIRE(r.index() < 2);
  }
}

}  // namespace

TEST_CASE("in steady state a channel and a select of channels allocate nothing") {
  rota_test::run([]() -> task<> {
    auto [ta, ra] = rota::channel<int>(8);
    auto [tb, rb] = rota::channel<int>(1);
    auto [tc, rc] = rota::channel<int>(0);
    std::vector<int> many;
    many.reserve(8);
    std::uint64_t before = 0;
    for (int round = 0; round != 4; ++round) {
      if (round == 1) before = rota_test::allocations;  // warm
      co_await rota::when_all(send_some(ta), receive_some(ra));
      co_await rota::when_all(send_by_permits(ta), receive_many(ra, many));
      co_await rota::when_all(send_some(tc), receive_some(rc));
      co_await rota::when_all(send_some(tb), send_some(tc), select_some(rb, rc));
    }
    const std::uint64_t after = rota_test::allocations;
    REQUIRE((after == before || !rota_test::counts_allocations));
    REQUIRE((before != 0 || !rota_test::counts_allocations));
  });
}
