// Time that saturates instead of overflowing.
#include <chrono>
#include <cstdint>
#include <limits>

#include <rota/base/clock.hpp>
#include <rota/base/random.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using rota::detail::deadline_after;
using rota::detail::never;
using rota::detail::saturate;

TEST_CASE("a deadline after a delay") {
  REQUIRE(deadline_after(100, 5) == 105);
  REQUIRE(deadline_after(100, 0) == 100);
  REQUIRE(deadline_after(100, -5) == 100);
  REQUIRE(deadline_after(100, INT64_MIN) == 100);
  REQUIRE(deadline_after(100, never) == never);
  REQUIRE(deadline_after(100, never - 100) == never);
  REQUIRE(deadline_after(100, never - 101) == never - 1);
}

TEST_CASE("durations of any unit become nanoseconds") {
  REQUIRE(saturate(7ns) == 7);
  REQUIRE(saturate(2h) == 7'200'000'000'000);
  REQUIRE(saturate(-3ms) == -3'000'000);
  REQUIRE(saturate(std::chrono::duration<double>(1.5)) == 1'500'000'000);
  REQUIRE(saturate(std::chrono::duration<std::int8_t, std::ratio<3600>>(1)) == 3'600'000'000'000);
  REQUIRE(saturate(std::chrono::duration<std::int64_t, std::femto>(2'000'000)) == 2);
}

TEST_CASE("durations beyond the range are the ends of the range") {
  REQUIRE(saturate(std::chrono::hours::max()) == never);
  REQUIRE(saturate(std::chrono::nanoseconds::max()) == never);
  REQUIRE(saturate(std::chrono::duration<double>(1e300)) == never);
  REQUIRE(saturate(std::chrono::duration<double>(std::numeric_limits<double>::infinity())) == never);
  REQUIRE(saturate(std::chrono::duration<std::uint64_t>(UINT64_MAX)) == never);
  REQUIRE(saturate(std::chrono::hours::min()) < 0);
  REQUIRE(saturate(std::chrono::duration<double>(-1e300)) < 0);
  REQUIRE(saturate(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())) ==
          rota::detail::not_a_duration);
  REQUIRE(saturate(rota::duration::min()) != rota::detail::not_a_duration);
}

TEST_CASE("just inside the range nothing overflows") {
  REQUIRE(saturate(std::chrono::seconds(9'199'999'999)) == 9'199'999'999'000'000'000);
  REQUIRE(saturate(std::chrono::seconds(9'300'000'000)) == never);
}

TEST_CASE("time points and nanoseconds are the same") {
  const rota::time_point t{123ns};
  REQUIRE(rota::detail::to_nanoseconds(t) == 123);
  REQUIRE(rota::detail::to_time_point(123) == t);
  REQUIRE(rota::detail::to_nanoseconds(rota::time_point::max()) == never);
}

TEST_CASE("random numbers repeat with their seed and stay below their bound") {
  rota::detail::random a(5);
  rota::detail::random b(5);
  rota::detail::random c(6);
  bool differs = false;
  std::uint64_t seen[10] = {};
  for (int i = 0; i != 10'000; ++i) {
    const std::uint64_t n = a.next();
    REQUIRE(n == b.next());
    differs |= n != c.next();
    ++seen[a.below(10)];
    (void)b.below(10);
  }
  REQUIRE(differs);
  for (const std::uint64_t n : seen) REQUIRE(n > 800);
  REQUIRE(a.below(0) == 0);
  REQUIRE(a.below(1) == 0);
}
