// usable_cpus: what control groups allow, read from files as Linux shows them.
#include <sched.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/rota_test.hpp"

namespace {

using rota::detail::cgroup_cpus;

// A directory of its own, with files in it.
class tree {
 public:
  tree() {
    char name[] = "/tmp/rota-cgroup-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    root = name;
  }
  tree(const tree&) = delete;
  ~tree() { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  unsigned cpus() const { return cgroup_cpus((root + "/list").c_str(), root + "/fs"); }

  std::string root;
};

TEST_CASE("version 2: the least quota of the group and those above it, rounded up") {
  const tree t;
  t.write("/list", "0::/a/b\n");
  REQUIRE(t.cpus() == 0);
  t.write("/fs/a/b/cpu.max", "max 100000\n");
  REQUIRE(t.cpus() == 0);
  t.write("/fs/a/b/cpu.max", "450000 100000\n");
  REQUIRE(t.cpus() == 5);
  t.write("/fs/a/cpu.max", "150000 100000\n");
  REQUIRE(t.cpus() == 2);
  t.write("/fs/a/b/cpu.max", "1000 100000\n");
  REQUIRE(t.cpus() == 1);
}

TEST_CASE("version 1: the cpu controller's quota, -1 is none") {
  const tree t;
  t.write("/list", "5:memory:/m\n4:cpu,cpuacct:/docker/x\n0::/\n");
  t.write("/fs/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
  t.write("/fs/cpu/docker/x/cpu.cfs_period_us", "100000\n");
  REQUIRE(t.cpus() == 0);
  t.write("/fs/cpu/docker/x/cpu.cfs_quota_us", "250000\n");
  REQUIRE(t.cpus() == 3);
}

TEST_CASE("the group at the top, nonsense and missing files mean no limit") {
  const tree t;
  REQUIRE(t.cpus() == 0);
  t.write("/list", "0::/\nnonsense\n");
  REQUIRE(t.cpus() == 0);
  t.write("/fs/cpu.max", "nonsense");
  REQUIRE(t.cpus() == 0);
  t.write("/fs/cpu.max", "200000 100000");
  REQUIRE(t.cpus() == 2);
}

TEST_CASE("never more than the affinity mask allows") {
  cpu_set_t mask;
  REQUIRE(::sched_getaffinity(0, sizeof mask, &mask) == 0);
  REQUIRE(rota::usable_cpus() <= static_cast<unsigned>(CPU_COUNT(&mask)));
}

}  // namespace
