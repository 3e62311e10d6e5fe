// main() of every test program.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#include "support/catch.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

// support/simulated.cpp; not in every program.
[[gnu::weak]] void enable_simulated_backend();

namespace {

#if CATCH_VERSION_MAJOR == 2
using listener_base = Catch::TestEventListenerBase;
#else
using listener_base = Catch::EventListenerBase;
#endif

// ctest kills a test that hangs; the last name in its output is then the one to look at.
struct name_printer : listener_base {
  using listener_base::listener_base;
  void testCaseStarting(Catch::TestCaseInfo const& info) override { std::fprintf(stderr, "%s\n", info.name.c_str()); }
};

// Containers often forbid io_uring. The kernel looks at permissions before it looks at arguments, so a call with none tells.
bool io_uring_is_forbidden() {
  syscall(SYS_io_uring_setup, 0, nullptr);
  return errno == EPERM || errno == ENOSYS;
}

// Some tests cannot run without a kernel, or on a pool: one line of the list says which and why.
bool leave_out(Catch::Session& session, char const* file, char const* where, std::string_view also = {}) {
  std::ifstream list(file);
  for (std::string line; std::getline(list, line);) {
    const std::size_t first = line.find(": ");
    const std::size_t second = line.find(": ", first + 2);
    if (line.starts_with("#") || second == std::string::npos) continue;
    const std::string program = line.substr(0, first);
    if (program != program_invocation_short_name &&
        program != program_invocation_short_name + std::string(".").append(also))
      continue;
    const std::string name = line.substr(second + 2);
    std::printf("not %s: %s: %s\n", where, line.substr(first + 2, second - first - 2).c_str(), name.c_str());
    if (name == "*") return false;
    session.configData().testsOrTags.push_back("~\"" + name + "\"");
  }
  return true;
}

constexpr int skipped = 77;  // tests/CMakeLists.txt: SKIP_RETURN_CODE

}  // namespace

CATCH_REGISTER_LISTENER(name_printer)

int main(int argc, char** argv) {
  char const* const backend = std::getenv("ROTA_BACKEND");
  if (backend != nullptr && std::string_view(backend) == "io_uring" && io_uring_is_forbidden()) {
    std::printf("skipped: this kernel or container forbids io_uring\n");
    return skipped;
  }
  Catch::Session session;
  if (backend != nullptr && std::string_view(backend) == "simulated") {
    if (enable_simulated_backend == nullptr) {
      std::printf("skipped: this program has no simulated backend\n");
      return skipped;
    }
    enable_simulated_backend();
    if (!leave_out(session, ROTA_NOT_SIMULATED, "simulated")) return skipped;
  }
  if (char const* const executor = std::getenv("ROTA_TEST_EXECUTOR"))
    if (!leave_out(session, ROTA_NOT_ON_A_POOL, "on a pool", executor)) return skipped;
#if CATCH_VERSION_MAJOR == 2
  // A program or a filter without a single test case is an error in v3; in v2 one has to ask for it.
  session.configData().warnings = Catch::WarnAbout::NoTests;
#endif
  return session.run(argc, argv);
}
