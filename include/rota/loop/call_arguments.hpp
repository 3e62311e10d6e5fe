// How callbacks are asked for: when, or for what, each with the line that says so.
#pragma once

#include <source_location>
#include <type_traits>

#include <rota/base/clock.hpp>
#include <rota/base/usage_error.hpp>

namespace rota::detail {

/// When a callback is to run. Here NaN is refused, for all of them.
class call_delay {
 public:
  template <class Rep, class Period>
  call_delay(std::chrono::duration<Rep, Period> d, std::source_location at = std::source_location::current())
      : value(saturate(checked(d))), where(at) {}

  template <class Duration>
  static Duration checked(Duration d) {
    if (std::is_floating_point_v<typename Duration::rep> && d != d)
      throw usage_error(usage_error::kind::invalid_argument, "a callback was to run at a time that is not a number");
    return d;
  }

  nanoseconds value;
  std::source_location where;
};
struct call_time {
  template <class Duration>
  call_time(std::chrono::time_point<clock, Duration> t, std::source_location at = std::source_location::current())
      : value(saturate(call_delay::checked(t.time_since_epoch()))), where(at) {}

  nanoseconds value;
  std::source_location where;
};
/// A descriptor or a signal.
struct call_number {
  call_number(int number, std::source_location at = std::source_location::current()) noexcept
      : value(number), where(at) {}

  int value;
  std::source_location where;
};

}  // namespace rota::detail
