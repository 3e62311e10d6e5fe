// How many tasks go to the pool and back at the same time, and how often each.
#pragma once

namespace trips {

inline constexpr int tasks = 100;
inline constexpr int each = 10;

}  // namespace trips
