// The timing wheel against an ordered map: what is armed, cancelled and expired in any order.
#include <array>
#include <cstdint>
#include <map>
#include <utility>

#include <rota/loop/timer_queue.hpp>

#include "fuzz/fuzz.hpp"

using rota::detail::nanoseconds;
using rota::detail::never;
using rota_fuzz::require;

namespace {

struct numbered : rota::detail::timer {
  std::uint64_t sequence = 0;
  bool is_armed() const noexcept { return next != nullptr; }
};

/// Deadlines and times meet the wheel's edges: every level, the bits around each slot, the far ends of the range.
nanoseconds some_time(rota_fuzz::input& in, nanoseconds now) {
  const std::uint8_t shape = in.byte();
  const std::uint8_t small = in.byte();
  const unsigned shift = shape % 64;
  switch (shape / 64) {
    case 0: return rota::detail::deadline_after(now >> shift << shift, small);  // near a slot
    case 1: return shift == 63 ? never : rota::detail::deadline_after(now, small);
    case 2: return rota::detail::deadline_after(now, static_cast<nanoseconds>(small) << (shift % 55));
    default: return now - small;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rota_fuzz::input in({data, size});
  nanoseconds now = static_cast<nanoseconds>(in.byte()) << (in.byte() % 54);
  rota::detail::timer_queue wheel(now);
  std::map<std::pair<nanoseconds, std::uint64_t>, numbered*> expected;  // equal deadlines: as they were armed
  std::array<numbered, 32> timers;
  std::uint64_t armed = 0;
  // A deadline in the past is due at the next look, behind those that were due before.
  const auto arm = [&](numbered& t, nanoseconds deadline) {
    t.deadline = deadline;
    t.sequence = ++armed;
    expected.emplace(std::pair(deadline, t.sequence), &t);
    wheel.arm(t);
  };
  const auto forget = [&](numbered& t) { expected.erase(std::pair(t.deadline, t.sequence)); };

  while (in.more()) {
    const std::uint8_t what = in.byte();
    numbered& t = timers[what / 8u];
    switch (what % 8u) {
      case 0:
      case 1:
      case 2:
        if (!t.is_armed()) arm(t, some_time(in, now));
        break;
      case 3:
      case 4:
        if (!t.is_armed()) break;
        forget(t);
        wheel.cancel(t);
        require(!t.is_armed(), "a cancelled timer is still in a list");
        break;
      case 5: {
        const nanoseconds first = expected.empty() ? never : expected.begin()->first.first;
        const nanoseconds told = wheel.next_deadline();
        require(told <= first || told <= now, "the wheel would sleep too long");
        break;
      }
      default: {
        const nanoseconds later = some_time(in, now);
        if (later < now || later == never) break;
        now = later;
        wheel.expire(now, [&](rota::detail::timer& fired) {
          auto& f = static_cast<numbered&>(fired);
          require(!f.is_armed(), "a timer fires while it is armed");
          require(!expected.empty() && expected.begin()->second == &f, "a timer fires out of order, or is not due");
          require(f.deadline <= now, "a timer fires early");
          expected.erase(expected.begin());
        });
        require(expected.empty() || expected.begin()->first.first > now, "a timer that is due did not fire");
      }
    }
    require(wheel.size() == expected.size(), "the wheel has lost count");
  }
  for (numbered& t : timers)
    if (t.is_armed()) {
      wheel.cancel(t);
      forget(t);
    }
  require(wheel.size() == 0 && wheel.next_deadline() == never, "something is left in the wheel");
  return 0;
}
