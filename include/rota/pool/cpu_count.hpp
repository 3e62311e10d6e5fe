// How many CPUs this process may use: its affinity mask, and the quota of its control groups; threads that stay on one.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace rota {

namespace detail {

/// The first line of a file, without its end; empty when there is none.
inline std::string first_line(const std::string& path) {
  std::string line;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char text[256];
    if (std::fgets(text, sizeof text, file)) line = text;
    std::fclose(file);
  }
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

/// CPUs' worth of time, rounded up; 0: no limit. A quota below one period still is one CPU.
inline unsigned cpus_of_quota(long long quota, long long period) noexcept {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<unsigned>((quota + period - 1) / period);
}

/// The least quota of the group `path` and the groups above it, below the file system `root`; 0: no limit.
inline unsigned cgroup_v2_cpus(const std::string& root, std::string path) {
  unsigned least = 0;
  for (;;) {
    const std::string line = first_line(root + path + "/cpu.max");  // "max 100000" or "150000 100000"
    char* end = nullptr;
    const long long quota = std::strtoll(line.c_str(), &end, 10);
    const unsigned cpus = end != line.c_str() ? cpus_of_quota(quota, std::strtoll(end, nullptr, 10)) : 0;
    if (cpus != 0 && (least == 0 || cpus < least)) least = cpus;
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}
inline unsigned cgroup_v1_cpus(const std::string& root, std::string path) {
  unsigned least = 0;
  for (;;) {
    const long long quota = std::atoll(first_line(root + path + "/cpu.cfs_quota_us").c_str());
    const long long period = std::atoll(first_line(root + path + "/cpu.cfs_period_us").c_str());
    const unsigned cpus = cpus_of_quota(quota, period);
    if (cpus != 0 && (least == 0 || cpus < least)) least = cpus;
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

/// What the lines of /proc/self/cgroup lead to: "0::/path" (v2), "4:cpu,cpuacct:/path" (v1).
inline unsigned cgroup_cpus(const char* list = "/proc/self/cgroup", const std::string& root = "/sys/fs/cgroup") {
  unsigned least = 0;
  std::FILE* const file = std::fopen(list, "re");
  if (!file) return 0;
  char line[4096];
  while (std::fgets(line, sizeof line, file)) {
    line[std::strcspn(line, "\n")] = '\0';
    char* const controllers = std::strchr(line, ':');
    char* const path = controllers ? std::strchr(controllers + 1, ':') : nullptr;
    if (!path) continue;
    *path = '\0';
    std::string group = path + 1;
    if (group == "/") group.clear();
    unsigned cpus = 0;
    if (controllers[1] == '\0')
      cpus = cgroup_v2_cpus(root, group);
    else if ((std::string(",") + (controllers + 1) + ",").find(",cpu,") != std::string::npos)
      cpus = cgroup_v1_cpus(root + "/cpu", group);
    if (cpus != 0 && (least == 0 || cpus < least)) least = cpus;
  }
  std::fclose(file);
  return least;
}

/// Keeps the thread on the i-th CPU of the process's affinity mask, counted round. Where that is refused it stays free.
inline void pin_to_cpu(pthread_t thread, unsigned i) noexcept {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0) return;
  unsigned skip = i % static_cast<unsigned>(CPU_COUNT(&allowed));
  for (std::size_t cpu = 0; cpu != CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || skip-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(thread, sizeof one, &one);
    return;
  }
}

}  // namespace detail

/// At least 1. Looks at the system each time that it is asked.
inline unsigned usable_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  unsigned cpus = 1;
  if (::sched_getaffinity(0, sizeof mask, &mask) == 0) cpus = static_cast<unsigned>(CPU_COUNT(&mask));
  const unsigned quota = detail::cgroup_cpus();
  if (quota != 0 && quota < cpus) cpus = quota;
  return cpus == 0 ? 1 : cpus;
}

}  // namespace rota
