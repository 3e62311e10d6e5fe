// Time as rota counts it: int64 nanoseconds of the steady clock.
#pragma once

#include <cstdint>
#include <version>

// Durations, time points and clocks are in a part of libstdc++'s <chrono> that compiles in a seventh of its time.
#if defined(__GLIBCXX__) && __has_include(<bits/chrono.h>)
#include <bits/chrono.h>
#else
#include <chrono>
#endif

namespace rota {

/// std::chrono view of the loop's clock. now() is the real steady clock; a simulated loop has its own time:
/// ask rota::event_loop::now() when the difference matters.
using clock = std::chrono::steady_clock;
using duration = std::chrono::nanoseconds;
using time_point = std::chrono::time_point<clock, duration>;

namespace detail {

using nanoseconds = std::int64_t;
inline constexpr nanoseconds never = INT64_MAX;

constexpr nanoseconds to_nanoseconds(time_point t) noexcept { return t.time_since_epoch().count(); }
constexpr time_point to_time_point(nanoseconds t) noexcept { return time_point(duration(t)); }

/// Saturates instead of overflowing: "in 300 years" is never, and a negative delay is now.
constexpr nanoseconds deadline_after(nanoseconds now, nanoseconds delay) noexcept {
  if (delay <= 0) return now;
  return delay > never - now ? never : now + delay;
}

/// What saturate() makes of NaN: who gets it refuses it.
inline constexpr nanoseconds not_a_duration = INT64_MIN;

/// Any duration, however large its unit and value, as saturated nanoseconds.
template <class Rep, class Period>
constexpr nanoseconds saturate(std::chrono::duration<Rep, Period> d) noexcept {
  using seconds = std::chrono::duration<long double>;
  const long double s = std::chrono::duration_cast<seconds>(d).count();
  if (!(s > -9.2e9L)) return s != s ? not_a_duration : INT64_MIN / 2;
  if (s > 9.2e9L) return never;
  return std::chrono::duration_cast<duration>(d).count();
}
constexpr nanoseconds saturate(duration d) noexcept {
  return d.count() == not_a_duration ? not_a_duration + 1 : d.count();
}

}  // namespace detail
}  // namespace rota
