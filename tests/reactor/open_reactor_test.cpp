// Which backend a loop gets: the program's wish, ROTA_BACKEND, and what the kernel allows.
#include <rota/reactor/open_reactor.hpp>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include <rota/rota.hpp>

#include "support/plain_operations.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using rota::backend;
using rota::detail::open_reactor;

namespace {

/// Sets ROTA_BACKEND, or takes it away, for the length of a block.
class backend_variable {
 public:
  explicit backend_variable(const char* value) {
    if (const char* now = std::getenv("ROTA_BACKEND")) before_ = now;
    set(value);
  }
  ~backend_variable() { set(before_ ? before_->c_str() : nullptr); }
  backend_variable(const backend_variable&) = delete;
  backend_variable& operator=(const backend_variable&) = delete;

 private:
  static void set(const char* value) {
    if (value)
      ::setenv("ROTA_BACKEND", value, 1);
    else
      ::unsetenv("ROTA_BACKEND");
  }
  std::optional<std::string> before_;
};

bool io_uring_works() { return reactor_kinds().size() > 1; }

/// From now on io_uring_setup fails with this error in this process.
bool forbid_io_uring(unsigned error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof *program, program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

#if ROTA_HAS_LIBURING
// Comes first: what this process has said already, its children do not say again.
TEST_CASE("where io_uring is forbidden the automatic choice is epoll, and says so once per process") {
  for (const unsigned error : {unsigned{EPERM}, unsigned{ENOSYS}, unsigned{EINVAL}}) {
    INFO("io_uring_setup fails with " << error);
    const child_outcome child = run_in_child([error] {
      rota::set_report_handler(nullptr);  // to stderr
      ::unsetenv("ROTA_BACKEND");
      if (!forbid_io_uring(error)) return 1;
      for (int i = 0; i != 3; ++i) {
        rota::event_loop loop;
        if (loop.backend() != backend::epoll) return 2;
        if (loop.run([]() -> rota::task<int> { co_return 7; }()) != 7) return 3;
      }
      return 0;
    });
    INFO(child.output);
    CHECK(child.exit_code() == 0);
    CHECK(count(child.output, "io_uring is not available") == 1);
    CHECK(child.says("using epoll"));
  }
}
#endif

TEST_CASE("ROTA_BACKEND=epoll beats every wish of the program") {
  const backend_variable variable("epoll");
  for (const backend wish : {backend::automatic, backend::epoll, backend::io_uring})
    CHECK(open_reactor(wish)->kind() == backend::epoll);
}

TEST_CASE("ROTA_BACKEND=io_uring beats every wish of the program") {
  if (!io_uring_works()) SKIP("io_uring is not available here");
  const backend_variable variable("io_uring");
  for (const backend wish : {backend::automatic, backend::epoll, backend::io_uring})
    CHECK(open_reactor(wish)->kind() == backend::io_uring);
}

TEST_CASE("ROTA_BACKEND=auto is the automatic choice, whatever the program wishes") {
  const captured_reports reports;
  const backend_variable variable("auto");
  const backend expected = io_uring_works() ? backend::io_uring : backend::epoll;
  for (const backend wish : {backend::automatic, backend::epoll, backend::io_uring})
    CHECK(open_reactor(wish)->kind() == expected);
}

TEST_CASE("without ROTA_BACKEND, or with an empty one, the program's wish counts") {
  const captured_reports reports;
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const backend_variable variable(value);
    CHECK(open_reactor(backend::epoll)->kind() == backend::epoll);
    CHECK(open_reactor(backend::automatic)->kind() == (io_uring_works() ? backend::io_uring : backend::epoll));
    if (io_uring_works()) CHECK(open_reactor(backend::io_uring)->kind() == backend::io_uring);
  }
}

TEST_CASE("a misspelt ROTA_BACKEND is an error that shows the value and the choices") {
  for (const char* value : {"uring", "EPOLL", "io-uring", "epoll ", "simulated"}) {
    const backend_variable variable(value);
    std::string text;
    try {
      rota::event_loop loop;
    } catch (const std::invalid_argument& error) {
      text = error.what();
    }
    INFO(value);
    CHECK(text.find("'" + std::string(value) + "'") != std::string::npos);
    CHECK(text.find("io_uring") != std::string::npos);
    CHECK(text.find("epoll") != std::string::npos);
  }
}

TEST_CASE("a loop tells its backend") {
  const backend_variable variable(nullptr);
  rota::event_loop_options options;
  options.backend = backend::epoll;
  const rota::event_loop loop(options);
  CHECK(loop.backend() == backend::epoll);
  CHECK(rota::to_string(loop.backend()) == "epoll");
  if (io_uring_works()) {
    options.backend = backend::io_uring;
    const rota::event_loop ring(options);
    CHECK(ring.backend() == backend::io_uring);
    CHECK(rota::to_string(ring.backend()) == "io_uring");
  }
}

#if ROTA_HAS_LIBURING
TEST_CASE("where io_uring is forbidden an explicit wish for it is an error, not a fall-back") {
  for (const bool by_variable : {false, true}) {
    const child_outcome child = run_in_child([by_variable] {
      if (by_variable)
        ::setenv("ROTA_BACKEND", "io_uring", 1);
      else
        ::unsetenv("ROTA_BACKEND");
      if (!forbid_io_uring(EPERM)) return 1;
      rota::event_loop_options options;
      options.backend = by_variable ? backend::automatic : backend::io_uring;
      const std::size_t before = open_descriptors();
      try {
        rota::event_loop loop(options);
        return 2;
      } catch (const std::system_error& e) {
        if (e.code().value() != EPERM) return 3;
      }
      return open_descriptors() == before ? 0 : 4;
    });
    INFO(child.output);
    CHECK(child.exit_code() == 0);
    CHECK(child.output.empty());
  }
}

TEST_CASE("a failure of io_uring that is no prohibition is not hidden by a fall-back") {
  for (const unsigned error : {unsigned{EMFILE}, unsigned{ENOMEM}}) {
    const child_outcome child = run_in_child([error] {
      ::unsetenv("ROTA_BACKEND");
      if (!forbid_io_uring(error)) return 1;
      const std::error_code code = error_code_of([] { return rota::event_loop().backend(); });
      return code == std::error_code(static_cast<int>(error), std::generic_category()) ? 0 : 2;
    });
    INFO(child.output);
    CHECK(child.exit_code() == 0);
  }
}
#endif

TEST_CASE("a reactor without descriptors to be had is a clear error and leaks none") {
  if (under_asan) SKIP("UBSan needs descriptors itself to look at an object's type");
  for (const reactor_kind& kind : reactor_kinds()) {
    INFO("on " << kind.name);
    const child_outcome child = run_in_child([&kind] {
      const std::size_t before = open_descriptors();
      // Two are needed: once none is left, once one.
      for (const int left : {0, 1}) {
        int spare = ::dup(0);
        const rlimit limit{static_cast<rlim_t>(spare + left), 4096};
        ::close(spare);
        rlimit old{};
        ::getrlimit(RLIMIT_NOFILE, &old);
        ::setrlimit(RLIMIT_NOFILE, &limit);
        const std::error_code code = error_code_of([&] { return kind.make(); });
        rlimit again = limit;
        again.rlim_cur = 4096;
        ::setrlimit(RLIMIT_NOFILE, &again);
        if (code != std::errc::too_many_files_open) return 1 + left;
      }
      return open_descriptors() == before ? 0 : 5;
    });
    INFO(child.output);
    CHECK(child.exit_code() == 0);
  }
}
