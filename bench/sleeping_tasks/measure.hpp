// What the sleeping_tasks benchmarks share: how many tasks, until when they sleep, how much memory is resident.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>

namespace sleeping {

inline constexpr std::size_t task_count = 1'000'000;

// Spread over an hour, in no order, the same for every library; the first one ends long after the measurement.
inline std::chrono::milliseconds nap(std::size_t index) {
  return std::chrono::hours(1) + std::chrono::milliseconds(index * 2'654'435'761u % 3'600'000u);
}

inline double resident_bytes() {
  long total = 0;
  long resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%ld %ld", &total, &resident) != 2) return 0;
  std::fclose(file);
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace sleeping
